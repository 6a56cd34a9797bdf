"""The embedded AWS with `fake_container.py` in the place of the model server: `daemon_with_fake_container.py DIR`."""

import sys
from pathlib import Path

from local.__main__ import run


def fake(model, port):
    return [sys.executable, str(Path(__file__).with_name("fake_container.py")), str(model), str(port)]


if __name__ == "__main__":
    run(Path(sys.argv[1]).resolve(), detach=False, model_server=fake)
