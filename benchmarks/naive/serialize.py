"""Read an image from S3 and put it into the state, base64."""

import base64

import boto3
from botocore.config import Config

s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))


def handler(event, _context):
    """`{s3_bucket, s3_key}` -> the same with `image_data`."""
    image = s3.get_object(Bucket=event["s3_bucket"], Key=event["s3_key"])["Body"].read()
    print(f"serialized {event['s3_key']}")
    return {**event, "image_data": base64.b64encode(image).decode("ascii"), "inferences": []}
