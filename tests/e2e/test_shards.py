"""Shards: the same answers as of single objects, for one GET a thousand; and nothing of a hostile one is lost."""

import io
import random
import tarfile
from collections import Counter
from collections.abc import Callable

from cli.deployment import Deployment
from ics.errors import ImageError
from local.control import LocalAws
from tests.e2e.harness import Ended, packed
from tests.rehearsal import about

Put = Callable[[str, bytes], str]
Finish = Callable[..., Ended]


def gets(aws: LocalAws, function: str, ending: str) -> int:
    """How often the function has read an object whose key ends so."""
    return sum(
        call["count"]
        for call in about(aws, "calls")["calls"]
        if call["action"] == "s3:GetObject"
        and function in call["principal"].lower().replace("-", "")
        and call["resource"].endswith(ending)
    )


def test_two_thousand_images_in_two_shards_cost_two_reads_and_are_answered_as_two_thousand_objects(
    aws: LocalAws, deployment: Deployment, put: Put, finish: Finish, digits: list[bytes]
) -> None:
    names = [f"{number:04d}.png" for number in range(2000)]
    keys = [put(f"single/{name}", digits[number % 1000]) for number, name in enumerate(names)]
    for half in range(2):
        files = [(f"./{name}", digits[number]) for number, name in enumerate(names[half * 1000 : half * 1000 + 1000])]
        labelled = [one for name, content in files for one in ((name, content), (name[:-3] + "cls", b"7"))]
        shard = put(f"shards/{half}.tar", packed(labelled))
    folder = keys[0].rpartition("single/")[0]
    single = finish({"prefix": f"s3://{deployment.images_bucket}/{folder}single/"})
    sharded = finish({"prefix": f"s3://{deployment.images_bucket}/{folder}shards/"})
    said = [
        sorted(
            (row["s3_uri"].rpartition("/")[2], row["decision"], row["reason"], row["label"], row["confidence"])
            for row in ended.rows
        )
        for ended in (single, sharded)
    ]
    assert said[0] == said[1]
    assert (len(said[1]), sharded.summary["batches"], sharded.summary["skipped"]) == (2000, 2, 2000)
    for half in range(2):
        assert gets(aws, "serializeimagedata", shard[:-5] + f"{half}.tar") == 1
        assert gets(aws, "planrun", shard[:-5] + f"{half}.tar") == 1
    row = sharded.rows[0]
    assert row["s3_uri"].endswith(f".tar#{row['member']['name']}")


def test_a_manifest_of_shards_and_objects_with_their_sizes(
    deployment: Deployment, put: Put, finish: Finish, digits: list[bytes]
) -> None:
    bucket = deployment.images_bucket
    put("v.tar", packed([("old.png", digits[0])]))
    shard = put("odd//./v.tar", packed([(f"é {number}#.png", digits[number]) for number in range(3)]))
    first = put("v.tar", packed([("a.png", digits[4])]))
    version = deployment.s3.head_object(Bucket=bucket, Key=first)["VersionId"]
    deployment.s3.put_object(Bucket=bucket, Key=first, Body=b"another")
    single = put("5.png", digits[5])
    lines = ["bucket,key,size,version", f"{bucket},{single},{len(digits[5])},", f"{bucket},{shard},,"]
    manifest = put("list.csv", "\n".join([*lines, f"{bucket},{first},,{version}"]).encode())
    ended = finish({"manifest": f"s3://{bucket}/{manifest}", "threshold": 0})
    assert [row["s3_uri"].removeprefix(f"s3://{bucket}/") for row in ended.rows] == [
        single, *(f"{shard}#é {number}#.png" for number in range(3)), f"{first}#a.png",
    ]  # fmt: skip
    assert ended.reasons() == dict.fromkeys(ended.reasons())
    assert ended.rows[-1]["version"] == version


def test_a_shard_that_changed_since_the_plan_is_not_classified(
    aws: LocalAws, deployment: Deployment, put: Put, finish: Finish, digits: list[bytes]
) -> None:
    shard = put("s.tar", packed([(f"{number}.png", digits[number]) for number in range(5)]))
    wrong = {"s3_bucket": deployment.images_bucket, "s3_key": shard, "etag": "0" * 32}
    ended = finish({"images": [wrong, {**wrong, "s3_key": shard + ".gone.tar"}, {**wrong, "s3_key": shard + ".gz"}]})
    assert ended.reasons() == {
        "s.tar": "ObjectChanged",
        "s.tar.gone.tar": "ObjectNotFound",
        "s.tar.gz": "CompressedShard",
    }


def _odd(digits: list[bytes]) -> dict[str, tuple[bytes, dict[str, str]]]:
    """Shards by name, each with the reasons that the ends of its rows' URIs must have."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind in (
            ("folder.png", tarfile.DIRTYPE),
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "x"
            archive.addfile(info)
    good = [(f"{number}.png", digits[number]) for number in range(4)]
    bad = [
        ("empty.png", b""),
        ("text.png", b"milk"),
        ("cut.png", digits[0][:-30]),
    ]
    left_out = [("._0.png", b"x"), ("n.json", b"{}")]
    whole = packed(good)
    return {
        "bad.tar": (
            packed(bad + left_out + good),
            {"empty.png": "EmptyObject", "text.png": "NotAnImage", "cut.png": "TruncatedImage"} | dict.fromkeys(
                ("0.png", "1.png", "2.png", "3.png")),
        ),
        "links.tar": (out.getvalue(), {"link.png": "UnreadableMember", "hard.png": "UnreadableMember"}),
        "cut.tar": (whole[:2600], {"0.png": None, "1.png": None, "": "BrokenShard"}),
        "unended.tar": (whole[: 4 * 1024], dict.fromkeys(("0.png", "1.png", "2.png", "3.png")) | {"": "BrokenShard"}),
        "nothing.tar": (b"", {"": "BrokenShard"}),
        "none.tar": (packed([("a.json", b"{}")]), {"": "EmptyShard"}),
        "no.TAR": (b"GIF89a" + bytes(2000), {"": "BrokenShard"}),
        "huge.tar": (whole[:124] + b"77777777777\0" + whole[136:], {"": "BrokenShard"}),
    }  # fmt: skip


def test_nothing_of_an_odd_shard_is_lost(deployment: Deployment, put: Put, finish: Finish, digits: list[bytes]) -> None:
    odd = _odd(digits)
    keys = {name: put(name, content) for name, (content, _) in odd.items()}
    put("single.png", digits[9])
    prefix = f"s3://{deployment.images_bucket}/{keys['cut.tar'].rpartition('/')[0]}/"
    ended = finish({"prefix": prefix, "threshold": 0})
    found: dict[str, dict[str, str]] = {}
    for row in ended.rows:
        shard, _, member = row["s3_uri"].removeprefix(prefix).partition("#")
        found.setdefault(shard, {})[member] = row["reason"]
    assert found.pop("single.png") == {"": None}
    assert found == {name: reasons for name, (_, reasons) in odd.items()}
    assert ended.summary["skipped"] == 4  # ._0.png, n.json, the folder, a.json


def test_a_hundred_mutated_shards_are_planned_and_reconciled(
    deployment: Deployment, put: Put, finish: Finish, digits: list[bytes]
) -> None:
    seeds = [packed([(f"{number}.png", digits[number]) for number in range(6)], form) for form in (0, 1, 2)]
    for number in range(100):
        chance = random.Random(number)
        shard = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 2, 8))):
            at = 1024 * chance.randrange(6) + chance.randrange(512)
            shard[at : at + chance.choice((1, 1, 512))] = chance.choice((b"x", b"\0", b"L", b"7", b"", bytes(512)))
        at = chance.choice((0, 1024, 2048))
        shard[at + 148 : at + 156] = b" " * 8
        shard[at + 148 : at + 156] = b"%06o\0 " % sum(shard[at : at + 512])
        key = put(f"{number:03}.tar", bytes(shard))
    ended = finish({"prefix": f"s3://{deployment.images_bucket}/{key.rpartition('/')[0]}/"})
    shards = Counter(row["s3_uri"].partition("#")[0] for row in ended.rows)
    assert len(shards) == 100  # each has a row at least, and the harness has held the rows to the plan
    known = {kind.__name__ for kind in ImageError.__subclasses__()} | {"BelowThreshold", None}
    assert {row["reason"] for row in ended.rows} <= known
    assert {"BrokenShard", None} <= {row["reason"] for row in ended.rows}
