"""Workers share the cores: threads of linear algebra would wait for each other."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is imported, which is later


os.environ.pop("COLUMNS", None)  # workers that run tests side by side are told one
