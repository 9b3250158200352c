"""The compiler's form of ONNX models: graphs, nodes and values compared by identity.

The only room that knows ONNX's protobuf classes and onnx-graphsurgeon.
"""

from ocompress.ir import edit, inference, onnx_api, packed, query, schemas
from ocompress.ir.dtypes import DType
from ocompress.ir.exporter import to_proto
from ocompress.ir.facets import Facet
from ocompress.ir.graph import Graph, in_order, reads
from ocompress.ir.importer import from_proto
from ocompress.ir.model import Model
from ocompress.ir.node import Node
from ocompress.ir.snapshot import Snapshot
from ocompress.ir.text import fingerprint, text
from ocompress.ir.value import Dim, Shape, Value

__all__ = [
    "DType",
    "Dim",
    "Facet",
    "Graph",
    "Model",
    "Node",
    "Shape",
    "Snapshot",
    "Value",
    "edit",
    "fingerprint",
    "from_proto",
    "in_order",
    "inference",
    "onnx_api",
    "packed",
    "query",
    "reads",
    "schemas",
    "text",
    "to_proto",
]
