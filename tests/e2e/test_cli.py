"""The shell's door: exit codes, suggestions, `--json`, and bad input."""

from __future__ import annotations

import json

import pytest
from repositories import CLIPART


def failed(done, *codes: int):
    """1 is an error, 2 a command line that is not understood. Returns what the error says."""
    assert done.returncode in codes, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.stderr.strip(), "an error says something"
    assert "bug of dds" not in done.stderr and "panicked" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "typed, meant",
    [
        (["shwo", "a.jpg"], "show"),
        (["mout", "u", "d"], "mount"),
        (["predct", "a.jpg"], "predict"),
        (["show", "a.jpg", "--colums", "2"], "--columns"),
        (["mount", "u", "d", "--vai", "copy"], "--via"),
        (["mount", "u", "d", "--via", "fues"], "fuse"),
    ],
)
def test_the_nearest_word_is_suggested(dds, typed, meant):
    assert meant in failed(dds.run(*typed), 2)


def test_a_missing_argument_is_named(dds):
    assert "DIR" in failed(dds.run("clone", "http://127.0.0.1:1/o/r"), 2).upper()


@pytest.mark.parametrize("command", ["show", "cat", "stat"])
def test_a_missing_file_is_named(dds, command):
    assert "no such file.jpg" in failed(dds.run(command, "no such file.jpg"), 1)


@pytest.mark.parametrize(
    "name, content",
    [
        ("notes.jpg", b"this is text"),
        ("empty.png", b""),
        ("cut.jpg", (CLIPART / "food/012.jpg").read_bytes()[:300]),
        ("huge.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x06\0\0\0"),
    ],
)
def test_what_is_no_picture_is_named(dds, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert name in failed(dds.run("show", name), 1)


def test_pictures_with_odd_names_are_shown(dds, tmp_path):
    names = ["with space.jpg", "größe.jpg", "a..b.jpg", "-dash.jpg", "100%.jpg"]
    for name in names:
        (tmp_path / name).write_bytes((CLIPART / "food/012.jpg").read_bytes())
    dds.ok("show", "--out", "grid.png", "--", *names)
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/o/r",
        "http://h",
        "http://h/o",
        "http://h/o/..",
        "http://h/-x/r",
        "http://h/o/r@",
        "http://h/o/r@--upload-pack=x",
        "http://user:s3cret@h/o/r/more",
    ],
)
def test_a_bad_url_says_which_form_is_right(dds, tmp_path, url):
    said = failed(dds.run("mount", url, tmp_path / "m"), 2)
    assert "OWNER/REPO" in said
    assert "s3cret" not in said


def test_a_wrong_token_is_refused_and_never_printed(dds, start_server, repository, tmp_path):
    served = start_server(repository, "--token", "right-4d1f")
    for args in [("ls", served.url), ("mount", served.url, tmp_path / "m", "--token", "wrong-88aa")]:
        said = failed(
            dds.with_env(DAGSHUB_CLIENT_HOST=served.host, DAGSHUB_USER_TOKEN="wrong-88aa").run(*args), 1
        )
        assert "DAGSHUB_USER_TOKEN" in said and "401" in said
        assert "wrong-88aa" not in said and "right-4d1f" not in said


def test_a_token_goes_only_to_its_own_host(dds, served):
    """DAGSHUB_USER_TOKEN belongs to DAGSHUB_CLIENT_HOST: another server must not get to see it."""
    import http.server
    import threading

    seen = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        other = f"http://127.0.0.1:{server.server_address[1]}"
        dds.with_env(DAGSHUB_CLIENT_HOST=served.host, DAGSHUB_USER_TOKEN="belongs-elsewhere").run(
            "ls", f"{other}/local/art"
        )
    finally:
        server.shutdown()
    assert seen, "the request arrived"
    assert not any(header and "belongs-elsewhere" in header for header in seen)


def test_an_error_as_json(dds):
    done = dds.run("--json", "cat", "missing.txt")
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "NotFound"
    assert "missing.txt" in error["message"]


def test_a_result_as_json(dds, served):
    listed = json.loads(dds.ok("--json", "ls", f"{served.url}:clipart"))
    assert "animals" in json.dumps(listed)


def test_json_may_follow_the_command(dds, served):
    assert json.loads(dds.ok("ls", f"{served.url}:clipart", "--json"))


def test_another_folder_by_option(dds, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/a.txt").write_text("inside")
    assert dds.ok("-C", "inner", "cat", "a.txt").strip() == "inside"
    assert "nowhere" in failed(dds.run("-C", "nowhere", "cat", "a.txt"), 1)


def test_ls_names_who_keeps_the_bytes(dds, served):
    text = dds.ok("ls", served.url, "--long")
    git_line = next(line for line in text.splitlines() if "README.md" in line)
    dvc_line = next(line for line in text.splitlines() if "large.bin" in line and ".dvc" not in line)
    assert "git" in git_line and "dvc" in dvc_line
    assert (
        "3145745" in dvc_line.replace(",", "").replace(" ", "")
        or "3.1 MB" in dvc_line
        or "3.0 MiB" in dvc_line
    )


def test_ls_takes_odd_names(dds, served):
    from repositories import ODD_NAMES

    text = dds.ok("ls", f"{served.url}:odd", "--recursive")
    for name in ODD_NAMES:
        assert name in text, name


def test_a_file_name_cannot_drive_the_terminal(dds, tmp_path):
    (tmp_path / "a\x1b[31mred.txt").write_text("x")
    done = dds.run("ls", tmp_path)
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("path", ["../secret.txt", "a/../../secret.txt", "/etc/passwd"])
def test_a_path_may_not_leave_the_repository(dds, served, path):
    (served.repository.folder.parent / "secret.txt").write_text("outside the repository")
    said = failed(dds.run("cat", f"{served.url}:{path}"), 1)
    assert "outside the repository" not in said


def test_the_server_does_not_serve_what_is_outside_or_gits_own(served):
    """Raw requests, as no polite client makes them."""
    import socket
    from urllib.parse import urlsplit

    (served.repository.folder.parent / "secret.txt").write_text("outside the repository")
    where = urlsplit(served.host)
    for path in [
        "../secret.txt",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "%2e%2e%2fsecret.txt",
        ".git/config",
        ".git%2fconfig",
        "..%5csecret.txt",
        "/etc/passwd",
        "%00",
    ]:
        with socket.create_connection((where.hostname, where.port), timeout=30) as raw:
            target = f"/api/v1/repos/{served.name}/raw/main/{path}"
            raw.sendall(
                f"GET {target} HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b"".join(iter(lambda: raw.recv(65536), b""))
        status = int(answer.split()[1])
        assert 400 <= status < 500, (path, answer[:200])
        assert b"outside the repository" not in answer and b"[core]" not in answer


def test_an_upload_to_a_read_only_server_is_refused(dds, start_server, repository, tmp_path):
    served = start_server(repository, "--read-only")
    (tmp_path / "a.txt").write_text("a")
    failed(dds.run("upload", "a.txt", "--to", f"{served.url}:inbox"), 1)
    assert "a.txt" not in dds.ok("ls", served.url, "--recursive")


def test_an_upload_takes_odd_names(dds, served, tmp_path):
    names = ["with space.txt", "größe.txt", "a..b.txt", "100%.txt", "hash#1.txt", "what?.txt"]
    for name in names:
        (tmp_path / name).write_text(f"content of {name}")
    dds.ok("upload", *names, "--to", f"{served.url}:in box", "--message", "Odd names")
    for name in names:
        assert dds.ok("cat", f"{served.url}:in box/{name}").strip() == f"content of {name}"


@pytest.mark.parametrize("to", ["../outside", ".git/hooks", "a/../../b"])
def test_an_upload_may_not_go_elsewhere(dds, served, tmp_path, to):
    (tmp_path / "a.txt").write_text("a")
    failed(dds.run("upload", "a.txt", "--to", f"{served.url}:{to}"), 1, 2)
    assert not (served.repository.folder.parent / "outside").exists()
    assert not (served.repository.folder / ".git/hooks/a.txt").exists()


def test_an_upload_of_what_is_there_already_changes_nothing(dds, served, env, tmp_path):
    from repositories import git

    (tmp_path / "README.md").write_bytes(served.repository.files["README.md"])
    before = git(served.repository.folder, "rev-parse", "main", env=env)
    dds.ok("upload", "README.md", "--to", served.url)
    assert git(served.repository.folder, "rev-parse", "main", env=env) == before


def test_serve_names_a_folder_that_is_no_repository(dds, tmp_path):
    (tmp_path / "plain").mkdir()
    assert "plain" in failed(dds.run("serve", "plain", "--port", "0"), 1)


def test_install_writes_a_kernelspec(dds, binary, tmp_path):
    dds.ok("install", "--prefix", tmp_path / "prefix")
    folder = tmp_path / "prefix/share/jupyter/kernels/dds"
    spec = json.loads((folder / "kernel.json").read_text())
    assert spec["display_name"] == "Rust (dds)"
    assert spec["language"] == "rust"
    assert spec["interrupt_mode"] == "message"
    assert spec["argv"][0] == str(binary)
    assert "{connection_file}" in spec["argv"]
    assert any((folder / f"logo-{kind}").exists() for kind in ["64x64.png", "svg.svg"])


def test_a_connection_file_that_is_none_is_named(dds, tmp_path):
    (tmp_path / "connection.json").write_text("{}")
    assert "connection.json" in failed(dds.run("kernel", "connection.json"), 1)
    assert "missing.json" in failed(dds.run("kernel", "missing.json"), 1)


def test_help_names_the_commands(dds):
    help_text = dds.ok("help")
    for command in ["mount", "show", "probe", "app", "demo", "serve"]:
        assert command in help_text
    assert "--via" in dds.ok("mount", "--help")


def test_version(dds):
    assert dds.ok("--version").startswith("dds ")
