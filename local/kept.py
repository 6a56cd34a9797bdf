"""What the embedded AWS keeps when it is stopped, and takes up again when it starts: everything, in `kept/`.

Resources, objects, messages, rows and executions come back as they were; an execution that was running comes back as
failed with `States.ServiceRestart`, for nobody was there to run it. A daemon that is killed keeps what it had taken up.
"""

import contextlib
import json
import logging
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from ministack import app
from ministack.core import persistence
from ministack.core.responses import AccountRegionScopedDict, AccountScopedDict
from ministack.services import s3

from local.control import DEPLOYED, KEPT
from local.sagemaker.hosting import Hosting

COMPLETE = "complete.json"
"""Written last: what is kept without it is what a daemon had no time to finish, and is not taken up."""

Kept = TypeVar("Kept")


def take_up(state: Path, hosting: Hosting) -> None:
    """Take up what is kept, before the emulator is started, which takes up the rest by itself; else start with nothing.

    Endpoints are in service when this returns.
    """
    folder = state / KEPT
    app.save_all = lambda _states: None  # it would log what it cannot write, and call it done
    try:
        complete = json.loads((folder / COMPLETE).read_text())
        if complete["emulator"] != _emulator():
            raise ValueError(f"it was kept by MiniStack {complete['emulator']}, and this is {_emulator()}")
        stores = pickle.loads((folder / "s3.pickle").read_bytes())  # noqa: S301 - of this daemon's own making
    except FileNotFoundError:
        shutil.rmtree(folder, ignore_errors=True)
        return
    except (ValueError, KeyError, EOFError, pickle.UnpicklingError, AttributeError) as error:
        logging.warning("What was kept in %s cannot be taken up: %s", folder, error)
        shutil.rmtree(folder, ignore_errors=True)
        return
    for name, store in _object_stores():
        store._data.update(stores.get(name, {}))
    hosting.take_up(complete["sagemaker"])
    if complete["deployed"] is not None:
        (state / DEPLOYED).write_text(complete["deployed"])


def keep(state: Path, hosting: Hosting) -> None:
    """Write everything down. Call it while nothing else writes, but what runs in threads may still go on."""
    folder = state / KEPT
    folder.mkdir(exist_ok=True)
    (folder / COMPLETE).unlink(missing_ok=True)
    with _undisturbed():
        states = {name: _whole(state_of) for name, state_of in app._build_persistence_save_dict().items()}
        objects = _whole(lambda: pickle.dumps({name: store._data for name, store in _object_stores()}))
    for name, one in states.items():
        if one is not None:
            wrapped = {"__ministack_format__": persistence._state_format_version(name), "payload": one}
            (folder / f"{name}.json").write_text(json.dumps(wrapped, default=persistence._json_default))
    (folder / "s3.pickle").write_bytes(objects)
    deployed = state / DEPLOYED
    complete = {
        "emulator": _emulator(),
        "deployed": deployed.read_text() if deployed.exists() else None,
        "sagemaker": hosting.kept(),
    }
    unfinished = folder / f"{COMPLETE}.new"
    unfinished.write_text(json.dumps(complete))
    unfinished.rename(folder / COMPLETE)


def _emulator() -> str:
    return version("ministack")


def _object_stores() -> Iterator[tuple[str, Any]]:
    """S3's own, contents included, which the emulator would write to disk with every request or not at all."""
    for name, value in vars(s3).items():
        if isinstance(value, AccountScopedDict | AccountRegionScopedDict):
            yield name, value


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep other threads from running, as far as the interpreter can: they change what is being read."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _whole(read: Callable[[], Kept]) -> Kept:
    """What `read` gives, read again where a thread changed it meanwhile."""
    for _ in range(20):
        with contextlib.suppress(RuntimeError):
            return read()
    return read()
