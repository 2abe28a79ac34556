"""Our side of the data benchmark: a mount with empty caches, what is read through it, and what that moves."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_set import HUGE, HUGE_BYTES, LARGE, Site
from latency_proxy import Counts, Proxy
from measured import pss_mb
from processes import Dds, Foreground, descendants

READ_BYTES = 1024 * 1024
# Until what was fetched ahead of a reader has come, and is counted.
SETTLE_SECONDS = 1.0
SAMPLE_SECONDS = 0.25


@dataclass
class Mount:
    folder: Path
    process: Foreground
    begun: float
    stands: float
    hub: Proxy
    counts: Counts
    dds: Dds

    def announce(self, names: list[str]):
        """By a command of another process, as a data loader would."""
        order = self.folder.with_name(f"{self.folder.name}-order.txt")
        order.write_text("".join(f"{name}\n" for name in names))
        self.dds.ok("order", self.folder, order)

    def memory_mb(self) -> float:
        return pss_mb([self.process.pid, *descendants(self.process.pid)])

    def moved(self) -> int:
        """Bytes that the server has answered since the mount stood."""
        time.sleep(SETTLE_SECONDS)
        return self.hub.counts().since(self.counts).bytes


@dataclass
class Mounts:
    dds: Dds
    hub: Proxy
    work: Path
    number: int = 0

    @contextmanager
    def mounted(self, repository: str, keep: bool = True):
        """A mount in the foreground, with a cache of its own.

        Without `keep` the cache goes with it. Thousands of small files must not: for minutes, ext4 looks at every number
        of a file that is gone before it takes it again, which doubled the CPU time of the next mount's cache.
        """
        self.number += 1
        folder, cache = self.work / f"mount{self.number}", self.work / f"cache{self.number}"
        url = f"http://127.0.0.1:{self.hub.port}/{repository}"
        dds = self.dds.with_env(XDG_CACHE_HOME=str(cache))
        begun = time.perf_counter()
        with dds.start("mount", url, folder, "--via", "fuse") as process:
            process.line_with("mounted ")
            stands = time.perf_counter() - begun
            yield Mount(folder, process, begun, stands, self.hub, self.hub.counts(), dds)
        if not keep:
            shutil.rmtree(cache)


def read(folder: Path, names: list[str]) -> tuple[float, list[bytes]]:
    begun = time.perf_counter()
    contents = []
    for name in names:
        with open(folder / name, "rb", buffering=0) as file:
            contents.append(file.read())
    return time.perf_counter() - begun, contents


def check(site: Site, names: list[str], contents: list[bytes]):
    for name, content in zip(names, contents, strict=True):
        if hashlib.md5(content).hexdigest() != site.photos[name]:
            raise SystemExit(f"{name}: {len(content)} bytes with another digest")


@dataclass
class Pass:
    """Seconds from the command's start until the first file and the first batch were read, of reading all, and
    from the command's start until all were read."""

    first: float
    batch: float
    reading: float
    all: float
    # Reading once more: seconds through the mount, and from the local file system.
    again: float
    local: float


def all_files(mounts: Mounts, repository: str, site: Site, batch: int, local: Path) -> Pass:
    """All files in the order of a listing, digests checked; `local` holds the same files under their numbers."""
    names = list(site.photos)
    numbers = [str(number) for number in range(len(names))]
    with mounts.mounted(repository) as mount:
        began = time.perf_counter()
        times, contents = [], []
        for name in names:
            with open(mount.folder / name, "rb", buffering=0) as file:
                contents.append(file.read())
            times.append(time.perf_counter())
        check(site, names, contents)
        read(local, numbers)
        pairs = [(read(mount.folder, names)[0], read(local, numbers)[0]) for _ in range(3)]
    again, ours_local = sorted(pairs, key=lambda pair: pair[0] / pair[1])[1]
    since = [at - mount.begun for at in times]
    return Pass(since[0], since[batch - 1], times[-1] - began, since[-1], again, ours_local)


def large_sequentially(mounts: Mounts, repository: str, site: Site) -> float:
    with mounts.mounted(repository, keep=False) as mount:
        seconds = read_through(mount.folder / LARGE)
        with open(mount.folder / LARGE, "rb") as file:
            if hashlib.file_digest(file, "md5").hexdigest() != site.large_md5:
                raise SystemExit(f"{LARGE} has another digest")
    return seconds


def read_through(path: Path) -> float:
    """Seconds to read a file from its start to its end, by 1 MiB."""
    buffer = bytearray(READ_BYTES)
    begun = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - begun


def large_at_random(mounts: Mounts, repository: str, original: Path, offsets: list[int], length: int) -> int:
    """Bytes that came for reads of `length` bytes at `offsets`."""
    with mounts.mounted(repository, keep=False) as mount, open(original, "rb") as expected:
        file = os.open(mount.folder / LARGE, os.O_RDONLY)
        try:
            for offset in offsets:
                if os.pread(file, length, offset) != os.pread(expected.fileno(), length, offset):
                    raise SystemExit(f"{LARGE} differs at {offset}")
        finally:
            os.close(file)
        return mount.moved()


def listing(mounts: Mounts, repository: str, folder: str, entries: int) -> tuple[float, float, float, float]:
    """Seconds until the mount stands, of a listing, of a listing with sizes; then memory in MB."""
    with mounts.mounted(repository) as mount:
        begun = time.perf_counter()
        names = os.listdir(mount.folder / folder)
        listed = time.perf_counter() - begun
        begun = time.perf_counter()
        with os.scandir(mount.folder / folder) as found:
            sizes = [entry.stat().st_size for entry in found]
        with_sizes = time.perf_counter() - begun
        if (len(names), len(sizes)) != (entries, entries) or not all(sizes):
            raise SystemExit(f"{len(names)} names and {len(sizes)} sizes of {entries} entries")
        return mount.stands, listed, with_sizes, mount.memory_mb()


def huge(mounts: Mounts, repository: str) -> tuple[float, float]:
    """Seconds to read the huge file, and the most memory of the mount meanwhile, in MB."""
    with mounts.mounted(repository, keep=False) as mount:
        most, done = [mount.memory_mb()], threading.Event()

        def sample():
            while not done.wait(SAMPLE_SECONDS):
                most.append(mount.memory_mb())

        sampling = threading.Thread(target=sample)
        sampling.start()
        try:
            if (size := (mount.folder / HUGE).stat().st_size) != HUGE_BYTES:
                raise SystemExit(f"{HUGE} has {size} bytes")
            seconds = read_through(mount.folder / HUGE)
        finally:
            done.set()
            sampling.join()
    return seconds, max(most)
