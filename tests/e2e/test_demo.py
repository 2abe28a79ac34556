"""`dds demo --exit --report FILE`: the whole story, as a user without Python sees it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from processes import Dds
from repositories import CLASSES


@pytest.fixture(scope="module")
def demo(binary, env, tmp_path_factory):
    """One run of the demo: its report, its output, and the executed notebook."""
    work = tmp_path_factory.mktemp("demo")
    temporary = work / "tmp"
    temporary.mkdir()
    dds = Dds(binary, env | {"TMPDIR": str(temporary)}, work)
    done = dds.run("demo", "--exit", "--report", work / "report.json", timeout=280)
    return done, work


@pytest.fixture(scope="module")
def report(demo) -> dict:
    done, work = demo
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads((work / "report.json").read_text())


@pytest.fixture(scope="module")
def executed(report):
    return nbformat.read(report["notebook"], as_version=nbformat.NO_CONVERT)


def outputs(notebook):
    return [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]


def test_the_report_holds_what_was_measured(report):
    assert report["files_listed"] >= 360
    assert 0 < report["files_streamed"] <= report["files_listed"] + 10
    # 360 drawings of at most 160 pixels: 1.6 MB on disk; every one of them was read.
    assert report["bytes_streamed"] > 1_000_000
    assert report["majority_baseline"] == pytest.approx(1 / 6, abs=0.01)
    assert report["probe_accuracy"] > 2 * report["majority_baseline"]
    assert report["probe_accuracy"] <= 1
    assert 0 < report["probe_seconds"] < 280
    assert any(name in json.dumps(report["prediction"]) for name in CLASSES), report["prediction"]
    assert report["uploaded"], report
    assert report["app_answer"] in CLASSES
    assert urlsplit(report["app_url"]).hostname == "127.0.0.1"
    assert len(report["seconds"]) >= 4
    assert all(s >= 0 for s in report["seconds"].values()), report["seconds"]


def test_the_notebook_is_valid_and_has_its_outputs(executed):
    nbformat.validate(executed)
    assert (executed.nbformat, executed.nbformat_minor) >= (4, 5)
    errors = [o for o in outputs(executed) if o.output_type == "error"]
    assert errors == []
    unanswered = [c.source for c in executed.cells if c.cell_type == "code" and c.execution_count is None]
    assert unanswered == []


def test_the_notebook_shows_pictures(executed):
    pictures = [o for o in outputs(executed) if "image/png" in o.get("data", {})]
    # show, batch, confusion and top-losses.
    assert len(pictures) >= 4
    for picture in pictures:
        assert base64.b64decode(picture.data["image/png"]).startswith(b"\x89PNG\r\n\x1a\n")


def test_the_notebook_lists_the_upload(executed):
    text = "\n".join(
        str(o.get("text", "")) + str(o.get("data", {}).get("text/plain", "")) for o in outputs(executed)
    )
    assert "confusion.png" in text


def test_it_says_what_it_does(demo, report):
    done, _ = demo
    assert len((done.stdout + done.stderr).strip().splitlines()) >= 5


def test_it_leaves_no_mount_behind(demo, report):
    _, work = demo
    assert str(work) not in Path("/proc/self/mounts").read_text()


def test_a_report_that_cannot_be_written_is_an_error(binary, env, tmp_path):
    done = Dds(binary, env, tmp_path).run(
        "demo", "--exit", "--report", "no/such/folder/report.json", timeout=280
    )
    assert done.returncode not in (0, 101)
    assert "no/such/folder" in done.stderr
