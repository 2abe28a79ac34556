"""Published notebooks over HTTP: what a visitor gets, and what is refused."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import chromium
import pytest
import requests
from conftest import serve
from processes import ROOT, Dds
from repositories import CLASSES, CLIPART, copy_repository
from visitor import Page, Visitor

WALKTHROUGH = ROOT / "notebooks" / "01-stream-train-publish.ipynb"
SECOND = Path(__file__).parent / "notebooks" / "second.ipynb"


@pytest.fixture(scope="module")
def walkthrough(binary, env, template_repository, tmp_path_factory):
    """The demo's notebook on a repository made by the real dvc, published; gives its URL."""
    work = tmp_path_factory.mktemp("walkthrough")
    served = serve(Dds(binary, env, work), copy_repository(template_repository, work / "art"))
    folder = work / "notebook"
    folder.mkdir()
    shutil.copy(WALKTHROUGH, folder)
    app = Dds(binary, env | {"DDS_REPO": served.url}, folder).start("app", WALKTHROUGH.name, "--port", "0")
    try:
        yield app.line_with("serving ", seconds=240)
    finally:
        app.close()
        served.process.close()


@pytest.fixture(scope="module")
def second(binary, env, tmp_path_factory):
    """The second notebook, never executed before: the app runs it itself."""
    work = tmp_path_factory.mktemp("second")
    shutil.copy(SECOND, work / SECOND.name)
    app = Dds(binary, env, work).start("app", SECOND.name, "--port", "0")
    try:
        yield app.line_with("serving ", seconds=240)
    finally:
        app.close()


def image_form(page: Page):
    return next(f for f in page.forms if "photo" in f.fields)


def picture(path: str = "food/012.jpg") -> tuple[str, bytes, str]:
    return Path(path).name, (CLIPART / path).read_bytes(), "image/jpeg"


def classes_named(answer: str) -> list[str]:
    """Class names in the order of the answer: the first is the predicted one."""
    found = {name: Page(answer).text.find(name) for name in CLASSES}
    return sorted((name for name, at in found.items() if at >= 0), key=found.get)


def test_a_visitor_uploads_a_picture_and_reads_its_class(walkthrough):
    visitor = Visitor(walkthrough)
    page = visitor.page()
    assert "What is in the drawing?" in page.text and page.answers == []
    right = 0
    for name in ["food/012.jpg", "animals/007.jpg", "transportation/009.jpg"]:
        named = classes_named(visitor.answer(image_form(page), files={"photo": picture(name)}))
        assert named, name
        right += named[0] == name.split("/")[0]
    # Each of them is known to the model from training or is like its class: chance would get 1 in 6.
    assert right >= 2


def test_two_visitors_get_the_same_class_for_the_same_picture(walkthrough):
    answers = []
    for _ in range(2):
        visitor = Visitor(walkthrough)
        answers.append(
            classes_named(
                visitor.answer(image_form(visitor.page()), files={"photo": picture("animals/007.jpg")})
            )
        )
    assert answers[0] and answers[0] == answers[1]


def test_outputs_are_shown_and_code_is_not(walkthrough):
    visitor = Visitor(walkthrough)
    page = visitor.page()
    assert "Stream, train, publish" in page.text
    pictures = [link for link in page.links if link.startswith("media/") and link.endswith(".png")]
    assert len(pictures) >= 4
    for link in pictures:
        assert visitor.get_beside(link).content.startswith(b"\x89PNG")
    assert "read_dir" not in page.html
    assert "%dds probe --data" not in page.text


def test_the_page_asks_nobody_else(walkthrough, second):
    for url in [walkthrough, second]:
        page = Visitor(url).page()
        for link in page.links:
            assert urlsplit(link).scheme in ("", "data") or link.startswith(
                f"http://{urlsplit(url).netloc}"
            ), link
            assert not link.startswith(("/", "//")), f"{link} does not work below a proxy's prefix"


@pytest.mark.parametrize("token", [None, "wrong", ""])
def test_without_the_token_nobody_enters(walkthrough, token):
    parts = urlsplit(walkthrough)
    answer = requests.get(
        f"http://{parts.netloc}/", params={} if token is None else {"token": token}, timeout=30
    )
    assert answer.status_code in (401, 403)
    assert "Stream, train" not in answer.text


def test_a_form_without_the_token_is_refused(walkthrough):
    visitor = Visitor(walkthrough)
    form = image_form(visitor.page())
    stranger = Visitor(visitor.url.split("?")[0])
    answer = stranger.submit(form, files={"photo": picture()})
    assert answer.status_code in (401, 403)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1"])
def test_a_form_from_another_origin_is_refused(walkthrough, origin):
    visitor = Visitor(walkthrough)
    answer = visitor.submit(image_form(visitor.page()), origin=origin, files={"photo": picture()})
    assert answer.status_code == 403


def test_a_foreign_host_name_is_refused(walkthrough):
    """DNS rebinding: the right address under a name that the attacker owns."""
    visitor = Visitor(walkthrough)
    visitor.page()
    answer = visitor.session.get(visitor.url, headers={"Host": "evil.example"}, timeout=30)
    assert answer.status_code in (400, 403, 421)


def test_a_text_file_instead_of_a_picture_gets_a_clear_message(walkthrough):
    visitor = Visitor(walkthrough)
    form = image_form(visitor.page())
    answer = Page(
        visitor.answer(form, files={"photo": ("notes.jpg", b"this is no picture", "image/jpeg")})
    ).text
    assert "image" in answer.lower() or "picture" in answer.lower()
    assert "panicked" not in answer and "/tmp/" not in answer
    # The session survives it.
    assert classes_named(visitor.answer(form, files={"photo": picture()}))


def test_a_picture_that_is_cut_off_gets_a_clear_message(walkthrough):
    """Its first bytes are right, so that only the decoder can tell."""
    visitor = Visitor(walkthrough)
    form = image_form(visitor.page())
    answer = Page(visitor.answer(form, files={"photo": ("cut.jpg", picture()[1][:400], "image/jpeg")})).text
    assert answer.strip() and not classes_named(answer)
    assert "panicked" not in answer and "/tmp/" not in answer
    assert classes_named(visitor.answer(form, files={"photo": picture()}))


def test_a_form_without_its_picture_says_which_field(walkthrough):
    visitor = Visitor(walkthrough)
    nothing = {"photo": ("", b"", "application/octet-stream")}
    assert "Your picture" in visitor.answer(image_form(visitor.page()), files=nothing)


def test_a_file_name_is_never_a_path_or_markup(walkthrough):
    visitor = Visitor(walkthrough)
    form = image_form(visitor.page())
    for name in [
        "../../../../tmp/escaped.jpg",
        "<script>alert(1)</script>.jpg",
        "--model=x.jpg",
        "$(id).jpg",
    ]:
        answer = visitor.submit(form, files={"photo": (name, picture()[1], "image/jpeg")})
        assert answer.status_code == 200, name
        assert "<script>alert" not in answer.text
    assert not Path("/tmp/escaped.jpg").exists()


def test_a_second_notebook_with_other_cells(second):
    page = Visitor(second).page()
    assert "computed by Rust: 42" in page.text
    assert "secret_source_marker" not in page.html
    titles = [f for f in page.forms if f.fields]
    assert len(titles) >= 2
    sheet = next(f for f in page.forms if "picture" in f.fields)
    assert sheet.values["size"] == "64"
    assert sheet.choices["columns"] == ["1", "2"]


def test_a_notebooks_markup_cannot_run_scripts(second):
    html = Visitor(second).page().html
    assert 'document.title = "owned"' not in html
    assert "onerror" not in html
    assert "<em>Emphasis</em>" in html and "<table>" in html


def form_with(visitor: Visitor, field: str):
    return next(f for f in visitor.page().forms if field in f.fields)


def test_the_second_form_answers_with_a_picture(second):
    visitor = Visitor(second)
    sheet = form_with(visitor, "picture")
    answer = visitor.answer(sheet, files={"picture": picture()}, size="48", columns="2")
    assert "data:image/png;base64," in answer


def test_the_third_form_answers_with_text(second):
    visitor = Visitor(second)
    note = ("a note.txt", "grüße <b>x</b>".encode(), "text/plain")
    assert "grüße &lt;b&gt;x&lt;/b&gt;" in visitor.answer(form_with(visitor, "note"), files={"note": note})


@pytest.mark.parametrize(
    "values", [{"size": "9999"}, {"size": "abc"}, {"size": "-1"}, {"columns": "3"}, {"columns": "1 --out x"}]
)
def test_a_value_that_the_author_did_not_offer_is_refused(second, values):
    visitor = Visitor(second)
    filled = {"size": "48", "columns": "1"} | values
    answer = visitor.answer(form_with(visitor, "picture"), files={"picture": picture()}, **filled)
    assert "data:image/png" not in answer
    assert ("Longest side" if "size" in values else "Columns") in answer


def test_an_upload_over_the_fields_limit_is_refused(second):
    visitor = Visitor(second)
    large = ("large.jpg", picture()[1] + bytes(300_000), "image/jpeg")
    answer = visitor.answer(form_with(visitor, "picture"), files={"picture": large}, size="48", columns="1")
    assert "data:image/png" not in answer
    assert "Picture" in answer
    # Still there for the next one.
    small = visitor.answer(
        form_with(visitor, "picture"), files={"picture": picture()}, size="48", columns="1"
    )
    assert "data:image/png" in small


def test_nobody_can_reach_the_kernels_messages(second):
    """There is no route that takes code: no execute, no notebook API, no file listing."""
    visitor = Visitor(second)
    visitor.page()
    for path in [
        "api/kernels",
        "api/contents",
        "ws",
        "../etc/passwd",
        "second.ipynb",
        "static/../second.ipynb",
    ]:
        answer = visitor.session.get(f"{visitor.origin}/{path}", timeout=30)
        assert answer.status_code >= 400, path
        assert "secret_source_marker" not in answer.text


def test_a_taken_port_is_named(binary, env, tmp_path):
    shutil.copy(SECOND, tmp_path / SECOND.name)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = Dds(binary, env, tmp_path).run("app", SECOND.name, "--port", str(port))
    assert done.returncode == 1
    assert str(port) in done.stderr


def test_a_fixed_token_is_kept(binary, env, tmp_path):
    shutil.copy(SECOND, tmp_path / SECOND.name)
    with Dds(binary, env, tmp_path).start("app", SECOND.name, "--port", "0", "--token", "of-my-own-7") as app:
        url = app.line_with("serving ", seconds=240)
        assert "of-my-own-7" in url
        assert Visitor(url).get().status_code == 200


def test_an_app_that_cannot_start_names_the_notebook(binary, env, tmp_path):
    dds = Dds(binary, env, tmp_path)
    done = dds.run("app", "no-such.ipynb")
    assert done.returncode == 1 and "no-such.ipynb" in done.stderr
    (tmp_path / "broken.ipynb").write_text(json.dumps({"cells": "none"}))
    done = dds.run("app", "broken.ipynb")
    assert done.returncode == 1 and "broken.ipynb" in done.stderr


@pytest.mark.parametrize("which", ["walkthrough", "second"])
def test_a_browser_draws_the_page(which, request, screenshots, tmp_path):
    """Keeps `target/screenshots/app-*.png`: worth a look after a change to the page."""
    browser = chromium.required()
    url = request.getfixturevalue(which)
    picture = screenshots / f"app-{which}.png"
    picture.unlink(missing_ok=True)
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    flags += ["--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/profile", "--window-size=1000,7200"]
    flags += ["--virtual-time-budget=10000", f"--screenshot={picture}"]
    begun = time.monotonic()
    done = subprocess.run(
        [browser, *flags, url], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert picture.is_file(), f"{time.monotonic() - begun:.0f} s\n{done.stderr[-2000:]}"
    header = picture.read_bytes()[:24]
    assert header.startswith(b"\x89PNG") and int.from_bytes(header[16:20], "big") == 1000
    # A page of this size that is nearly blank compresses to 14 kB.
    assert picture.stat().st_size > 30_000
