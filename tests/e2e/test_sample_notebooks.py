"""The tree's notebooks for evcxr's readers run from top to bottom and show what they promise.

`tests/bench/kernel` runs the first of them in evcxr_jupyter as well, and compares what the cells put out.
"""

from __future__ import annotations

import base64
import re

import nbformat
import pytest
from nbclient import NotebookClient
from processes import ROOT

pytestmark = pytest.mark.usefixtures("jupyter_env")


def executed(name: str, folder) -> dict[str, list]:
    """The outputs of every code cell, by the cell's id."""
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=nbformat.NO_CONVERT)
    NotebookClient(notebook, timeout=250, resources={"metadata": {"path": str(folder)}}).execute()
    nbformat.validate(notebook)
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def value(outputs: list, mime: str) -> str:
    (found,) = [o.data[mime] for o in outputs if mime in o.get("data", {})]
    return found


def stdout(outputs: list) -> str:
    return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")


def test_rust_in_a_notebook(tmp_path):
    outputs = executed("02-rust-in-a-notebook.ipynb", tmp_path)
    assert value(outputs["value"], "text/plain") == "42"
    assert stdout(outputs["use-mean"]) == "19.85\n"
    assert stdout(outputs["use-median"]) == "19.00\n"
    assert stdout(outputs["garden"]) == "63.5 °F in the garden\n"
    assert stdout(outputs["use-macro"]) == "144\n"
    assert stdout(outputs["question-mark"]) == "22.5\n"
    assert value(outputs["use-table"], "text/html").count("<tr>") == 6
    assert value(outputs["use-chart"], "image/svg+xml").count("<rect") == 5


def test_repositories_in_rust(tmp_path):
    outputs = executed("04-repositories-in-rust.ipynb", tmp_path)
    assert stdout(outputs["open"]) == "beds/\nplants.csv\n"
    assert stdout(outputs["walk"]) == '["beds/north.txt", "beds/south.txt"]\n'
    assert "plants.csv" in stdout(outputs["missing"])
    assert stdout(outputs["read"]) == "beds/north.txt: tulip\nbeds/south.txt: tomato, bean\n"
    assert value(outputs["table"], "text/html").count("<tr>") == 4
    assert stdout(outputs["sum"]) == "400 cm in all\n"
    assert stdout(outputs["file"]) == "name,height_cm,edible\n"
    assert stdout(outputs["upload"]) == "12 tomatoes\n"


def test_crates_async_and_plots(tmp_path):
    outputs = executed("03-crates-async-plots.ipynb", tmp_path)
    assert base64.b64decode(value(outputs["use-julia"], "image/png")).startswith(b"\x89PNG\r\n\x1a\n")
    assert stdout(outputs["await"]).startswith("tea is ready, toast is ready")
    assert "(4, 8002000)" in stdout(outputs["threads"])
    assert re.search(r"<svg.*polyline", value(outputs["plot"], "text/html"), re.DOTALL)
