"""From a network's ONNX file to the model that Triton runs on a GPU, or in a container on a processor."""
