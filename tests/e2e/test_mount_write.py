"""Mounts that are written by ordinary programs, and the commits that come of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from processes import wait_until
from repositories import git
from test_mount import can_fuse, is_mounted, mount  # noqa: F401

pytestmark = pytest.mark.skipif(not can_fuse(), reason="/dev/fuse cannot be opened here")


def sh(folder: Path, *command: str):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def staged(dds, folder: Path) -> dict[str, str]:
    """Path → what happened to it."""
    mounts = json.loads(dds.ok("status", folder, "--json"))["mounts"]
    return {file["path"]: file["change"] for one in mounts for file in one["files"]}


def edit(folder: Path):
    """What people do to a folder of data."""
    with open(folder / "README.md", "a") as file:
        file.write("More.\n")
    sh(folder, "sed", "-i", "s/git: a/GIT: a/", "text/a..b.txt")
    shutil.copytree(folder / "clipart/food", folder / "clipart/copied")
    sh(folder, "mv", "text/100%.txt", "text/renamed.txt")
    # As editors save: a new file over the old one.
    (folder / ".what?.txt.swp").write_text("saved\n")
    os.replace(folder / ".what?.txt.swp", folder / "text/what?.txt")
    os.remove(folder / "clipart/food/000.jpg")
    with open(folder / "large.bin", "r+b") as file:
        file.seek(1_000_000)
        file.write(b"changed in the middle")


def test_what_programs_write_becomes_one_commit(served, mount, dds, env, tmp_path):  # noqa: F811
    folder, files = tmp_path / "m", served.repository.files
    mount(served.url, folder, "fuse")
    before = git(served.repository.folder, "rev-parse", "HEAD", env=env)
    edit(folder)
    changes = staged(dds, folder)
    assert changes["README.md"] == changes["large.bin"] == changes["text/what?.txt"] == "changed"
    assert changes["clipart/food/000.jpg"] == "removed"
    assert changes["text/renamed.txt"] == "renamed" and "text/100%.txt" not in changes
    assert changes["clipart/copied/001.jpg"] == "added"
    assert (served.repository.folder / "README.md").read_bytes() == files["README.md"], "not before a commit"

    said = dds.ok("commit", folder, "-m", "By hand")
    assert said.startswith("committed ")
    after = git(served.repository.folder, "rev-parse", "HEAD", env=env)
    assert git(served.repository.folder, "log", "--format=%s", f"{before}..{after}", env=env) == "By hand"
    assert staged(dds, folder) == {}
    second = tmp_path / "second"
    mount(served.url, second, "fuse")
    large = bytearray(files["large.bin"])
    large[1_000_000 : 1_000_000 + 21] = b"changed in the middle"
    for place in [folder, second]:
        assert (place / "README.md").read_text() == "# Art\nMore.\n"
        assert (place / "text/a..b.txt").read_text() == "GIT: a..b.txt\n"
        assert (place / "text/renamed.txt").read_bytes() == files["text/100%.txt"]
        assert (place / "text/what?.txt").read_text() == "saved\n"
        assert (place / "large.bin").read_bytes() == bytes(large)
        assert (place / "clipart/copied/000.jpg").read_bytes() == files["clipart/food/000.jpg"]
        assert not (place / "clipart/food/000.jpg").exists() and not (place / "text/100%.txt").exists()
    assert git(served.repository.folder, "status", "--porcelain", env=env) == ""


def test_a_kill_loses_nothing(served, mount, dds, tmp_path):  # noqa: F811
    folder = tmp_path / "m"
    # A cache of its own: others have read these files.
    dds = dds.with_env(XDG_CACHE_HOME=str(tmp_path / "cache"))
    process = mount(served.url, folder, "fuse", with_dds=dds)
    (folder / "new.txt").write_text("kept\n")
    sh(folder, "mv", "clipart/food", "clipart/meals")
    process.kill()
    wait_until(lambda: not is_mounted(folder), "the mount is gone after kill -9 of its owner")
    assert "not committed yet" in dds.ok("status")
    again = tmp_path / "again"
    mount(served.url, again, "fuse", with_dds=dds)
    assert (again / "new.txt").read_text() == "kept\n"
    content = served.repository.files["clipart/food/012.jpg"]
    assert (again / "clipart/meals/012.jpg").read_bytes() == content
    # Staged files need no server; what was not fetched fails, and says so.
    served.process.close()
    assert (again / "new.txt").read_text() == "kept\n"
    with pytest.raises(OSError):
        (again / "clipart/animals/007.jpg").read_bytes()
    said = dds.ok("unmount", again)
    assert "not committed yet" in said and "dds commit" in said


def test_what_was_staged_is_discarded(served, mount, dds, tmp_path):  # noqa: F811
    folder, files = tmp_path / "m", served.repository.files
    process = mount(served.url, folder, "fuse")
    edit(folder)
    before = staged(dds, folder)
    # By what a shell calls them: one that changed, one that is gone, and a new folder.
    said = dds.ok("discard", folder / "README.md", folder / "clipart/food/000.jpg", folder / "clipart/copied")
    gone = {p for p in before if p.startswith("clipart/copied/")} | {"README.md", "clipart/food/000.jpg"}
    assert said.startswith(f"discarded {len(gone)} changes in {folder}: "), said
    assert staged(dds, folder) == {p: what for p, what in before.items() if p not in gone}
    for path in ["README.md", "clipart/food/000.jpg"]:
        assert (folder / path).read_bytes() == files[path]
    assert not (folder / "clipart/copied").exists()
    # A renamed file, by the name that it had; and a part of a renamed folder.
    dds.ok("discard", folder / "text/100%.txt")
    assert (folder / "text/100%.txt").read_bytes() == files["text/100%.txt"]
    assert not (folder / "text/renamed.txt").exists()
    sh(folder, "mv", "clipart/animals", "clipart/beasts")
    dds.ok("discard", folder / "clipart/beasts/007.jpg")
    assert os.listdir(folder / "clipart/animals") == ["007.jpg"]
    assert len(os.listdir(folder / "clipart/beasts")) == 59
    refused = dds.run("discard", folder / "clipart/animals/007.jpg")
    assert refused.returncode == 2 and "nothing is staged at clipart/animals/007.jpg" in refused.stderr
    refused = dds.run("discard", folder)
    assert refused.returncode == 2 and "--all" in refused.stderr
    left = staged(dds, folder)
    assert set(left) == {"large.bin", "text/a..b.txt", "text/what?.txt"} | {p for p in left if p.startswith("clipart/beasts/")}
    # After a kill it is as it was, and by another mount everything goes.
    process.kill()
    wait_until(lambda: not is_mounted(folder), "the mount is gone after kill -9 of its owner")
    wait_until(lambda: "changes kept" in dds.ok("status"), "its process is gone, too")
    mount(served.url, folder, "fuse")
    assert staged(dds, folder) == left
    said = json.loads(dds.ok("discard", "--all", "--json"))
    assert {file["path"] for file in said["files"]} == set(left) and said["dir"] == str(folder)
    assert staged(dds, folder) == {}
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert {p: found[p] for p in files} == files and not (folder / "clipart/beasts").exists()


def test_a_branch_that_moved_is_a_conflict_that_is_shown(served, mount, dds, env, tmp_path):  # noqa: F811
    one, two = tmp_path / "one", tmp_path / "two"
    mount(served.url, one, "fuse")
    mount(served.url, two, "fuse")
    (one / "README.md").write_text("One\n")
    (two / "two.txt").write_text("Two\n")
    dds.ok("commit", one, "-m", "One")
    refused = dds.run("commit", two, "-m", "Two")
    assert refused.returncode == 1 and "README.md" in refused.stderr and "--rebase" in refused.stderr
    dds.ok("commit", two, "-m", "Two", "--rebase")
    assert (two / "README.md").read_text() == "One\n" and (two / "two.txt").read_text() == "Two\n"
    (one / "two.txt").write_text("Mine\n")
    refused = dds.run("commit", one, "-m", "Mine", "--rebase")
    assert refused.returncode == 1 and "two.txt" in refused.stderr
    assert staged(dds, one) == {"two.txt": "added"}
    dds.ok("commit", one, "-m", "Mine", "--new-branch", "mine")
    assert git(served.repository.folder, "show", "mine:two.txt", env=env) == "Mine"
    assert git(served.repository.folder, "show", "main:two.txt", env=env) == "Two"


def test_a_local_repository_is_committed_to(repository, mount, dds, env, tmp_path):  # noqa: F811
    folder = tmp_path / "m"
    mount(str(repository.folder), folder, "fuse")
    (folder / "README.md").write_text("Local\n")
    dds.ok("commit", folder, "-m", "Local")
    assert (repository.folder / "README.md").read_text() == "Local\n"
    assert (folder / "README.md").read_text() == "Local\n"
    assert git(repository.folder, "status", "--porcelain", env=env) == ""


def test_read_only_and_in_the_background(served, dds, tmp_path):
    folder = tmp_path / "m"
    said = dds.ok("mount", served.url, folder, "--daemon", "--read-only")
    try:
        assert said.startswith("mounted ") and is_mounted(folder)
        assert (folder / "README.md").read_text() == "# Art\n"
        with pytest.raises(OSError, match="Read-only"):
            (folder / "README.md").write_text("x")
    finally:
        dds.ok("unmount", folder)
    assert not is_mounted(folder)
    failed = dds.run("mount", f"{served.host}/local/none", folder, "--daemon")
    assert failed.returncode == 1 and "none" in failed.stderr


def test_an_upload_to_another_branch(served, dds, env, tmp_path):
    (tmp_path / "set/deep").mkdir(parents=True)
    (tmp_path / "set/deep/a.txt").write_text("a\n")
    dds.ok("upload", tmp_path / "set", "--to", served.url, "--new-branch", "side", "-m", "Set")
    assert git(served.repository.folder, "show", "side:set/deep/a.txt", env=env) == "a"
    (tmp_path / "set/deep/a.txt").write_text("b\n")
    dds.ok("upload", tmp_path / "set", "--to", served.url, "--branch", "side", "-m", "Set again")
    assert git(served.repository.folder, "show", "side:set/deep/a.txt", env=env) == "b"
    assert "set" not in git(served.repository.folder, "ls-tree", "--name-only", "main", env=env).split()
