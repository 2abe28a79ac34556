"""`dds serve` for a class: several repositories, an access log, and thirty students at once."""

from __future__ import annotations

import gzip
import json
import os
import re
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from repositories import Repository, copy_repository, git

STUDENTS = 30


def ask(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(url, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as e:
        return e.code, e.read(), dict(e.headers)


@pytest.fixture
def class_server(dds, template_repository, tmp_path):
    """Two repositories of two owners, and what must not be served beside them."""
    root = tmp_path / "class"
    copy_repository(template_repository, root / "ana" / "art")
    copy_repository(template_repository, root / "ben" / "art")
    copy_repository(template_repository, tmp_path / "private")
    os.symlink(tmp_path / "private", root / "ana" / "outside")
    (root / "ben" / "plain").mkdir()
    with dds.start("serve", root, "--port", "0", "--access-log", "requests.log") as process:
        yield process, process.line_with("serving "), root


def test_several_repositories_under_one_folder(dds, class_server, tmp_path, env):
    process, host, root = class_server
    assert ask(f"{host}/healthz") == (200, b'{"status":"ok"}', ask(f"{host}/healthz")[2])
    for owner in ("ana", "ben"):
        status, body, _ = ask(f"{host}/api/v1/repos/{owner}/art")
        assert status == 200 and json.loads(body)["full_name"] == f"{owner}/art"
        assert dds.ok("cat", f"{host}/{owner}/art:README.md") == "# Art\n"
    (tmp_path / "new.txt").write_text("mine")
    dds.ok("upload", "new.txt", "--to", f"{host}/ben/art:text", "-m", "One")
    assert git(root / "ben/art", "log", "-1", "--format=%s", "main", env=env) == "One"
    assert git(root / "ana/art", "log", "-1", "--format=%s", "main", env=env) == "Sample"
    for path in ["ana/outside", "ben/plain", "../private", "ana/..", "ana/%2e%2e%2fprivate", ".git/x", "local/art"]:
        assert ask(f"{host}/api/v1/repos/{path}")[0] in (400, 404), path
    # A repository that comes later is there at once.
    copy_repository(Repository(root / "ana/art", {}), root / "cleo" / "late")
    assert ask(f"{host}/api/v1/repos/cleo/late")[0] == 200
    git(tmp_path, "clone", "-q", f"{host}/cleo/late.git", "cloned", env=env)
    assert (tmp_path / "cloned/README.md").read_text() == "# Art\n"


def test_the_access_log_names_every_request_and_no_secret(class_server, tmp_path):
    process, host, _ = class_server
    ask(f"{host}/healthz?token=s3cret", Authorization="Bearer s3cret")
    ask(f"{host}/api/v1/repos/no/where")
    lines = (tmp_path / "requests.log").read_text().splitlines()
    shape = r'127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "(\S+ \S+) HTTP/1\.1" (\d{3}) \d+ \d+'
    found = [re.fullmatch(shape, line).groups() for line in lines]
    assert found == [("GET /healthz", "200"), ("GET /api/v1/repos/no/where", "404")]
    assert "s3cret" not in "".join(lines) + process.stderr()


def test_listings_are_compressed_for_whoever_asks(class_server):
    _, host, _ = class_server
    url = f"{host}/api/v1/repos/ana/art/content/main/clipart/food"
    _, plain, _ = ask(url)
    _, packed, headers = ask(url, Accept_Encoding="gzip")
    assert headers["content-encoding"] == "gzip" and gzip.decompress(packed) == plain
    assert len(packed) < len(plain) / 3


def student(dds, url: str, number: int, folder, fuse: bool) -> list[str]:
    """Reads through a mount of its own where there can be one, uploads one file, and reads it back."""
    errors = []
    name = f"work/student {number}.txt"
    mine = folder / f"student {number}.txt"
    mine.write_text(f"by {number}\n")
    process = dds.start("mount", url, folder / f"m{number}", "--via", "fuse") if fuse else None
    try:
        if process:
            process.line_with("mounted ", seconds=120)
            for path in ["README.md", "clipart/food/012.jpg", "odd/with space.txt"]:
                if not (folder / f"m{number}" / path).read_bytes():
                    errors.append(f"{number}: {path} is empty")
        elif dds.run("cat", f"{url}:README.md").stdout != "# Art\n":
            errors.append(f"{number}: cannot read")
        # Others commit meanwhile, again and again: that is no error of anybody's.
        done = dds.run("upload", mine, "--to", f"{url}:work", "-m", f"Student {number}", timeout=300)
        if done.returncode:
            errors.append(f"{number}: {done.stderr}")
        elif dds.run("cat", f"{url}:{name}", timeout=300).stdout != f"by {number}\n":
            errors.append(f"{number}: the upload is not there")
    except Exception as e:  # noqa: BLE001 – every student's trouble is told, not the first one's only
        errors.append(f"{number}: {e}")
    finally:
        if process:
            process.close()
    return errors


def test_thirty_students_at_once(dds, served, tmp_path, env):
    folder = tmp_path / "students"
    folder.mkdir()
    before = int(git(served.repository.folder, "rev-list", "--count", "main", env=env))
    fuse = os.access("/dev/fuse", os.R_OK | os.W_OK)
    with ThreadPoolExecutor(STUDENTS) as pool:
        work = [pool.submit(student, dds.at(folder), served.url, n, folder, fuse) for n in range(STUDENTS)]
        assert [e for w in work for e in w.result()] == []
    repository = served.repository.folder
    assert int(git(repository, "rev-list", "--count", "main", env=env)) == before + STUDENTS
    said = git(repository, "log", f"-{STUDENTS}", "--format=%s", "main", env=env).splitlines()
    assert sorted(said) == sorted(f"Student {n}" for n in range(STUDENTS))
    git(repository, "fsck", "--strict", env=env)
