"""The real `dagshub` client against `dds serve`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import Served
from repositories import copy_repository, git

TOKEN = "e2e-token-91c2"


def python(served: Served, env: dict[str, str], code: str, token: str = TOKEN) -> str:
    """Runs Python code with the dagshub client pointed at our server; returns its standard output."""
    owner, name = served.name.split("/")
    prelude = f"OWNER, REPO, HOST = {owner!r}, {name!r}, {served.host!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + code],
        env=env | {"DAGSHUB_CLIENT_HOST": served.host, "DAGSHUB_USER_TOKEN": token},
        cwd=served.repository.folder.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{served.process.stderr()}"
    return done.stdout


@pytest.fixture
def guarded(start_server, repository) -> Served:
    return start_server(repository, "--token", TOKEN)


API = """
from dagshub.common.api.repo import RepoAPI
api = RepoAPI(f"{OWNER}/{REPO}", host=HOST)
"""


def test_lists_a_folder(guarded, env):
    code = API + "import json; print(json.dumps([[f.path, f.type] for f in api.list_path('clipart')]))"
    listed = json.loads(python(guarded, env, code).splitlines()[-1])
    assert sorted(path.rsplit("/", 1)[-1] for path, _ in listed) == [
        "animals",
        "buildings",
        "food",
        "plants",
        "tools",
        "transportation",
    ]
    assert {kind for _, kind in listed} == {"dir"}


def test_reads_files_of_git_and_of_dvc(guarded, env):
    code = API + "import sys\nfor p in ['README.md', 'large.bin', 'odd/größe – 1.txt', 'text/a..b.txt']:\n"
    code += "    import hashlib; print(hashlib.md5(api.get_file(p)).hexdigest())"
    import hashlib

    expected = [
        hashlib.md5(guarded.repository.files[p]).hexdigest()
        for p in ["README.md", "large.bin", "odd/größe – 1.txt", "text/a..b.txt"]
    ]
    assert python(guarded, env, code).split()[-4:] == expected


def test_downloads_a_folder(guarded, env, tmp_path):
    target = tmp_path / "downloaded"
    python(guarded, env, API + f"api.download('clipart/animals', {str(target)!r}, redownload=True)")
    files = {f.name: f.read_bytes() for f in target.rglob("*.jpg")}
    expected = {
        path.rsplit("/", 1)[-1]: content
        for path, content in guarded.repository.files.items()
        if path.startswith("clipart/animals/")
    }
    assert files == expected


def test_the_filesystem_streams(guarded, env, tmp_path):
    (tmp_path / "project").mkdir()
    project = tmp_path / "project"
    code = f"""
from pathlib import Path
from dagshub.streaming import DagsHubFilesystem
project = Path({str(project)!r})
fs = DagsHubFilesystem(project, repo_url=f"{{HOST}}/{{OWNER}}/{{REPO}}", branch="main")
print(len(fs.listdir(project / "clipart/animals")))
with fs.open(project / "odd/a..b.txt") as f:
    print(f.read().strip())
"""
    count, text = python(guarded, env, code).strip().splitlines()[-2:]
    assert count == "60"
    assert text == "dvc: a..b.txt"


@pytest.mark.parametrize("versioning", ["git", "dvc"])
def test_an_upload_is_read_back(guarded, env, tmp_path, versioning):
    (tmp_path / "new.bin").write_bytes(bytes(range(256)) * 40)
    code = f"""
from dagshub.upload import Repo
Repo(OWNER, REPO, branch="main").upload({str(tmp_path / "new.bin")!r}, commit_message="A new file",
    directory_path="uploads/sub folder", versioning={versioning!r})
"""
    python(guarded, env, code)
    assert (
        python(guarded, env, API + "print(len(api.get_file('uploads/sub folder/new.bin')))").split()[-1]
        == "10240"
    )


def test_a_wrong_token_is_refused(guarded, env):
    listing = API + "api.list_path('clipart'); print('let in')"
    indented = "".join(f"    {line}\n" for line in listing.strip().splitlines())
    code = f"try:\n{indented}except Exception as e:\n    print('refused:', e)"
    assert python(guarded, env, code, token="wrong-token").startswith("refused: ")
    assert python(guarded, env, code).endswith("let in\n")


def test_our_own_client_sees_the_real_clients_upload(guarded, env, dds, tmp_path):
    (tmp_path / "shared.txt").write_text("from the other client")
    python(
        guarded,
        env,
        f"from dagshub.upload import Repo\nRepo(OWNER, REPO, branch='main').upload({str(tmp_path / 'shared.txt')!r},"
        " commit_message='Shared', directory_path='inbox', versioning='dvc')",
    )
    out = dds.with_env(DAGSHUB_CLIENT_HOST=guarded.host, DAGSHUB_USER_TOKEN=TOKEN).ok(
        "cat", f"{guarded.url}:inbox/shared.txt"
    )
    assert out.strip() == "from the other client"


def test_a_repository_that_is_created_takes_the_first_upload(dds, template_repository, env, tmp_path):
    copied = copy_repository(template_repository, tmp_path / "class" / "ana" / "art")
    (tmp_path / "first.bin").write_bytes(bytes(range(256)) * 40)
    code = f"""
from dagshub.upload import create_repo
for made in (create_repo("fresh", host=HOST), create_repo("team", org_name="ana", host=HOST)):
    made.upload({str(tmp_path / "first.bin")!r}, commit_message="First", directory_path="in", versioning="dvc")
    print("made:", made.owner, made.name)
for name in ("fresh", "FRESH", "../up", ".hidden"):
    try:
        create_repo(name, host=HOST)
        print("let in")
    except RuntimeError:
        print("refused:", name)
"""
    with dds.start("serve", tmp_path / "class", "--port", "0", "--token", TOKEN) as process:
        host = process.line_with("serving ")
        served = Served(process, host, "ana/art", copied)
        told = [line for line in python(served, env, code).splitlines() if line.startswith(("made", "refused", "let"))]
        refused = [f"refused: {name}" for name in ("fresh", "FRESH", "../up", ".hidden")]
        assert told == ["made: local fresh", "made: ana team", *refused]
        ours = dds.with_env(DAGSHUB_CLIENT_HOST=host, DAGSHUB_USER_TOKEN=TOKEN)
        for name in ("local/fresh", "ana/team"):
            assert "first.bin" in ours.ok("ls", f"{host}/{name}:in")
            assert ours.ok("stat", f"{host}/{name}:in/first.bin")
            assert git(tmp_path / "class" / name, "log", "--format=%s", "main", env=env) == "First"
