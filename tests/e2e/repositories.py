"""Git+DVC repositories written by the real `git` and `dvc`: what `dds` must be able to read."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from processes import ROOT

CLIPART = ROOT / "notebooks" / "data" / "clipart"
CLASSES = ["animals", "buildings", "food", "plants", "tools", "transportation"]

# Names that are ordinary to a file system and awkward to URLs, shells and careless path checks.
ODD_NAMES = [
    "with space.txt",
    "größe – 1.txt",
    "a..b.txt",
    "..hidden",
    "100%.txt",
    "what?.txt",
    "hash#1.txt",
    "a+b&c=d.txt",
    "日本/猫 1.txt",
    "a..b/..c/d...txt",
]
# Bigger than one read and not a multiple of any block.
LARGE_BYTES = 3 * 1024 * 1024 + 17


@dataclass
class Repository:
    folder: Path
    # Path inside the repository → bytes, for every file that a listing must show.
    files: dict[str, bytes]

    @property
    def name(self) -> str:
        return self.folder.name


def run_git(folder: Path, *args: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs the real `git`, whatever its exit status."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *identity, *args], cwd=folder, env=env, capture_output=True, text=True, timeout=120
    )


def git(folder: Path, *args: str, env: dict[str, str]) -> str:
    done = run_git(folder, *args, env=env)
    assert done.returncode == 0, f"git {args}: {done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def run_dvc(folder: Path, *args: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs the real `dvc`, whatever its exit status."""
    return subprocess.run(
        [sys.executable, "-m", "dvc", *args], cwd=folder, env=env, capture_output=True, text=True, timeout=240
    )


def dvc(folder: Path, *args: str, env: dict[str, str]) -> str:
    done = run_dvc(folder, *args, env=env)
    assert done.returncode == 0, f"dvc {args}: {done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def write(folder: Path, files: dict[str, bytes]):
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def make_repository(folder: Path, env: dict[str, str]) -> Repository:
    """All three ways in which a repository keeps a file: in Git, as one DVC file, in a DVC folder."""
    folder.mkdir(parents=True)
    by_git = {"README.md": b"# Art\n"} | {f"text/{name}": f"git: {name}\n".encode() for name in ODD_NAMES}
    by_dvc = {f"odd/{name}": f"dvc: {name}\n".encode() for name in ODD_NAMES}
    by_dvc["large.bin"] = random.Random(7).randbytes(LARGE_BYTES)
    for image in sorted(CLIPART.glob("*/*.jpg")):
        by_dvc[f"clipart/{image.parent.name}/{image.name}"] = image.read_bytes()
    assert len(by_dvc) == 360 + len(ODD_NAMES) + 1

    git(folder, "init", "--quiet", "--initial-branch", "main", env=env)
    dvc(folder, "init", "--quiet", env=env)
    write(folder, by_git | by_dvc)
    dvc(folder, "add", "--quiet", "clipart", "odd", "large.bin", env=env)
    git(folder, "add", "--all", env=env)
    git(folder, "commit", "--quiet", "--message", "Sample", env=env)
    return Repository(folder, by_git | by_dvc)


def copy_repository(template: Repository, folder: Path) -> Repository:
    shutil.copytree(template.folder, folder, symlinks=True)
    return Repository(folder, dict(template.files))
