"""The bench of servers: a wrong answer ends it, what is paired is of one cycle, all that was sent is counted."""

import base64
import contextlib
import io
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import contenders, nets, servers
from benchmarks.load import Request, ask, fire
from benchmarks.servers import Disagreement, Load, Slice, require_equal
from cli.deployment import ROOT
from serving.model import load_model

EXPECTED = [("cat", 0.9), ("dog", 0.5)]


@pytest.mark.parametrize(
    "given",
    [
        [("cat", 0.9)],
        [*EXPECTED, ("cat", 0.9)],
        [("cat", 0.9), ("cat", 0.5)],
        [("cat", 0.9), ("dog", 0.5002)],
        [("cat", float("nan")), ("dog", 0.5)],
        EXPECTED[::-1],
    ],
)
def test_a_wrong_answer_ends_the_bench(given: list[contenders.Answer]) -> None:
    require_equal("peer", EXPECTED, EXPECTED)
    require_equal("peer", [("cat", 0.90009), ("dog", 0.49991)], EXPECTED)
    with pytest.raises(Disagreement, match="peer"):
        require_equal("peer", given, EXPECTED)


class Peer(BaseHTTPRequestHandler):
    """Answers what it was sent, in two chunks; counts requests; `wrong` is the one that gets another's answer."""

    protocol_version = "HTTP/1.1"
    asked = 0
    wrong: int | None = None
    status = 200

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked += 1
        if type(self).asked == self.wrong:
            body = {"labels": ["dog"], "confidences": [0.5]}
        content = json.dumps(body).encode()
        self.send_response(self.status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (content[:3], content[3:], b""):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def peer() -> Iterator[tuple[int, type[Peer]]]:
    class Own(Peer):
        pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:  # the client may be gone
            pass

    with Quiet(("127.0.0.1", 0), Own) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1], Own
        finally:
            server.shutdown()
            thread.join()


REQUESTS = [
    Request("/", "application/json", json.dumps({"labels": [label], "confidences": [confidence]}).encode())
    for label, confidence in EXPECTED
]


def test_every_request_sent_is_answered_and_counted(peer: tuple[int, type[Peer]]) -> None:
    port, handler = peer
    fired = fire(port, REQUESTS, 3, 0.2)
    assert handler.asked == len(fired.latencies) > 6
    assert fired.answers == [{one.body} for one in REQUESTS]
    assert max(fired.latencies) <= fired.seconds
    assert sum(fired.latencies) <= 3 * fired.seconds
    assert ask(port, REQUESTS[1]) == REQUESTS[1].body


def test_a_status_other_than_200_fails(peer: tuple[int, type[Peer]]) -> None:
    peer[1].status = 429
    for call in (lambda: ask(peer[0], REQUESTS[0]), lambda: fire(peer[0], REQUESTS, 2, 0.2)):
        with pytest.raises(RuntimeError, match="status 429"):
            call()


def test_an_answer_that_turns_wrong_under_load_ends_the_bench(peer: tuple[int, type[Peer]]) -> None:
    port, handler = peer
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as process, ThreadPoolExecutor(1) as client:
        server = contenders.Server(contenders.FASTAPI, process, port, Path())
        loaded = servers.Loaded("peer", server, 1, REQUESTS, [[one] for one in EXPECTED], client)
        taken = loaded.slice(2, 0.1)
        assert (taken.images, len(taken.latencies)) == (handler.asked, handler.asked)
        assert taken.cpu < 0.1  # of the process alone, which waits; not of this one, which served
        loaded = servers.Loaded("peer", server, 1, REQUESTS[:1], [EXPECTED[:1]], client)
        handler.wrong = handler.asked + 2
        with pytest.raises(Disagreement, match="takes picture 0 for dog"):
            loaded.slice(1, 0.2)
        assert handler.asked > handler.wrong  # right answers after the wrong one do not hide it
        process.communicate(b"\n")


def test_a_server_is_ended_with_all_that_it_started_and_its_log_says_why_it_failed(tmp_path: Path) -> None:
    grandchild = "import time; print('of a grandchild', flush=True); time.sleep(60)"
    program = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {grandchild!r}]); sys.exit('no such model')"
    )
    failing = contenders.Contender(
        "Failing", lambda *_: (sys.executable, "-c", program), lambda _: REQUESTS[0], json.loads
    )
    with contenders.running(failing, tmp_path, tmp_path) as server:
        with pytest.raises(RuntimeError, match=r"Failing does not answer:(\n.*)*no such model"):
            server.wait([b""])
        group = server.process.pid
    deadline = time.monotonic() + 10
    while (left := _running(group)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == []


def _running(group: int) -> list[Path]:
    """What of a process group still runs."""
    stats = {path: _stat(path) for path in Path("/proc").glob("[0-9]*/stat")}
    return [path for path, fields in stats.items() if fields and int(fields[2]) == group and fields[0] != "Z"]


def _stat(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text("utf-8", "replace").rpartition(")")[2].split()
    return []


@pytest.mark.parametrize("contender", [contenders.ICS, *contenders.OTHERS], ids=lambda one: one.name)
@pytest.mark.parametrize("count", [1, 3])
def test_each_is_asked_about_all_the_pictures_in_its_own_way(contender: contenders.Contender, count: int) -> None:
    jpegs = [bytes([255, number]) * 40 for number in range(count)]
    content = contender.request(jpegs).content()
    head, _, body = content.partition(b"\r\n\r\n")
    assert int(re.search(rb"Content-Length: (\d+)", head)[1]) == len(body)
    found = [body.find(jpeg) for jpeg in jpegs]
    if -1 in found:
        found = [body.find(base64.b64encode(jpeg)) for jpeg in jpegs]
    assert -1 not in found
    assert found == sorted(found)


def test_the_answers_of_each_are_understood() -> None:
    flat = json.dumps({"labels": ["cat", "dog"], "confidences": [0.9, 0.5]}).encode()
    v2 = {"outputs": [{"name": "confidences", "data": [0.9, 0.5]}, {"name": "labels", "data": ["cat", "dog"]}]}
    lines = b"".join(json.dumps({"id": "0", "label": a, "confidence": b}).encode() + b"\n" for a, b in EXPECTED)
    bodies = {"ICS": lines, "MLServer": json.dumps(v2).encode()}
    for contender in (contenders.ICS, *contenders.OTHERS):
        assert contender.read(bodies.get(contender.name, flat)) == EXPECTED


def test_batches_hold_every_picture_and_in_more_than_one_place() -> None:
    many, single = Load(nets.TINY, 32).bodies(32), Load(nets.TINY, 1).bodies(32)
    assert all(sorted(body) == list(range(32)) for body in many)
    assert len({body[0] for body in many}) == len(many) > 1
    assert single == [[number] for number in range(32)]


def test_sides_take_turns_and_each_begins_some_cycle() -> None:
    order: list[tuple[str, int]] = []

    class Side:
        def __init__(self, name: str) -> None:
            self.name = name

        def slice(self, connections: int, seconds: float) -> Slice:
            order.append((self.name, connections))
            return Slice(len(order), 1.0, seconds)

    slices = servers._in_turns({servers.MANY: [Side("a"), Side("b")]}, 2, 1.0)
    assert order == [(name, n) for first in ("ab", "ba") for n in (1, 8, 32) for name in first]
    assert [one.images for one in slices[servers.MANY, 8]["a"]] == [3, 10]


def _slices(cost: dict[str, float], noise: list[float]) -> dict[str, list[Slice]]:
    return {
        name: [Slice(100, cpu * factor, 1.0, [cpu * factor / 10] * 99 + [cpu * factor]) for factor in noise]
        for name, cpu in cost.items()
    }


def test_figures_are_medians_of_cycles_so_that_what_slows_both_cancels() -> None:
    cost = {
        servers.LIMIT: 0.9, "ICS": 1.0, "FastAPI": 3.0, "MLServer": 7.0, "LitServe": 9.0, "BentoML": 11.0,
        servers.INTEGERS: 0.4,
    }  # fmt: skip
    noise = [1.0, 5.0, 1.3]
    slices = {(load, n): _slices(cost, noise) for load in servers.LOADS for n in servers.CONNECTIONS}
    slices[servers.MOBILES, 32] |= _slices({"MLServer": 0.8}, noise)
    starts = {"LitServe": [(6.0, 1.0), (60.0, 1.0)], "ICS": [(1.0, 1.0), (10.0, 1.0)]}
    found = servers.figures(slices, starts)
    assert [round(one.measured(), 6) for one in found] == [0.9, 0.9, 9.0, 11.0, 7.0, 0.8, 6.0, 7.5]
    assert [one.met() for one in found] == [True, False, True, False, True, False, True, True]
    assert [one.other.rpartition(" ")[2] for one in found[5:]] == ["MLServer", "LitServe", "FastAPI"]
    assert found[2].details == {"the raw limit reaches": pytest.approx(10.0)}
    assert found[5].medians() == (pytest.approx(1040.0), pytest.approx(1300.0))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets") / "tiny"
    nets.write_artifact(nets.TINY, folder, nets.pictures(nets.TINY))
    return folder


def test_the_nets_pictures_show_different_things_with_different_confidence(tiny: Path) -> None:
    jpegs = nets.pictures(nets.TINY)
    assert len(set(jpegs)) == 32
    assert {Image.open(io.BytesIO(jpeg)).size for jpeg in jpegs} == {(32, 32)}
    shown = list(load_model(tiny).predict(jpegs))
    assert len({one.label for one in shown}) >= 5
    assert np.std([one.confidence for one in shown]) > 0.05
    assert max(one.confidence for one in shown) < 1 - servers.TOLERANCE


def test_the_larger_net_has_mobilenets_layers() -> None:
    graph = nets.Graph(224)
    assert graph.last == "t3"
    assert nets.mobile(graph) == 1280
    content = graph.content("features", 1280)
    assert 4 * 2.2e6 < len(content) < 4 * 2.3e6  # MobileNetV2 has 3.5 million weights, 1.28 of them in its last layer


def test_in_integers_a_net_says_much_the_same(tiny: Path) -> None:
    jpegs = nets.pictures(nets.TINY)
    nets.write_integers(nets.TINY, tiny.parent / "integers", tiny, jpegs)
    pairs = zip(load_model(tiny).predict(jpegs), load_model(tiny.parent / "integers").predict(jpegs), strict=True)
    assert sum(one.label == other.label for one, other in pairs) >= 24


def test_the_peers_are_locked_with_hashes_and_have_the_servers_own_runtime() -> None:
    runtime = r"^onnxruntime==\S+"
    (ours,) = re.findall(runtime, (ROOT / "serving" / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    for lock in ("requirements", "requirements-mlserver"):
        text = (ROOT / "benchmarks" / "peers" / f"{lock}.txt").read_text("utf-8")
        assert re.findall(runtime, text, re.MULTILINE) == [ours]
        packages = re.split(r"\n(?=\w)", text.partition("\n\n")[2] or text)
        assert all("--hash=sha256:" in one for one in packages if "==" in one)
    assert set(contenders.versions()) == {"FastAPI", "MLServer", "LitServe", "BentoML"}
