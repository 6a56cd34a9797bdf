"""SageMaker hosting on this machine: real model server processes behind AWS's control plane, runtime and capture."""
