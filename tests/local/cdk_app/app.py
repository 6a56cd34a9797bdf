"""A CDK app with one stack of each resource type that ICS needs of the embedded AWS."""

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3

app = cdk.App()
stack = cdk.Stack(app, "small")
bucket = s3.Bucket(stack, "Bucket", versioned=True)
cdk.CfnOutput(stack, "BucketName", value=bucket.bucket_name)
other = cdk.Stack(app, "other")
cdk.CfnOutput(other, "BucketName", value=bucket.bucket_name)
cdk.CfnWaitConditionHandle(other, "H")
app.synth()
