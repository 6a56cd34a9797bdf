"""`python -m tests.soak --bodies 1000000`: mutate valid bodies, send them to every reader, count what comes back.

Body n of a seed is always the same one, wherever a run starts: `--start` goes on where another ended. Exits with 1 at
a fault (an undocumented exception, or a broken promise) and where the memory grows over its bound; the body is kept
for `--replay`. A decoder that crashes the process leaves the body it was given, too.
"""
# ruff: noqa: T201

import argparse
import copy
import json
import random
import resource
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.soak.targets import TARGETS

MAX_RSS_MIB = 512
"""Peak resident memory of a whole run, in MiB: `prepare`'s share is a few images of MAX_PIXELS."""

TOKENS = (
    b"\0", b"\xff", b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"IDAT", b"IEND", b"acTL", b"VP8X", b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x80\0", b"{", b"}", b"[", b"]", b'"', b",", b":", b"\n", b"\r", b"\\",
    b"\\ud800", b"\\u0000", b"\xc3", b"\xef\xbb\xbf", b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"Infinity",
    b"9" * 400, b"[" * 300, b'""', b"s3://", b"/", b"..", b"%00", b'"id":', b'"key":', b'"images":', b"k" * 1100,
)  # fmt: skip


VALUES = (
    None, True, 0, -1, 0.5, 1, 2, 1e308, 10**400, "", "\ud800", "0", "AAAA", "s3://b/k", "s3://b", "é" * 600,
    "k" * 1100, [], {}, [None], {"id": 1}, ["s3://b/k"] * 101,
)  # fmt: skip


def mutated(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """A valid body changed as bytes, or, so as to get past the parser and the checksums, as JSON or as PNG."""
    if chance.random() < 0.5:
        changed = with_other_json(chance.choice(seeds), chance)
        if changed is not None:
            return changed
    body = with_other_bytes(seeds, chance)
    return with_right_checksums(body) if body.startswith(b"\x89PNG") and chance.random() < 0.8 else body


def with_other_json(body: bytes, chance: random.Random) -> bytes | None:
    """The body with a part of the JSON in one of its lines replaced, left out, renamed or doubled; None: no JSON."""
    lines = body.split(b"\n")
    number = chance.randrange(len(lines))
    start = min((at for at in (lines[number].find(b"{"), lines[number].find(b"[")) if at >= 0), default=0)
    try:
        value = json.loads(lines[number][start:])
    except ValueError:
        return None
    for _ in range(chance.choice((1, 1, 2, 4))):
        value = _with_another_part(value, chance)
    lines[number] = lines[number][:start] + json.dumps(value).encode()
    return b"\n".join(lines)


def _with_another_part(value: Any, chance: random.Random) -> Any:
    if not isinstance(value, list | dict) or not value or chance.random() < 0.05:
        return copy.deepcopy(chance.choice(VALUES))  # which the next change may change
    at = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
    match chance.randrange(10):
        case 0:
            del value[at]
        case 1 if isinstance(value, dict):
            value[chance.choice(("id", "key", "s3_key", "bucket", "prefix", "label", "other"))] = value.pop(at)
        case 1:
            value.insert(at, value[at])
        case _:
            value[at] = _with_another_part(value[at], chance)
    return value


def with_right_checksums(body: bytes) -> bytes:
    """A PNG whose chunks, as far as they can be told apart, have the CRC that their content should have."""
    fixed, at = bytearray(body), 8
    while at + 12 <= len(fixed):
        end = at + 8 + int.from_bytes(fixed[at : at + 4], "big")
        fixed[end : end + 4] = zlib.crc32(fixed[at + 4 : end]).to_bytes(4, "big") if end + 4 <= len(fixed) else b""
        at = end + 4
    return bytes(fixed)


def with_other_bytes(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """One of the seeds after 1, 2, 4 or 8 changes: a flipped bit, a set byte, a cut, a copy, a token, a splice."""
    body = bytearray(chance.choice(seeds))
    for _ in range(1 << chance.randrange(4)):
        at = chance.randrange(len(body) + 1)
        length = min(1 << chance.randrange(8), len(body) - at)
        match chance.randrange(8):
            case 0 | 1 if at < len(body):
                body[at] ^= 1 << chance.randrange(8)
            case 2 if at < len(body):
                body[at] = chance.randrange(256)
            case 3:
                del body[at : at + length]
            case 4:
                body[at:at] = body[at : at + length] * chance.choice((1, 1, 2, 50))
            case 5:
                body[at:at] = chance.choice(TOKENS)
            case 6:
                token = chance.choice(TOKENS)
                body[at : at + len(token)] = token
            case 7:
                other = chance.choice(seeds)
                start = chance.randrange(len(other) + 1)
                body[at : at + length] = other[start : start + length]
        del body[65_536:]
    return bytes(body)


def bodies(seed: int, start: int, count: int) -> Iterator[tuple[int, str, bytes]]:
    """Number, target and content of bodies `start` to `start + count`."""
    corpora = {name: target.corpus() for name, target in TARGETS.items()}
    names, shares = list(TARGETS), [target.share for target in TARGETS.values()]
    for number in range(start, start + count):
        chance = random.Random(f"{seed}/{number}")
        (name,) = chance.choices(names, shares)
        yield number, name, mutated(corpora[name], chance)


def soak(seed: int, start: int, count: int, seconds: float, faults: Path) -> int:
    """Send the bodies and report: 0, or 1 where a fault was found or the memory's bound was passed."""
    outcomes: Counter[tuple[str, str]] = Counter()
    spent: Counter[str] = Counter()
    begun, done, found = time.monotonic(), 0, 0
    current = faults / f"current-{seed}.body"
    for number, name, body in bodies(seed, start, count):
        if time.monotonic() - begun > seconds:
            break
        if name == "prepare":  # the one reader whose decoders are C: a crash leaves no other trace
            current.write_bytes(body)
        before = time.process_time()
        try:
            outcome = TARGETS[name].run(body)
        except Exception:
            kept = faults / f"{name}-{seed}-{number}.body"
            kept.write_bytes(body)
            print(f"FAULT {name}, seed {seed}, body {number}: replay with --target {name} --replay {kept}")
            traceback.print_exc(file=sys.stdout)  # decoders in C write to stderr as they please
            outcome = "FAULT"
            found += 1
        spent[name] += time.process_time() - before
        outcomes[name, outcome] += 1
        done += 1
    current.unlink(missing_ok=True)
    elapsed, rss = time.monotonic() - begun, peak_mib()
    for name in TARGETS:
        total = sum(number for (target, _), number in outcomes.items() if target == name)
        print(f"{name}: {total:,} bodies, {1e6 * spent[name] / max(total, 1):,.0f} CPU-us each")
        for (target, outcome), number in outcomes.most_common():
            if target == name:
                print(f"  {number:>9,}  {outcome}")
    print(
        f"{done:,} bodies of seed {seed} from {start} in {elapsed:,.0f} s, {done / max(elapsed, 1e-9):,.0f} a second; "
        f"{found} faults; peak memory {rss} MiB of at most {MAX_RSS_MIB}"
    )
    if done < count:
        print(f"Go on with --seed {seed} --start {start + done} --bodies {count - done}")
    return int(found > 0 or rss > MAX_RSS_MIB)


def peak_mib() -> int:
    """This process's peak memory, in MiB.

    From /proc where there is one: the kernel hands getrusage's figure down from the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return (
            int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) // 1024
        )
    unit = 1024 if sys.platform == "darwin" else 1  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit // 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--bodies", type=int, default=1_000_000, help="how many in all")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other bodies")
    parser.add_argument("--start", type=int, default=0, help="the first body's number")
    parser.add_argument("--faults", type=Path, default=Path("build/soak"), help="where bodies that fail are kept")
    parser.add_argument("--replay", type=Path, help="send this file once, and let it fail as it does")
    parser.add_argument("--target", choices=sorted(TARGETS), default="prepare", help="of --replay")
    given = parser.parse_args(arguments)
    if given.replay:
        print(TARGETS[given.target].run(given.replay.read_bytes()))
        return 0
    given.faults.mkdir(parents=True, exist_ok=True)
    return soak(given.seed, given.start, given.bodies, given.seconds, given.faults)


if __name__ == "__main__":
    sys.exit(main())
