"""Workers share the cores: threads of linear algebra would wait for each other.

One thread also makes sums come out alike, whatever number of cores a machine has.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is imported, which is later
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same for PyTorch


os.environ.pop("COLUMNS", None)  # workers that run tests side by side are told one
