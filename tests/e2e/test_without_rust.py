"""A machine without a Rust toolchain: commands work, and a Rust cell says how to install one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from cells import Kernel
from repositories import CLIPART

TOOLCHAIN = ("cargo", "rustc", "rustup", "rustdoc", "rust-analyzer")


def without_toolchain(env: dict[str, str], folder: Path) -> dict[str, str]:
    """The same PATH with the toolchain's programs gone, and a home that holds none."""
    tools = folder / "bin"
    tools.mkdir()
    for place in env["PATH"].split(os.pathsep):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            link = tools / program.name
            if not program.name.startswith(TOOLCHAIN) and not link.is_symlink():
                link.symlink_to(program)
    home = folder / "home"
    home.mkdir()
    gone = ("CARGO", "RUST")
    kept = {name: value for name, value in env.items() if not name.startswith(gone)}
    bare = kept | {"PATH": str(tools), "HOME": str(home)}
    assert not any(shutil.which(program, path=bare["PATH"]) for program in TOOLCHAIN)
    return bare


@pytest.fixture(scope="module")
def kernel(jupyter_env, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    with Kernel(folder, without_toolchain(jupyter_env, folder)) as kernel:
        yield kernel


def test_commands_and_shell_lines_work(kernel):
    assert "mount" in kernel.ok("%dds help").text
    bundles = kernel.ok(f"%dds show '{CLIPART}/animals/007.jpg'").bundles()
    assert any("image/png" in bundle for bundle in bundles)
    assert kernel.ok("!echo still here").stdout == "still here\n"


def test_a_rust_cell_says_how_to_install_a_toolchain(kernel):
    for _ in range(2):  # every time, not only the first
        ran = kernel.run("1 + 1")
        assert ran.status == "error"
        assert "https://rustup.rs" in ran.text
    assert kernel.ok("%dds mounts").status == "ok"


def test_completion_answers(kernel):
    matches = kernel.client.complete("%dds moun", reply=True, timeout=30)["content"]["matches"]
    assert "mount" in matches
    reply = kernel.client.complete("Vec::n", reply=True, timeout=30)["content"]
    assert reply["status"] == "ok"
