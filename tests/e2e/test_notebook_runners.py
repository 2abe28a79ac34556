"""Runs a notebook by other people's programs: nbclient, and papermill with and without parameters."""

from __future__ import annotations

import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from processes import ROOT

pytestmark = pytest.mark.usefixtures("jupyter_env")

PAPERMILL_RUST = ROOT / "notebooks" / "papermill_rust.py"


def notebook(*cells: str):
    made = new_notebook(cells=[new_markdown_cell("# Sums"), *map(new_code_cell, cells)])
    made.metadata.kernelspec = {"name": "dds", "display_name": "Rust (dds)", "language": "rust"}
    return made


def papermill(folder, env, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*args, "--no-progress-bar"],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )


def outputs(path):
    executed = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(executed)
    return [cell.outputs for cell in executed.cells if cell.cell_type == "code"]


def test_nbclient_runs_a_notebook_to_its_first_error(tmp_path):
    source = notebook(
        "let numbers = vec![1, 2, 3];",
        'println!("{} numbers", numbers.len());\nnumbers.iter().sum::<i32>()',
        "%dds mounts",
        'panic!("as asked");',
        'println!("never");',
    )
    client = NotebookClient(source, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    with pytest.raises(CellExecutionError, match="as asked"):
        client.execute()
    nbformat.validate(source)
    _, first, second, third, panic, never = source.cells
    assert first.outputs == []
    assert [o.output_type for o in second.outputs] == ["stream", "execute_result"]
    assert second.outputs[0].text == "3 numbers\n"
    assert second.outputs[1].data["text/plain"] == "6"
    assert third.outputs
    assert panic.outputs[-1].output_type == "error"
    assert never.outputs == [] and never.execution_count is None


def test_papermill_runs_a_notebook_to_its_first_error(tmp_path, jupyter_env):
    source = notebook('println!("before");', "let x: i32 = true;", "1")
    nbformat.write(source, tmp_path / "in.ipynb")
    done = papermill(tmp_path, jupyter_env, sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb")
    assert done.returncode != 0
    assert "mismatched types" in done.stderr
    before, wrong, after = outputs(tmp_path / "out.ipynb")[-3:]
    assert before[0].text == "before\n"
    assert wrong[-1].output_type == "error"
    assert after == []


def test_papermill_puts_parameters_in(tmp_path, jupyter_env):
    defaults = 'let steps = 3i64;\nlet name = "default";\nlet rates = vec![0.5];'
    source = notebook(
        defaults, 'println!("{name}: {steps} steps");', "rates.iter().sum::<f64>() * steps as f64"
    )
    source.cells[1].metadata.tags = ["parameters"]
    nbformat.write(source, tmp_path / "in.ipynb")
    given = ["-p", "steps", "4", "-p", "name", 'with "quotes" and \\']
    given += ["-y", "rates: [0.25, 0.75, 1.0]"]
    done = papermill(tmp_path, jupyter_env, sys.executable, PAPERMILL_RUST, "in.ipynb", "given.ipynb", *given)
    assert done.returncode == 0, done.stderr
    _, injected, printed, value = outputs(tmp_path / "given.ipynb")
    assert injected == []
    assert printed[0].text == 'with "quotes" and \\: 4 steps\n'
    assert value[0].data["text/plain"] == "8.0"
