"""The command line that the peers have in common."""

import argparse
import os
from pathlib import Path

CORES = os.cpu_count() or 1


def options() -> tuple[Path, int]:
    """The artifact to serve, and the port to listen on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    return given.model, given.port
