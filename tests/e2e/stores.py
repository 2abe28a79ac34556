"""Real servers that keep DVC's objects, S3 (moto), WebDAV (wsgidav) and SSH (asyncssh), or repositories (Git).

Run as a program, this file is one of the servers that must live in a process of their own.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from processes import Foreground

BUCKET = "store"
USER, PASSWORD = "me", "correct horse"


@contextlib.contextmanager
def server(kind: str, *args: Path, env: dict[str, str]):
    """Starts one of the servers below and gives its port."""
    command = [sys.executable, "-u", __file__, kind, *map(str, args)]
    with Foreground(command, env=env, cwd=Path(env["HOME"])) as process:
        yield int(process.line_with("serving "))


@dataclass
class S3:
    endpoint: str
    key: str
    secret: str

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/deep/er"

    def client(self):
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )

    def keys(self) -> set[str]:
        return {o["Key"] for o in self.client().list_objects_v2(Bucket=BUCKET).get("Contents", [])}


@contextlib.contextmanager
def s3(env: dict[str, str], versioned: bool = False, strict: bool = False):
    """An S3 server; a `strict` one compares every signature with botocore's own (those of dvc's client fail)."""
    import boto3

    if strict:
        # Those who set it up are not asked yet: a user, its key, its rights, the bucket.
        env = env | {"INITIAL_NO_AUTH_ACTION_COUNT": "4"}
    with server("s3", env=env) as port:
        endpoint = f"http://127.0.0.1:{port}"
        nobody = {
            "endpoint_url": endpoint,
            "aws_access_key_id": "x",
            "aws_secret_access_key": "x",
            "region_name": "us-east-1",
        }
        iam = boto3.client("iam", **nobody)
        iam.create_user(UserName="tester")
        made = iam.create_access_key(UserName="tester")["AccessKey"]
        everything = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
        iam.put_user_policy(UserName="tester", PolicyName="all", PolicyDocument=everything)
        bucket = boto3.client("s3", **nobody)
        bucket.create_bucket(Bucket=BUCKET)
        if versioned:
            bucket.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield S3(endpoint, made["AccessKeyId"], made["SecretAccessKey"])


@contextlib.contextmanager
def webdav(env: dict[str, str], folder: Path):
    """A WebDAV server over `folder` that wants USER and PASSWORD; gives its host and port."""
    with server("webdav", folder, env=env) as port:
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def ssh(env: dict[str, str], folder: Path, keys: Path):
    """An SSH server with SFTP over `folder`; gives its port. Its keys, and the user's, lie in `keys`."""
    import asyncssh

    keys.mkdir()
    for name in ("host", "user"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(keys / name)
        key.write_public_key(keys / f"{name}.pub")
        (keys / name).chmod(0o600)
    with server("ssh", folder, keys, env=env) as port:
        yield port


@contextlib.contextmanager
def git(env: dict[str, str], folder: Path):
    """Git's own server over the bare repositories in `folder`, for whoever knows PASSWORD; gives its host and port.

    Once, before it takes a push, it runs the program `folder/before-push`; and once, where there is a file
    `folder/lose-answer`, it takes a push and says nothing.
    """
    with server("git", folder, env=env) as port:
        yield f"127.0.0.1:{port}"


def serve_git(folder: str):
    import base64
    import subprocess
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    before_push, lose_answer = Path(folder, "before-push"), Path(folder, "lose-answer")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def answer(self, status: int, headers: list[tuple[str, str]], body: bytes):
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            body = self.body()
            login = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
            if login.partition(":")[2] != PASSWORD:
                return self.answer(401, [("WWW-Authenticate", 'Basic realm="git"')], b"")
            path, _, query = self.path.partition("?")
            is_push = self.command == "POST" and path.endswith("/git-receive-pack")
            if is_push and before_push.exists():
                once = before_push.rename(before_push.with_suffix(".ran"))
                subprocess.run([once], check=True)
            env = os.environ | {
                "GIT_PROJECT_ROOT": folder,
                "GIT_HTTP_EXPORT_ALL": "1",
                "REMOTE_USER": USER,
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }
            done = subprocess.run(["git", "http-backend"], input=body, stdout=subprocess.PIPE, env=env)
            if is_push and lose_answer.exists():
                lose_answer.unlink()
                self.close_connection = True
                return None
            head, _, rest = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
            status = int(headers.pop("Status", "200").split()[0])
            return self.answer(status, list(headers.items()), rest)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"serving {web.server_port}", flush=True)
    web.serve_forever()


def serve_s3():
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    web = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    print(f"serving {web.server_port}", flush=True)
    web.serve_forever()


def serve_webdav(folder: str):
    from cheroot import wsgi
    from wsgidav.wsgidav_app import WsgiDAVApp

    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": folder},
            "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
            "verbose": 0,
            "logging": {"enable": False},
        }
    )
    web = wsgi.Server(("127.0.0.1", 0), app)
    web.prepare()
    print(f"serving {web.bind_addr[1]}", flush=True)
    web.serve()


def serve_ssh(folder: str, keys: str):
    import asyncio

    import asyncssh

    async def run():
        listener = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[f"{keys}/host"],
            authorized_client_keys=f"{keys}/user.pub",
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=os.fsencode(folder)),
        )
        print(f"serving {listener.get_port()}", flush=True)
        await listener.wait_closed()

    asyncio.run(run())


if __name__ == "__main__":
    {"s3": serve_s3, "webdav": serve_webdav, "ssh": serve_ssh, "git": serve_git}[sys.argv[1]](*sys.argv[2:])
