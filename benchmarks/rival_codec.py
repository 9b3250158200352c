"""What NNCodec (pip install nncodec==2.1.3) makes of the tensors of a file.

    PYTHON benchmarks/rival_codec.py TENSORS.npz DECODED.npz QP

Its defaults, dependent quantization and tuned rates among them; prints the bytes of the stream.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np


def main() -> None:
    """Encode and decode."""
    from nncodec import nnc

    source, target, qp = sys.argv[1:]
    with np.load(source) as held:
        tensors = {name: held[name] for name in held.files}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "stream.nnc")
        stream = nnc.compress(tensors, bitstream_path=path, qp=int(qp), return_bitstream=True)
    np.savez(target, **nnc.decompress(stream))
    print(len(stream))


if __name__ == "__main__":
    main()
