"""What a tar archive holds, from its headers alone: ustar, pax, GNU and v7, whatever a stranger wrote into them.

Sources: POSIX.1-2017, "pax", "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar Format".

Python's own reader ends in silence at a header that it cannot read, and takes as much memory as a header claims. Here
whatever is not read to its end raises, and no header takes more than `MAX_EXTENDED` bytes.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

BLOCK = 512
"""Headers and data begin at multiples of it."""

MAX_EXTENDED = 1024 * 1024
"""Bytes of a pax header or a GNU long name; their use is a path, of at most some KiB."""

Kind = Literal["file", "folder", "link", "sparse", "other"]
Read = Callable[[int, int], bytes]
"""`(offset, length)` -> so many bytes of the archive, fewer only where it ends. Offsets only rise."""

_ZEROS = bytes(BLOCK)
_WITHOUT_DATA: dict[bytes, Kind] = {
    b"1": "link", b"2": "link", b"3": "other", b"4": "other", b"5": "folder", b"6": "other",
}  # fmt: skip
_WITH_DATA: dict[bytes, Kind] = {b"D": "other", b"M": "other", b"N": "other", b"S": "sparse", b"V": "other"}
_OCTAL = re.compile(rb" *([0-7]*) *")
_DIGITS = re.compile(rb"[0-9]{1,20}")
_RECORD = re.compile(rb"([0-9]{1,7}) ")


class BrokenArchive(ValueError):
    """The archive cannot be read beyond a byte that the message names."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One member: its name as written, bytes that are no UTF-8 in hexadecimal, and where its `size` bytes lie."""

    name: str
    kind: Kind
    offset: int
    size: int


@dataclass(slots=True)
class _Extended:
    """What extended headers say of the member that follows; None where they say nothing."""

    name: bytes | None = None
    size: int | None = None
    sparse: bool = False


def entries(read: Read, total: int) -> Iterator[Entry]:
    """The members, in order, in constant memory. Archives that were joined end to end are read to the last one's end.

    Global pax headers, and what extended ones say beside name, size and sparseness, are passed over.

    Args:
        read: reads the archive.
        total: the archive's size in bytes.

    Raises:
        BrokenArchive: after the last member that is whole: a header is damaged, or the archive ends too early, or
            without the zeros that end it, so that it may be cut.
    """
    at, ended, extended = 0, False, None
    while at < total:
        block = read(at, BLOCK)
        if len(block) < BLOCK:
            raise BrokenArchive(f"it ends within the header at byte {at:,}")
        ended = block == _ZEROS
        if ended:
            if extended is not None:
                raise BrokenArchive(f"at byte {at:,} it ends, behind a header without the member that this is about")
            at += BLOCK
            continue
        kind = block[156:157]
        size = _size(block, at)
        start = at + BLOCK
        if kind in b"xXLKg":
            data = _data(read, start, size, total)
            extended = extended if kind == b"g" else _said(kind, data, extended, start)
            at = start + _padded(size)
            continue
        found = _member(block, size, extended or _Extended())
        if kind == b"S":
            start = _after_sparse_map(read, block, start)
        if start + found.size > total:
            raise BrokenArchive(f"it ends within the member whose header is at byte {at:,}")
        yield Entry(found.name, found.kind, start, found.size)
        at, extended = start + _padded(found.size), None
    if not ended:
        raise BrokenArchive(f"it ends at byte {total:,} without the zeros that end an archive: it may be cut")


def _member(block: bytes, size: int, extended: _Extended) -> Entry:
    """The member of a header, but for its offset."""
    name = extended.name or _text(block[:100])
    if extended.name is None and block[257:263] == b"ustar\0" and block[345]:
        name = _text(block[345:500]) + b"/" + name
    code = block[156:157]
    kind: Kind = _WITHOUT_DATA.get(code) or _WITH_DATA.get(code) or "file"
    if code == b"\0" and name.endswith(b"/"):
        kind = "folder"  # as v7 has it
    if extended.sparse:
        kind = "sparse"
    size = 0 if kind == "folder" or code in _WITHOUT_DATA else size if extended.size is None else extended.size
    return Entry(name.decode("utf-8", "backslashreplace"), kind, 0, size)


def _size(block: bytes, at: int) -> int:
    """The size in a header whose checksum is right; some old writers summed signed bytes."""
    counted = block[:148] + block[156:]
    total = 256 + sum(counted)
    try:
        wanted = _number(block[148:156])
        if wanted != total and wanted != total - 256 * sum(byte > 127 for byte in counted):
            raise ValueError
        return _number(block[124:136])
    except ValueError:
        raise BrokenArchive(f"at byte {at:,} there is no tar header") from None


def _number(field: bytes) -> int:
    """A number as a header writes it: octal digits, or, where it is large, its bytes behind 0x80."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    match = _OCTAL.fullmatch(field.partition(b"\0")[0])
    if not match:
        raise ValueError(field)
    return int(match[1] or b"0", 8)


def _said(kind: bytes, data: bytes, before: _Extended | None, start: int) -> _Extended:
    """What this extended header adds to those before it."""
    extended = before or _Extended()
    if kind == b"L":
        extended.name = _text(data)
    elif kind in b"xX":
        records = _records(data, start)
        size = records.get(b"size")
        if size is not None and not _DIGITS.fullmatch(size):
            raise BrokenArchive(f"the extended header at byte {start:,} says no size")
        extended.size = extended.size if size is None else int(size)
        extended.name = records.get(b"GNU.sparse.name") or records.get(b"path") or extended.name
        extended.sparse = extended.sparse or any(name.startswith(b"GNU.sparse.") for name in records)
    return extended


def _records(data: bytes, start: int) -> dict[bytes, bytes]:
    """`<length> <name>=<value>` lines, whose length counts all of the line."""
    records, at = {}, 0
    while at < len(data) and data[at]:
        match = _RECORD.match(data, at)
        end = at + int(match[1]) if match else 0
        if not match or not match.end() < end <= len(data) or data[end - 1] != 0x0A:
            raise BrokenArchive(f"the extended header at byte {start:,} is damaged")
        name, _, value = data[match.end() : end - 1].partition(b"=")
        records[name] = value
        at = end
    return records


def _data(read: Read, start: int, size: int, total: int) -> bytes:
    if size > MAX_EXTENDED:
        raise BrokenArchive(f"the extended header at byte {start:,} claims {size:,} bytes")
    if start + size > total:
        raise BrokenArchive(f"it ends within the extended header at byte {start:,}")
    return read(start, size)


def _after_sparse_map(read: Read, block: bytes, start: int) -> int:
    """Where the data of an old GNU sparse file begin: behind the blocks that go on with its map."""
    more = block[482]
    while more:
        block = read(start, BLOCK)
        if len(block) < BLOCK:
            raise BrokenArchive(f"it ends within the map of a sparse file at byte {start:,}")
        more, start = block[504], start + BLOCK
    return start


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
