"""Pictures packed into .tar shards: the same pictures make the same bytes, and what is packed already is left alone.

A shard begins with a pax header that holds the SHA-256 of its names and sizes; so a second call, which may be one after
an interruption, packs only what is missing or has changed since.
"""

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import IO, Any, Protocol

from botocore.exceptions import ClientError

from ics.batches import MAX_RANGE
from ics.shards import MAX_MEMBER_NAME, is_picture

COMMENT = "ics-shard-sha256="
"""Before the digest, in the comment of a shard's global header."""

_HEAD = 2048
"""Bytes of a shard in which its comment lies."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to pack: its name in the shard, its file, its bytes, and when it last changed, seconds since 1970."""

    name: str
    file: Path
    size: int
    changed: float


class Place(Protocol):
    """Where shards are put."""

    def head(self, name: str) -> tuple[bytes, float] | None:
        """The first bytes of a shard that is there, and when it was written (seconds since 1970), or None."""

    def put(self, name: str, shard: IO[bytes]) -> None:
        """Put a whole shard there, or none of it."""


class Folder:
    """A local folder, made where it does not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def head(self, name: str) -> tuple[bytes, float] | None:
        """As `Place` says."""
        path = self._path / name
        if not path.exists():
            return None
        with path.open("rb") as shard:
            return shard.read(_HEAD), path.stat().st_mtime

    def put(self, name: str, shard: IO[bytes]) -> None:
        """As `Place` says."""
        self._path.mkdir(parents=True, exist_ok=True)
        unfinished = self._path / f".{name}.unfinished"
        with unfinished.open("wb") as written:
            while chunk := shard.read(1024 * 1024):
                written.write(chunk)
        unfinished.replace(self._path / name)


class Bucket:
    """A prefix in S3."""

    def __init__(self, s3: Any, bucket: str, prefix: str) -> None:
        self._s3, self._bucket, self._prefix = s3, bucket, prefix

    def head(self, name: str) -> tuple[bytes, float] | None:
        """As `Place` says."""
        try:
            found = self._s3.get_object(Bucket=self._bucket, Key=self._prefix + name, Range=f"bytes=0-{_HEAD - 1}")
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "InvalidRange"):
                return None
            raise
        return found["Body"].read(), found["LastModified"].astimezone(UTC).timestamp()

    def put(self, name: str, shard: IO[bytes]) -> None:
        """As `Place` says."""
        self._s3.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=shard)


def pictures_in(folder: Path) -> tuple[list[Picture], int]:
    """The pictures in a folder and those below it, by name, and how many other files there are.

    Raises:
        NotADirectoryError: there is no such folder.
        ValueError: a name is too long for a shard, or is no Unicode.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder")
    found, others = [], 0
    for file in folder.rglob("*"):
        if not file.is_file():
            continue
        name = file.relative_to(folder).as_posix()
        if not is_picture(name):
            others += 1
            continue
        if len(name) > MAX_MEMBER_NAME or not name.isprintable():
            raise ValueError(
                f"{name!r} cannot be packed: rename it to at most {MAX_MEMBER_NAME:,} printable characters"
            )
        status = file.stat()
        found.append(Picture(name, file, status.st_size, status.st_mtime))
    return sorted(found, key=lambda picture: picture.name), others


def cut(pictures: Sequence[Picture], images_per_shard: int, most_bytes: int = MAX_RANGE) -> Iterator[list[Picture]]:
    """Groups of at most so many pictures and bytes, headers included, in order: a batch reads no more at once."""
    group: list[Picture] = []
    size = 0
    for picture in pictures:
        room = 3 * tarfile.BLOCKSIZE + -(-picture.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        if group and (len(group) == images_per_shard or size + room > most_bytes):
            yield group
            group, size = [], 0
        group.append(picture)
        size += room
    if group:
        yield group


def pack(groups: Sequence[Sequence[Picture]], stem: str, place: Place, done: Callable[[int], None]) -> tuple[int, int]:
    """Pack each group into the shard `<stem>-<number>.tar`; return how many were made, and how many were there.

    Args:
        groups: the pictures of each shard.
        stem: what the shards' names begin with.
        place: where they are put.
        done: called with each shard's number of pictures.

    Raises:
        OSError: a picture cannot be read, or has changed while it was packed.
    """
    made = 0
    for number, group in enumerate(groups):
        name, digest = f"{stem}-{number:06}.tar", digest_of(group)
        if not _is_there(place.head(name), digest, group):
            with tempfile.TemporaryFile() as shard:
                write_shard(shard, group, digest)
                shard.seek(0)
                place.put(name, shard)
            made += 1
        done(len(group))
    return made, len(groups) - made


def digest_of(group: Sequence[Picture]) -> str:
    """SHA-256 of the names and sizes, a line each."""
    return hashlib.sha256("".join(f"{picture.size} {picture.name}\n" for picture in group).encode()).hexdigest()


def write_shard(shard: IO[bytes], group: Sequence[Picture], digest: str) -> None:
    """A pax tar of the pictures that depends on nothing but their names and bytes.

    Raises:
        OSError: a picture cannot be read, or has changed meanwhile.
    """
    said = {"comment": COMMENT + digest}
    with tarfile.open(fileobj=shard, mode="w", format=tarfile.PAX_FORMAT, pax_headers=said) as archive:
        for picture in group:
            content = picture.file.read_bytes()
            if len(content) != picture.size:
                raise OSError(f"{picture.file} has changed while it was packed; run it again")
            member = tarfile.TarInfo(picture.name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))


def _is_there(head: tuple[bytes, float] | None, digest: str, group: Sequence[Picture]) -> bool:
    """Whether a shard of the same names and sizes was written after all its pictures."""
    if head is None:
        return False
    content, written = head
    return (COMMENT + digest).encode() in content and all(picture.changed <= written for picture in group)
