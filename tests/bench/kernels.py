"""The three kernels that the kernel benchmark compares, and how one cell, one start and one family of
processes are measured. evcxr_jupyter is built once, by `cargo install`, beside the pinned peers."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measured import pss_mb, tell
from cells import Kernel, Ran
from processes import built_binary, descendants

EVCXR_VERSION = "0.22.0"
# A cell of the slowest kernel on a loaded machine, a cold `:dep` included.
CELL_SECONDS = 580.0
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}


def evcxr_binary() -> Path:
    """evcxr_jupyter as `cargo install --locked` builds it, below `~/.cache/dds-tests`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dds-tests"
    root = cache / f"evcxr_jupyter-{EVCXR_VERSION}"
    binary = root / "bin" / "evcxr_jupyter"
    root.mkdir(parents=True, exist_ok=True)
    with open(root / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.is_file():
            tell(f"building evcxr_jupyter {EVCXR_VERSION}: about ten minutes")
            # Its lock file must hold: rust-analyzer's crates do not compile with newer dependencies.
            command = ["cargo", "install", "evcxr_jupyter", "--version", EVCXR_VERSION, "--locked"]
            subprocess.run([*command, "--root", root, "--quiet"], check=True, **QUIET)
    return binary


def install(prefix: Path, env: dict[str, str]) -> dict[str, str]:
    """Installs the three kernelspecs below `prefix`; gives the environment in which Jupyter finds them."""
    subprocess.run([built_binary(), "install", "--prefix", prefix], env=env, check=True, **QUIET)
    python = [sys.executable, "-m", "ipykernel", "install", "--prefix", prefix, "--name", "python3"]
    subprocess.run(python, env=env, check=True, stderr=subprocess.DEVNULL, **QUIET)
    kernels = prefix / "share" / "jupyter" / "kernels"
    # What `evcxr_jupyter --install` writes, which has no flag for a prefix.
    spec = {
        "argv": [str(evcxr_binary()), "--control_file", "{connection_file}"],
        "display_name": "Rust",
        "language": "rust",
        "interrupt_mode": "message",
    }
    (kernels / "evcxr").mkdir(parents=True)
    (kernels / "evcxr" / "kernel.json").write_text(json.dumps(spec))
    return env | {"JUPYTER_PATH": str(prefix / "share" / "jupyter")}


@dataclass
class Bench:
    """Starts kernels, and ends all of them."""

    work: Path
    env: dict[str, str]

    @contextmanager
    def kernel(self, name: str):
        with self._started(name) as kernel:
            kernel.begun = time.perf_counter() - kernel.seconds_to_info
            yield kernel


    def _started(self, name: str) -> Kernel:
        if name == "dds":
            return Kernel(self.work, self.env, name)
        for last in [False, False, True]:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            try:
                return Kernel(self.work, self.env, name, ready_seconds=30, **quiet)
            except RuntimeError as error:
                # evcxr_jupyter now and then does not answer a second client: its time is not to be spoilt.
                if last:
                    raise
                tell(f"{name} again, because: {error}")


def timed(kernel: Kernel, code: str, status: str | None = "ok") -> tuple[float, Ran]:
    """Milliseconds from sending a cell until its reply and its idle have both arrived, and what it gave."""
    begun = time.perf_counter()
    ran = kernel.run(code, CELL_SECONDS)
    took = (time.perf_counter() - begun) * 1000
    if status is not None and ran.status != status:
        raise SystemExit(f"`{code}` gave {ran.status}, not {status}:\n{ran.text}")
    return took, ran


def ms(kernel: Kernel, code: str, status: str | None = "ok") -> float:
    return timed(kernel, code, status)[0]


def wait_until_after_start(kernel: Kernel, seconds: float):
    """Until a kernel is that old; not at all when it needed longer to answer."""
    time.sleep(max(0.0, kernel.begun + seconds - time.perf_counter()))


def complete(kernel: Kernel, code: str) -> tuple[float, list[str]]:
    """Milliseconds until the completions of `code`, whose cursor is at its end, and what they are."""
    begun = time.perf_counter()
    msg_id = kernel.client.complete(code)
    while True:
        reply = kernel.client.get_shell_msg(timeout=CELL_SECONDS)
        if reply["parent_header"].get("msg_id") == msg_id:
            return (time.perf_counter() - begun) * 1000, reply["content"].get("matches", [])


def interrupt(kernel: Kernel, cell: str) -> tuple[float, Ran]:
    """Milliseconds from the interrupt until the running cell has ended, and what it gave."""
    begun = time.perf_counter()
    kernel.manager.interrupt_kernel()
    ran = kernel.collect(cell, 120)
    return (time.perf_counter() - begun) * 1000, ran


def family(kernel: Kernel) -> list[int]:
    root = kernel.manager.provisioner.process.pid
    return [root, *descendants(root)]


def memory_mb(kernel: Kernel) -> float:
    """Proportional set size of the kernel and all its children, in MB; shared pages count once in all."""
    return pss_mb(family(kernel))
