"""Fixtures: the built binary, an isolated home, a repository made by the real dvc, servers, the kernelspec."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from processes import Dds, Foreground, built_binary, isolated_environment, target_directory
from repositories import Repository, copy_repository, make_repository


@pytest.fixture(scope="session")
def binary() -> Path:
    path = built_binary()
    if not path.is_file():
        pytest.exit(f"{path} is not there: run `cargo build --release --workspace` first", returncode=2)
    return path


@pytest.fixture(scope="session")
def screenshots() -> Path:
    folder = target_directory() / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def env(tmp_path_factory) -> dict[str, str]:
    with isolated_environment(tmp_path_factory.mktemp("home")) as env:
        yield env


@pytest.fixture
def dds(binary, env, tmp_path) -> Dds:
    return Dds(binary, env, tmp_path)


@pytest.fixture(scope="session")
def template_repository(tmp_path_factory, env) -> Repository:
    return make_repository(tmp_path_factory.mktemp("template") / "art", env)


@pytest.fixture
def repository(template_repository, tmp_path) -> Repository:
    """A repository of this test's own."""
    return copy_repository(template_repository, tmp_path / "art")


@dataclass
class Served:
    process: Foreground
    # http://127.0.0.1:PORT
    host: str
    # OWNER/REPO
    name: str
    repository: Repository

    @property
    def url(self) -> str:
        """What `dds mount` takes."""
        return f"{self.host}/{self.name}"


def serve(dds: Dds, repository: Repository, *args: str) -> Served:
    process = dds.start("serve", repository.folder, "--port", "0", *args)
    try:
        url = urlsplit(process.line_with("serving "))
    except BaseException:
        process.close()
        raise
    return Served(process, f"{url.scheme}://{url.netloc}", f"local/{repository.name}", repository)


@pytest.fixture
def start_server(dds):
    """Serves a repository; the servers end with the test."""
    started: list[Served] = []

    def start(repository: Repository, *args: str) -> Served:
        started.append(serve(dds, repository, *args))
        return started[-1]

    yield start
    for served in started:
        served.process.close()


@pytest.fixture
def served(start_server, repository) -> Served:
    return start_server(repository)


@pytest.fixture(scope="session")
def kernelspec(binary, env, tmp_path_factory) -> dict[str, str]:
    """The kernelspec `dds` in a prefix of its own; gives the environment in which Jupyter finds it."""
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run([binary, "install", "--prefix", prefix], env=env, check=True, stdin=subprocess.DEVNULL)
    return env | {"JUPYTER_PATH": str(prefix / "share" / "jupyter")}


@pytest.fixture(scope="session")
def jupyter_env(kernelspec):
    """The same environment for this process: `jupyter_client` looks kernelspecs up in `os.environ`."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(kernelspec)
    yield kernelspec
    os.environ.clear()
    os.environ.update(before)


def pytest_report_header(config):
    return f"peers from {sys.prefix}"
