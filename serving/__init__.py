"""The model server: SageMaker's container contract over ONNX Runtime."""
