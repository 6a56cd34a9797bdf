"""Amazon Rekognition on this machine: its API for one image, answered by a real detector."""
