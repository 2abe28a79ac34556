"""Where repositories come from: Git on another machine, the clone around, and accounts."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import stores
from repositories import dvc, git, run_dvc
from test_remotes import listing, make

TOKEN = "canary-0f3a9c"


@pytest.fixture(scope="module")
def s3(env):
    with stores.s3(env) as store:
        yield store


@pytest.fixture
def far(s3, env, tmp_path):
    """A repository whose objects are in S3; gives its folder, its files and an environment with the keys."""
    folder = tmp_path / "far/art"
    folder.parent.mkdir()
    env = env | {"AWS_ACCESS_KEY_ID": s3.key, "AWS_SECRET_ACCESS_KEY": s3.secret}

    def configure(folder: Path):
        dvc(folder, "remote", "add", "--default", "store", f"{s3.url}/{tmp_path.name}", env=env)
        dvc(folder, "remote", "modify", "store", "endpointurl", s3.endpoint, env=env)

    return folder, make(folder, env, configure), env


def check(dds, url: str, files: dict[str, bytes], target: Path):
    sizes = listing(dds, url)
    assert {p: sizes[p] for p in kept_by_dvc(files)} == {p: len(files[p]) for p in kept_by_dvc(files)}
    assert dds.ok("cat", f"{url}:README.md") == "# Art\n"
    dds.ok("clone", url, target, "--data")
    assert {p: (target / p).read_bytes() for p in files} == files


def kept_by_dvc(files: dict[str, bytes]) -> list[str]:
    """What DVC keeps: the size of a file that Git keeps is known once it is read."""
    return [p for p in files if p != "README.md"]


def test_git_over_http_with_data_in_s3(far, dds, tmp_path):
    folder, files, env = far
    dds = dds.with_env(**env)
    with dds.start("serve", folder, "--port", "0", "--token", TOKEN) as server:
        url = server.line_with("serving ") + ".git"
        refused = dds.run("ls", url)
        assert refused.returncode != 0 and "--token" in refused.stderr, refused.stderr
        with_token = url.replace("http://", f"http://me:{TOKEN}@")
        check(dds, f"{with_token}@main", files, tmp_path / "ours")
        done = dds.run("ls", with_token + "@none")
        assert done.returncode != 0 and "main" in done.stderr and TOKEN not in done.stderr
    for file in Path(env["XDG_CACHE_HOME"]).rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file


def test_git_over_ssh(far, dds, tmp_path):
    """`ssh` is played by a script that runs the command of the other side here."""
    folder, files, env = far
    script = tmp_path / "bin/ssh"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    dds = dds.with_env(**(env | {"PATH": f"{script.parent}{os.pathsep}{env['PATH']}"}))
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(folder), str(bare), env=env)
    check(dds, f"git@localhost:{bare}@main", files, tmp_path / "ours")
    assert listing(dds, f"ssh://git@localhost{bare}")["big.bin"] == len(files["big.bin"])
    # A repository from a public host may not turn us on an address of this network.
    empty = dds.with_env(DDS_CACHE=str(tmp_path / "empty"))
    done = empty.run("ls", f"git@host.example:{bare}", "--recursive")
    assert done.returncode != 0 and "its network" in done.stderr, done.stderr
    # And the bare repository itself, as one of this machine.
    check(dds, f"file://{bare}", files, tmp_path / "more")


def test_refs_and_addresses_that_look_like_options_are_refused(dds, tmp_path):
    for url in [
        "ssh://-oProxyCommand=touch x/r.git",
        "git@-oX:r.git",
        "https://127.0.0.1/r.git@--upload-pack=x",
        "ext::sh -c id",
    ]:
        done = dds.run("ls", url)
        assert done.returncode != 0, url
    assert not (tmp_path / "x").exists()


def test_a_clone_without_data_shows_what_its_repository_has(served, dds, env, tmp_path):
    """Inside a clone no URL is needed, as with the dagshub client."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", served.repository.folder, str(clone), env=env)
    git(clone, "remote", "set-url", "origin", f"{served.url}.git", env=env)
    assert not (clone / "clipart").exists()
    inside = dds.with_env(DAGSHUB_CLIENT_HOST=served.host).at(clone)
    out = json.loads(inside.ok("ls", "--recursive", "--json"))
    paths = {e["path"] for e in out["entries"]}
    assert set(served.repository.files) <= paths
    with inside.start("mount", "seen", "--via", "copy") as mount:
        mount.line_with("mounted ")
        image = next(p for p in served.repository.files if p.startswith("clipart/animals/"))
        assert (clone / "seen" / image).read_bytes() == served.repository.files[image]
    git(clone, "switch", "--quiet", "--create", "not-there", env=env)
    done = inside.run("ls")
    assert done.returncode != 0 and "not-there" in done.stderr and "dds ls ." in done.stderr, done.stderr
    assert "README.md" in inside.ok("ls", ".")
    # With another host it is an ordinary repository, and its own commits count.
    other = json.loads(dds.at(clone).ok("ls", "text", "--json"))
    assert other["entries"]
    assert "large.bin" in dds.at(served.repository.folder).ok("ls")


def test_looking_around_without_a_clone(start_server, repository, dds, env):
    served = start_server(repository)
    before = git(repository.folder, "rev-parse", "HEAD", env=env).strip()
    table = dds.cwd / "labels.csv"
    table.write_text("name,count\ncat,1\ndog,2\n")
    dds.ok("upload", table, "--to", served.url, "--versioning", "git", "-m", "Labels")
    tree = json.loads(dds.ok("tree", f"{served.url}:clipart", "--json"))["tree"]
    inside = [p for p in repository.files if p.startswith("clipart/")]
    assert tree["files"] == len(inside) and tree["size"] == sum(len(repository.files[p]) for p in inside)
    assert "animals/" in dds.ok("tree", f"{served.url}:clipart", "--depth", "1")
    head = dds.ok("head", f"{served.url}:labels.csv", "-n", "1")
    assert "2 rows, 2 columns" in head and "cat" in head and "dog" not in head
    out = json.loads(dds.ok("diff", before, "--repo", served.url, "--json"))
    assert [e["path"] for e in out["added"]] == ["labels.csv"] and not out["changed"] and not out["removed"]
    commits = json.loads(dds.ok("log", served.url, "--json"))["commits"]
    theirs = git(repository.folder, "log", "--format=%H %s", "main", env=env).splitlines()
    assert [f"{c['commit']} {c['message'].splitlines()[0]}" for c in commits] == theirs


def test_login_keeps_a_token_that_the_dagshub_client_takes_too(start_server, repository, dds, env, tmp_path):
    served = start_server(repository, "--token", TOKEN)
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "DAGSHUB_CLIENT_HOST": served.host}
    dds = dds.with_env(**home)
    assert dds.run("ls", served.url).returncode != 0
    wrong = dds.run("login", "--token", "wrong-canary")
    assert wrong.returncode != 0 and "canary" not in wrong.stdout + wrong.stderr
    done = dds.run("login", "--token", TOKEN)
    assert done.returncode == 0 and TOKEN not in done.stdout + done.stderr, done.stderr
    assert "README.md" in dds.ok("ls", served.url)
    assert "README.md" in dds.ok("ls", f"{served.url}.git")
    tokens = tmp_path / "config/dds/tokens"
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600
    theirs = subprocess.run(
        [sys.executable, "-c", "import dagshub.auth as a; print(a.get_token(fail_if_no_token=True))"],
        env=dds.env | {"DAGSHUB_CLIENT_TOKENS_CACHE": str(tokens)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert theirs.stdout.split()[-1:] == [TOKEN], theirs.stderr
    assert "logged out" in dds.ok("logout")
    assert dds.run("ls", served.url).returncode != 0
    assert "nobody was logged in" in dds.ok("logout")
    # In no argument and in no list of processes.
    by_input = subprocess.run(
        [str(dds.binary), "login", "--token", "-"],
        env=dds.env,
        input=TOKEN + "\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert by_input.returncode == 0 and TOKEN not in by_input.stdout + by_input.stderr, by_input.stderr
    assert "README.md" in dds.ok("ls", served.url)
    # A server of our own knows no browser, and says what does work.
    asked = dds.run("login")
    assert asked.returncode != 0 and "--token TOKEN" in asked.stderr, asked.stderr


def test_dvc_follows_a_link_into_git_hooks_and_we_do_not(repository, dds, env, tmp_path, start_server):
    """A repository whose DVC folder has the name of a committed link: what `dvc pull` writes, runs at the next commit."""
    folder = repository.folder
    (folder / "hooks").mkdir()
    (folder / "hooks/pre-commit").write_text("#!/bin/sh\necho owned\n")
    dvc(folder, "add", "--quiet", "hooks", env=env)
    shutil.rmtree(folder / "hooks")
    (folder / "hooks").symlink_to(".git/hooks")
    git(folder, "add", "--force", "hooks", "hooks.dvc", env=env)
    git(folder, "commit", "--quiet", "--message", "Trap", env=env)
    theirs = tmp_path / "theirs"
    git(tmp_path, "clone", "--quiet", "--template=", str(folder), str(theirs), env=env)
    (theirs / ".git/hooks").mkdir(exist_ok=True)
    dvc(theirs, "remote", "add", "--default", "--force", "store", str(folder / ".dvc/cache"), env=env)
    pulled = run_dvc(theirs, "pull", env=env)
    assert pulled.returncode == 0, pulled.stderr
    assert (theirs / ".git/hooks/pre-commit").read_text().endswith("owned\n"), "dvc is mended: say so in the docs"

    served = start_server(repository)
    for n, source in enumerate([served.url, folder]):
        ours = tmp_path / f"ours-{n}"
        done = dds.run("clone", source, ours, "--data")
        assert not list(tmp_path.glob(f"ours-{n}/.git/hooks/*")), done.stdout + done.stderr
        # Either it is refused whole, or everything else came.
        if done.returncode == 0:
            assert (ours / "large.bin").read_bytes() == repository.files["large.bin"]
