"""InvokeEndpoint over the real model servers, with AWS's errors.

SageMaker Runtime API reference, InvokeEndpoint: ValidationError 400, ModelError 424 for what the container answers with
4xx or 5xx and for its time-outs (`OriginalStatusCode` 0), ModelNotReadyException 429, ServiceUnavailable 503. A model
has 60 seconds (Developer Guide, "How containers serve requests").
"""

import asyncio
import random
from collections.abc import Mapping

from local.control import ACCOUNT
from local.sagemaker.answers import Answer, error, model_error
from local.sagemaker.capture import Capture
from local.sagemaker.faults import Faults
from local.sagemaker.hosting import Endpoint, Hosting, Variant
from local.sagemaker.http import Response

BODY_LIMIT = 6_291_456
"""Bytes, InvokeEndpoint's `Body` (API reference, "Request Body": maximum length)."""
MODEL_SECONDS = 60


class Runtime:
    """Answers InvokeEndpoint requests on the daemon's event loop."""

    def __init__(self, hosting: Hosting, capture: Capture, faults: Faults) -> None:
        self._hosting = hosting
        self._faults = faults
        self._capture = capture

    async def invoke(self, name: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a body to an endpoint's model and capture the exchange; header names in lower case."""
        chosen = self._choose(name, headers, body)
        if isinstance(chosen, Answer):
            return chosen
        endpoint, variant = chosen
        met = await self._faults.meet(name, variant.name, body)
        if met is not None:
            return met
        content_type = headers.get("content-type", "application/octet-stream")
        attributes = headers.get("x-amzn-sagemaker-custom-attributes")
        response = await self._send(endpoint, variant, content_type, headers.get("accept", "*/*"), attributes, body)
        if isinstance(response, Answer):
            return response
        answered_type = response.headers.get("content-type", "application/octet-stream")
        self._capture.add(
            endpoint, variant, (content_type, body), (answered_type, response.body),
            headers.get("x-amzn-sagemaker-inference-id"), attributes,
        )  # fmt: skip
        passed = {
            "content-type": answered_type,
            "x-amzn-invoked-production-variant": variant.name,
        }
        if "x-amzn-sagemaker-custom-attributes" in response.headers:
            passed["x-amzn-sagemaker-custom-attributes"] = response.headers["x-amzn-sagemaker-custom-attributes"]
        return Answer(200, passed, response.body)

    def _choose(self, name: str, headers: Mapping[str, str], body: bytes) -> tuple[Endpoint, Variant] | Answer:
        endpoint = self._hosting.endpoints.get(name)
        if endpoint is None:
            return error(400, "ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        if len(body) > BODY_LIMIT:
            message = (
                "1 validation error detected: Value at 'body' failed to satisfy constraint: "
                f"Member must have length less than or equal to {BODY_LIMIT}"
            )
            return error(400, "ValidationError", message)
        if not endpoint.variants:
            return error(429, "ModelNotReadyException", f"Endpoint {name} is {endpoint.status}.")
        wanted = headers.get("x-amzn-sagemaker-target-variant")
        variants = [variant for variant in endpoint.variants if wanted in (None, variant.name)]
        if not variants:
            return error(400, "ValidationError", f"Variant {wanted} not found for endpoint {name}.")
        variant = random.choices(variants, [variant.weight or 1e-9 for variant in variants])[0]  # noqa: S311
        if not variant.server.ready:
            return error(503, "ServiceUnavailable", "The service is temporarily unavailable.")
        return endpoint, variant

    async def _send(self, endpoint: Endpoint, variant: Variant, content_type: str, accept: str,
                    attributes: str | None, body: bytes) -> Response | Answer:  # fmt: skip
        sent = {"content-type": content_type, "accept": accept}
        if attributes:
            sent["x-amzn-sagemaker-custom-attributes"] = attributes
        server = variant.server
        server.in_flight += 1
        try:
            response = await asyncio.wait_for(server.client.request("POST", "/invocations", sent, body), MODEL_SECONDS)
        except TimeoutError:
            return model_error(
                endpoint.name, variant.name, 0,
                "Your invocation timed out while waiting for a response from container primary. Review the latency "
                "metrics for each container in Amazon CloudWatch, resolve the issue, and try again.",
            )  # fmt: skip
        except OSError:
            return model_error(endpoint.name, variant.name, 0, "The container closed the connection.")
        finally:
            server.in_flight -= 1
        if response.status >= 400:
            return model_error(endpoint.name, variant.name, response.status, response.body.decode(errors="replace"))
        return response
