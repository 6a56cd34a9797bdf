"""Send one image to the endpoint."""

import base64
import json
import os

import boto3

runtime = boto3.client("sagemaker-runtime")


def handler(event, _context):
    """An image in base64 -> the same with the model's `inferences`."""
    answer = runtime.invoke_endpoint(
        EndpointName=os.environ["ENDPOINT"],
        ContentType="image/png",
        Accept="application/json",
        Body=base64.b64decode(event["image_data"]),
    )
    inferences = json.loads(answer["Body"].read())
    print(f"classified {event['s3_key']}")
    return {**event, "inferences": inferences}
