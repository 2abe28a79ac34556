"""Writes `people.parquet` beside this file with the real pyarrow: `pip install pyarrow==21.0.0`, then run it.

The tests do not install pyarrow for one file; they read the one that is kept.
"""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 400


def table() -> pa.Table:
    numbers = range(ROWS)
    return pa.table({
        "id": pa.array(numbers, pa.int64()),
        "name": pa.array([f"Zoë {n}" if n % 3 else None for n in numbers]).dictionary_encode(),
        "share": pa.array([n / 4 for n in numbers], pa.float32()),
        "seen": pa.array([datetime(2024, 2, 29, 12, 30, n % 60) for n in numbers], pa.timestamp("us")),
        "born": pa.array([date(1999, 12, 31)] * ROWS),
        "price": pa.array([Decimal(n) / 100 for n in numbers], pa.decimal128(8, 2)),
        "tags": pa.array([["a", "b"][: n % 3] for n in numbers], pa.list_(pa.string())),
        "box": pa.array([{"x": n, "w": None} for n in numbers], pa.struct([("x", pa.int32()), ("w", pa.int32())])),
        "kept": pa.array([n % 2 == 0 for n in numbers]),
        "raw": pa.array([bytes([n % 256]) * 3 for n in numbers], pa.binary()),
    })


if __name__ == "__main__":
    file = Path(__file__).with_name("people.parquet")
    pq.write_table(table(), file, row_group_size=150, compression={"id": "zstd", "name": "snappy", "share": "gzip"})
