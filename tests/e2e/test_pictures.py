"""What commands about files show as pictures in a notebook."""

from __future__ import annotations

import base64
import io

import pytest
from cells import Kernel
from PIL import Image
from repositories import git


@pytest.fixture
def desk(jupyter_env, tmp_path):
    with Kernel(tmp_path, jupyter_env) as kernel:
        yield kernel, tmp_path


def pictures(ran) -> list[Image.Image]:
    found = [b["image/png"] for b in ran.bundles() if "image/png" in b]
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def test_changed_images_are_shown_before_and_after(desk, env):
    kernel, folder = desk
    repository = folder / "art"
    repository.mkdir()
    git(repository, "init", "-q", "-b", "main", env=env)
    for revision, colour in [("v1", (200, 0, 0)), ("v2", (0, 0, 200))]:
        Image.new("RGB", (90, 60), colour).save(repository / "changed.png")
        (repository / "words.txt").write_text(revision)
        git(repository, "add", "-A", env=env)
        git(repository, "commit", "-q", "-m", revision, env=env)
        git(repository, "tag", revision, env=env)
    ran = kernel.ok("%dds diff v1 v2 --repo art")
    (picture,) = pictures(ran)
    colours = {pixel for _, pixel in picture.convert("RGB").getcolors(1 << 24)}
    assert {(200, 0, 0), (0, 0, 200)} <= colours
    assert "changed.png (before), changed.png (after)" in ran.text
    assert pictures(kernel.ok("%dds diff v1 v1 --repo art")) == []
    assert pictures(kernel.ok("%dds diff v1 v2 --repo art --json")) == []


def test_bad_images_are_shown_with_their_reasons(desk):
    kernel, folder = desk
    (folder / "photos").mkdir()
    Image.new("RGB", (90, 60), (0, 160, 0)).save(folder / "photos/a.png")
    (folder / "photos/b.jpg").write_bytes((folder / "photos/a.png").read_bytes())
    ran = kernel.ok("%dds verify photos")
    (picture,) = pictures(ran)
    assert (0, 160, 0) in {pixel for _, pixel in picture.convert("RGB").getcolors(1 << 24)}
    assert "a PNG under the name .jpg" in ran.text


def test_a_braced_address_reaches_fetch(desk):
    kernel, _ = desk
    ran = kernel.run("%dds fetch --search x --provider 'ftp://h/{{query}}' photos")
    assert ran.status == "error" and "http://" in ran.text and "{query}" not in ran.stdout
