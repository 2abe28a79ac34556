"""Uploads and commits to repositories on other machines of which only Git is spoken, with data in S3."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import stores
from processes import Dds
from repositories import dvc, git, run_git
from test_mount import can_fuse, mount  # noqa: F401
from test_remotes import make
from test_sources import s3  # noqa: F401


@dataclass
class Far:
    """A bare repository behind Git's own server, whose data is in S3, and a clone of somebody else."""

    dds: Dds
    env: dict[str, str]
    url: str
    folder: Path
    bare: Path
    theirs: Path
    files: dict[str, bytes]

    def log(self, branch: str = "main") -> list[str]:
        return git(self.bare, "log", "--format=%s", branch, env=self.env).splitlines()

    def shown(self, path: str, branch: str = "main") -> str:
        return git(self.bare, "show", f"{branch}:{path}", env=self.env)

    def pulled(self) -> Path:
        """Their clone with our commits, and the data that dvc finds for them."""
        git(self.theirs, "pull", "--quiet", env=self.env)
        dvc(self.theirs, "pull", env=self.env)
        return self.theirs

    def push_theirs_before_ours(self, path: str, text: str):
        """While our next push is under way, theirs comes first."""
        program = self.folder / "before-push"
        identity = "git -c user.name=T -c user.email=t@localhost"
        program.write_text(
            f"#!/bin/sh\nset -e\ncd {self.theirs}\n{identity} pull -q\nprintf '{text}' > {path}\n"
            f"git add {path}\n{identity} commit -qm theirs\ngit push -q {self.bare} HEAD:main\n"
        )
        program.chmod(0o755)


@pytest.fixture
def far(s3, dds, env, tmp_path):  # noqa: F811
    env = env | {"AWS_ACCESS_KEY_ID": s3.key, "AWS_SECRET_ACCESS_KEY": s3.secret}
    folder = tmp_path / "git"
    folder.mkdir()

    def configure(where: Path):
        dvc(where, "remote", "add", "--default", "store", f"{s3.url}/{tmp_path.name}", env=env)
        dvc(where, "remote", "modify", "store", "endpointurl", s3.endpoint, env=env)

    work = tmp_path / "work"
    files = make(work, env, configure)
    bare = folder / "art.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(work), str(bare), env=env)
    git(bare, "config", "http.receivepack", "true", env=env)
    theirs = tmp_path / "theirs"
    git(tmp_path, "clone", "--quiet", str(bare), str(theirs), env=env)
    shutil.rmtree(work)
    with stores.git(env, folder) as host:
        user, password = stores.USER, quote(stores.PASSWORD)
        yield Far(
            dds.with_env(**env), env, f"http://{user}:{password}@{host}/art.git", folder, bare, theirs, files
        )


def test_an_upload_is_one_commit_with_its_data_in_the_remote(far, tmp_path):
    new = tmp_path / "new.bin"
    new.write_bytes(b"new bytes" * 300_000)
    notes = tmp_path / "notes.txt"
    notes.write_text("words\n")
    before = far.log()
    said = far.dds.ok("upload", new, notes, "--to", f"{far.url}:inbox", "-m", "Two files")
    assert "uploaded 2 files" in said and stores.PASSWORD not in said
    assert far.log() == ["Two files", *before]
    assert far.shown("inbox/notes.txt") == "words"
    theirs = far.pulled()
    assert (theirs / "inbox/new.bin").read_bytes() == new.read_bytes()
    assert git(theirs, "status", "--porcelain", env=far.env) == ""
    assert "nothing to do" in far.dds.ok("upload", new, notes, "--to", f"{far.url}:inbox", "-m", "Again")
    # Another cache: what was uploaded is read from where it was brought to.
    other = far.dds.with_env(DDS_CACHE=str(tmp_path / "other"))
    assert other.ok("cat", f"{far.url}:inbox/notes.txt") == "words\n"
    other.ok("clone", far.url, tmp_path / "clone", "--data")
    assert (tmp_path / "clone/inbox/new.bin").read_bytes() == new.read_bytes()


def test_a_new_branch_and_a_branch_that_exists(far, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("words\n")
    far.dds.ok("upload", notes, "--to", far.url, "--new-branch", "idea", "-m", "Idea")
    assert far.log("idea") == ["Idea", *far.log()] and far.shown("notes.txt", "idea") == "words"
    done = far.dds.run("upload", notes, "--to", far.url, "--new-branch", "idea", "-m", "Twice")
    assert done.returncode != 0 and "exists already" in done.stderr and stores.PASSWORD not in done.stderr
    notes.write_text("more\n")
    far.dds.ok("upload", notes, "--to", far.url, "--branch", "idea", "-m", "More")
    assert far.log("idea")[:2] == ["More", "Idea"]


def test_a_push_whose_answer_is_lost_has_one_effect(far, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("words\n")
    before = far.log()
    (far.folder / "lose-answer").touch()
    assert "uploaded 1 file" in far.dds.ok("upload", notes, "--to", far.url, "-m", "Once")
    assert not (far.folder / "lose-answer").exists() and far.log() == ["Once", *before]


def test_somebody_pushes_first(far, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("ours\n")
    before = far.log()
    far.push_theirs_before_ours("other.txt", "theirs")
    far.dds.ok("upload", notes, "--to", far.url, "-m", "Ours")
    assert far.log() == ["Ours", "theirs", *before]
    assert (far.shown("notes.txt"), far.shown("other.txt")) == ("ours", "theirs")
    # The same file: a conflict, and nothing of ours is there.
    notes.write_text("again ours\n")
    far.push_theirs_before_ours("notes.txt", "again theirs")
    done = far.dds.run("upload", notes, "--to", far.url, "-m", "Lost")
    assert done.returncode != 0 and "notes.txt" in done.stderr and "else" in done.stderr, done.stderr
    assert far.shown("notes.txt") == "again theirs" and "Lost" not in far.log()


def test_being_overtaken_changes_nothing_about_who_keeps_what(far, tmp_path):
    big, more = tmp_path / "new.bin", tmp_path / "more.bin"
    big.write_bytes(b"new bytes" * 300_000)
    # Data alone in new folders: DVC keeps the one that was named, and not what is above it.
    more.write_bytes(b"more" * 500_000)
    far.dds.ok("upload", big, more, "--to", f"{far.url}:first/deep", "-m", "Not overtaken")
    far.push_theirs_before_ours("other.txt", "theirs")
    far.dds.ok("upload", big, more, "--to", f"{far.url}:second/deep", "-m", "Overtaken")
    assert far.log()[:2] == ["Overtaken", "theirs"]
    tracked = git(far.bare, "ls-tree", "-r", "--name-only", "main", env=far.env).splitlines()
    below = [[p.removeprefix(at) for p in tracked if p.startswith(at)] for at in ("first", "second")]
    assert below[0] == below[1] and "/deep.dvc" in below[0], tracked


def test_a_server_that_refuses(far, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("words\n")
    hook = far.bare / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'main is protected' >&2\nexit 1\n")
    hook.chmod(0o755)
    done = far.dds.run("upload", notes, "--to", far.url, "-m", "No")
    assert done.returncode != 0 and "main is protected" in done.stderr and "--new-branch" in done.stderr
    nobody = far.url.replace(quote(stores.PASSWORD), "wrong")
    done = far.dds.run("upload", notes, "--to", nobody, "-m", "No")
    assert done.returncode != 0 and "--token" in done.stderr, done.stderr


def test_data_without_a_remote_to_keep_it(far, env, tmp_path):
    git(far.theirs, "rm", "-q", "--cached", ".dvc/config", env=env)
    git(far.theirs, "commit", "-qm", "no remote", env=env)
    git(far.theirs, "push", "-q", str(far.bare), "HEAD:main", env=env)
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    done = far.dds.run("upload", picture, "--to", far.url, "--versioning", "dvc", "-m", "No")
    assert done.returncode != 0 and "DVC remote" in done.stderr and "--versioning git" in done.stderr
    assert far.log()[0] == "no remote"
    # Left to us, it goes where it can be read again.
    far.dds.ok("upload", picture, "--to", far.url, "-m", "Git")
    shown = run_git(far.bare, "cat-file", "-s", "main:picture.png", env=env)
    assert shown.stdout.strip() == str(picture.stat().st_size)


@pytest.mark.skipif(not can_fuse(), reason="/dev/fuse cannot be opened here")
def test_a_mount_is_written_and_committed(far, mount, tmp_path):  # noqa: F811
    folder = tmp_path / "m"
    mount(far.url, folder, "fuse", with_dds=far.dds)
    first = next(p for p in far.files if p != "README.md")
    (folder / "README.md").write_text("# Changed\n")
    (folder / first).write_bytes(b"other data" * 200_000)
    far.push_theirs_before_ours("other.txt", "theirs")
    # The mount's process knows the password, this one does not.
    done = far.dds.run("commit", folder, "-m", "By hand")
    assert done.returncode != 0 and "--token" in done.stderr, done.stderr
    done = far.dds.run("commit", folder, "-m", "By hand", "--token", stores.PASSWORD)
    assert done.returncode != 0 and "--rebase" in done.stderr, done.stderr
    assert far.log()[0] == "theirs"
    far.dds.ok("commit", folder, "-m", "By hand", "--rebase", "--token", stores.PASSWORD)
    assert far.log()[:2] == ["By hand", "theirs"]
    assert json.loads(far.dds.ok("status", folder, "--json"))["mounts"][0]["files"] == []
    assert (folder / "other.txt").read_text() == "theirs"
    theirs = far.pulled()
    assert (theirs / first).read_bytes() == b"other data" * 200_000
    assert (theirs / "README.md").read_text() == "# Changed\n"
