"""A notebook's mount where FUSE is not allowed: files come when programs of the notebook open them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from cells import Kernel


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
