"""Mounted repositories as ordinary programs see them, by FUSE and by verified copies."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from processes import Dds, Foreground, wait_until
from repositories import ODD_NAMES, dvc, git


def can_fuse() -> bool:
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
        return True
    except OSError:
        return False


WAYS = [
    pytest.param("fuse", marks=pytest.mark.skipif(not can_fuse(), reason="/dev/fuse cannot be opened here")),
    "copy",
]


def is_mounted(folder: Path) -> bool:
    escaped = str(folder).replace(" ", "\\040")
    return any(line.split()[1] == escaped for line in Path("/proc/self/mounts").read_text().splitlines())


@pytest.fixture
def mount(dds, tmp_path):
    """Mounts in the foreground; what is still mounted at the end is unmounted."""
    started: list[Foreground] = []

    def start(url: str, folder: Path, way: str, *more: str, with_dds: Dds = dds) -> Foreground:
        process = with_dds.start("mount", url, folder, "--via", way, *more)
        started.append(process)
        assert Path(process.line_with("mounted ")).resolve() == folder.resolve()
        return process

    yield start
    for process in started:
        process.close()


@pytest.mark.parametrize("way", WAYS)
def test_every_file_has_its_bytes(served, mount, tmp_path, way):
    folder = tmp_path / "m"
    mount(served.url, folder, way)
    for path, content in served.repository.files.items():
        assert (folder / path).read_bytes() == content, path


@pytest.mark.parametrize("way", WAYS)
def test_find_sees_the_files_and_their_sizes(served, mount, tmp_path, way):
    folder = tmp_path / "m"
    mount(served.url, folder, way)
    found = subprocess.run(
        ["find", ".", "-type", "f", "-printf", "%P\\0%s\\0"], cwd=folder, capture_output=True, check=True
    ).stdout.decode()
    words = found.split("\0")[:-1]
    sizes = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    expected = {path: len(content) for path, content in served.repository.files.items()}
    assert {p: s for p, s in sizes.items() if p in expected} == expected
    # Beside them only what Git itself keeps: the .dvc files and .gitignore.
    rest = {Path(p).name for p in sizes if p not in expected}
    assert all(n.endswith((".dvc", ".gitignore", ".dvcignore")) or n == "config" for n in rest), rest


@pytest.mark.parametrize("way", WAYS)
def test_cat_and_md5sum_read_odd_names(served, mount, tmp_path, way):
    folder = tmp_path / "a folder with ümlaut"
    mount(served.url, folder, way)
    for name in ODD_NAMES:
        for kept_by in ["git", "dvc"]:
            path = folder / ("text" if kept_by == "git" else "odd") / name
            assert (
                subprocess.run(["cat", path], capture_output=True, check=True).stdout
                == f"{kept_by}: {name}\n".encode()
            )
    summed = subprocess.run(["md5sum", folder / "large.bin"], capture_output=True, check=True).stdout
    assert summed.decode().split()[0] == hashlib.md5(served.repository.files["large.bin"]).hexdigest()


@pytest.mark.parametrize("way", WAYS)
def test_parts_of_a_large_file(served, mount, tmp_path, way):
    folder = tmp_path / "m"
    mount(served.url, folder, way)
    content = served.repository.files["large.bin"]
    with open(folder / "large.bin", "rb") as file:
        for offset in [len(content) - 5, 0, 1_000_001, 131_072]:
            file.seek(offset)
            assert file.read(4096) == content[offset : offset + 4096]
        file.seek(len(content) + 10)
        assert file.read(1) == b""


def test_a_read_only_mount_refuses_changes(served, mount, tmp_path):
    if not can_fuse():
        pytest.skip("/dev/fuse cannot be opened here")
    folder = tmp_path / "m"
    mount(served.url, folder, "fuse", "--read-only")
    with pytest.raises(OSError):
        (folder / "README.md").write_text("changed")
    with pytest.raises(OSError):
        (folder / "clipart/new.txt").write_text("new")
    with pytest.raises(OSError):
        (folder / "README.md").unlink()
    assert (folder / "README.md").read_bytes() == served.repository.files["README.md"]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_there_is_not_found(served, mount, tmp_path, way):
    folder = tmp_path / "m"
    mount(served.url, folder, way)
    for path in ["nothing", "clipart/nothing.jpg", "README.md/x"]:
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            (folder / path).read_bytes()


@pytest.mark.skipif(not can_fuse(), reason="/dev/fuse cannot be opened here")
def test_interrupt_unmounts(served, mount, tmp_path):
    folder = tmp_path / "m"
    process = mount(served.url, folder, "fuse")
    assert is_mounted(folder)
    assert process.interrupt() in (0, 130, -signal.SIGINT)
    assert not is_mounted(folder)
    assert not folder.exists() or list(folder.iterdir()) == []


@pytest.mark.skipif(not can_fuse(), reason="/dev/fuse cannot be opened here")
def test_a_killed_owner_leaves_no_dead_mount(served, mount, tmp_path):
    folder = tmp_path / "m"
    process = mount(served.url, folder, "fuse")
    (folder / "README.md").read_bytes()
    process.kill()
    wait_until(lambda: not is_mounted(folder), "the mount is gone after kill -9 of its owner")
    # "Transport endpoint is not connected" would be raised here.
    assert not folder.exists() or list(folder.iterdir()) == []


@pytest.mark.skipif(not can_fuse(), reason="/dev/fuse cannot be opened here")
def test_a_killed_mount_process_leaves_no_dead_mount(served, mount, tmp_path):
    """The process that serves the file system dies, its owner lives."""
    folder = tmp_path / "m"
    process = mount(served.url, folder, "fuse")
    (folder / "README.md").read_bytes()
    workers = [
        pid for pid in _descendants(process.pid) if b"__mount" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    if not workers:
        pytest.skip("this mount runs in its owner's own process")
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_mounted(folder), "the mount is gone after kill -9 of its process")


def test_a_folder_that_is_not_empty_is_refused(served, dds, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/mine.txt").write_text("keep me")
    for way in ["auto", "copy"]:
        done = dds.run("mount", served.url, tmp_path / "m", "--via", way)
        assert done.returncode in (1, 2)
        assert "empty" in done.stderr
    assert (tmp_path / "m/mine.txt").read_text() == "keep me"


def test_an_unreachable_server_is_named_after_the_retries(dds, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = closed.getsockname()[1]
        done = dds.run("mount", f"http://127.0.0.1:{port}/local/art", tmp_path / "m")
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert not is_mounted(tmp_path / "m")


@pytest.mark.parametrize("way", WAYS)
def test_a_branch_follows_an_upload_and_a_commit_does_not(served, dds, mount, env, tmp_path, way):
    commit = git(served.repository.folder, "rev-parse", "main", env=env)
    (tmp_path / "late.txt").write_text("late")
    pinned = tmp_path / "pinned"
    mount(f"{served.url}@{commit}", pinned, way)
    dds.ok("upload", tmp_path / "late.txt", "--to", f"{served.url}:inbox")
    assert not (pinned / "inbox").exists()
    assert sorted(p.name for p in (pinned / "clipart").iterdir())[0] == "animals"
    followed = tmp_path / "followed"
    mount(served.url, followed, way)
    assert (followed / "inbox/late.txt").read_text() == "late"


BROKEN = {
    "not YAML": "outs: [md5: {\n",
    "outputs that are no list": "outs: 3\n",
    "a digest that is none": "outs:\n- md5: zzzz\n  size: 3\n  hash: md5\n  path: broken.bin\n",
    "a path that leaves the folder": "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  size: 0\n  hash: md5\n  path: ../../x\n",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_dvc_file_is_named_and_the_rest_is_readable(
    repository, dds, env, start_server, tmp_path, what
):
    (repository.folder / "broken.bin.dvc").write_text(BROKEN[what])
    git(repository.folder, "add", "broken.bin.dvc", env=env)
    git(repository.folder, "commit", "--quiet", "--message", "Broken", env=env)
    served = start_server(repository)
    folder = tmp_path / "m"
    process = dds.start("mount", served.url, folder, "--via", "copy")
    try:
        try:
            process.line_with("mounted ")
        except AssertionError:
            # Refusing is fine too, as long as the file is named.
            assert process.process.poll() not in (None, 0, 101)
        else:
            assert (folder / "README.md").read_bytes() == repository.files["README.md"]
        said = process.stderr() + "\n".join(process.lines) + served.process.stderr()
        assert re.search(r"broken\.bin\.dvc, line \d", said), said
    finally:
        process.close()


def test_a_damaged_object_is_refused_and_named(repository, start_server, dds, env, tmp_path):
    """The store's bytes do not have the digest that the manifest promises."""
    cache = repository.folder / ".dvc/cache/files/md5"
    digest = hashlib.md5(repository.files["large.bin"]).hexdigest()
    damaged = cache / digest[:2] / digest[2:]
    damaged.chmod(0o644)
    content = bytearray(repository.files["large.bin"])
    content[1_000_000] ^= 1
    damaged.write_bytes(bytes(content))
    (repository.folder / "large.bin").unlink()
    served = start_server(repository)
    # A cache of its own: another test may have read the sound object already.
    fresh = dds.with_env(XDG_CACHE_HOME=str(tmp_path / "cache"))
    done = fresh.run("cat", f"{served.url}:large.bin")
    assert done.returncode == 1
    assert "large.bin" in done.stderr
    assert "README" not in done.stderr


def test_an_object_that_is_gone_is_named(repository, start_server, dds, env, tmp_path):
    digest = hashlib.md5(repository.files["large.bin"]).hexdigest()
    (repository.folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).unlink()
    (repository.folder / "large.bin").unlink()
    served = start_server(repository)
    done = dds.with_env(XDG_CACHE_HOME=str(tmp_path / "cache")).run("cat", f"{served.url}:large.bin")
    assert done.returncode == 1 and "large.bin" in done.stderr


def test_a_copy_refuses_more_than_its_limit(dds, env, start_server, template_repository, tmp_path):
    from repositories import copy_repository

    repository = copy_repository(template_repository, tmp_path / "art")
    with open(repository.folder / "huge.bin", "wb") as file:
        file.truncate(201 * 1000 * 1000 * 2)  # sparse; above the documented 200 MB by any count
    dvc(repository.folder, "add", "--quiet", "huge.bin", env=env)
    git(repository.folder, "add", "--all", env=env)
    git(repository.folder, "commit", "--quiet", "--message", "Huge", env=env)
    served = start_server(repository)
    done = dds.run("mount", served.url, tmp_path / "m", "--via", "copy")
    assert done.returncode == 1
    assert re.search(r"200(\.0)? MB", done.stderr)
    assert not (tmp_path / "m").exists() or list((tmp_path / "m").iterdir()) == []


def test_a_local_repository_is_mounted_without_a_server(repository, mount, tmp_path):
    folder = tmp_path / "m"
    mount(str(repository.folder), folder, "auto")
    assert (folder / "clipart/food/012.jpg").read_bytes() == repository.files["clipart/food/012.jpg"]


def _descendants(pid: int) -> list[int]:
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found


@pytest.mark.skipif(not can_fuse(), reason="/dev/fuse cannot be opened here")
@pytest.mark.parametrize("more", [[], ["--read-only"]], ids=["writable", "read-only"])
def test_another_process_tells_a_mount_the_order_of_an_epoch(start_server, repository, dds, mount, tmp_path, more):
    files = sorted(path for path in repository.files if path.startswith("clipart/"))[:60]
    order = [files[n * 7 % len(files)] for n in range(len(files))]
    assert len(set(order)) == len(files) == 60
    folder, log = tmp_path / "m", tmp_path / "requests.log"
    cold = dds.with_env(XDG_CACHE_HOME=str(tmp_path / "cache"))
    served = start_server(repository, "--access-log", str(log))
    mount(served.url, folder, "fuse", *more, with_dds=cold)

    def asked() -> list[str]:
        return [path for path in files if f"/{path} " in log.read_text()]

    epoch = tmp_path / "epoch.txt"
    epoch.write_text("".join(f"{path}\n" for path in [*order, "not/there"]))
    told = dds.ok("order", folder, epoch)
    assert f"{len(files)} files" in told and "1 line names no file" in told
    assert asked() == []
    assert (folder / order[0]).read_bytes() == repository.files[order[0]]
    # The rest is on its way, although nobody reads it.
    wait_until(lambda: len(asked()) == len(files), "the announced files are fetched")
    for path in order:
        assert (folder / path).read_bytes() == repository.files[path]
    refused = dds.run("order", tmp_path, epoch)
    assert refused.returncode != 0 and "not in a mounted folder" in refused.stderr
