"""`dds exec`: a notebook run without a front end."""

from __future__ import annotations

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook


def write(path, *cells: str):
    notebook = new_notebook(cells=[new_code_cell(source) for source in cells])
    notebook.metadata.kernelspec = {"name": "dds", "display_name": "Rust (dds)", "language": "rust"}
    nbformat.write(notebook, path)
    return path


def read(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    return notebook


def test_outputs_are_written_into_a_copy(dds, tmp_path):
    source = write(tmp_path / "a.ipynb", 'println!("one");', "1 + 1", "!echo three")
    before = source.read_bytes()
    dds.ok("exec", "a.ipynb", "--out", "b.ipynb")
    assert source.read_bytes() == before
    cells = read(tmp_path / "b.ipynb").cells
    assert [c.execution_count for c in cells] == [1, 2, 3]
    assert cells[0].outputs[0].text == "one\n"
    assert cells[1].outputs[0].output_type == "execute_result"
    assert cells[1].outputs[0].data["text/plain"] == "2"
    assert cells[2].outputs[0].text == "three\n"


def test_a_failing_cell_stops_and_is_named(dds, tmp_path):
    write(tmp_path / "a.ipynb", 'println!("one");', 'panic!("as asked");', 'println!("never");')
    done = dds.run("exec", "a.ipynb", "--out", "b.ipynb")
    assert done.returncode == 1
    assert "as asked" in done.stderr
    cells = read(tmp_path / "b.ipynb").cells
    assert cells[1].outputs[-1].output_type == "error"
    assert cells[2].outputs == []


def test_errors_may_be_allowed(dds, tmp_path):
    write(tmp_path / "a.ipynb", 'panic!("as asked");', 'println!("still");')
    dds.ok("exec", "a.ipynb", "--out", "b.ipynb", "--allow-errors")
    assert read(tmp_path / "b.ipynb").cells[1].outputs[0].text == "still\n"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5}'])
def test_what_is_no_notebook_is_named(dds, tmp_path, content):
    (tmp_path / "broken.ipynb").write_text(content)
    done = dds.run("exec", "broken.ipynb")
    assert done.returncode == 1
    assert "broken.ipynb" in done.stderr and "bug of dds" not in done.stderr
    assert (tmp_path / "broken.ipynb").read_text() == content
