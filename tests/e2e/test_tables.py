"""`dds head` of tables that the real programs have written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cells import Kernel
from repositories import dvc, git

PEOPLE = Path(__file__).parent / "tables" / "people.parquet"
COLUMNS = ["id", "name", "share", "seen", "born", "price", "tags", "box", "kept", "raw"]


@pytest.fixture
def people(repository, start_server, env):
    """The URL of a table that DVC keeps, on a server."""
    shutil.copy(PEOPLE, repository.folder / "people.parquet")
    dvc(repository.folder, "add", "--quiet", "people.parquet", env=env)
    git(repository.folder, "add", "--all", env=env)
    git(repository.folder, "commit", "--quiet", "--message", "People", env=env)
    return f"{start_server(repository).url}:people.parquet"


def test_a_table_of_pyarrow_in_a_shell(people, dds):
    said = dds.ok("head", people, "-n", "3")
    lines = said.splitlines()
    assert "people.parquet: 400 rows, 10 columns; the first 3" in lines[0], said
    assert lines[1].split() == COLUMNS
    assert "Zoë 1" in said and "2024-02-29 12:30:01" in said and "1999-12-31" in said and "0.01" in said
    data = json.loads(dds.ok("head", people, "-n", "400", "--json"))
    assert data["columns"] == COLUMNS and len(data["rows"]) == 400 and data["whole"]
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in data["rows"]]
    # Across the groups of 150 rows, each column in its own packing.
    assert [row["id"] for row in rows] == [str(n) for n in range(400)]
    assert [row["name"] for row in rows] == [f"Zoë {n}" if n % 3 else None for n in range(400)]
    assert [float(row["share"]) for row in rows] == [n / 4 for n in range(400)]
    assert {row["kept"] for row in rows} == {"true", "false"} and rows[399]["price"] == "3.99"


def test_a_table_of_pyarrow_in_a_notebook(people, jupyter_env, tmp_path):
    with Kernel(tmp_path, jupyter_env) as kernel:
        ran = kernel.ok(f"%dds head {people} -n 2")
        (shown,) = ran.bundles("display_data")
    for text in ["<table", "<th", "born", "Zoë 1"]:
        assert text in shown["text/html"], shown["text/html"]
    assert "400 rows, 10 columns" in shown["text/plain"]
