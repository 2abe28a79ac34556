"""A notebook's mount where FUSE is not allowed: files come when programs of the notebook open them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest
from cells import Kernel
from processes import wait_until


@pytest.fixture
def kernel(jupyter_env, tmp_path):
    with Kernel(tmp_path, jupyter_env | {"DDS_MOUNT_VIA": "stream"}) as kernel:
        yield kernel


def test_programs_of_a_notebook_read_a_mount_without_fuse(kernel, served, tmp_path):
    path, content = max(served.repository.files.items(), key=lambda item: len(item[1]))
    assert "fetched when opened" in kernel.ok(f"%dds mount {served.url} data").text
    # Another program cannot open what is not there yet, and reads nothing wrong.
    other = subprocess.run(["cat", tmp_path / "data" / path], capture_output=True, text=True)
    assert other.returncode != 0 and other.stdout == "" and "No such device" in other.stderr
    assert "stream" in kernel.ok("%dds mounts").text
    # A Rust cell, after the same file has come for nobody else.
    ran = kernel.ok(f"std::fs::read({json.dumps('data/' + path)}).unwrap().len()")
    assert str(len(content)) in ran.text
    assert (tmp_path / "data" / path).read_bytes() == content


def test_python_and_the_shell(kernel, served, tmp_path):
    kernel.ok(f"%dds mount {served.url} data")
    (tmp_path / "walk.py").write_text(
        "import os, pathlib\n"
        "sizes = {}\n"
        "for folder, _, names in os.walk('data'):\n"
        "    for entry in os.scandir(folder):\n"
        "        if entry.is_file():\n"
        "            sizes[os.path.relpath(entry.path, 'data')] = entry.stat().st_size\n"
        "for path, size in sizes.items():\n"
        "    assert len(pathlib.Path('data', path).read_bytes()) == size, path\n"
        "print(len(sizes), sum(sizes.values()))\n"
    )
    count, total = kernel.ok(f"!{sys.executable} walk.py").stdout.split()
    files = served.repository.files
    assert int(count) >= len(files) and int(total) >= sum(map(len, files.values()))
    for path, content in files.items():
        assert (tmp_path / "data" / path).read_bytes() == content, path
    assert "removed" in kernel.ok("%dds unmount data").text
    assert not (tmp_path / "data").exists()


def test_a_killed_kernel_leaves_nothing(kernel, served, tmp_path):
    files = len(served.repository.files)
    (tmp_path / "data").mkdir()
    kernel.ok(f"%dds mount {served.url} data")
    kernel.ok(f"%dds mount {served.url} made/below")
    kernel.ok("!cat data/README.md")
    (tmp_path / "data" / "mine.txt").write_text("mine")
    assert len([p for p in (tmp_path / "data").rglob("*") if p.is_socket()]) > files
    os.kill(kernel.manager.provisioner.pid, 9)
    wait_until(lambda: not (tmp_path / "made").exists(), "the folder that mounting made is gone")
    wait_until(lambda: os.listdir(tmp_path / "data") == ["mine.txt"], "what the user made stays, alone")


def test_a_notebook_says_that_there_is_no_fuse_and_what_to_do(kernelspec, served, tmp_path, monkeypatch):
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"]).returncode != 0:
        pytest.skip("needs a mount namespace of its own")
    # What lies at /dev/fuse cannot be opened: a socket.
    stub = tmp_path / "stub"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(stub))
    folder = os.path.join(kernelspec["JUPYTER_PATH"], "kernels", "dds")
    spec = json.load(open(os.path.join(folder, "kernel.json")))
    script = f'mount --bind "{stub}" /dev/fuse && exec "$@"'
    spec["argv"] = ["unshare", "--mount", "sh", "-c", script, "sh", *spec["argv"]]
    target = tmp_path / "jupyter" / "kernels" / "nofuse"
    shutil.copytree(folder, target)
    (target / "kernel.json").write_text(json.dumps(spec))
    env = kernelspec | {"JUPYTER_PATH": str(tmp_path / "jupyter")}
    monkeypatch.setenv("JUPYTER_PATH", env["JUPYTER_PATH"])
    with Kernel(tmp_path, env, name="nofuse") as kernel:
        ran = kernel.ok(f"%dds mount {served.url} data")
        (note,) = [line for line in ran.text.splitlines() if "no FUSE here" in line]
        assert "/dev/fuse cannot be opened" in note and "--device /dev/fuse" in note and "`!` lines" in note
        assert "fetched when opened" in ran.text
        assert "no FUSE" not in kernel.ok(f"%dds mount {served.url} again --via stream").text
        assert kernel.ok("!cat data/README.md").stdout == served.repository.files["README.md"].decode()
