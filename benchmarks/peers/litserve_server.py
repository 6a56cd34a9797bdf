"""LitServe with a worker and an API server a core, and its quick queue, as it advises for more than 100 requests/s."""

import base64
from pathlib import Path
from typing import Any

import litserve

from benchmarks.peers.net import Net
from benchmarks.peers.options import CORES, options


class Classifier(litserve.LitAPI):
    """Takes {"images": [base64, ...]}."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def setup(self, device: str) -> None:  # noqa: ARG002  (LitServe hands it over by name)
        """Load the net, in each worker."""
        self._net = Net(self._folder)

    def decode_request(self, request: dict[str, Any]) -> list[bytes]:
        """The JPEGs of a body."""
        return [base64.b64decode(image) for image in request["images"]]

    def predict(self, jpegs: list[bytes]) -> dict[str, Any]:
        """The answer to a body."""
        labels, confidences = self._net.classify(jpegs)
        return {"labels": labels, "confidences": confidences}


if __name__ == "__main__":
    model, port = options()
    server = litserve.LitServer(Classifier(model), accelerator="cpu", workers_per_device=CORES, fast_queue=True)
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False, access_log=False)
