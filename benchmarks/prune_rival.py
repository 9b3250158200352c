"""Pruning by another tool, in an environment of its own: onnxsim 0.8.

Run: PYTHON benchmarks/prune_rival.py METHOD SHARE IN OUT FEEDS.npz
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxsim


def main() -> None:
    """Prune a model with one of the tool's methods, with its defaults."""
    method, share, source, target, feeds = sys.argv[1:6]
    model = onnx.load(source)
    with np.load(feeds) as stored:
        batches = [{k: stored[k][i : i + 64] for k in stored.files} for i in range(0, 1024, 64)]
    call = getattr(onnxsim, f"apply_{method}_pruning")
    needs_data = method in ("wanda", "sparsegpt", "structured_wanda")
    extra = {"calibration_data": batches} if needs_data else {}
    onnx.save(call(onnxsim.simplify(model)[0], sparsity=float(share), **extra), target)


if __name__ == "__main__":
    main()
