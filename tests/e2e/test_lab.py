"""JupyterLab in Chromium, on one notebook: every test is what a person does next.

Each step keeps `target/screenshots/lab-*.png`: worth a look after a change to what cells show.
"""

from __future__ import annotations

import shutil

import chromium
import pytest
from lab import Notebook, browser_page, lab_server
from playwright.sync_api import Locator, TimeoutError, expect
from processes import wait_until
from repositories import CLIPART

TABLE, PICTURE, ENDLESS, AFTERWARDS, COMPLETION, INSPECTION, ASKING, WIDGET, WIDGET_VALUE, WRONG = range(10)
CELLS = {
    TABLE: 'let mut numbers = vec![3, 1, 2];\nprintln!("{} numbers", numbers.len());\nnumbers',
    PICTURE: "%dds show penguin.jpg muffin.jpg",
    ENDLESS: 'println!("spinning");\nloop { std::hint::black_box(()); }',
    AFTERWARDS: "numbers.iter().sum::<i32>()",
    COMPLETION: "",
    INSPECTION: "",
    ASKING: 'let name = dds::input("Your name? ")?;\nprintln!("hello {name}");',
    WIDGET: 'use dds::widgets::{IntSlider, Label, VBox};\n'
    'let n = IntSlider::new(0..=100).value(5).description("n");\n'
    'let square = Label::new("25");\nlet shown = square.clone();\n'
    'n.on_change(move |n| shown.set_value(format!("{}", n * n)));\nVBox::new((&n, &square))',
    WIDGET_VALUE: "n.get_value()",
    WRONG: 'let total: i32 = "text";',
}


@pytest.fixture(scope="module")
def notebook(jupyter_env, screenshots, tmp_path_factory):
    browser = chromium.required()
    folder = tmp_path_factory.mktemp("lab")
    profile = tmp_path_factory.mktemp("profile")
    shutil.copy(CLIPART / "animals/007.jpg", folder / "penguin.jpg")
    shutil.copy(CLIPART / "food/012.jpg", folder / "muffin.jpg")
    for old in screenshots.glob("lab-*.png"):
        old.unlink()
    with lab_server(folder, jupyter_env) as url, browser_page(browser, profile) as page:
        notebook = Notebook(page, url, folder, screenshots)
        notebook.open("steps.ipynb", *CELLS.values())
        yield notebook


def test_a_cell_shows_what_it_prints_and_its_value(notebook):
    notebook.run(TABLE)
    assert "3 numbers" in notebook.text(TABLE)
    assert "[3, 1, 2]" in notebook.text(TABLE) or notebook.output(TABLE).locator("table").count()
    notebook.screenshot("values")


def test_a_picture_is_drawn(notebook):
    notebook.run(PICTURE)
    picture = notebook.output(PICTURE).locator("img").first
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 50
    notebook.screenshot("picture")


def test_stop_ends_an_endless_loop_and_variables_stay(notebook):
    notebook.start(ENDLESS)
    notebook.wait_for_text(ENDLESS, "spinning")
    notebook.stop()
    notebook.ended(ENDLESS)
    assert "Interrupted" in notebook.text(ENDLESS)
    notebook.run(AFTERWARDS)
    assert notebook.text(AFTERWARDS).strip() == "6"
    notebook.screenshot("stopped")


def test_tab_completes(notebook):
    notebook.edit(COMPLETION, "numbers.so")
    notebook.page.keyboard.press("Tab")
    offered = notebook.page.locator(".jp-Completer:visible .jp-Completer-item")
    offered.first.wait_for()
    # A letter for its kind, the name, and the kind in words.
    assert any("sort_unstable_by" in item.split() for item in offered.all_inner_texts())
    notebook.screenshot("completion")
    notebook.page.keyboard.press("Escape")


def test_shift_tab_shows_documentation(notebook):
    notebook.edit(INSPECTION, "numbers.push")
    tooltip = notebook.page.locator(".jp-Tooltip:visible")
    # While the analysis is busy with something else it answers that nothing is known: ask again, as a user would.
    for _ in range(5):
        notebook.page.keyboard.press("Shift+Tab")
        try:
            tooltip.wait_for(timeout=6000)
            break
        except TimeoutError:
            continue
    assert "push" in tooltip.inner_text() and "fn" in tooltip.inner_text()
    notebook.screenshot("documentation")
    notebook.page.keyboard.press("Escape")


def test_a_compile_error_is_shown_with_its_place(notebook):
    notebook.run(WRONG)
    assert "mismatched types" in notebook.text(WRONG)
    assert notebook.output(WRONG).locator("[class*='ansi-red'], [class*='ansi-bright-red']").count()
    notebook.screenshot("error")


def test_a_cell_asks_for_a_line(notebook):
    notebook.start(ASKING)
    asked = notebook.page.locator(".jp-Stdin-input")
    asked.wait_for(timeout=60_000)
    notebook.screenshot("question")
    asked.fill("Ada")
    asked.press("Enter")
    notebook.ended(ASKING)
    assert "hello Ada" in notebook.text(ASKING)
    notebook.screenshot("answer")


def widget(notebook) -> tuple[Locator, Locator]:
    """The slider's handle, and the label below it."""
    shown = notebook.output(WIDGET)
    return shown.locator(".noUi-handle"), shown.locator(".widget-label").last


def test_a_slider_calls_back(notebook):
    notebook.run(WIDGET)
    slider, square = widget(notebook)
    slider.wait_for()
    notebook.screenshot("slider")
    slider.focus()
    for _ in range(2):
        notebook.page.keyboard.press("ArrowRight")
    expect(square).to_have_text("49")
    # The cells see what the page has set.
    notebook.run(WIDGET_VALUE)
    assert notebook.text(WIDGET_VALUE).strip() == "7"
    notebook.screenshot("slider-moved")


def test_a_slider_calls_back_while_a_cell_runs(notebook):
    notebook.start(ENDLESS)
    wait_until(lambda: notebook.prompt(ENDLESS) == "[*]:", "the cell runs")
    notebook.wait_for_text(ENDLESS, "spinning")
    slider, square = widget(notebook)
    slider.focus()
    notebook.page.keyboard.press("ArrowRight")
    expect(square).to_have_text("64")
    assert notebook.prompt(ENDLESS) == "[*]:"
    notebook.screenshot("slider-busy")
    notebook.stop()
    notebook.ended(ENDLESS)


def test_a_reload_keeps_what_a_widget_shows(notebook):
    notebook.page.keyboard.press("Control+s")
    shown = notebook.output(WIDGET).locator(".widget-readout").inner_text()
    notebook.page.reload()
    notebook.ready()
    expect(notebook.output(WIDGET).locator(".widget-readout")).to_have_text(shown)
    slider, square = widget(notebook)
    slider.focus()
    notebook.page.keyboard.press("ArrowRight")
    expect(square).to_have_text(str((int(shown) + 1) ** 2))
    notebook.screenshot("slider-reloaded")
