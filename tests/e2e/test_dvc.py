"""The real `dvc` on what `dds` wrote, and `dds` on what the real `dvc` wrote."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from processes import Dds, wait_until
from repositories import ODD_NAMES, dvc, git, run_dvc, run_git


def clone_and_pull(source: Path, target: Path, env: dict[str, str]):
    """A fresh clone whose only remote store is the served repository's own cache."""
    git(source.parent, "clone", "--quiet", str(source), str(target), env=env)
    dvc(target, "remote", "add", "--default", "--force", "origin", str(source / ".dvc/cache"), env=env)
    dvc(target, "pull", env=env)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(f.relative_to(folder)): f.read_bytes()
        for f in folder.rglob("*")
        if f.is_file() and ".git" not in f.parts and ".dvc" not in f.parts and not f.name.startswith(".git")
    }


def status(folder: Path, env: dict[str, str], *args: str) -> dict:
    return json.loads(dvc(folder, "status", "--json", *args, env=env))


def test_after_an_upload_pull_and_status_are_clean(served, dds, env, tmp_path):
    (tmp_path / "new one.jpg").write_bytes(b"\xff\xd8\xff new")
    (tmp_path / "größe.bin").write_bytes(bytes(5000))
    dds.ok(
        "upload",
        tmp_path / "new one.jpg",
        tmp_path / "größe.bin",
        "--to",
        f"{served.url}:fresh data",
        "--versioning",
        "dvc",
    )
    clone = tmp_path / "clone"
    clone_and_pull(served.repository.folder, clone, env)
    assert (clone / "fresh data/new one.jpg").read_bytes() == b"\xff\xd8\xff new"
    assert (clone / "fresh data/größe.bin").read_bytes() == bytes(5000)
    assert status(clone, env) == {}
    assert status(clone, env, "--cloud") == {}


def test_an_upload_into_a_dvc_folder_keeps_its_manifest_canonical(served, dds, env, tmp_path):
    """The folder's `.dir` is one manifest: `dvc` must see our new file inside it and the old ones unchanged."""
    (tmp_path / "999.jpg").write_bytes(b"\xff\xd8\xff one more")
    dds.ok(
        "upload",
        tmp_path / "999.jpg",
        "--to",
        f"{served.url}:clipart/animals",
        "--message",
        "One more animal",
    )
    clone = tmp_path / "clone"
    clone_and_pull(served.repository.folder, clone, env)
    assert len(list((clone / "clipart/animals").iterdir())) == 61
    assert (clone / "clipart/animals/999.jpg").read_bytes() == b"\xff\xd8\xff one more"
    assert status(clone, env) == {}
    # `dvc` writes the same manifest for the same files: adding them anew changes nothing.
    dvc(clone, "add", "--quiet", "clipart", env=env)
    assert git(clone, "status", "--porcelain", "--", "clipart.dvc", env=env) == ""


def test_a_replaced_file_keeps_its_history(served, dds, env, tmp_path):
    before = git(served.repository.folder, "rev-parse", "main", env=env)
    (tmp_path / "large.bin").write_bytes(b"small now")
    dds.ok("upload", tmp_path / "large.bin", "--to", served.url, "--message", "Smaller")
    assert dds.ok("cat", f"{served.url}:large.bin").strip() == "small now"
    old = dds.ok("stat", f"{served.url}@{before}:large.bin", "--json")
    assert str(len(served.repository.files["large.bin"])) in old


@pytest.fixture(scope="module")
def demo_repository(binary, env, tmp_path_factory) -> Path:
    """A copy of the repository that `dds demo` makes, taken while the demo runs."""
    work = tmp_path_factory.mktemp("demo-repository")
    dds = Dds(binary, env | {"TMPDIR": str(work)}, work)
    with dds.start("demo") as demo:

        def committed() -> Path | None:
            assert demo.process.poll() is None, demo.stderr()
            for found in work.rglob("clipart.dvc"):
                if run_git(found.parent, "rev-parse", "HEAD", env=env).returncode == 0:
                    return found.parent
            return None

        repository = wait_until(committed, "the demo made its repository", seconds=60)
        return Path(shutil.copytree(repository, work / "copy", symlinks=True))


def test_dvc_accepts_the_repository_of_the_demo(demo_repository, env, tmp_path):
    clone = tmp_path / "clone"
    clone_and_pull(demo_repository, clone, env)
    assert len([f for f in tree(clone) if f.endswith(".jpg")]) == 360
    assert status(clone, env) == {}
    assert status(clone, env, "--cloud") == {}


def test_clone_with_data_is_what_dvc_pull_gives(served, dds, env, tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    dds.ok("clone", served.url, ours, "--data")
    clone_and_pull(served.repository.folder, theirs, env)
    assert tree(ours) == tree(theirs)
    assert status(ours, env) == {}


def test_clone_without_data_has_only_the_git_part(served, dds, tmp_path):
    dds.ok("clone", served.url, tmp_path / "thin")
    assert (tmp_path / "thin/README.md").read_bytes() == served.repository.files["README.md"]
    assert (tmp_path / "thin/clipart.dvc").is_file()
    assert not (tmp_path / "thin/large.bin").exists()


def test_clone_refuses_a_folder_that_is_not_empty(served, dds, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("keep me")
    done = dds.run("clone", served.url, tmp_path / "full", "--data")
    assert done.returncode != 0
    assert [f.name for f in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_a_symlink_in_a_repository_does_not_lead_out_of_the_clone(
    repository, dds, env, tmp_path, start_server
):
    """`dvc pull` follows such a link and writes outside the clone; we must not."""
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = repository.folder
    (folder / "trap").symlink_to(outside)
    manifest = (folder / "large.bin.dvc").read_text().replace("path: large.bin", "path: trap/large.bin")
    (folder / "trap.dvc").write_text(manifest)
    git(folder, "add", "--force", "trap", "trap.dvc", env=env)
    git(folder, "commit", "--quiet", "--message", "Trap", env=env)
    served = start_server(repository)
    dds.run("clone", served.url, tmp_path / "clone", "--data")
    assert list(outside.iterdir()) == []


def test_an_old_dvc_two_file_is_read(repository, dds, env, start_server):
    """Without `hash: md5`, the digest is DVC 2's and the object lies in the old cache layout."""
    folder = repository.folder
    content = b"no carriage return here\n"
    digest = hashlib.md5(content).hexdigest()
    store = folder / ".dvc/cache" / digest[:2]
    store.mkdir(parents=True, exist_ok=True)
    (store / digest[2:]).write_bytes(content)
    (folder / "old.txt.dvc").write_text(f"outs:\n- md5: {digest}\n  size: {len(content)}\n  path: old.txt\n")
    git(folder, "add", "old.txt.dvc", env=env)
    git(folder, "commit", "--quiet", "--message", "Old", env=env)
    served = start_server(repository)
    assert dds.ok("cat", f"{served.url}:old.txt") == content.decode()


def test_the_template_itself_is_what_dvc_says(repository, env):
    assert run_dvc(repository.folder, "status", "--json", env=env).stdout.strip() == "{}"
    assert sorted(p.name for p in (repository.folder / "odd").glob("*") if p.is_file()) == sorted(
        n for n in ODD_NAMES if "/" not in n
    )


def test_a_folder_of_a_million_files_fits_into_memory(dds, env, tmp_path):
    """DVC's manifest of it alone is 96 MB; 1,000 bytes of memory for a file are enough."""
    files = 1_000_000
    folder = tmp_path / "large"
    git(tmp_path, "init", "--quiet", "--initial-branch", "main", str(folder), env=env)
    entries = [
        {"md5": hashlib.md5(str(n).encode()).hexdigest(), "relpath": f"train/class-{n % 1000:04}/picture-{n:07}.jpg"}
        for n in range(files)
    ]
    manifest = json.dumps(entries).encode()
    digest = hashlib.md5(manifest).hexdigest()
    place = folder / ".dvc/cache/files/md5" / digest[:2] / f"{digest[2:]}.dir"
    place.parent.mkdir(parents=True)
    place.write_bytes(manifest)
    (folder / ".dvc/config").touch()
    out = f"- md5: {digest}.dir\n  size: 1\n  nfiles: {files}\n  hash: md5\n  path: data\n"
    (folder / "data.dvc").write_text(f"outs:\n{out}")
    (folder / ".gitignore").write_text("/data\n")
    git(folder, "add", "data.dvc", ".gitignore", env=env)
    git(folder, "commit", "--quiet", "--message", "Large", env=env)

    def listed(*args):
        with open(tmp_path / "said", "wb") as said:
            process = subprocess.Popen([dds.binary, "ls", *args], env=dds.env, stdout=said)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = status
        assert status == 0
        assert usage.ru_maxrss * 1024 < 1000 * files, f"{args}: {usage.ru_maxrss} kB"
        return (tmp_path / "said").read_text()

    entries = json.loads(listed(f"{folder}@main:data/train/class-0999", "--json"))["entries"]
    assert len(entries) == 1000 and entries[-1]["path"].endswith("picture-0999999.jpg")
    # All of them: as lines, of which the first are shown, and as data, which is written as it is made.
    everything = f"{folder}@main:data"
    assert "1,000,000 files" in listed(everything, "--recursive").replace("1000000", "1,000,000")
    data = listed(everything, "--recursive", "--json")
    assert data.count('"path"') == files and data.rstrip().endswith("}")
