"""JupyterLab in the system's Chromium, driven as a person does: by keys, clicks and what the page shows."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Locator, Page, sync_playwright
from processes import wait_until

# The first Rust cell of a session on a loaded machine.
CELL_SECONDS = 120
TOKEN = "lab-test-token"
SETTINGS = {
    # Every cell stays in the page, also one that is not in view.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosave": False},
}


@contextmanager
def lab_server(folder: Path, env: dict[str, str]):
    """A JupyterLab whose root is `folder`; gives its address."""
    for name, values in SETTINGS.items():
        path = Path(env["JUPYTER_CONFIG_DIR"]) / f"lab/user-settings/@jupyterlab/{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Should somebody take it meanwhile, the server takes another: which one stands in its runtime file.
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip", "127.0.0.1", "--allow-root"]
    command += [f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}", f"--notebook-dir={folder}"]
    with open(folder / "lab.log", "wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    runtime = Path(env["JUPYTER_RUNTIME_DIR"]) / f"jpserver-{server.pid}.json"
    try:

        def written():
            assert server.poll() is None, (folder / "lab.log").read_text()
            return runtime.is_file() and runtime.read_text().endswith("}") and json.loads(runtime.read_text())

        yield wait_until(written, "JupyterLab is up", 90)["url"]
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(timeout=30)


@contextmanager
def browser_page(chromium: str, profile: Path):
    os.environ.setdefault("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile), executable_path=chromium, args=flags, viewport={"width": 1100, "height": 900}
        )
        context.set_default_timeout(30_000)
        try:
            yield context.new_page()
        finally:
            context.close()


class Notebook:
    """One notebook, open in the page."""

    def __init__(self, page: Page, url: str, folder: Path, pictures: Path):
        self.page, self.url, self.folder, self.pictures = page, url, folder, pictures

    def open(self, name: str, *cells: str):
        made = new_notebook(cells=[new_code_cell(source) for source in cells])
        made.metadata.kernelspec = {"name": "dds", "display_name": "Rust (dds)", "language": "rust"}
        nbformat.write(made, self.folder / name)
        self.page.goto(f"{self.url}lab/tree/{name}?reset&token={TOKEN}")
        self.ready()

    def ready(self):
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        self.page.wait_for_selector(".jp-StatusBar-Left >> text=/Idle/", timeout=60_000)
        side = self.page.locator(".jp-SideBar .lm-mod-current")
        if side.count():  # the file browser only takes room
            self.page.keyboard.press("Control+b")

    def cell(self, number: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)

    def output(self, number: int) -> Locator:
        return self.cell(number).locator(".jp-OutputArea-output")

    def edit(self, number: int, text: str | None = None):
        """Puts the cursor at the end of a cell, and types."""
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+End")
        if text is not None:
            self.page.keyboard.type(text, delay=15)

    def start(self, number: int):
        """Runs a cell as Ctrl+Enter does, and returns at once."""
        self.edit(number)
        self.page.keyboard.press("Control+Enter")

    def run(self, number: int):
        """Runs a cell to its end."""
        before = self.prompt(number)
        self.start(number)
        self.ended(number, before)

    def ended(self, number: int, before: str = ""):
        def numbered():
            now = self.prompt(number)
            return now != before and re.fullmatch(r"\[\d+\]:", now)

        wait_until(numbered, f"cell {number} has ended", CELL_SECONDS)

    def prompt(self, number: int) -> str:
        return self.cell(number).locator(".jp-InputPrompt").inner_text().strip()

    def text(self, number: int) -> str:
        return "\n".join(self.output(number).all_inner_texts())

    def wait_for_text(self, number: int, text: str):
        wait_until(lambda: text in self.text(number), f"cell {number} shows {text!r}", CELL_SECONDS)

    def stop(self):
        """The square button of the toolbar."""
        self.page.locator('[data-command="notebook:interrupt-kernel"]').first.click()

    def screenshot(self, name: str):
        path = self.pictures / f"lab-{name}.png"
        self.page.screenshot(path=path)
        assert path.stat().st_size > 10_000
