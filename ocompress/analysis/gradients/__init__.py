"""Reverse-mode derivatives of a float model, computed by ONNX Runtime itself.

No training framework takes part: for the shapes of one feed a second model is built, of
standard operators, that takes the activations it needs and the seeds at the outputs and makes
the gradients of named values.
"""

from ocompress.analysis.gradients.seeds import Currency
from ocompress.analysis.gradients.sweep import sweep_gradients

__all__ = ["Currency", "sweep_gradients"]
