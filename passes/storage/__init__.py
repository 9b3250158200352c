"""Weights in fewer bytes: forms that any ONNX Runtime restores to the bit when it loads a model."""
