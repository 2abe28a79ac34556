"""The crate `dds` in cells: repositories that are opened, read, listed and written from Rust, without a mount."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest
from cells import Kernel
from conftest import serve
from nbformat.v4 import new_code_cell, new_notebook
from processes import Dds, wait_until
from repositories import LARGE_BYTES, copy_repository, dvc, git

TOKEN = "canary-77c1d0"
CSV = "name,legs,weight\ncat,4,3.5\nbird,2,\n"
# Requests that the proxy wants to see at once before it answers any.
TOGETHER = 4


class Proxy:
    """Hands requests on to a server; holds those for files back until several are there, or all of them."""

    def __init__(self, host: str):
        self.changed = threading.Condition()
        self.inside = self.most = 0
        self.asked: list[str] = []
        # Paths with this in them are not answered before `open` is set.
        self.held, self.open = None, threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with proxy.pass_through(self.path):
                    headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
                    request = urllib.request.Request(host + self.path, headers=headers)
                    try:
                        answer = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60)
                    except urllib.error.HTTPError as error:
                        answer = error
                    with answer:
                        body = answer.read()
                        self.send_response(answer.status)
                        for name in ("Content-Type", "Content-Encoding", "Content-Range", "ETag", "Accept-Ranges"):
                            if answer.headers.get(name):
                                self.send_header(name, answer.headers[name])
                        self.send_header("Content-Length", str(len(body)))
                        self.end_headers()
                        self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @contextmanager
    def pass_through(self, path: str):
        with self.changed:
            self.asked.append(path)
        if self.held and self.held in path:
            self.open.wait(60)
        is_file = "/raw/" in path
        if is_file:
            with self.changed:
                self.inside += 1
                self.most = max(self.most, self.inside)
                self.changed.notify_all()
                # Who waits for one file at a time waits here in vain, but not for ever.
                self.changed.wait_for(lambda: self.most >= TOGETHER, timeout=2)
        try:
            yield
        finally:
            if is_file:
                with self.changed:
                    self.inside -= 1

    def close(self):
        self.open.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def kernel(jupyter_env, tmp_path_factory):
    with Kernel(tmp_path_factory.mktemp("cells"), jupyter_env) as kernel:
        yield kernel


@pytest.fixture(scope="module")
def served(binary, env, template_repository, tmp_path_factory):
    """One server for the tests that only read."""
    folder = tmp_path_factory.mktemp("served")
    repository = copy_repository(template_repository, folder / "art")
    (repository.folder / "labels.csv").write_text(CSV)
    git(repository.folder, "add", "labels.csv", env=env)
    git(repository.folder, "commit", "--quiet", "--message", "Labels", env=env)
    served = serve(Dds(binary, env, folder), repository)
    yield served
    served.process.close()


@pytest.fixture
def repo(kernel, served):
    kernel.ok(f'let repo = dds::open("{served.url}")?;')
    return served.repository


@pytest.fixture
def proxy(served):
    proxy = Proxy(served.host)
    yield proxy
    proxy.close()


def test_files_are_read_whole_in_parts_and_as_text(kernel, repo, served):
    ran = kernel.ok('print!("{}", repo.read_to_string("README.md")?);')
    assert ran.stdout.encode() == repo.files["README.md"]
    for path in ["odd/größe – 1.txt", "odd/日本/猫 1.txt", "text/100%.txt"]:
        ran = kernel.ok(f'print!("{{}}", dds::read_to_string("{served.url}", "{path}")?);')
        assert ran.stdout.encode() == repo.files[path]
    kernel.ok('std::fs::write("whole", repo.read("large.bin")?)?;')
    folder = kernel.ok('print!("{}", std::env::current_dir()?.display());').stdout
    with open(f"{folder}/whole", "rb") as file:
        assert file.read() == repo.files["large.bin"]
    ran = kernel.ok(f'println!("{{:?}}", repo.read_range("large.bin", {LARGE_BYTES - 3}..u64::MAX)?);')
    assert ran.stdout.strip() == str(list(repo.files["large.bin"][-3:]))


def test_folders_are_listed_and_walked(kernel, repo, env):
    ran = kernel.ok('for entry in repo.list("")? { println!("{entry} {:?} {}", entry.len, entry.kept_by); }')
    lines = ran.stdout.splitlines()
    assert "clipart/ None dvc" in lines and f"large.bin Some({LARGE_BYTES}) dvc" in lines, lines
    assert f"README.md Some({len(repo.files['README.md'])}) git" in lines
    ran = kernel.ok('for entry in repo.walk("clipart")? { println!("{}", entry.path); }')
    assert ran.stdout.splitlines() == sorted(p for p in repo.files if p.startswith("clipart/"))
    ran = kernel.ok('let e = repo.stat("large.bin")?; println!("{} {}", e.len.unwrap(), e.digest.unwrap());')
    assert ran.stdout.split() == [str(LARGE_BYTES), hashlib.md5(repo.files["large.bin"]).hexdigest()]
    ran = kernel.ok('println!("{} {:?} {repo}", repo.commit()?, repo.branch());')
    head = git(repo.folder, "rev-parse", "HEAD", env=env)
    assert ran.stdout.startswith(f'{head} Some("main") ') and ran.stdout.strip().endswith(f"@{head}")


def test_a_folder_of_a_repository_can_be_opened(kernel, repo, served):
    kernel.ok(f'let animals = dds::open("{served.url}:clipart/animals")?;')
    path = next(p for p in repo.files if p.startswith("clipart/animals/"))
    name = path.rsplit("/", 1)[1]
    ran = kernel.ok(f'println!("{{}} {{}}", animals.list("")?[0].path, animals.read("{name}")?.len());')
    assert ran.stdout.split() == [name, str(len(repo.files[path]))]


def test_many_files_come_ahead_of_their_reader(kernel, served, proxy, env):
    """Two ways to name them; the proxy sees that several are on their way at a time."""
    # Other tests read the same pictures.
    shutil.rmtree(Path(env["XDG_CACHE_HOME"]) / "dds/blobs", ignore_errors=True)
    kernel.ok(f'let far = dds::open("{proxy.host}/{served.name}")?;')
    code = """
        let mut sum = 0u64; let mut count = 0;
        for file in far.%s { let (_, bytes) = file?; count += 1; sum += bytes.len() as u64; }
        println!("{count} {sum}");
    """
    files = served.repository.files
    for folder, call in [
        ("plants", 'files_below("clipart/plants")?'),
        ("tools", 'files(far.list("clipart/tools")?.iter().map(|e| e.path.clone()))'),
    ]:
        proxy.most = 0
        ran = kernel.ok(code % call)
        sizes = [len(c) for p, c in files.items() if p.startswith(f"clipart/{folder}/")]
        assert ran.stdout.split() == [str(len(sizes)), str(sum(sizes))]
        assert proxy.most >= TOGETHER, proxy.most
    proxy.most = 0
    kernel.ok('for file in far.files_below("clipart/food")?.ahead(0).take(3) { file?; }')
    assert proxy.most == 1


def test_a_file_is_read_and_seek(kernel, repo):
    code = """
        use std::io::{BufRead, Read, Seek, SeekFrom};
        let mut file = repo.file("large.bin")?;
        let mut part = [0u8; 4];
        file.seek(SeekFrom::End(-4))?; file.read_exact(&mut part)?; println!("{part:?}");
        file.seek(SeekFrom::Start(1_000_000))?; file.read_exact(&mut part)?; println!("{part:?}");
        let lines = repo.file("README.md")?.lines().collect::<Result<Vec<_>, _>>()?;
        println!("{lines:?}");
        let copy = repo.download("large.bin", ".")?;
        println!("{} {}", copy.display(), std::fs::metadata(&copy)?.len());
        println!("{}", repo.cursor("README.md")?.lines().count());
    """
    large = repo.files["large.bin"]
    lines = kernel.ok(code).stdout.splitlines()
    assert lines[:2] == [str(list(large[-4:])), str(list(large[1_000_000:1_000_004]))]
    assert lines[2:] == ['["# Art"]', f"./large.bin {LARGE_BYTES}", "1"]


def test_a_file_that_changes_while_it_is_read_is_a_conflict(kernel, start_server, repository, env, tmp_path):
    # Larger than what is read whole.
    (repository.folder / "big.bin").write_bytes(b"1" * (20 << 20))
    dvc(repository.folder, "add", "--quiet", "big.bin", env=env)
    git(repository.folder, "add", "--all", env=env)
    git(repository.folder, "commit", "--quiet", "--message", "Big", env=env)
    other = tmp_path / "big.bin"
    other.write_bytes(b"2" * (20 << 20))
    code = f"""
        use std::io::{{Read, Seek, SeekFrom}};
        let changing = dds::open("{start_server(repository).url}")?;
        let mut part = [0u8; 4];
        let mut big = changing.file("big.bin")?;
        big.read_exact(&mut part)?; println!("{{part:?}}");
        changing.upload(["{other}"], "", "Other bytes")?;
        big.seek(SeekFrom::Start(15 << 20))?;
        println!("{{}}", big.read_exact(&mut part).unwrap_err());
        big = changing.file("big.bin")?;
        big.seek(SeekFrom::Start(15 << 20))?;
        big.read_exact(&mut part)?; println!("{{part:?}}");
    """
    before, error, after = kernel.ok(code).stdout.splitlines()[:3]
    assert before == str([ord("1")] * 4) and after == str([ord("2")] * 4)
    assert "big.bin has changed since it was opened" in error


def test_a_table_has_types_and_is_shown(kernel, repo):
    ran = kernel.ok('let table = repo.csv("labels.csv")?;\ntable')
    (value,) = ran.bundles("execute_result")
    assert "<th>legs</th>" in value["text/html"] and "bird" in value["text/plain"]
    ran = kernel.ok('println!("{:?} {}", table.column("legs")?, table.column("weight")?.type_name());')
    assert ran.stdout.strip() == "Ints([Some(4), Some(2)]) float"
    assert "name, legs, weight" in kernel.run('table.column("leg")?;').text


def test_errors_say_what_to_do(kernel, repo, served):
    ran = kernel.run('repo.read("clipart/animal/001.jpg")?;')
    assert ran.status == "error" and "clipart/animals" in ran.text, ran.text
    ran = kernel.ok('println!("{:?}", repo.read("REDME.md").map_err(|e| e.kind()));')
    assert ran.stdout.strip() == "Err(NotFound)"
    assert "README.md" in kernel.run('repo.read("REDME.md")?;').text
    assert "is a folder" in kernel.run('repo.read("clipart")?;').text
    assert "no-branch" in kernel.run(f'dds::open("{served.url}@no-branch")?;').text
    assert "dagshub://" in kernel.run('dds::open(".")?;').text
    # It is an error like any other to `anyhow` and `Box<dyn Error>`.
    ran = kernel.ok('fn f(r: &dds::Repo) -> Result<(), Box<dyn std::error::Error>> { r.read("x")?; Ok(()) }\n'
                    'println!("{}", f(&repo).unwrap_err());')
    assert "x" in ran.stdout


def test_an_upload_is_read_back(kernel, start_server, repository, env, tmp_path):
    served = start_server(repository, "--token", TOKEN)
    url = served.url.replace("http://", f"http://:{TOKEN}@")
    kernel.ok(f'let mine = dds::open("{url}")?;\nlet before = mine.commit()?;')
    code = """
        std::fs::create_dir_all("out")?;
        std::fs::write("out/result.csv", "a\\n1\\n")?;
        let commit = mine.upload(["out/result.csv"], "results", "Results of today")?;
        println!("{commit} {}", mine.read_to_string("results/result.csv")?.len());
        assert_eq!(mine.commit()?, commit);
        assert_ne!(before, commit);
        println!("{:?}", mine);
    """
    ran = kernel.ok(code)
    head = git(repository.folder, "rev-parse", "main", env=env)
    assert ran.stdout.splitlines()[0] == f"{head} 4"
    assert git(repository.folder, "log", "-1", "--format=%s", env=env) == "Results of today"
    assert TOKEN not in ran.text
    # Somebody else commits: the repository is the same until it is told to follow.
    (repository.folder / "README.md").write_text("# New\n")
    git(repository.folder, "commit", "--quiet", "--all", "--message", "New", env=env)
    code = """
        println!("{}", mine.read_to_string("README.md")?);
        mine.refresh()?;
        println!("{}", mine.read_to_string("README.md")?);
    """
    assert kernel.ok(code).stdout.split() == ["#", "Art", "#", "New"]
    refused = kernel.run(f'dds::open("{served.url}")?;')
    assert refused.status == "error" and "%dds login" in refused.text, refused.text
    assert TOKEN not in refused.text
    wrong = kernel.run(f'dds::open("{url.replace(TOKEN, "wrong-" + TOKEN)}")?;')
    assert wrong.status == "error" and TOKEN not in wrong.text, wrong.text


def test_an_upload_into_a_mount_or_a_clone(kernel, start_server, repository, env, tmp_path):
    served = start_server(repository)
    kernel.ok(f"%dds mount {served.url} {tmp_path}/seen --via copy")
    code = f"""
        std::fs::write("note.txt", "by Rust")?;
        let seen = dds::open("{tmp_path}/seen/text")?;
        seen.upload(["note.txt"], "notes", "A note")?;
        println!("{{}}", seen.read_to_string("notes/note.txt")?);
    """
    assert kernel.ok(code).stdout.strip() == "by Rust"
    # The mount shows it, and so does the repository behind it.
    assert (tmp_path / "seen/text/notes/note.txt").read_text() == "by Rust"
    assert git(repository.folder, "show", "main:text/notes/note.txt", env=env) == "by Rust"
    kernel.ok(f"%dds unmount {tmp_path}/seen")
    code = f"""
        let own = dds::open("{repository.folder}")?;
        let commit = own.upload(["note.txt"], "", "Another")?;
        println!("{{commit}} {{}}", own.read("note.txt")?.len());
    """
    assert kernel.ok(code).stdout.split() == [git(repository.folder, "rev-parse", "main", env=env), "7"]
    assert "pinned" in kernel.run(
        f'dds::open("{served.url}@{git(repository.folder, "rev-parse", "main", env=env)}")?'
        '.upload(["note.txt"], "", "")?;'
    ).text


def test_mounts_and_clones_are_repositories_too(kernel, served, repository, tmp_path):
    files = repository.files
    kernel.ok(f"%dds mount {served.url} {tmp_path}/seen --via copy")
    kernel.ok(f'println!("{{}}", dds::open("{tmp_path}/seen/text")?.list("")?.len());')
    ran = kernel.ok(f'print!("{{}}", dds::read_to_string("{tmp_path}/seen", "README.md")?);')
    assert ran.stdout.encode() == files["README.md"]
    kernel.ok(f"%dds unmount {tmp_path}/seen")
    ran = kernel.ok(f'print!("{{}}", dds::open("{repository.folder}")?.read("large.bin")?.len());')
    assert ran.stdout == str(LARGE_BYTES)
    before = kernel.ok("%dds cd .").text.split()[-1]
    kernel.ok(f"%dds cd {repository.folder}/text")
    ran = kernel.ok('let around = dds::open(".")?;\nprint!("{}", around.read("README.md")?.len());')
    assert ran.stdout == str(len(files["README.md"]))
    kernel.ok(f"%dds cd {before}")
    # It stays what it was when it was opened.
    assert kernel.ok('print!("{}", around.read("README.md")?.len());').stdout == str(len(files["README.md"]))


def test_stop_ends_a_read_and_keeps_what_was_there(kernel, served, proxy):
    kernel.ok(f'let held = dds::open("{proxy.host}/{served.name}")?;\nlet kept = held.list("clipart")?.len();')
    proxy.held = "transportation/001"
    path = next(p for p in served.repository.files if proxy.held in p)
    msg_id = kernel.send(f'println!("reads"); let lost = held.read("{path}")?;')
    kernel.wait_for_output(msg_id, "reads")
    wait_until(lambda: any(proxy.held in asked for asked in proxy.asked), "the file is asked for")
    begun = time.monotonic()
    kernel.manager.interrupt_kernel()
    ran = kernel.collect(msg_id)
    assert ran.status == "error" and time.monotonic() - begun < 30
    proxy.open.set()
    # The variables of earlier cells are there, and they work.
    ran = kernel.ok('println!("{kept} {}", held.read("README.md")?.len());')
    assert ran.stdout.split() == ["6", str(len(served.repository.files["README.md"]))]


def repository_threads(kernel: Kernel) -> int:
    tasks = Path(f"/proc/{kernel.manager.provisioner.process.pid}/task").glob("*/comm")
    names = [task.read_text().strip() for task in tasks if task.exists()]
    return names.count("repository")


def test_reads_of_threads_that_died_with_a_cell_end(kernel, served, proxy):
    """A checkpoint has a copy of the connection of a thread that it does not have."""
    kernel.ok(f'let far = dds::open("{proxy.host}/{served.name}")?;')
    proxy.held = "transportation/002"
    path = next(p for p in served.repository.files if proxy.held in p)
    kernel.ok(f'let theirs = far.clone();\nstd::thread::spawn(move || theirs.read("{path}").is_ok());')
    wait_until(lambda: any(proxy.held in asked for asked in proxy.asked), "the file is asked for")
    assert repository_threads(kernel) == 1
    msg_id = kernel.send('println!("runs"); loop {}')
    kernel.wait_for_output(msg_id, "runs")
    kernel.manager.interrupt_kernel()
    assert kernel.collect(msg_id).status == "error"
    wait_until(lambda: repository_threads(kernel) == 0, "nobody works for the thread that is gone")
    assert kernel.ok('println!("{}", far.read("README.md")?.len());').stdout.strip().isdigit()


def test_after_a_restart_the_compiled_cells_still_work(kernel, served):
    code = f'let again = dds::open("{served.url}")?;\nprintln!("{{}}", again.read("README.md")?.len());'
    expected = str(len(served.repository.files["README.md"]))
    assert kernel.ok(code).stdout.strip() == expected
    kernel.manager.restart_kernel()
    kernel.client.wait_for_ready(timeout=120)
    assert kernel.ok(code).stdout.strip() == expected


def test_a_program_made_of_cells_has_dds_read_for_it(dds, served, env, tmp_path):
    """There is no kernel any more: the installed program takes its place, and ends with the program."""
    cells = [
        f'let repo = dds::open("{served.url}")?;',
        'println!("{} {:?}", repo.read("README.md")?.len(), repo.read("REDME.md").unwrap_err().hint());',
    ]
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, tmp_path / "a.ipynb")
    dds.ok("export-rs", "a.ipynb", "out")
    build = ["cargo", "build", "--quiet", "--offline", "--target-dir", "target"]
    subprocess.run(build, cwd=tmp_path / "out", env=env, check=True, timeout=240)
    (program,) = [p for p in (tmp_path / "out/target/debug").iterdir() if p.is_file() and os.access(p, os.X_OK)]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/dds").symlink_to(dds.binary)
    path = f"{tmp_path / 'bin'}{os.pathsep}{env['PATH']}"
    done = subprocess.run([program], env=env | {"PATH": path}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(" ", 1) == ["6", 'Some("the nearest is README.md")\n']
    done = subprocess.run([program], env=env | {"PATH": "/nowhere"}, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "PATH" in done.stderr, done.stderr
