"""`python -m tests.soak.server --requests 1000000`: mutated requests to a real model server, over real connections.

Most requests are framed well, with a mutated body, path or content type: each must get one answer, that is no 5xx, and
leave its connection as good as it was. Some are mutated as a whole, head and all, on a connection of their own: what
comes back must be whole answers, no 5xx, and an end. When all is sent, the same processes must still answer, with no
fault in their log, and their memory must be what it was after the first tenth. Exits with 1 where any of that fails.
"""
# ruff: noqa: T201

import argparse
import collections
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from ics.errors import InvalidBody
from ics.wire import parse_request, request_line
from tests.artifacts import write_artifact, writing
from tests.odd_images import encoded
from tests.soak import corpus
from tests.soak.__main__ import mutated

MAX_GROWTH_MIB = 48
"""How much the processes' memory may grow after the first tenth: caches and arenas fill, nothing else may."""

TOGETHER = 64
"""Requests that are sent before answers are read, shared out among the connections."""

WILD = 0.02
"""The share of requests that are mutated as a whole."""

KINDS = ("application/jsonlines", "image/png", "image/jpeg")
PATHS = ("/invocations", "/models/photos/invocations", "/models/reader/invocations")

Answer = tuple[int, bytes]


@dataclass
class Tree:
    """A running server and what its log said that was no request."""

    process: subprocess.Popen[bytes]
    port: int
    events: list[bytes] = field(default_factory=list)

    def workers(self) -> list[int]:
        pid = self.process.pid
        return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def memory(self) -> float:
        """Resident memory of the workers, in MiB."""
        return sum(
            int(line.split()[1]) / 1024
            for pid in self.workers()
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        )

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


def start(folder: Path) -> tuple[Tree, list[bytes]]:
    """A server of three models, two workers; and bodies that it takes."""
    digits = write_artifact(folder / "digits", name="digits")
    write_artifact(folder / "photos", name="photos", labels=["night", "day"], width=40, height=30, colour="rgb")
    reader = write_artifact(folder / "reader", name="reader", kind="text", labels="ab ", width=64, height=32)
    noise = [Image.effect_noise((28, 28), 80), Image.effect_noise((40, 30), 80).convert("RGB")]
    images = [encoded(image, kind) for image in noise for kind in ("PNG", "JPEG")]
    images += [writing(reader, text) for text in ("ab", "")]
    images += [encoded(noise[1], "JPEG", progressive=True), encoded(noise[0].convert("RGBA"), "PNG")]
    lines = [request_line(f"{number:x}", image) for number, image in enumerate(images)]
    bodies = [*images, *lines, *corpus.images()[:4], b"".join(lines[:2]), lines[0] * 20, lines[1] * 9 + lines[2]]
    models = [word for name in ("digits", "photos", "reader") for word in ("--model", str(folder / name))]
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", *models, "--port", "0", "--workers", "2"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert digits.kind == "classification"
    tree = Tree(process, json.loads(process.stdout.readline())["port"])
    out = process.stdout

    def follow() -> None:
        with out:
            tree.events.extend(line for line in out if not line.startswith(b'{"event":"request"'))

    threading.Thread(target=follow, daemon=True).start()
    return tree, bodies


@dataclass(frozen=True)
class Asked:
    """A request as it is sent, and the ids of the images in its body, none where that is nothing to answer for."""

    stream: bytes
    ids: list[str]


def framed(bodies: Sequence[bytes], chance: random.Random) -> Asked:
    """A request whose frame is right, whatever is in it; no other has its ids."""
    body = mutated(bodies, chance) if chance.random() < 0.9 else chance.choice(bodies)
    body = body.replace(b'{"id":"', b'{"id":"%x.' % chance.getrandbits(60))
    kind = KINDS[0] if body[:1] in b'{["' else chance.choice(KINDS)
    path = chance.choice(PATHS) if chance.random() < 0.95 else "/" + "".join(chance.choices("ab/%20?é\"'{}", k=9))
    if chance.random() < 0.03:
        kind = chance.choice(("", "text/csv", "image/gif", "application/jsonlines; charset=x", "IMAGE/PNG"))
    method = "POST" if chance.random() < 0.98 else chance.choice(("GET", "PUT", "DELETE", "OPTIONS"))
    head = f"{method} {quote(path, safe='/?')} HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\n"
    if chance.random() < 0.2:
        cuts = sorted(chance.randrange(len(body) + 1) for _ in range(3))
        parts = [part for part in (body[: cuts[0]], body[cuts[0] : cuts[1]], body[cuts[1] :]) if part]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        stream = f"{head}transfer-encoding: chunked\r\n\r\n".encode("latin-1") + chunks + b"0\r\n\r\n"
    else:
        stream = f"{head}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body
    try:
        return Asked(stream, [image.id for image in parse_request(body, kind)])
    except InvalidBody:
        return Asked(stream, [])


def answers(connection: socket.socket, count: int | None) -> Iterator[Answer]:
    """So many answers, or all there are until the server closes: status and body each.

    Raises:
        ValueError: what comes is no whole answer, or the connection ends too early.
    """
    held = bytearray()
    while count is None or count > 0:
        end = held.find(b"\r\n\r\n")
        head = bytes(held[:end]).lower() if end >= 0 else b""
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
        if end >= 0 and head.startswith(b"http/1.1 100"):
            del held[: end + 4]
        elif end >= 0 and len(held) >= end + 4 + length:
            yield int(head.split()[1]), bytes(held[end + 4 : end + 4 + length])
            del held[: end + 4 + length]
            count = None if count is None else count - 1
        elif more := connection.recv(1 << 18):
            held += more
        elif count is None and not held:
            return
        else:
            raise ValueError(f"the connection ended after {bytes(held[:200])!r}")
    if held:
        raise ValueError(f"more came than was asked for: {bytes(held[:200])!r}")


def checked(status: int, content: bytes, ids: Sequence[str] | None = None) -> str:
    """What the answer was, in a word; raises ValueError where it is none that a client may get, to these ids."""
    if status == 200:
        found = [json.loads(line).get("id") for line in content.splitlines()]
        if ids is not None and found != list(ids):
            raise ValueError(f"the answer to {list(ids)} is for {found}")
        return "200"
    if status >= 500 or not content:
        raise ValueError(f"status {status}: {content[:300]!r}")
    return f"{status} {json.loads(content)['error']['code']}"


class Client:
    """Sends requests to a tree, and counts and checks what comes back."""

    def __init__(self, tree: Tree, faults: Path) -> None:
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.found: list[str] = []
        self._tree = tree
        self._faults = faults
        self._connections = [tree.connect() for _ in range(4)]

    def send(self, requests: list[Asked], number: int) -> None:
        """Well framed requests, shared out among the connections, which go on: all are sent before answers are read."""
        count = len(self._connections)
        shares = [requests[place::count] for place in range(count)]
        for connection, share in zip(self._connections, shares, strict=True):
            connection.sendall(b"".join(one.stream for one in share))
        for place, share in enumerate(shares):
            try:
                found = answers(self._connections[place], len(share))
                for one, (status, content) in zip(share, found, strict=True):
                    self.outcomes[checked(status, content, one.ids)] += 1
            except (ValueError, OSError) as error:
                self._fault(b"".join(one.stream for one in share), number, error)
                self._connections[place].close()
                self._connections[place] = self._tree.connect()

    def send_wild(self, stream: bytes, number: int) -> None:
        """Anything, on a connection of its own."""
        try:
            with self._tree.connect() as alone:
                try:
                    alone.sendall(stream)
                    alone.shutdown(socket.SHUT_WR)
                except OSError:  # it has refused and closed already
                    pass
                for status, content in answers(alone, None):
                    self.outcomes[f"wild: {checked(status, content) if content else status}"] += 1
        except ConnectionResetError:
            self.outcomes["wild: reset"] += 1
        except (ValueError, OSError) as error:
            self._fault(stream, number, error)

    def _fault(self, stream: bytes, number: int, error: Exception) -> None:
        kept = self._faults / f"server-{number}.requests"
        kept.write_bytes(stream)
        self.found.append(f"FAULT at {number}: {error!r}; the requests are in {kept}")

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


def soak(count: int, seed: int, faults: Path) -> int:
    """Send so many requests and report: 0, or 1 where something was wrong."""
    begun, sent, memory = time.monotonic(), 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        tree, bodies = start(Path(folder))
        workers, client = tree.workers(), Client(tree, faults)
        while sent < count and len(client.found) < 10:
            chance = random.Random(f"{seed}/{sent}")
            batch = [framed(bodies, chance) for _ in range(min(TOGETHER, count - sent))]
            if chance.random() < WILD * TOGETHER:
                client.send_wild(mutated([one.stream for one in batch], chance), sent)
                batch = batch[1:]
                sent += 1
            client.send(batch, sent)
            sent += len(batch)
            if not memory and sent >= count / 10:
                memory = tree.memory()
        growth = tree.memory() - memory
        client.close()
        found = [*client.found, *ended(tree, workers)]
    for outcome, times in client.outcomes.most_common():
        print(f"  {times:>9,}  {outcome}")
    print(*found, sep="\n", end="\n" if found else "")
    print(
        f"{sent:,} requests of seed {seed} in {time.monotonic() - begun:,.0f} s; {len(found)} faults; memory of the "
        f"workers after a tenth {memory:,.0f} MiB, then {growth:+,.0f} MiB of at most {MAX_GROWTH_MIB:+}"
    )
    return int(bool(found) or growth > MAX_GROWTH_MIB)


def ended(tree: Tree, workers: list[int]) -> list[str]:
    """Stop a server; what was wrong with it at its end."""
    found = []
    if tree.workers() != workers or tree.process.poll() is not None:
        found.append(f"processes have ended: {workers} became {tree.workers()}")
    with tree.connect() as last:
        last.sendall(b"GET /ping HTTP/1.1\r\nconnection: close\r\n\r\n")
        if [status for status, _ in answers(last, None)] != [200]:
            found.append("/ping does not answer")
    tree.process.terminate()
    if tree.process.wait(60):
        found.append(f"the server ended with {tree.process.returncode}")
    return [*found, *(f"in the log: {line.decode()[:2000]}" for line in tree.events)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.server", description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000_000, help="how many in all")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other requests")
    parser.add_argument("--faults", type=Path, default=Path("build/soak"), help="where requests that fail are kept")
    given = parser.parse_args(arguments)
    given.faults.mkdir(parents=True, exist_ok=True)
    return soak(given.requests, given.seed, given.faults)


if __name__ == "__main__":
    sys.exit(main())
