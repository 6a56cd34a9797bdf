"""The embedded AWS's one process: patched emulator and stand-ins behind one loopback port, the page on another."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import uvicorn
import uvloop

from local.control import ACCOUNT, KEPT, RECORD, REGION
from local.http_protocol import HttpProtocol
from local.processes import Children
from local.sagemaker.capture import Capture
from local.sagemaker.hosting import Hosting
from local.sagemaker.server import Command


def serve(state: Path, children_lock: int, model_server: Command) -> None:
    """Serve until SIGTERM or SIGINT, then keep what there is, end every process started and remove `local.json`.

    `children_lock` is the descriptor that every started process inherits (see `local.control`); `model_server` is the
    command that stands for an endpoint's container.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    sockets, port = _listen(state / "port")
    page_sockets, page_port = _listen(state / "page-port")
    _configure_emulator(state, port)
    children = Children(state, children_lock)

    # The emulator reads its environment when imported.
    from local import kept, objects, patches  # noqa: PLC0415
    from local.gateway import Gateway  # noqa: PLC0415

    hosting = Hosting(children, objects.read_object, model_server)
    capture = Capture(objects.put_object)
    patches.apply(state, children, hosting)
    kept.take_up(state, hosting)
    detector = os.environ.get("ICS_DETECTOR")
    gateway = Gateway(hosting, capture, Path(detector) if detector else None, page_port)
    server = uvicorn.Server(
        uvicorn.Config(gateway, http=HttpProtocol, log_config=None, access_log=False, lifespan="on",
                       timeout_keep_alive=75, date_header=False, server_header=False, proxy_headers=False,
                       timeout_graceful_shutdown=2)
    )  # fmt: skip
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(server, [*sockets, *page_sockets], state, port, page_port))
    kept.keep(state, hosting)
    hosting.stop()
    (state / RECORD).unlink(missing_ok=True)
    children.end()
    # Threads of running executions would hold the interpreter for as long as their tasks take.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def _serve(server: uvicorn.Server, sockets: list[socket.socket], state: Path, port: int, page_port: int) -> None:
    loop = asyncio.get_running_loop()
    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, lambda: setattr(server, "should_exit", True))
    # uvicorn's own handlers would raise the signal again after serving, which would skip the cleaning up.
    server.capture_signals = _no_signals  # type: ignore[method-assign]
    serving = asyncio.create_task(server.serve(sockets=sockets))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        record = {
            "endpoint_url": f"http://localhost:{port}", "page_url": f"http://localhost:{page_port}",
            "pid": os.getpid(), "region": REGION, "account": ACCOUNT,
        }  # fmt: skip
        unfinished = state / f"{RECORD}.new"
        unfinished.write_text(json.dumps(record))
        unfinished.rename(state / RECORD)
    await serving


@contextlib.contextmanager
def _no_signals() -> Iterator[None]:
    yield


def _listen(remembered: Path) -> tuple[list[socket.socket], int]:
    """Bind one port on both loopback addresses (`localhost` may be either): the last one used where it is free."""
    wanted = int(remembered.read_text()) if remembered.exists() else 0
    for port in (wanted, 0, 0, 0, 0, 0):
        sockets: list[socket.socket] = []
        try:
            sockets.append(_bind(socket.AF_INET, "127.0.0.1", port))
            chosen = sockets[0].getsockname()[1]
            if _has_ipv6_loopback():
                sockets.append(_bind(socket.AF_INET6, "::1", chosen))
        except OSError:
            for opened in sockets:
                opened.close()
            continue
        remembered.write_text(str(chosen))
        return sockets, chosen
    raise OSError("no free port on 127.0.0.1 and ::1")


def _bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    # With the protocol named, the event loop turns Nagle's algorithm off: else every answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _configure_emulator(state: Path, port: int) -> None:
    """Set what MiniStack reads from the environment, after dropping all of the user's AWS variables."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "LOCALSTACK_", "MINISTACK_"))]:
        del os.environ[name]
    temporary = state / "tmp"
    temporary.mkdir(exist_ok=True)
    tempfile.tempdir = str(temporary)
    os.environ.update(
        TMPDIR=str(temporary),
        GATEWAY_PORT=str(port),
        MINISTACK_HOST="localhost",
        MINISTACK_ACCOUNT_ID=ACCOUNT,
        MINISTACK_REGION=REGION,
        AWS_ENDPOINT_URL=f"http://localhost:{port}",
        AWS_ACCESS_KEY_ID=ACCOUNT,
        AWS_SECRET_ACCESS_KEY="local",  # noqa: S106  (the emulator checks none)
        AWS_REGION=REGION,
        AWS_DEFAULT_REGION=REGION,
        AWS_EC2_METADATA_DISABLED="true",
        LOG_LEVEL="WARNING",
        SFTP_ENABLED="0",
        PERSIST_STATE="1",
        STATE_DIR=str(state / KEPT),
        # The emulator would otherwise look for, and tidy up, containers in the user's Docker.
        DOCKER_HOST=f"unix://{state}/no-docker",
    )
