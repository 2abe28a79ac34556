"""Collecting images: `fetch` from lists and searches, `verify`, against servers of this machine."""

from __future__ import annotations

import csv
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from repositories import CLIPART

IMAGES = sorted(CLIPART.glob("food/*.jpg"))[:30]


class Web(BaseHTTPRequestHandler):
    """Images, their searches in the shapes of Openverse and Wikimedia Commons, and everything that goes wrong."""

    def log_message(self, *_):
        pass

    def send(self, body: bytes, status: int = 200, kind: str = "image/jpeg", **headers: str):
        self.answered()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        server = self.server
        with server.lock:
            server.asked.append(self.path)
            server.now += 1
            server.most = max(server.most, server.now)
        self.answer(url.path, query)

    def answered(self):
        """Whoever asked can ask for the next one from now on."""
        with self.server.lock:
            self.server.now -= 1

    def answer(self, path: str, query: dict[str, str]):
        base = f"http://127.0.0.1:{self.server.server_port}"
        if path.startswith("/img/"):
            self.send(IMAGES[int(path.split("/")[2].split(".")[0])].read_bytes())
        elif path == "/once-busy.jpg":
            with self.server.lock:
                first = self.server.asked.count(self.path) == 1
            if first:
                self.send(b"busy", 503, Retry_After="0")
            else:
                self.send(IMAGES[20].read_bytes())
        elif path == "/moved.jpg":
            self.send(b"", 302, Location="/img/21.jpg")
        elif path == "/round.jpg":
            self.send(b"", 302, Location="/round.jpg")
        elif path == "/page.jpg":
            self.send(b"<html>no such image</html>")
        elif path == "/large.jpg":
            self.send(IMAGES[0].read_bytes() + b"\0" * 500_000)
        elif path == "/cut.jpg":
            body = IMAGES[22].read_bytes()
            self.answered()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
        elif path == "/v1/images/":
            page, size = int(query["page"]), int(query["page_size"])
            assert size <= 20 and query["q"]
            chosen = range((page - 1) * size, min(page * size, 30))
            results = [
                {
                    "id": f"id{n}",
                    "title": f'Food, "no" {n}',
                    "url": f"{base}/img/{n}.jpg",
                    "creator": "An Artist",
                    "license": "by-sa",
                    "license_version": "4.0",
                    "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
                    "foreign_landing_url": f"{base}/about/{n}",
                    "source": "clipart",
                }
                for n in chosen
            ]
            body = {"result_count": 30, "page_count": 2, "page_size": size, "page": page, "results": results}
            self.send(json.dumps(body).encode(), kind="application/json")
        elif path == "/w/api.php":
            assert query["generator"] == "search" and query["gsrnamespace"] == "6"
            offset = int(query["gsroffset"])
            pages = [
                {
                    "pageid": n,
                    "index": n - offset + 1,
                    "title": f"File:Food {n}.jpg",
                    "imageinfo": [
                        {
                            "url": f"{base}/img/{n}.jpg",
                            "thumburl": f"{base}/img/{n}.jpg?small",
                            "size": 10_000_000_000 if n == 1 else 1000,
                            "mime": "image/jpeg",
                            "descriptionurl": f"{base}/wiki/{n}",
                            "extmetadata": {
                                "Artist": {"value": '<a href="//x">A. <b>Painter</b></a>'},
                                "LicenseShortName": {"value": "CC0"},
                                "LicenseUrl": {"value": "https://creativecommons.org/publicdomain/zero/1.0/"},
                            },
                        }
                    ],
                }
                for n in reversed(range(offset, offset + 3))
            ]
            body: dict = {"query": {"pages": pages}}
            if offset < 6:
                body["continue"] = {"gsroffset": offset + 3, "continue": "gsroffset||"}
            self.send(json.dumps(body).encode(), kind="application/json")
        elif path == "/find":
            assert query["q"] == "a&b" and query["n"] == "2"
            self.send(json.dumps({"hits": [{"link": f"{base}/img/{n}.jpg"} for n in (3, 4)]}).encode())
        elif path == "/lines":
            self.send(f"{base}/img/5.jpg\n{base}/img/6.jpg\n".encode(), kind="text/plain")
        else:
            self.send(b"not here", 404, kind="text/plain")


@pytest.fixture
def web():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.lock, server.asked, server.now, server.most = threading.Lock(), [], 0, 0
    server.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def record(folder) -> dict[str, dict[str, str]]:
    with open(folder / "sources.csv", newline="", encoding="utf-8") as file:
        return {row["url"]: row for row in csv.DictReader(file)}


def images(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".csv")


def test_a_list_with_everything_that_goes_wrong(dds, web, tmp_path):
    names = ["img/0.jpg", "img/1.jpg", "img/1.jpg?again", "moved.jpg", "once-busy.jpg", "round.jpg"]
    names += ["page.jpg", "large.jpg", "cut.jpg", "gone.jpg"]
    (tmp_path / "urls.txt").write_text("# food\n" + "\n".join(f"{web.base}/{n}" for n in names) + "\nnot a url\n")
    done = dds.run("fetch", "urls.txt", "photos", "--allow-private", "--max-bytes", "300kB", "--json")
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert images(tmp_path / "photos") == ["0.jpg", "1.jpg", "moved.jpg", "once-busy.jpg"]
    assert (tmp_path / "photos/moved.jpg").read_bytes() == IMAGES[21].read_bytes()
    # Whichever of the two came later.
    assert [d["file"] for d in said["duplicates"]] == ["1.jpg"]
    why = {f["url"].rsplit("/", 1)[-1]: f["reason"] for f in said["failed"]}
    assert set(why) == {"line 12", "round.jpg", "page.jpg", "large.jpg", "cut.jpg", "gone.jpg"}
    assert "web page" in why["page.jpg"] and "300 kB" in why["large.jpg"] and "404" in why["gone.jpg"]
    assert "redirects" in why["round.jpg"] and "3 attempts" in why["cut.jpg"]
    assert record(tmp_path / "photos")[f"{web.base}/img/0.jpg"]["file"] == "0.jpg"
    assert web.most <= 4, "one server is asked for few images at a time"

    # Once more: what is there is not asked for again, nor overwritten; a file that went is fetched.
    (tmp_path / "photos/0.jpg").unlink()
    (tmp_path / "photos/1.jpg").write_bytes(b"mine")
    web.asked.clear()
    again = json.loads(dds.run("fetch", "urls.txt", "photos", "--allow-private", "--json").stdout)
    assert again["saved"] == ["0.jpg", "large.jpg"] and again["there"] == 4
    assert "/img/1.jpg" not in web.asked and "/moved.jpg" not in web.asked
    assert (tmp_path / "photos/1.jpg").read_bytes() == b"mine"


def test_addresses_of_this_machine_must_be_allowed(dds, web, tmp_path):
    (tmp_path / "urls.txt").write_text(f"{web.base}/img/0.jpg\n")
    done = dds.run("fetch", "urls.txt", "photos")
    assert done.returncode == 1 and "--allow-private" in done.stdout, done.stdout
    assert web.asked == []


def test_a_search_at_openverse(dds, web, tmp_path):
    dds = dds.with_env(DDS_OPENVERSE_URL=web.base)
    said = json.loads(dds.ok("fetch", "--search", "good food", "-n", "25", "photos", "--json"))
    assert len(said["saved"]) == 25 == len(images(tmp_path / "photos"))
    row = record(tmp_path / "photos")[f"{web.base}/img/7.jpg"]
    assert (row["title"], row["creator"], row["license"]) == ('Food, "no" 7', "An Artist", "by-sa 4.0")
    assert row["page"] == f"{web.base}/about/7" and row["license_url"].startswith("https://creativecommons.org")
    assert "25 there already" in dds.ok("fetch", "--search", "good food", "-n", "25", "photos")


def test_a_search_at_wikimedia(dds, web, tmp_path):
    dds = dds.with_env(DDS_WIKIMEDIA_URL=web.base)
    dds.ok("fetch", "--search", "food", "--provider", "wikimedia", "-n", "7", "photos")
    assert images(tmp_path / "photos") == [f"{n}.jpg" for n in range(7)]
    rows = record(tmp_path / "photos")
    assert rows[f"{web.base}/img/0.jpg"]["creator"] == "A. Painter" and f"{web.base}/img/1.jpg?small" in rows


def test_a_search_anywhere_else(dds, web, tmp_path):
    find = ["--provider", web.base + "/find?q={query}&n={count}", "--pointer", "/hits/*/link"]
    dds.ok("fetch", "--search", "a&b", "-n", "2", *find, "found")
    assert images(tmp_path / "found") == ["3.jpg", "4.jpg"]
    dds.ok("fetch", "--search", "x", "--provider", web.base + "/lines?{query}", "lines")
    assert images(tmp_path / "lines") == ["5.jpg", "6.jpg"]
    none = dds.run("fetch", "--search", "x", "--provider", web.base + "/none?{query}", "none")
    assert none.returncode == 1 and "404" in none.stderr
    assert dds.run("fetch", "--search", "x", "--provider", "bing", "none").returncode == 2


def test_bad_files_are_found_and_removed(dds, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    whole = IMAGES[0].read_bytes()
    for name, content in {"a.jpg": whole, "b.jpg": whole, "cut.jpg": whole[:-900], "empty.png": b""}.items():
        (folder / name).write_bytes(content)
    done = dds.run("verify", "photos")
    assert done.returncode == 1 and "3 bad" in done.stdout, done.stdout
    for line in ["the same bytes as a.jpg", "ends early", "the file is empty"]:
        assert line in done.stdout
    assert "3 removed" in dds.ok("verify", "photos", "--remove")
    assert [p.name for p in folder.iterdir()] == ["a.jpg"]
    assert json.loads(dds.ok("verify", "photos", "--json"))["ok"] is True


def test_a_repository_is_verified_without_a_clone(dds, served):
    said = json.loads(dds.run("verify", f"{served.url}:clipart/food", "--json").stdout)
    assert said["images"] == 60 and all(b["reason"] == "duplicate" for b in said["bad"])
    refused = dds.run("verify", f"{served.url}:clipart/food", "--remove")
    assert refused.returncode == 2 and "this machine" in refused.stderr
