"""MLServer, by its V2 protocol, without metrics, compression and debug log, in one process.

Its worker processes do not start with the current uvloop, so `parallel_workers` is 0; CPU time an image does not ask.
"""

import asyncio
from pathlib import Path

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.net import Net
from benchmarks.peers.options import options


class Classifier(MLModel):
    """Takes one input: JPEGs in base64."""

    async def load(self) -> bool:
        """Load the net."""
        self._net = Net(Path(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The answer to a body."""
        labels, confidences = self._net.classify(Base64Codec.decode_input(payload.inputs[0]))
        outputs = [
            StringCodec.encode_output("labels", labels),
            NumpyCodec.encode_output("confidences", np.array(confidences)),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)


async def serve(folder: Path, port: int) -> None:
    """Serve until the process is told to end."""
    server = MLServer(
        Settings(
            debug=False,
            host="127.0.0.1",
            http_port=port,
            grpc_port=0,
            parallel_workers=0,
            metrics_endpoint=None,
            gzip_enabled=False,
        )
    )
    parameters = ModelParameters(uri=str(folder))
    await server.start([ModelSettings(name="net", implementation=Classifier, parameters=parameters)])


if __name__ == "__main__":
    asyncio.run(serve(*options()))
