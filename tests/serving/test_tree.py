"""The process tree: workers that die, a parent that dies, and artifacts that are exchanged under load."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.line import LEEWAY
from serving.metrics import Metrics
from serving.tree import Tree, _Generation
from tests.artifacts import picture, write_artifact
from tests.serving.running_server import Server, json_line, start_server


def gone(pid: int) -> bool:
    """Whether a process is no more; one whose parent has not seen its end does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def eventually(true: Callable[[], bool]) -> None:
    for _ in range(1500):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come true")


def write_model(folder: Path, sharpness: float) -> str:
    """A new artifact, in place of whatever is there; its version."""
    made = folder.with_name("made")
    version = write_artifact(made, name="digits", sharpness=sharpness).version
    shutil.rmtree(folder, ignore_errors=True)
    made.rename(folder)
    return version


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "digits"


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    write_model(folder, 100)
    server = start_server([folder])
    yield server
    server.stop()


def version(server: Server) -> str:
    status, _, content = server.ask("POST", "/invocations", picture(9), "image/png")
    assert status == 200
    return str(json.loads(content)["model"])


def test_a_worker_that_dies_is_replaced_and_the_others_answer(server: Server) -> None:
    before = server.workers()
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    for _ in range(20):
        version(server)
    assert server.wait_for("worker-ended")["reason"] == "SIGKILL"
    eventually(lambda: len(server.workers()) == 2 and before[0] not in server.workers())
    os.kill(before[1], signal.SIGKILL)
    eventually(lambda: len([pid for pid in server.workers() if pid not in before]) == 2)
    assert version(server)  # of workers who both are new
    server.stop()
    assert server.process.returncode == 0


def test_workers_end_with_their_parent(server: Server) -> None:
    workers = server.workers()
    version(server)
    os.kill(server.process.pid, signal.SIGKILL)
    eventually(lambda: all(map(gone, workers)))
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", server.port))


def test_the_parent_has_no_thread_whose_locks_a_fork_would_leave_taken(server: Server) -> None:
    assert "\nThreads:\t1\n" in Path(f"/proc/{server.process.pid}/status").read_text()


def test_what_one_worker_counts_every_worker_tells(server: Server) -> None:
    connections = [server.connect() for _ in range(16)]  # so many that both workers have some
    for connection in connections:
        lines = json_line("a", picture(1)) * 3
        connection.request("POST", "/invocations", lines, {"content-type": "application/jsonlines"})
        connection.getresponse().read()
    told = set()
    for connection in connections:
        connection.request("GET", "/metrics")
        metrics = connection.getresponse().read().decode()
        told.add(re.findall(r'ics_images_total{model="digits"} (\d+)', metrics)[0])
        connection.close()
    assert told == {"48"}
    assert 'ics_request_seconds_count{model="digits"} 16\n' in metrics
    assert "ics_workers 2\n" in metrics


def test_artifacts_are_exchanged_under_load_without_a_failed_request(server: Server, folder: Path) -> None:
    old = version(server)
    versions: list[list[str]] = [[] for _ in range(6)]
    failed: list[object] = []
    stop = threading.Event()

    def ask(seen: list[str]) -> None:
        connection = server.connect()
        while not stop.is_set():
            try:
                connection.request("POST", "/invocations", picture(9), {"content-type": "image/png"})
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                failed.append(error)
                return
            if answer.status != 200:
                failed.append((answer.status, content))
            seen.append(str(json.loads(content)["model"]))
        connection.close()

    threads = [threading.Thread(target=ask, args=(seen,)) for seen in versions]
    for thread in threads:
        thread.start()
    written = [old]
    for time_, sharpness in enumerate((50, 200), 1):
        written.append(write_model(folder, sharpness))
        server.process.send_signal(signal.SIGHUP)
        assert server.wait_for("swapped", time_)["models"] == {"digits": written[-1]}
        assert version(server) == written[-1]
    time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    for seen in versions:
        order = [written.index(one) for one in seen]
        assert order == sorted(order)  # never back
        assert order[-1] == 2
    eventually(lambda: len(server.workers()) == 2)  # the old ones went when their last connection did


def test_what_cannot_be_served_does_not_take_over(server: Server, folder: Path) -> None:
    old = version(server)
    (folder / "model.onnx").write_bytes(b"no graph")
    server.process.send_signal(signal.SIGHUP)
    assert "model.json describes version" in server.wait_for("swap-refused")["reason"]
    assert version(server) == old
    shutil.rmtree(folder)
    server.process.send_signal(signal.SIGHUP)
    assert "does not exist" in server.wait_for("swap-refused", 2)["reason"]
    assert version(server) == old
    for sharpness in (50, 60, 70):  # faster than they can be loaded
        new = write_model(folder, sharpness)
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.01)
    eventually(lambda: version(server) == new)
    eventually(lambda: len(server.workers()) == 2)


def test_a_worker_is_replaced_by_one_with_the_same_artifacts_or_by_none(server: Server, folder: Path) -> None:
    old = version(server)
    write_model(folder, 50)  # and nobody has said that it is to be served
    lost, *others = server.workers()
    os.kill(lost, signal.SIGKILL)
    assert "are others than those that are served" in server.wait_for("worker-ended", 2)["reason"]
    assert {version(server) for _ in range(20)} == {old}
    assert set(others) <= set(server.workers())
    assert write_model(folder, 100) == old
    for pid in others:
        os.kill(pid, signal.SIGKILL)
    assert version(server) == old  # of workers who all are new
    new = write_model(folder, 50)
    server.process.send_signal(signal.SIGHUP)
    assert server.wait_for("swapped")["models"] == {"digits": new}


def test_a_link_that_leads_elsewhere_changes_nothing_until_it_is_said(tmp_path: Path) -> None:
    link, old, new = tmp_path / "model", tmp_path / "old", tmp_path / "new"
    before, after = write_model(old, 100), write_model(new, 50)
    link.symlink_to(old)
    server = start_server([link])
    link.unlink()
    link.symlink_to(new)
    workers = server.workers()
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(server.workers()) == 2 and not set(workers) & set(server.workers()))
    assert {version(server) for _ in range(20)} == {before}
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("swapped")
    assert version(server) == after
    server.stop()


def test_what_is_meant_for_the_parent_does_not_end_workers(server: Server) -> None:
    version(server)
    before = server.workers()
    for pid in before:
        os.kill(pid, signal.SIGHUP)
        os.kill(pid, signal.SIGINT)
    version(server)
    time.sleep(0.2)
    assert server.workers() == before


def test_where_no_process_can_be_had_the_parent_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        tree = Tree(list, listener, 1, 1)
        tree._current = _Generation([], Metrics([], 1))
        tree._due = [(0.0, 0)]
        monkeypatch.setattr(os, "fork", lambda: os.open("/proc/self/none", os.O_RDONLY))  # raises OSError
        before = list(Path("/proc/self/fd").iterdir())
        tree._refill()
        assert [slot for _, slot in tree._due] == [0]
        assert tree._current.workers == {}
        assert list(Path("/proc/self/fd").iterdir()) == before
        for one in (tree._woken, tree._waker):
            one.close()


def test_a_worker_that_dies_while_it_loads_does_not_take_over(server: Server, folder: Path) -> None:
    old, before = version(server), server.workers()
    new = write_model(folder, 50)
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: len(server.workers()) == 4)
    os.kill(next(pid for pid in server.workers() if pid not in before), signal.SIGKILL)
    assert "SIGKILL before it was ready" in server.wait_for("swap-refused")["reason"]
    assert version(server) == old
    eventually(lambda: server.workers() == before)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("swapped")
    assert version(server) == new


def test_a_worker_that_dies_while_it_computes_gives_its_turn_back(tmp_path: Path) -> None:
    write_artifact(tmp_path, name="large", width=1024, height=1024, colour="rgb")
    server = start_server([tmp_path], one_processor=True)
    line = json_line("a", picture(9, (1024, 1024), "RGB"))

    def ask(times: int) -> int:
        try:
            return server.ask("POST", "/invocations", line * times, "application/jsonlines")[0]
        except (OSError, http.client.HTTPException):
            return 0

    lost = threading.Thread(target=ask, args=(500,))  # seconds, in the only turn that there is
    lost.start()
    eventually(lambda: b"ics_computing 1\n" in server.ask("GET", "/metrics")[2])
    before = server.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    lost.join()
    eventually(lambda: len(server.workers()) == 2 and not set(before) & set(server.workers()))
    assert ask(20) == 200
    assert b"ics_computing 0\n" in server.ask("GET", "/metrics")[2]
    server.stop()


def test_requests_are_answered_in_the_order_in_which_they_came_whichever_worker_has_them(tmp_path: Path) -> None:
    write_artifact(tmp_path, name="large", width=1024, height=1024, colour="rgb")
    server = start_server([tmp_path], one_processor=True)
    line = json_line("a", picture(9, (1024, 1024), "RGB"))
    first, *others = [server.connect() for _ in range(10)]

    def waiting() -> int:
        found = re.search(rb"ics_waiting (\d+)", server.ask("GET", "/metrics")[2])
        assert found
        return int(found[1])

    def ask(connection: http.client.HTTPConnection, images: int) -> None:
        connection.request("POST", "/invocations", line * images, {"content-type": "application/jsonlines"})

    ask(first, 500)  # seconds, in the only turn that there is
    eventually(lambda: b"ics_computing 1\n" in server.ask("GET", "/metrics")[2])
    counts = [5 + number for number in range(len(others))]
    for place, (connection, images) in enumerate(zip(others, counts, strict=True), 1):
        ask(connection, images)
        eventually(lambda place=place: waiting() == place)  # type: ignore[misc]
        time.sleep(1.2 * LEEWAY)
    first.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    first.close()  # with a reset: it does not wait for its answer
    assert [connection.getresponse().status for connection in others] == [200] * len(others)
    for connection in others:
        connection.close()
    server.stop()
    assert [line["images"] for line in server.log if line["event"] == "request" and line["images"]] == counts


def test_connections_are_shared_evenly_among_workers(server: Server) -> None:
    def sockets(pid: int) -> int:
        return sum(str(one.readlink()).startswith("socket:") for one in Path(f"/proc/{pid}/fd").iterdir())

    idle = [sockets(pid) for pid in server.workers()]
    connections = [server.connect() for _ in range(20)]
    for connection in connections:
        connection.request("POST", "/invocations", picture(9), {"content-type": "image/png"})
        connection.getresponse().read()
    shares = [sockets(pid) - before for pid, before in zip(server.workers(), idle, strict=True)]
    for connection in connections:
        connection.close()
    assert sum(shares) >= 20  # and a few of their own
    assert min(shares) >= 6  # a busy machine may wake one of them too late for its share
