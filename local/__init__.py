"""The embedded AWS: MiniStack with its gaps patched, and a SageMaker that runs real model servers."""
