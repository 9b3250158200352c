"""Record of what is in an archive."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class CodedTensor:
    """A tensor as an archive holds it.

    Attributes:
        name: Its name.
        dtype: Its element type.
        shape: Its shape.
        form: The codecs, outermost first, such as `grid(stored integers)`.
        elements: Their number.
        bytes: Bytes it takes in the model.
        coded: Bytes it takes in the archive.
        entropy: Bits of an element, were each coded by its frequency alone.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    form: str
    elements: int
    bytes: int
    coded: int
    entropy: float

    @property
    def bits(self) -> float:
        """Bits that an element takes."""
        return 8 * self.coded / max(self.elements, 1)


@dataclass(frozen=True)
class CodedModel:
    """An archive.

    Attributes:
        source: Its path.
        files: Bytes of the files it holds, by name; the model comes first.
        archive: Bytes of the archive.
        zst: Bytes of the files, each compressed by zstd at level 19; None if the package
            `zstandard` is not installed.
        tensors: The tensors that are coded by themselves.
        remark: What could not be measured.
    """

    source: str
    files: dict[str, int]
    archive: int
    zst: int | None
    tensors: tuple[CodedTensor, ...]
    remark: str = ""

    @property
    def bytes(self) -> int:
        """Bytes of the files."""
        return sum(self.files.values())

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes by the ending of the file; what could not be measured is left out."""
        known = {".onnx": self.bytes, ".onnx.zst": self.zst, ".ocz": self.archive}
        return {ending: size for ending, size in known.items() if size is not None}

    @property
    def rest(self) -> int:
        """Bytes of the archive that are no tensor's: nodes, names, small tensors, the index."""
        return self.archive - sum(t.coded for t in self.tensors)

    def to_json(self) -> dict[str, Any]:
        """Return what a report holds."""
        return {
            "bytes": {"onnx": self.bytes, "onnx_zst": self.zst, "ocz": self.archive},
            "files": self.files,
            "rest_bytes": self.rest,
            "tensors": [{**asdict(t), "bits": t.bits} for t in self.tensors],
            "remarks": [self.remark] if self.remark else [],
        }
