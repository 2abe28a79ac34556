"""What the data benchmark reads: 2,000 drawn photographs and a file of 500 MB kept by the real `dvc`, a folder of
100,000 entries, and a sparse file of 10 GB whose DVC files are written here."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from measured import tell
from repositories import dvc, git

PHOTOS = 2000
FOLDERS = 20
LARGE = "large.bin"
LARGE_BYTES = 500_000_000
ENTRIES = 100_000
HUGE = "huge.bin"
HUGE_BYTES = 10_000_000_000
# md5 of that many zeros: `head -c 10000000000 /dev/zero | md5sum`.
HUGE_MD5 = "2213b2de79c457359da646cdd78f840c"
OWNER = "bench"


@dataclass
class Site:
    """The folder that `dds serve` serves, and what its repository of photographs holds."""

    folder: Path
    # Path inside the repository → MD5, in the order of a listing.
    photos: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    large_md5: str = ""

    @property
    def photographs(self) -> Path:
        return self.folder / OWNER / "photos"

    @property
    def dvc_objects(self) -> Path:
        return self.photographs / ".dvc" / "cache"

    def bytes(self) -> int:
        return sum(self.sizes.values())


def photograph(number: int) -> bytes:
    """A JPEG of 10 to 60 KB: smooth noise, as of sky and leaves, with shapes before it."""
    from PIL import Image, ImageDraw

    chance = random.Random(number)
    width, height = chance.choice([(320, 240), (400, 300), (480, 320), (500, 375)])
    coarse = chance.choice([2, 2, 3, 4])
    small = (width // coarse, height // coarse)
    noise = Image.frombytes("RGB", small, chance.randbytes(small[0] * small[1] * 3))
    picture = noise.resize((width, height), Image.Resampling.BICUBIC)
    plain = Image.new("RGB", (width, height), tuple(chance.randbytes(3)))
    picture = Image.blend(plain, picture, chance.uniform(0.2, 0.45))
    draw = ImageDraw.Draw(picture)
    for _ in range(8):
        left, top = chance.randrange(width), chance.randrange(height)
        box = (left, top, left + chance.randrange(20, 120), top + chance.randrange(20, 120))
        chance.choice([draw.ellipse, draw.rectangle])(box, fill=tuple(chance.randbytes(3)))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=chance.randrange(70, 90))
    return written.getvalue()


def photographs() -> dict[str, bytes]:
    with ProcessPoolExecutor() as pool:
        drawn = pool.map(photograph, range(PHOTOS), chunksize=50)
        per_folder = PHOTOS // FOLDERS
        return {f"photos/{n // per_folder:02}/{n % per_folder:03}.jpg": jpeg for n, jpeg in enumerate(drawn)}


def make_site(folder: Path, env: dict[str, str]) -> Site:
    site = Site(folder)
    tell(f"drawing {PHOTOS} photographs")
    repository = site.photographs
    repository.mkdir(parents=True)
    for path, jpeg in photographs().items():
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_bytes(jpeg)
        site.photos[path] = hashlib.md5(jpeg).hexdigest()
        site.sizes[path] = len(jpeg)
    whole, chance = hashlib.md5(), random.Random(500)
    with open(repository / LARGE, "wb") as file:
        for _ in range(LARGE_BYTES // 10_000_000):
            part = chance.randbytes(10_000_000)
            whole.update(part)
            file.write(part)
    site.large_md5 = whole.hexdigest()
    tell(f"{site.bytes() / 1e6:.0f} MB of photographs and {LARGE_BYTES / 1e6:.0f} MB in one file go into DVC")
    git(repository, "init", "--quiet", "--initial-branch", "main", env=env)
    dvc(repository, "init", "--quiet", env=env)
    dvc(repository, "add", "--quiet", "photos", LARGE, env=env)
    commit(repository, env)
    tell(f"a folder of {ENTRIES} entries, and a file of {HUGE_BYTES / 1e9:.0f} GB")
    make_listing(folder / OWNER / "listing", env)
    make_huge(folder / OWNER / "huge", env)
    return site


def commit(repository: Path, env: dict[str, str]):
    git(repository, "add", "--all", env=env)
    git(repository, "commit", "--quiet", "--message", "Data", env=env)


def started(repository: Path, env: dict[str, str]) -> Path:
    """A repository without data; gives the folder of its DVC objects."""
    repository.mkdir(parents=True)
    git(repository, "init", "--quiet", "--initial-branch", "main", env=env)
    dvc(repository, "init", "--quiet", env=env)
    objects = repository / ".dvc" / "cache" / "files" / "md5"
    objects.mkdir(parents=True)
    return objects


def stored(objects: Path, digest: str) -> Path:
    path = objects / digest[:2] / digest[2:]
    path.parent.mkdir(exist_ok=True)
    return path


def make_listing(repository: Path, env: dict[str, str]):
    """One folder of many entries; a hundred of them have one object."""
    objects = started(repository, env)
    digests, size = [], 0
    for number in range(ENTRIES // 100):
        text = f"{number}\n".encode()
        digests.append(hashlib.md5(text).hexdigest())
        stored(objects, digests[-1]).write_bytes(text)
        size += len(text) * 100
    entries = [{"md5": digests[n // 100], "relpath": f"{n:06}.txt"} for n in range(ENTRIES)]
    manifest = json.dumps(entries).encode()
    digest = hashlib.md5(manifest).hexdigest() + ".dir"
    stored(objects, digest).write_bytes(manifest)
    (repository / "many.dvc").write_text(
        f"outs:\n- md5: {digest}\n  size: {size}\n  nfiles: {ENTRIES}\n  hash: md5\n  path: many\n"
    )
    commit(repository, env)


def make_huge(repository: Path, env: dict[str, str]):
    """Sparse, so that only what a client keeps of it takes disk."""
    objects = started(repository, env)
    with open(stored(objects, HUGE_MD5), "wb") as file:
        os.truncate(file.fileno(), HUGE_BYTES)
    (repository / f"{HUGE}.dvc").write_text(
        f"outs:\n- md5: {HUGE_MD5}\n  size: {HUGE_BYTES}\n  hash: md5\n  path: {HUGE}\n"
    )
    commit(repository, env)
