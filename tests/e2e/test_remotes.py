"""DVC's remotes: what the real `dvc push` put there is read, and what `dds` puts there is pulled."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest
import stores
from repositories import dvc, git, write

FILES = {f"set/{n:02}/größe {n}.bin": bytes([n]) * (1000 + n) for n in range(40)}
# Larger than what is fetched whole.
BIG = bytes(range(256)) * 40_000


def make(folder: Path, env: dict[str, str], configure) -> dict[str, bytes]:
    """A repository whose objects are in the remote that `configure` sets up, and nowhere else."""
    files = FILES | {"big.bin": BIG, "README.md": b"# Art\n"}
    git(folder.parent, "init", "--quiet", "--initial-branch", "main", str(folder), env=env)
    dvc(folder, "init", "--quiet", env=env)
    write(folder, files)
    dvc(folder, "add", "--quiet", "set", "big.bin", env=env)
    configure(folder)
    git(folder, "add", "--all", env=env)
    git(folder, "commit", "--quiet", "--message", "Sample", env=env)
    dvc(folder, "push", "--quiet", env=env)
    shutil.rmtree(folder / ".dvc/cache")
    return files


def listing(dds, target: str) -> dict[str, int]:
    return {e["path"]: e["size"] for e in json.loads(dds.ok("ls", target, "--recursive", "--json"))["entries"]}


def check(dds, env, folder: Path, files: dict[str, bytes], tmp_path: Path, local_settings: bool = True):
    """Reading, cloning with data and uploading, with the real `dvc` on the other side."""
    sizes = listing(dds, f"{folder}@main:")
    assert {p: sizes[p] for p in files} == {p: len(b) for p, b in files.items()}
    dds.ok("clone", folder, tmp_path / "ours", "--data")
    assert {p: (tmp_path / "ours" / p).read_bytes() for p in files} == files
    assert json.loads(dvc(tmp_path / "ours", "status", "--json", env=env)) == {}
    (tmp_path / "new one.bin").write_bytes(b"\0new")
    dds.ok("upload", tmp_path / "new one.bin", "--to", folder / "set", "--message", "New")
    git(tmp_path, "clone", "--quiet", str(folder), "theirs", env=env)
    if local_settings:
        shutil.copy(folder / ".dvc/config.local", tmp_path / "theirs/.dvc/config.local")
    dvc(tmp_path / "theirs", "pull", "--quiet", env=env)
    assert (tmp_path / "theirs/set/new one.bin").read_bytes() == b"\0new"
    assert {p: (tmp_path / "theirs" / p).read_bytes() for p in files} == files


@pytest.fixture(scope="module")
def s3(env):
    with stores.s3(env) as store:
        yield store


@pytest.mark.parametrize("where", ["config.local", "environment", "profile"])
def test_s3(s3, dds, env, tmp_path, where):
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    if where == "environment":
        env = env | {"AWS_ACCESS_KEY_ID": s3.key, "AWS_SECRET_ACCESS_KEY": s3.secret}
    elif where == "profile":
        keys = f"[work]\naws_access_key_id = {s3.key}\naws_secret_access_key = {s3.secret}\n"
        (home / ".aws/credentials").write_text(keys)
        env = env | {"HOME": str(home)}

    def configure(folder: Path):
        dvc(folder, "remote", "add", "--default", "store", f"{s3.url}/{where}", env=env)
        dvc(folder, "remote", "modify", "store", "endpointurl", s3.endpoint, env=env)
        if where == "config.local":
            dvc(folder, "remote", "modify", "--local", "store", "access_key_id", s3.key, env=env)
            dvc(folder, "remote", "modify", "--local", "store", "secret_access_key", s3.secret, env=env)
        if where == "profile":
            dvc(folder, "remote", "modify", "store", "profile", "work", env=env)

    folder = tmp_path / "art"
    files = make(folder, env, configure)
    assert any(k.startswith(f"deep/er/{where}/files/md5/") for k in s3.keys())
    dds = dds.with_env(**env)
    check(dds, env, folder, files, tmp_path, local_settings=where == "config.local")


def test_s3_signatures_are_what_botocore_computes(dds, env, tmp_path):
    """Every kind of request, against a server that checks; a wrong key is refused and not shown."""
    with stores.s3(env, strict=True) as s3:
        keys = {"AWS_ACCESS_KEY_ID": s3.key, "AWS_SECRET_ACCESS_KEY": s3.secret}
        remote = tmp_path / "remote"

        def configure(folder: Path):
            dvc(folder, "remote", "add", "--default", "store", str(remote), env=env)

        folder = tmp_path / "art"
        files = make(folder, env, configure)
        for file in (f for f in remote.rglob("*") if f.is_file()):
            key = f"deep/er/{file.relative_to(remote)}"
            s3.client().put_object(Bucket=stores.BUCKET, Key=key, Body=file.read_bytes())
        dvc(folder, "remote", "add", "--default", "--force", "store", s3.url, env=env)
        dvc(folder, "remote", "modify", "store", "endpointurl", s3.endpoint, env=env)
        shutil.rmtree(remote)
        signed = dds.with_env(**keys)
        sizes = listing(signed, f"{folder}@main:")
        assert {p: sizes[p] for p in files} == {p: len(b) for p, b in files.items()}
        signed.ok("clone", folder, tmp_path / "ours", "--data")
        assert {p: (tmp_path / "ours" / p).read_bytes() for p in files} == files
        (tmp_path / "new one.bin").write_bytes(b"\0new")
        before = s3.keys()
        signed.ok("upload", tmp_path / "new one.bin", "--to", folder / "set", "--message", "New")
        assert len(s3.keys() - before) == 2
        empty = signed.with_env(DDS_CACHE=str(tmp_path / "empty"), AWS_SECRET_ACCESS_KEY="hunter2hunter2")
        done = empty.run("cat", f"{folder}@main:set/03/größe 3.bin")
        assert done.returncode != 0 and "hunter2" not in done.stdout + done.stderr
        assert "403" in done.stderr, done.stderr
        nobody = dds.with_env(DDS_CACHE=str(tmp_path / "empty")).run("clone", folder, tmp_path / "x", "--data")
        assert nobody.returncode != 0 and "AWS_ACCESS_KEY_ID" in nobody.stderr


def test_s3_with_versions_of_its_own(dds, env, tmp_path):
    """A version-aware remote keeps files under their own names; `.dvc` files list them in place."""
    with stores.s3(env, versioned=True) as s3:
        keys = {"AWS_ACCESS_KEY_ID": s3.key, "AWS_SECRET_ACCESS_KEY": s3.secret}

        def configure(folder: Path):
            dvc(folder, "remote", "add", "--default", "store", s3.url, env=env)
            dvc(folder, "remote", "modify", "store", "endpointurl", s3.endpoint, env=env)
            dvc(folder, "remote", "modify", "store", "version_aware", "true", env=env)

        folder = tmp_path / "art"
        files = make(folder, env | keys, configure)
        # `dvc push` writes the versions into the .dvc files.
        git(folder, "commit", "--quiet", "--all", "--message", "Pushed", env=env)
        assert "files:" in (folder / "set.dvc").read_text()
        assert "deep/er/big.bin" in s3.keys()
        s3.client().put_object(Bucket=stores.BUCKET, Key="deep/er/big.bin", Body=b"another version")
        dds = dds.with_env(**keys)
        sizes = listing(dds, f"{folder}@main:")
        assert sizes["big.bin"] == len(BIG) and sizes["set/07/größe 7.bin"] == 1007
        dds.ok("clone", folder, tmp_path / "ours", "--data")
        assert {p: (tmp_path / "ours" / p).read_bytes() for p in files} == files


def test_google_cloud_storage(dds, env, tmp_path):
    account, remote = tmp_path / "account", tmp_path / "remote"
    account.mkdir()
    with stores.gs(env, account) as gs:
        folder = tmp_path / "art"
        files = make(folder, env, lambda f: dvc(f, "remote", "add", "--default", "store", str(remote), env=env))
        for file in (f for f in remote.rglob("*") if f.is_file()):
            gs.put(f"deep/er/{file.relative_to(remote)}", file.read_bytes())
        shutil.rmtree(remote)
        url = f"gs://{stores.BUCKET}/deep/er"
        dvc(folder, "remote", "add", "--default", "--force", "store", url, env=env)
        dvc(folder, "remote", "modify", "--local", "store", "endpointurl", gs.endpoint, env=env)
        dvc(folder, "remote", "modify", "--local", "store", "credentialpath", str(gs.credentials), env=env)
        sizes = listing(dds, f"{folder}@main:")
        assert {p: sizes[p] for p in files} == {p: len(b) for p, b in files.items()}
        dds.ok("clone", folder, tmp_path / "ours", "--data")
        assert {p: (tmp_path / "ours" / p).read_bytes() for p in files} == files
        (tmp_path / "new one.bin").write_bytes(b"\0new")
        before = gs.keys()
        dds.ok("upload", tmp_path / "new one.bin", "--to", folder / "set", "--message", "New")
        added = gs.keys() - before
        assert len(added) == 2 and all(k.startswith("deep/er/files/md5/") for k in added)
        empty = dds.with_env(DDS_CACHE=str(tmp_path / "empty"))
        # Another key of the same account: refused, and not shown.
        other = tmp_path / "other"
        other.mkdir()
        with stores.gs(env, other) as theirs:
            wrong = json.loads(theirs.credentials.read_text())
            wrong["token_uri"] = f"{gs.endpoint}/token"
            gs.credentials.write_text(json.dumps(wrong))
        done = empty.run("clone", folder, tmp_path / "x", "--data")
        assert done.returncode != 0 and "Signature verification failed" in done.stderr, done.stderr
        assert "gcloud" in done.stderr and wrong["private_key"][40:80] not in done.stderr


@pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="Azurite needs node and npm")
@pytest.mark.parametrize("where", ["connection_string", "environment", "sas_token"])
def test_azure(dds, env, tmp_path, where):
    with stores.azure(env) as azure:
        text = azure.connection_string
        if where == "environment":
            env = env | {"AZURE_STORAGE_CONNECTION_STRING": text}
        if where == "sas_token":
            from datetime import UTC, datetime, timedelta

            from azure.storage.blob import ContainerSasPermissions, generate_container_sas

            client = azure.container()
            token = generate_container_sas(
                client.account_name,
                stores.BUCKET,
                account_key=stores.AZURITE_KEY,
                permission=ContainerSasPermissions(read=True, write=True, list=True, create=True, delete=True),
                expiry=datetime.now(UTC) + timedelta(hours=1),
            )
            endpoint = client.primary_endpoint.removesuffix(f"/{stores.BUCKET}")
            text = f"BlobEndpoint={endpoint};SharedAccessSignature={token}"

        def configure(folder: Path):
            dvc(folder, "remote", "add", "--default", "store", f"azure://{stores.BUCKET}/deep/er", env=env)
            if where != "environment":
                dvc(folder, "remote", "modify", "--local", "store", "connection_string", text, env=env)

        folder = tmp_path / "art"
        files = make(folder, env, configure)
        assert any(b.name.startswith("deep/er/files/md5/") for b in azure.container().list_blobs())
        dds = dds.with_env(**env)
        check(dds, env, folder, files, tmp_path, local_settings=where != "environment")
        if where == "environment":
            wrong = text.replace(stores.AZURITE_KEY, "aHVudGVyMmh1bnRlcjI=")
            empty = dds.with_env(DDS_CACHE=str(tmp_path / "empty"), AZURE_STORAGE_CONNECTION_STRING=wrong)
            done = empty.run("clone", folder, tmp_path / "x", "--data")
            assert done.returncode != 0 and "403" in done.stderr and "aHVudGVy" not in done.stderr, done.stderr


def test_webdav(dds, env, tmp_path):
    # The client of dvc does not make the folder of the URL.
    (tmp_path / "dav/deep/er").mkdir(parents=True)
    with stores.webdav(env, tmp_path / "dav") as host:

        def configure(folder: Path):
            dvc(folder, "remote", "add", "--default", "dav", f"webdav://{host}/deep/er", env=env)
            dvc(folder, "remote", "modify", "dav", "user", stores.USER, env=env)
            dvc(folder, "remote", "modify", "--local", "dav", "password", stores.PASSWORD, env=env)

        files = make(tmp_path / "art", env, configure)
        check(dds, env, tmp_path / "art", files, tmp_path)
        assert not list((tmp_path / "dav").rglob("*.tmp"))
        wrong = tmp_path / "art/.dvc/config.local"
        wrong.write_text(wrong.read_text().replace(stores.PASSWORD, "hunter2"))
        done = dds.with_env(DDS_CACHE=str(tmp_path / "empty")).run("clone", tmp_path / "art", tmp_path / "x", "--data")
        assert done.returncode != 0 and "401" in done.stderr and "hunter2" not in done.stderr


@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh program")
def test_ssh(dds, env, tmp_path):
    (tmp_path / "sftp").mkdir()
    keys = tmp_path / "keys"
    with stores.ssh(env, tmp_path / "sftp", keys) as port:

        def configure(folder: Path):
            dvc(folder, "remote", "add", "--default", "far", f"ssh://{stores.USER}@127.0.0.1:{port}/deep/er", env=env)
            dvc(folder, "remote", "modify", "--local", "far", "keyfile", str(keys / "user"), env=env)

        # The real program, told not to look into this machine's own settings.
        host = (keys / "host.pub").read_text().split()
        (keys / "known").write_text(f"[127.0.0.1]:{port} {host[0]} {host[1]}\n")
        (keys / "config").write_text(f"UserKnownHostsFile {keys}/known\nStrictHostKeyChecking yes\n")
        wrapper = tmp_path / "bin/ssh"
        wrapper.parent.mkdir()
        wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {keys}/config "$@"\n')
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
        dds = dds.with_env(PATH=f"{wrapper.parent}{os.pathsep}{env['PATH']}")

        files = make(tmp_path / "art", env, configure)
        check(dds, env, tmp_path / "art", files, tmp_path)
        assert not list((tmp_path / "sftp").rglob("*.tmp"))
        (keys / "known").write_text("")
        empty = dds.with_env(DDS_CACHE=str(tmp_path / "empty"))
        done = empty.run("clone", tmp_path / "art", tmp_path / "x", "--data")
        assert done.returncode != 0 and "Host key verification failed" in done.stderr, done.stderr
