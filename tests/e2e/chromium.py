"""The system's Chromium. Without one its tests are left out, but never where `REQUIRE_CHROMIUM` is set: a continuous
integration that has lost its browser must not look as if it had passed."""

from __future__ import annotations

import os
import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)


def required() -> str:
    """The browser's path; skips the test, or fails it where `REQUIRE_CHROMIUM` is set."""
    if CHROMIUM is None:
        what = "no Chromium on this machine: run `apt-get install chromium`"
        pytest.fail(what) if os.environ.get("REQUIRE_CHROMIUM") else pytest.skip(what)
    return CHROMIUM
