"""ocompress: a compression compiler for neural networks that are already trained."""

__version__ = "0.1.0"
