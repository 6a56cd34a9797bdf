"""The command line of the model server: `python -m serving`."""

import argparse
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from ics.errors import InvalidArtifact
from serving.app import App, log
from serving.model import Model, load_model

GIVEN = Path("/opt/ml/model")
"""Where SageMaker unpacks the model that an endpoint names (ModelDataUrl); there, but empty, where it names none."""

BAKED = Path("/opt/ics/models")
"""Where the image of `serving/Dockerfile` holds its own artifacts, a folder each."""

DRAIN_SECONDS = 25
"""How long requests may still take after SIGTERM; SageMaker kills 30 s after it."""

IDLE_SECONDS = 75
"""How long an idle connection is kept: longer than clients keep theirs, so that none is closed while in use."""

_EXAMPLES = """\
examples:
  python -m serving --model models/digits
  curl localhost:8080/ping
  curl localhost:8080/invocations -H 'content-type: image/png' --data-binary @digit-28x28.png

  python -m serving --model models/digits --model models/letters --port 9000
  curl localhost:9000/models/letters/invocations -H 'content-type: image/png' --data-binary @letter-32x32.png

  python -m serving serve     as SageMaker starts the container: 0.0.0.0:8080, the models of /opt/ml/model, else
                              those of /opt/ics/models
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C. Returns 0 after a graceful stop and 2 when it cannot start."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if bool(options.command) == bool(options.model):
        parser.error("give --model DIR, or serve inside the container")
    # uvicorn raises the signal once more after draining; before and after, it ends the process at once.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    _log_to_stdout()
    try:
        if options.command:
            models, host, port = load_models(container_folders(GIVEN, BAKED)), "0.0.0.0", 8080  # noqa: S104
        else:
            models, host, port = load_models(options.model), options.host, options.port
        listener = _listen(host, port)
    except (InvalidArtifact, OSError) as error:
        sys.stderr.write(f"serving: {error}\n")
        return 2
    versions = {model.spec.name: model.spec.version for model in models}
    log(event="ready", host=host, port=listener.getsockname()[1], models=versions)
    config = uvicorn.Config(
        App(models),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def container_folders(given: Path, baked: Path) -> list[Path]:
    """The artifacts that a container serves: the one given by SageMaker, if any, else all that are baked in.

    Raises:
        InvalidArtifact: there is neither.
    """
    if given.is_dir() and any(given.iterdir()):
        return [given]
    folders = sorted(folder for folder in baked.glob("*") if folder.is_dir())
    if not folders:
        raise InvalidArtifact(f"no model: {given} is empty, and so is {baked}")
    return folders


def load_models(folders: Sequence[Path]) -> list[Model]:
    """Load these artifacts, in order.

    Raises:
        InvalidArtifact: one cannot be served, or two have the same name.
    """
    models = [load_model(folder) for folder in folders]
    names = [model.spec.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise InvalidArtifact(f"two models are named {name!r}; their paths would be the same")
    return models


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description="Serve models over HTTP, by SageMaker's container contract: GET /ping, POST /invocations and "
        "POST /models/<name>/invocations.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=["serve"], help="serve as SageMaker's container does")
    parser.add_argument(
        "--model",
        action="append",
        type=Path,
        metavar="DIR",
        help="an artifact: model.onnx, model.json, card.md; repeat it for several (/invocations is the first's)",
    )
    parser.add_argument(
        "--port", type=_port, default=8080, help="default 8080; 0 takes a free one, and the log says which"
    )
    parser.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1: this machine only")
    return parser


def _log_to_stdout() -> None:
    """Send the server's own lines, which are JSON, to stdout; all other warnings go to stderr, as logging does."""
    logger = logging.getLogger("serving")
    logger.addHandler(logging.StreamHandler(sys.stdout))
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; it must be a number from 0 to 65535")
    return int(text)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port") from error


if __name__ == "__main__":
    sys.exit(main())
