"""Write a model as an ONNX graph."""
