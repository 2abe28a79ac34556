"""Starts `dds` in an environment of its own, waits for what it says, and ends it by its process id."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# A first start may compile the prelude of Rust cells; a loaded machine takes its time.
READY_SECONDS = 120.0
POLL_SECONDS = 0.05


def wait_until(condition, what: str, seconds: float = 30.0):
    """Polls `condition` until it is true, and returns what it gave. Fails loudly at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(POLL_SECONDS)


# What a user's shell may hold and a test must not see.
PERSONAL = (
    *("AWS_", "AZURE_", "DAGSHUB_", "DDS_", "DVC_", "GIT_AUTHOR", "GIT_COMMITTER", "GOOGLE_", "JUPYTER_"),
    *("STORAGE_EMULATOR_HOST", "XDG_"),
)


def target_directory() -> Path:
    listed = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(json.loads(listed.stdout)["target_directory"])


def built_binary() -> Path:
    """The release build, or what DDS_BIN names."""
    given = os.environ.get("DDS_BIN")
    return Path(given).resolve() if given else target_directory() / "release" / "dds"


@contextmanager
def isolated_environment(home: Path):
    """An environment that holds nothing of the user's: home, caches, configuration and tokens are empty.

    Only the Rust toolchain, which rustup keeps below the real home, stays reachable.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PERSONAL)}
    for name, folder in {"CARGO_HOME": ".cargo", "RUSTUP_HOME": ".rustup"}.items():
        if name not in kept and (Path.home() / folder).is_dir():
            kept[name] = str(Path.home() / folder)
    # Unix sockets have short paths, so this folder is not below a test's own.
    runtime = Path(tempfile.mkdtemp(prefix="dds-run-"))
    folders = {
        "HOME": home,
        "XDG_CACHE_HOME": home / ".cache",
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_DATA_HOME": home / ".local/share",
        "XDG_RUNTIME_DIR": runtime,
        "JUPYTER_CONFIG_DIR": home / ".jupyter",
        "JUPYTER_DATA_DIR": home / ".local/share/jupyter",
        "JUPYTER_RUNTIME_DIR": runtime / "jupyter",
    }
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    others = {
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "NO_COLOR": "1",
    }
    try:
        yield kept | {name: str(folder) for name, folder in folders.items()} | others
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


def alive(pid: int) -> bool:
    """Whether the process still does something: a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def descendants(pid: int) -> list[int]:
    """Every process below `pid` now; one that ends meanwhile has none."""
    found = []
    try:
        # Children belong to the thread that started them.
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


class Foreground:
    """A `dds` command that stays: its standard output line by line, its standard error in a file."""

    def __init__(self, command: list[str], *, env: dict[str, str], cwd: Path):
        self._errors = open(cwd / f"stderr-{time.monotonic_ns()}.txt", "w+b")
        self.command = command
        self.process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    @property
    def pid(self) -> int:
        return self.process.pid

    def stderr(self) -> str:
        self._errors.flush()
        return Path(self._errors.name).read_text(errors="replace")

    def line_with(self, prefix: str, seconds: float = READY_SECONDS) -> str:
        """Waits for the line that begins with `prefix` and returns what follows it."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._queue.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(
                    f"{self.command}: no line {prefix!r} within {seconds} s\n{self.lines}\n{self.stderr()}"
                ) from None
            if line is None:
                raise AssertionError(
                    f"{self.command} ended with {self.process.wait()} before saying {prefix!r}\n"
                    f"{self.lines}\n{self.stderr()}"
                )
            self.lines.append(line)
            if line.startswith(prefix):
                return line[len(prefix) :].strip()

    def interrupt(self, seconds: float = 30.0) -> int:
        """Ctrl-C, then the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=seconds)

    def kill(self) -> int:
        """As a crash would end it."""
        self.process.kill()
        return self.process.wait(timeout=30)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=20)
        self.process.stdout.close()
        self._errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Dds:
    """The built binary in an isolated environment."""

    def __init__(self, binary: Path, env: dict[str, str], cwd: Path):
        self.binary, self.env, self.cwd = binary, env, cwd

    def with_env(self, **more: str) -> "Dds":
        return Dds(self.binary, {**self.env, **more}, self.cwd)

    def at(self, cwd: Path) -> "Dds":
        return Dds(self.binary, self.env, cwd)

    def run(self, *args: str | os.PathLike, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end, whatever its exit status."""
        return subprocess.run(
            [str(self.binary), *map(str, args)],
            env=self.env,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def ok(self, *args: str | os.PathLike, timeout: float = 120) -> str:
        """Runs a command that must succeed; returns its standard output."""
        done = self.run(*args, timeout=timeout)
        assert done.returncode == 0, f"dds {args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, *args: str | os.PathLike) -> Foreground:
        return Foreground([str(self.binary), *map(str, args)], env=self.env, cwd=self.cwd)
