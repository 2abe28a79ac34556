"""The data benchmark's peers: dvc and the dagshub client from the pinned environment; rclone, nginx and wrk from the
system's packages, installed when they are missing and can be."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from latency_proxy import Proxy
from measured import tell
from processes import Foreground, wait_until
from repositories import git, run_dvc

QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
# A peer that takes longer than this has failed.
PEER_SECONDS = 240
# Program → packages of Debian and Ubuntu. rclone mounts with the help of fuse3.
PACKAGES = {"nginx": ["nginx-light"], "rclone": ["rclone", "fuse3"], "wrk": ["wrk"]}


def program(name: str) -> str | None:
    """Where a peer is; installs it as root. None: it is missing, and the rows say so."""
    places = os.environ.get("PATH", "") + ":/usr/sbin"
    found = shutil.which(name, path=places)
    if found or os.geteuid() != 0 or not shutil.which("apt-get"):
        return found
    tell(f"installing {name}")
    # Installing must not start what it installs.
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES[name]]
    for command in [install, ["apt-get", "update", "-qq"], install]:
        try:
            done = subprocess.run(command, env=env, timeout=300, **QUIET)
        except subprocess.TimeoutExpired:
            return None
        if command is install and done.returncode == 0:
            break
    return shutil.which(name, path=places)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


NGINX = """
{user}
worker_processes auto;
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port} backlog=1024; root {root}; autoindex on; }}
}}
"""


@contextmanager
def static_server(root: Path, folder: Path, env: dict[str, str]):
    """nginx, or Python where there is none, over the files of `root`; gives its port."""
    folder.mkdir()
    port, nginx = free_port(), program("nginx")
    if nginx:
        # As root it would read the files as nobody.
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "conf").write_text(NGINX.format(folder=folder, port=port, root=root, user=user))
        command = [nginx, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "conf")]
    else:
        command = [sys.executable, "-m", "http.server", "--protocol", "HTTP/1.1", "--bind", "127.0.0.1"]
        command += ["--directory", str(root), str(port)]
    with Foreground(command, env=env, cwd=folder):
        wait_until(lambda: answers(port), f"{command[0]} answers")
        yield port


@dataclass
class Peers:
    """Runs the peers against our server and the static one, both behind the delay, each time with empty caches."""

    work: Path
    env: dict[str, str]
    repository: Path
    # OWNER/NAME as `dds serve` calls it.
    name: str
    hub: Proxy
    static: Proxy
    runs: int = 0

    def fresh(self, what: str) -> tuple[Path, dict[str, str]]:
        """A folder for one run, and an environment whose caches are empty. It stays until the end: see `Mounts`."""
        self.runs += 1
        folder = self.work / f"{what}{self.runs}"
        folder.mkdir()
        caches = {"XDG_CACHE_HOME": str(folder / "cache"), "DVC_SITE_CACHE_DIR": str(folder / "site")}
        return folder, self.env | caches

    @property
    def store(self) -> str:
        return f"http://127.0.0.1:{self.static.port}/.dvc/cache"

    def dvc(self, folder: Path, env: dict[str, str], *args: str) -> float:
        begun = time.perf_counter()
        done = run_dvc(folder, *args, env=env)
        if done.returncode:
            raise SystemExit(f"dvc {args}: {done.stdout}\n{done.stderr}")
        return time.perf_counter() - begun

    def dvc_pull(self, target: str, files: int) -> float:
        """Seconds of `dvc pull` in a clone whose remote is DVC's objects over HTTP."""
        folder, env = self.fresh("pull")
        clone = folder / "clone"
        git(folder, "clone", "--quiet", str(self.repository), str(clone), env=env)
        (clone / ".dvc/config").write_text(
            f"[core]\n    remote = store\n['remote \"store\"']\n    url = {self.store}\n"
        )
        seconds = self.dvc(clone, env, "pull", "--quiet", f"{target}.dvc")
        if (came := sum(path.is_file() for path in (clone / target).rglob("*"))) != files:
            raise SystemExit(f"dvc pull brought {came} of {files} files")
        return seconds

    def dvc_get(self, path: str) -> float:
        """Seconds of `dvc get` of one file, which clones the Git part from our server first."""
        folder, env = self.fresh("get")
        url = f"http://127.0.0.1:{self.hub.port}/{self.name}.git"
        given = ["--quiet", "--out", "out", "--remote", "store", "--remote-config", f"url={self.store}"]
        seconds = self.dvc(folder, env, "get", url, path, *given)
        if (folder / "out").read_bytes() != (self.repository / path).read_bytes():
            raise SystemExit(f"dvc get brought another {path}")
        return seconds

    def python(self, code: str, folder: Path, env: dict[str, str]) -> tuple[float, list[float]]:
        """Seconds of a Python program from its start, and the numbers of the last line that it printed."""
        host = {"DAGSHUB_CLIENT_HOST": f"http://127.0.0.1:{self.hub.port}", "DAGSHUB_USER_TOKEN": "bench"}
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=env | host,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PEER_SECONDS,
        )
        seconds = time.perf_counter() - begun
        if done.returncode:
            raise SystemExit(f"the dagshub client: {done.stdout}\n{done.stderr}")
        return seconds, [float(word) for word in done.stdout.splitlines()[-1].split()]

    def dagshub_download(self, remote: str, files: int) -> float:
        """Seconds of `RepoAPI.download` of a folder, its imports not counted."""
        folder, env = self.fresh("download")
        _, (seconds,) = self.python(
            f"""
import time
from dagshub.common.api.repo import RepoAPI
api = RepoAPI({self.name!r}, host="http://127.0.0.1:{self.hub.port}")
begun = time.perf_counter()
api.download({remote!r}, "files", redownload=True)
print()
print(time.perf_counter() - begun)
""",
            folder,
            env,
        )
        if (came := sum(path.is_file() for path in (folder / "files").rglob("*"))) != files:
            raise SystemExit(f"RepoAPI.download brought {came} of {files} files")
        return seconds

    def dagshub_hooks(self, paths: list[str]) -> tuple[float, float]:
        """Seconds from the program's start until `open` gave the first file, and for each further one."""
        folder, env = self.fresh("hooks")
        whole, (rest,) = self.python(
            f"""
import time
from dagshub.streaming import install_hooks
install_hooks(".", repo_url="http://127.0.0.1:{self.hub.port}/{self.name}", branch="main")
read = 0
for number, path in enumerate({paths!r}):
    if number == 1:
        begun = time.perf_counter()
    with open(path, "rb") as file:
        read += len(file.read())
print()
print(time.perf_counter() - begun)
""",
            folder,
            env,
        )
        return whole - rest, rest / (len(paths) - 1)

    def rclone_mount(self, paths: list[str]) -> tuple[float, float] | None:
        """Seconds until the first file was read through `rclone mount`, and for each further one. None: no rclone."""
        rclone = program("rclone")
        if rclone is None or not os.access("/dev/fuse", os.R_OK | os.W_OK):
            return None
        folder, env = self.fresh("rclone")
        mounted = folder / "mounted"
        mounted.mkdir()
        remote = ["--http-url", f"http://127.0.0.1:{self.static.port}/"]
        begun = time.perf_counter()
        command = [rclone, "mount", ":http:", str(mounted), "--read-only", *remote]
        with Foreground(command, env=env, cwd=folder):
            try:
                wait_until(lambda: os.path.ismount(mounted), "rclone mounts")
                took = []
                for path in paths:
                    if (mounted / path).read_bytes() != (self.repository / path).read_bytes():
                        raise SystemExit(f"rclone mount gave another {path}")
                    took.append(time.perf_counter() - begun)
            finally:
                subprocess.run(["umount", "--lazy", mounted], check=False, **QUIET)
        return took[0], (took[-1] - took[0]) / (len(paths) - 1)


WRK = """
local requests, at = {}, 0
function init(args)
    for path in io.lines(args[1]) do requests[#requests + 1] = wrk.format("GET", path) end
end
function request()
    at = at % #requests + 1
    return requests[at]
end
"""


def load(port: int, paths: list[str], folder: Path, clients: int, seconds: int) -> tuple[float, float] | None:
    """Requests a second that a server answers to so many clients, and the share of one core that they took."""
    wrk = program("wrk")
    if wrk is None:
        return None
    (folder / "wrk.lua").write_text(WRK)
    (folder / "paths").write_text("".join(f"{path}\n" for path in paths))
    before = os.times()
    command = [wrk, "-t2", f"-c{clients}", f"-d{seconds}s", "-s", folder / "wrk.lua", f"http://127.0.0.1:{port}"]
    said = subprocess.run(
        [*command, "--", folder / "paths"], check=True, capture_output=True, text=True, timeout=PEER_SECONDS
    ).stdout
    after = os.times()
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(said)
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return float(re.search(r"Requests/sec:\s*([\d.]+)", said).group(1)), spent / seconds
