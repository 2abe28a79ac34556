"""What all benchmarks share: their arguments, the peers' Python, one row per target, and the table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

BEGUN = time.monotonic()
TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "e2e"))


def under_peers():
    """Goes on under the Python that has the pinned peers, which `tests/peers` makes when it is missing."""
    peers = subprocess.run([TESTS / "peers"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    if Path(sys.prefix) != Path(peers).parents[1]:
        os.execv(peers, [peers, *sys.argv])


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="one repetition at full size")
    parser.add_argument("--json", action="store_true", help="the rows as JSON")
    return parser.parse_args()


@dataclass
class Row:
    """One measured figure beside its peer and its target; all three may be None."""

    name: str
    ours: float | str
    unit: str
    peer: float | None = None
    # In words, with the comparison: "<= 10 ms".
    target: str | None = None
    holds: bool | None = None
    # ours/peer of each repetition, where both ran one after the other.
    pairs: list[float] | None = None

    @property
    def ratio(self) -> float | None:
        if self.pairs:
            return median(self.pairs)
        if self.peer and isinstance(self.ours, (int, float)):
            return self.ours / self.peer
        return None


def figure(value) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def show(rows: list[Row], as_json: bool, notes: list[str] = ()):
    if as_json:
        order = ["name", "ours", "peer", "unit", "ratio", "target", "holds"]
        listed = [asdict(row) | {"ratio": row.ratio} for row in rows]
        print(json.dumps([{key: row[key] for key in order} for row in listed], indent=1, ensure_ascii=False))
        return
    head = ["", "ours", "peer", "unit", "ours/peer", "target", "holds"]
    body = [
        [
            row.name,
            figure(row.ours),
            figure(row.peer),
            row.unit,
            figure(row.ratio),
            row.target or "–",
            {True: "yes", False: "NO", None: "–"}[row.holds],
        ]
        for row in rows
    ]
    print(f"{machine()}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + "|".join("---" for _ in head) + "|")
    for line in body:
        print("| " + " | ".join(line) + " |")
    if notes:
        print("\n" + "\n".join(notes))


def machine() -> str:
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"load {load:.1f}, Python {platform.python_version()}"
    )


def median(values: list[float]) -> float:
    return statistics.median(values)


def spread(values: list[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}"


def pss_mb(pids: list[int]) -> float:
    """Proportional set size of some processes, in MB; what they share counts once in all."""
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total * 1024 / 1e6


def tell(text: str):
    """Progress with the seconds since the start, on standard error: the table stays alone on standard output."""
    print(f"{time.monotonic() - BEGUN:5.0f} s  {text}", file=sys.stderr, flush=True)
