"""Tar archives: what Python's and GNU's writers make is read alike; whatever is damaged is said, never passed over."""

import io
import tarfile
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ics.tar import MAX_EXTENDED, BrokenArchive, Entry, entries

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
ZEROS = bytes(1024)


def packed(files: list[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def header(name: bytes = b"a.png", size: bytes = b"00000000000\0", kind: bytes = b"0") -> bytes:
    """A header with any size and kind, and the checksum that is right for it."""
    block = bytearray(512)
    block[: len(name)], block[124:136], block[148:156], block[156:157] = name, size, b" " * 8, kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def read(archive: bytes) -> list[Entry]:
    return list(entries(lambda offset, length: archive[offset : offset + length], len(archive)))


def broken(archive: bytes) -> tuple[list[Entry], str]:
    """The members before the break, and what was said of it."""
    found: list[Entry] = []
    with pytest.raises(BrokenArchive) as caught:
        found.extend(entries(lambda offset, length: archive[offset : offset + length], len(archive)))
    return found, str(caught.value)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=300)
FILES = st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=8)


@given(FILES, st.sampled_from(list(FORMATS.values())))
def test_what_python_packs_is_read_as_python_reads_it(files: list[tuple[str, bytes]], form: int) -> None:
    files = [(name.rstrip("/") or "x", content) for name, content in files]
    if form == tarfile.USTAR_FORMAT:
        files = [(name[:20], content) for name, content in files]
    archive = packed(files, form)
    found = read(archive)
    assert [(entry.name, archive[entry.offset : entry.offset + entry.size]) for entry in found] == files
    with tarfile.open(fileobj=io.BytesIO(archive)) as own:
        assert [(entry.name, entry.offset, entry.size) for entry in found] == [
            (member.name, member.offset_data, member.size) for member in own
        ]


@pytest.mark.parametrize("form", FORMATS)
def test_long_names_large_sizes_folders_and_links_are_told_apart(form: str) -> None:
    out = io.BytesIO()
    names = ["d" * 90 + "/" + "f" * 90, "folder", "link.png", "hard.png", "pipe", "last.png"]
    with tarfile.open(fileobj=out, mode="w", format=FORMATS[form]) as archive:
        kinds = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.REGTYPE)
        for name, kind in zip(names, kinds, strict=True):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "last.png" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            archive.addfile(info)
    found = read(out.getvalue())
    assert [entry.kind for entry in found] == ["file", "folder", "link", "link", "other", "file"]
    assert [entry.name.rstrip("/") for entry in found] == names


@pytest.mark.parametrize("wanted", [512, 2**33, 2**80])
def test_a_size_in_binary_is_read(wanted: int) -> None:
    archive, total = header(size=b"\x80" + wanted.to_bytes(11, "big")), 1024 + wanted
    assert next(entries(lambda offset, length: archive, total)) == Entry("a.png", "file", 512, wanted)


def test_a_sparse_file_and_its_map_are_passed_over_in_step() -> None:
    block = bytearray(header(b"s.png", b"00000001000\0", b"S"))
    block[482] = 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    more, last = bytearray(512), bytes(512)
    more[504] = 1
    archive = bytes(block) + bytes(more) + last + bytes(512) + header(b"b.png") + ZEROS
    assert [(entry.name, entry.kind) for entry in read(archive)] == [("s.png", "sparse"), ("b.png", "file")]
    record = b"22 GNU.sparse.major=1\n"
    archive = header(b"p", b"%011o\0" % len(record), b"x") + record.ljust(512, b"\0") + header(b"b.png") + ZEROS
    assert [(entry.name, entry.kind) for entry in read(archive)] == [("b.png", "sparse")]


def test_archives_joined_end_to_end_are_read_to_the_last_ones_end() -> None:
    archive = b"".join(packed([(f"{number}.png", b"x")]) for number in range(3))
    assert [entry.name for entry in read(archive)] == ["0.png", "1.png", "2.png"]


def test_a_name_that_is_no_utf8_is_shown_in_hexadecimal() -> None:
    assert [entry.name for entry in read(header(b"caf\xe9.png") + ZEROS)] == ["caf\\xe9.png"]


GOOD = packed([(f"{number}.png", bytes(700)) for number in range(4)], tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    ("archive", "members", "says"),
    [
        (b"", 0, "at byte 0 without the zeros"),
        (b"\x1f\x8b" + bytes(600), 0, "at byte 0 there is no tar header"),
        (GOOD[:100], 0, "within the header at byte 0"),
        (GOOD[: 512 + 699], 0, "within the member whose header is at byte 0"),
        (GOOD[: 3 * 1536 + 512], 3, "within the member whose header is at byte 4,608"),
        (GOOD[: 3 * 1536], 3, "without the zeros that end an archive"),
        (GOOD[: 3 * 1536 + 20], 3, "within the header at byte 4,608"),
        (GOOD[:1536] + b"rubbish".ljust(512) + GOOD[2048:], 1, "at byte 1,536 there is no tar header"),
        (GOOD + b"rubbish".ljust(512), 4, "there is no tar header"),
        (header(size=b"77777777777\0") + ZEROS, 0, "within the member"),
        (header(size=b"\x80" + b"\xff" * 11) + ZEROS, 0, "within the member"),
        (header(size=b"\xff" * 12) + ZEROS, 0, "no tar header"),
        (header(size=b"-0000000001\0") + ZEROS, 0, "no tar header"),
        (header(size=b"0o000000001\0") + ZEROS, 0, "no tar header"),
        (header(size=b"0_000000001\0") + ZEROS, 0, "no tar header"),
        (header(size=b"00010000000\0", kind=b"x") + bytes(3_000_000), 0, "claims 2,097,152 bytes"),
        (header(size=b"00010000000\0", kind=b"L") + bytes(3_000_000), 0, "claims 2,097,152 bytes"),
        (header(size=b"00000004000\0", kind=b"L") + ZEROS, 0, "within the extended header"),
        (header(size=b"00000000012\0", kind=b"x") + b"9 path=a\nx".ljust(512, b"\0") + ZEROS, 0, "is damaged"),
        (header(size=b"00000000012\0", kind=b"x") + b"99 path=a\n".ljust(512, b"\0") + ZEROS, 0, "is damaged"),
        (header(size=b"00000000012\0", kind=b"x") + b"0 path=ab\n".ljust(512, b"\0") + ZEROS, 0, "is damaged"),
        (header(size=b"00000000012\0", kind=b"x") + b"10 size=-\n".ljust(512, b"\0") + ZEROS, 0, "says no size"),
        (header(kind=b"x") + ZEROS, 0, "a header without the member"),
        (header(b"s.png", kind=b"S")[:482] + b"\1" + bytes(29), 0, "no tar header"),
    ],
)
def test_a_break_is_said_after_the_members_before_it(archive: bytes, members: int, says: str) -> None:
    found, said = broken(archive)
    assert len(found) == members
    assert says in said


@given(st.data())
def test_no_change_of_a_headers_byte_loses_a_member_in_silence(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, 3)) * 1536 + data.draw(st.integers(0, 511))
    changed = bytearray(GOOD)
    changed[place] = data.draw(st.integers(0, 255))
    try:
        found = read(bytes(changed))
    except BrokenArchive:
        return
    assert found == read(GOOD)  # another terminator of a number, or the same byte


@given(st.data())
def test_mutated_archives_are_read_or_broken_in_little_memory(data: st.DataObject) -> None:
    seeds = [GOOD, packed([("ж" * 120, b"x" * 600), ("b.png", b"")]), packed([("n" * 200, b"x")], tarfile.GNU_FORMAT)]
    archive = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(archive) - 1))
        archive[at : at + data.draw(st.integers(0, 600))] = data.draw(
            st.one_of(st.binary(max_size=20), st.sampled_from([b"", b"\x80", b"0", b"x", b"L", b"S", b"g", bytes(512)]))
        )
        archive = archive or bytearray(1)
    for start in range(0, len(archive) - 511, 512):  # past the checksum, where there is a header
        if archive[start + 257 : start + 262] == b"ustar" and data.draw(st.booleans()):
            archive[start + 148 : start + 156] = b" " * 8
            archive[start + 148 : start + 156] = b"%06o\0 " % sum(archive[start : start + 512])
    last = 0
    try:
        for entry in entries(lambda offset, length: bytes(archive[offset : offset + length]), len(archive)):
            assert last < entry.offset <= entry.offset + entry.size <= len(archive)
            entry.name.encode()
            last = entry.offset
    except BrokenArchive:
        return


def endless(total: int) -> Callable[[int, int], bytes]:
    """An archive of so many members of 512 bytes, none of which exists before it is read."""
    member = header(b"0001.png", b"00000001000\0") + bytes(512)

    def read_at(offset: int, length: int) -> bytes:
        return bytes(length) if offset >= total * 1024 else member[:length] if offset % 1024 == 0 else bytes(length)

    return read_at


def test_a_hundred_thousand_members_take_no_memory() -> None:
    tracemalloc.start()
    try:
        count = sum(1 for _ in entries(endless(100_000), 100_000 * 1024 + 1024))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 100_000
    assert peak < MAX_EXTENDED
