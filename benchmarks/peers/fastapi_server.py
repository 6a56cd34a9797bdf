"""FastAPI, tuned: a process a core, uvloop and httptools, orjson, no access log, bodies read without validation."""

import base64
import os
from pathlib import Path

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

from benchmarks.peers.net import Net
from benchmarks.peers.options import CORES, options

MODEL = "PEER_MODEL"


def app() -> FastAPI:
    """The application of one process; it computes where it reads, as nothing else waits for that process."""
    made, net = FastAPI(), Net(Path(os.environ[MODEL]))

    def answer(jpegs: list[bytes]) -> Response:
        labels, confidences = net.classify(jpegs)
        return Response(orjson.dumps({"labels": labels, "confidences": confidences}), media_type="application/json")

    @made.post("/one")
    async def one(request: Request) -> Response:
        return answer([await request.body()])

    @made.post("/many")
    async def many(request: Request) -> Response:
        return answer([base64.b64decode(image) for image in orjson.loads(await request.body())["images"]])

    return made


if __name__ == "__main__":
    folder, port = options()
    os.environ[MODEL] = str(folder)
    uvicorn.run(
        f"{__spec__.name}:app",
        factory=True,
        port=port,
        workers=CORES,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
