"""The archive `.ocz`: an ONNX model whose tensors are coded, and which comes back byte by byte."""

from ocompress.archive.index import PackedFile, Piece, is_archive
from ocompress.archive.reader import Archive
from ocompress.archive.writer import SourceFile, write_archive

__all__ = ["Archive", "PackedFile", "Piece", "SourceFile", "is_archive", "write_archive"]
