"""Real servers that keep DVC's objects, S3 (moto), Google Cloud Storage (gcp-storage-emulator), Azure (Azurite),
WebDAV (wsgidav) and SSH (asyncssh), or repositories (Git).

Run as a program, this file is one of the servers that must live in a process of their own.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from processes import Foreground

BUCKET = "store"
AZURITE = "3.35.0"
# The same in every emulator of Azure: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
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


@dataclass
class Gs:
    endpoint: str
    # A service account, as Google hands it out.
    credentials: Path

    def keys(self) -> set[str]:
        with urllib.request.urlopen(f"{self.endpoint}/keys") as answer:
            return set(json.load(answer))

    def put(self, key: str, content: bytes):
        """As somebody else would, who needs no token."""
        path = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quote(key, safe='')}"
        request = urllib.request.Request(f"{self.endpoint}/others{path}", content, method="POST")
        request.add_header("Content-Type", "application/octet-stream")
        urllib.request.urlopen(request).close()


@contextlib.contextmanager
def gs(env: dict[str, str], folder: Path):
    """Google Cloud Storage, played by an emulator behind a server that wants a token and hands it out for a
    signature of the service account whose file it writes into `folder`."""
    with server("gs", folder, env=env) as port:
        yield Gs(f"http://127.0.0.1:{port}", folder / "account.json")


def serve_gs(folder: str):
    import secrets
    import time
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from urllib.parse import parse_qs

    import gcp_storage_emulator.server as emulator
    import jwt
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    inner = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    inner.start()
    inner_port = inner._api._httpd.server_port
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = secrets.token_hex(16)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status: int, body: bytes, headers: dict[str, str]):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self):
            body = whole_body(self)
            kind = {"Content-Type": "application/json"}
            if self.path == "/token":
                asked = parse_qs(body.decode())["assertion"][0]
                try:
                        claims = jwt.decode(asked, key.public_key(), algorithms=["RS256"], audience=f"{own}/token")
                except jwt.InvalidTokenError as error:
                    said = {"error": "invalid_grant", "error_description": str(error)}
                    return self.answer(400, json.dumps(said).encode(), kind)
                assert claims["iss"] == "tester@example.iam" and claims["exp"] - claims["iat"] <= 3600
                assert abs(claims["iat"] - time.time()) < 600 and "devstorage" in claims["scope"]
                granted = {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}
                return self.answer(200, json.dumps(granted).encode(), kind)
            if self.path == "/keys":
                names = [o["name"] for o in inner._storage.get_file_list(BUCKET, None, None)[0]]
                return self.answer(200, json.dumps(names).encode(), kind)
            path = self.path.removeprefix("/others")
            if path == self.path and self.headers.get("Authorization") != f"Bearer {token}":
                return self.answer(401, b'{"error": {"code": 401, "message": "Login Required"}}', kind)
            own_headers = ("host", "authorization", "content-length", "transfer-encoding")
            forwarded = {n: v for n, v in self.headers.items() if n.lower() not in own_headers}
            connection = http.client.HTTPConnection("127.0.0.1", inner_port)
            connection.request(self.command, path, body, forwarded | {"Host": self.headers["Host"]})
            got = connection.getresponse()
            dropped = ("content-length", "transfer-encoding", "connection", "server", "date")
            headers = {n: v for n, v in got.getheaders() if n.lower() not in dropped}
            return self.answer(got.status, got.read(), headers)

        do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = do_GET

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    own = f"http://127.0.0.1:{web.server_port}"
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "project_id": "test",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "tester@example.iam",
        "client_id": "1",
        "token_uri": f"{own}/token",
    }
    Path(folder, "account.json").write_text(json.dumps(account))
    print(f"serving {web.server_port}", flush=True)
    web.serve_forever()


@dataclass
class Azure:
    connection_string: str

    def container(self):
        from azure.storage.blob import ContainerClient

        return ContainerClient.from_connection_string(self.connection_string, BUCKET)


def azurite() -> list[str] | None:
    """How to start Azurite, which is installed once; none on a machine without node and npm."""
    if not (shutil.which("node") and shutil.which("npm")):
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / f"dds-tests/azurite-{AZURITE}"
    program = home / "node_modules/azurite/dist/src/blob/main.js"
    if not program.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as fresh:
            command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", fresh, f"azurite@{AZURITE}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            with contextlib.suppress(OSError):  # Somebody else was faster.
                os.rename(fresh, home)
    return ["node", str(program)]


@contextlib.contextmanager
def azure(env: dict[str, str]):
    """Azure Blob Storage, played by Azurite, with one container."""
    program = azurite()
    assert program is not None
    ports = ["--blobHost", "127.0.0.1", "--blobPort", "0"]
    with (
        tempfile.TemporaryDirectory() as folder,
        Foreground([*program, *ports, "--location", folder, "--disableTelemetry", "--skipApiVersionCheck"], env=env, cwd=Path(folder)) as process,
    ):
        address = process.line_with("Azurite Blob service successfully listens on ").strip()
        account, key = "devstoreaccount1", AZURITE_KEY
        text = f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};BlobEndpoint={address}/{account};"
        store = Azure(text)
        store.container().create_container()
        yield store


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


def whole_body(handler) -> bytes:
    """The body of a request, which may come in chunks."""
    if handler.headers.get("Transfer-Encoding") != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    parts = []
    while size := int(handler.rfile.readline(), 16):
        parts.append(handler.rfile.read(size))
        handler.rfile.readline()
    handler.rfile.readline()
    return b"".join(parts)


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
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    before_push, lose_answer = Path(folder, "before-push"), Path(folder, "lose-answer")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status: int, headers: list[tuple[str, str]], body: bytes):
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            body = whole_body(self)
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
    {"s3": serve_s3, "webdav": serve_webdav, "ssh": serve_ssh, "git": serve_git, "gs": serve_gs}[sys.argv[1]](*sys.argv[2:])
