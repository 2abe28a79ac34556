"""Real servers that keep DVC's objects: S3 (moto), WebDAV (wsgidav) and SSH (asyncssh).

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
    {"s3": serve_s3, "webdav": serve_webdav, "ssh": serve_ssh}[sys.argv[1]](*sys.argv[2:])
