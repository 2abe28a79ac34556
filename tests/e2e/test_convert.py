"""`convert`: folders and files, as other programs see what is written."""

from __future__ import annotations

import json
import os

from PIL import Image
from repositories import CLIPART


def photos(folder):
    """Two good images, one bad, one in a folder below."""
    (folder / "deep").mkdir(parents=True)
    for name, seed in [("a.jpg", 1), ("b.png", 2), ("deep/c.tif", 3)]:
        Image.effect_noise((300, 200), seed * 10).convert("RGB").save(folder / name)
    (folder / "bad.jpg").write_bytes(b"<html>")
    (folder / "notes.txt").write_text("no image")


def test_a_folder_in_another_size_and_format(dds, tmp_path):
    photos(tmp_path / "photos")
    done = dds.run("convert", "photos", "small", "--max-size", "100", "--format", "png", "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 1 and [f["path"] for f in said["failed"]] == ["bad.jpg"]
    assert sorted(w["to"] for w in said["written"]) == ["a.png", "b.png", "deep/c.png"]
    for name in ["a.png", "b.png", "deep/c.png"]:
        with Image.open(tmp_path / "small" / name) as image:
            assert (image.format, image.size) == ("PNG", (100, 67))
    assert sorted(p.name for p in (tmp_path / "small").iterdir()) == ["a.png", "b.png", "deep"]


def test_what_is_there_stays_unless_told_otherwise(dds, tmp_path):
    photos(tmp_path / "photos")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.jpg").write_bytes(b"mine")
    os.symlink(tmp_path / "photos", tmp_path / "out/deep")
    said = json.loads(dds.run("convert", "photos", "out", "--json").stdout)
    assert said["there"] == ["a.jpg"] and (tmp_path / "out/a.jpg").read_bytes() == b"mine"
    # Nothing is written through a link.
    assert {f["path"] for f in said["failed"]} == {"bad.jpg", "deep/c.tif"}
    assert sorted(p.name for p in (tmp_path / "photos/deep").iterdir()) == ["c.tif"]
    dds.run("convert", "photos", "out", "--overwrite")
    assert Image.open(tmp_path / "out/a.jpg").size == (300, 200)


def test_pages_depth_and_orientation(dds, tmp_path):
    pages = [Image.new("I;16", (60, 40), 1000 * n + 7) for n in range(1, 4)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    assert "3 pictures" in dds.ok("convert", "scan.tif", "pages", "--format", "png")
    for n in range(1, 4):
        with Image.open(tmp_path / f"pages/scan-{n:04}.png") as page:
            assert page.mode.startswith("I") and page.getpixel((5, 5)) == 1000 * n + 7
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (60, 40), "red").save(tmp_path / "turned.jpg", exif=exif)
    dds.ok("convert", "turned.jpg", "upright.webp")
    with Image.open(tmp_path / "upright.webp") as image:
        assert (image.format, image.size) == ("WEBP", (40, 60))


def test_a_repository_is_converted_without_a_clone(dds, served, tmp_path):
    dds.ok("convert", f"{served.url}:clipart/food", "food", "--max-size", "32", "--format", "jpeg", "-q", "80")
    assert len(list((tmp_path / "food").iterdir())) == len(list(CLIPART.glob("food/*.jpg")))


def test_mistakes_are_told_before_anything_is_written(dds, tmp_path):
    photos(tmp_path / "photos")
    for args in [
        ("photos", "out", "--quality", "0"),
        ("photos", "out", "--format", "png", "--quality", "80"),
        ("photos/a.jpg", "out.gif"),
        ("photos/a.jpg", "out.png", "--format", "jpeg"),
        ("photos", "out", "--memory", "lots"),
        ("photos", "out", "--max-size", "0"),
    ]:
        assert dds.run("convert", *args).returncode == 2, args
    assert not (tmp_path / "out").exists()
