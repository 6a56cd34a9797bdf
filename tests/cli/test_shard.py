"""`ics shard`: the same pictures make the same bytes, which ICS and Python read; another call packs the rest."""

import json
import os
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import sharding
from cli.main import app
from cli.sharding import Picture, cut
from ics.tar import entries


def shard(*arguments: object) -> dict[str, int]:
    done = CliRunner().invoke(app, ["shard", *map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    said: dict[str, int] = json.loads(done.stdout)
    return said


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number in range(25):
        file = folder / f"{number % 3}" / f"é {number:02}.PNG"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes([number]) * (number * 100))
        os.utime(file, (1_000_000, 1_000_000))
    (folder / "notes.txt").write_text("no picture")
    (folder / "._0.png").write_bytes(b"hidden")
    return folder


def test_every_picture_is_in_one_shard_in_order(photos: Path, tmp_path: Path) -> None:
    said = shard(photos, "--out", tmp_path / "out", "--images-per-shard", 10)
    assert said == {"images": 25, "shards": 3, "made": 3, "kept": 0, "skipped": 2}
    shards = sorted((tmp_path / "out").iterdir())
    assert [one.name for one in shards] == [f"photos-00000{number}.tar" for number in range(3)]
    found = {}
    for one in shards:
        content = one.read_bytes()
        for entry in entries(lambda offset, length, content=content: content[offset : offset + length], len(content)):
            found[entry.name] = content[entry.offset : entry.offset + entry.size]
        with tarfile.open(one) as archive:
            assert {(info.mtime, info.uid, info.uname, info.mode) for info in archive} == {(0, 0, "", 0o644)}
    assert list(found) == sorted(found)
    assert found == {file.relative_to(photos).as_posix(): file.read_bytes() for file in photos.rglob("é*")}


def test_the_same_pictures_make_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    shard(photos, "--out", tmp_path / "one")
    for file in photos.rglob("*.PNG"):
        file.touch()
    shard(photos, "--out", tmp_path / "two")
    name = "photos-000000.tar"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_second_call_packs_what_is_missing_or_has_changed(photos: Path, tmp_path: Path) -> None:
    arguments = (photos, "--out", tmp_path / "out", "--images-per-shard", 10)
    shard(*arguments)
    assert (shard(*arguments)["made"], shard(*arguments)["kept"]) == (0, 3)
    shards = sorted((tmp_path / "out").iterdir())
    shards[1].unlink()
    shards[2].write_bytes(b"")
    assert shard(*arguments)["made"] == 2
    first = min(photos.rglob("é*"), key=lambda file: file.relative_to(photos).as_posix())
    first.write_bytes(b"x" * first.stat().st_size)  # as long as before
    assert shard(*arguments)["made"] == 1
    (photos / "0" / "a.png").write_bytes(b"first of all")
    assert shard(*arguments)["made"] == 3


def test_what_is_interrupted_leaves_no_half_of_a_shard(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (photos, "--out", tmp_path / "out", "--images-per-shard", 10)
    whole, calls = sharding.write_shard, []

    def cut_off(shard, group, digest) -> None:
        whole(shard, group, digest)
        calls.append(digest)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(sharding, "write_shard", cut_off)
    assert CliRunner().invoke(app, ["shard", *map(str, arguments)]).exit_code != 0
    monkeypatch.undo()
    assert len(list((tmp_path / "out").glob("*.tar"))) == 1
    assert shard(*arguments) | {"skipped": 0} == {"images": 25, "shards": 3, "made": 2, "kept": 1, "skipped": 0}


def test_a_shard_is_as_large_as_a_batch_may_read() -> None:
    pictures = [Picture(f"{number}.png", Path(), 1000, 0.0) for number in range(10)]
    assert [len(group) for group in cut(pictures, 1000, 8000)] == [3, 3, 3, 1]
    assert [len(group) for group in cut(pictures, 4, 10**9)] == [4, 4, 2]
    assert [len(group) for group in cut([Picture("a.png", Path(), 10**9, 0.0)] * 2, 4)] == [1, 1]


def test_a_folder_that_is_none_or_holds_no_picture_is_said(tmp_path: Path) -> None:
    for folder, says in ((tmp_path / "no", "is no folder"), (tmp_path, "no picture in")):
        done = CliRunner().invoke(app, ["shard", str(folder), "--out", str(tmp_path / "out")])
        assert done.exit_code == 2
        assert says in " ".join(done.output.replace("│", " ").split())
    assert not (tmp_path / "out").exists()
