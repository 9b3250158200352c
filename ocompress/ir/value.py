"""Values: everything that flows along an edge of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import SparseTensorProto, TensorShapeProto, TypeProto

from ocompress.ir.dtypes import DType
from ocompress.ir.strings import decoded, write

if TYPE_CHECKING:
    from ocompress.ir.node import Node
    from ocompress.ir.packed import Packed

Dim = int | str | None
"""One extent: a number, a symbol (`dim_param`), or unknown."""
Shape = tuple[Dim, ...]


class Value:
    """A graph input, a node's output, or a constant. Compared and hashed by identity.

    Attributes:
        name: Unique within the model's scope.
        producer: The node that makes it, None for inputs and constants.
        is_input: Whether it is a formal input of its graph.
        doc: Documentation string of the file.
        metadata: `metadata_props` of the file.
        sparse: The sparse form it was stored in; written back while `data` is unchanged.
        packed: What a file makes it of where that is smaller; written while `data` is unchanged.
    """

    __slots__ = (
        "_data",
        "_dtype",
        "_packed",
        "_shape",
        "_sparse",
        "_type",
        "_users",
        "doc",
        "is_input",
        "metadata",
        "name",
        "output_count",
        "producer",
    )

    def __init__(
        self,
        name: str,
        *,
        data: np.ndarray | None = None,
        dtype: DType | None = None,
        shape: Shape | None = None,
    ) -> None:
        """Make a free value; `data` turns it into a constant of that array (made read-only)."""
        self.name = name
        self.producer: Node | None = None
        self.is_input = False
        self.output_count = 0
        self.doc = ""
        self.metadata: dict[str, str] = {}
        self._users: dict[tuple[int, int], Node] = {}
        self._data: np.ndarray | None = None
        self._sparse: SparseTensorProto | None = None
        self._packed: Packed | None = None
        self._type: TypeProto | None = None
        self._dtype = dtype
        self._shape = shape
        if data is not None:
            self.data = data

    # -- type -------------------------------------------------------------------------------

    @property
    def dtype(self) -> DType | None:
        """Element type, None when unknown or not a tensor."""
        return self._dtype

    @property
    def shape(self) -> Shape | None:
        """Shape, None when unknown or not a tensor."""
        return self._shape

    @property
    def rank(self) -> int | None:
        """Number of axes, None when unknown."""
        return None if self._shape is None else len(self._shape)

    @property
    def type_proto(self) -> TypeProto | None:
        """The type in ONNX's own form, as the file gave it where nothing changed since."""
        if self._type is None and self._dtype is not None:
            self._type = _tensor_type(self._dtype, self._shape)
        return self._type

    def set_type(self, dtype: DType | None, shape: Shape | None) -> None:
        """Record element type and shape; `(None, None)` forgets them."""
        if (dtype, shape) != (self._dtype, self._shape):
            self._dtype, self._shape, self._type = dtype, shape, None

    def set_type_proto(self, proto: TypeProto | None) -> None:
        """Record a type in ONNX's own form (sequences, maps and optionals included)."""
        self._type = proto
        self._dtype, self._shape = None, None
        if proto is not None and proto.WhichOneof("value") == "tensor_type":
            tensor = proto.tensor_type
            self._dtype = DType(tensor.elem_type) if tensor.elem_type else None
            if tensor.HasField("shape"):
                self._shape = tuple(_dim(d) for d in tensor.shape.dim)

    def take_type(self, other: Value) -> None:
        """Record the type of another value, which is shared: types are replaced, never changed."""
        self._type, self._dtype, self._shape = other._type, other._dtype, other._shape

    # -- constants --------------------------------------------------------------------------

    @property
    def data(self) -> np.ndarray | None:
        """The array of a constant or the default of an overridable input; read-only."""
        return self._data

    @data.setter
    def data(self, array: np.ndarray) -> None:
        if array.flags.writeable:
            array = array.view()
            array.flags.writeable = False
        self._data = array
        self._sparse = self._packed = None
        self.set_type(DType.of(array), tuple(array.shape))

    @property
    def constant(self) -> np.ndarray | None:
        """The array if this value can never be anything else, else None."""
        return None if self.is_input else self._data

    @property
    def sparse(self) -> SparseTensorProto | None:
        """The sparse form the file stored it in, None once `data` was replaced."""
        return self._sparse

    def set_sparse(self, proto: SparseTensorProto) -> None:
        """Remember the sparse form of the present `data`."""
        self._sparse = proto

    @property
    def packed(self) -> Packed | None:
        """The smaller form that files hold it in, None once `data` was replaced."""
        return self._packed

    def set_packed(self, packed: Packed | None) -> None:
        """Remember a smaller form of the present `data`, or that there is none."""
        self._packed = packed

    @property
    def file_bytes(self) -> int:
        """Bytes that a constant takes in a file, 0 for other values."""
        if self._packed is not None:
            return self._packed.nbytes
        if self._data is None or self._dtype is None:
            return 0
        return -(-self._data.size * self._dtype.bits // 8)

    # -- uses -------------------------------------------------------------------------------

    @property
    def users(self) -> list[tuple[Node, int]]:
        """Every `(node, input index)` that reads it, in order of attachment; bodies included."""
        return [(node, index) for (_, index), node in self._users.items()]

    @property
    def use_count(self) -> int:
        """Number of readers plus the number of times it is a graph output."""
        return len(self._users) + self.output_count

    @property
    def is_output(self) -> bool:
        """Whether it is an output of its graph."""
        return self.output_count > 0

    def attach(self, node: Node, index: int) -> None:
        """Record a reader; called by `Node` only."""
        self._users[id(node), index] = node

    def detach(self, node: Node, index: int) -> None:
        """Forget a reader; called by `Node` only."""
        del self._users[id(node), index]

    def __repr__(self) -> str:
        """Show name and type."""
        kind = "const " if self._data is not None else ""
        dtype = self._dtype.name.lower() if self._dtype is not None else "?"
        return f"Value({kind}{self.name}: {dtype}{list(self._shape) if self._shape else ''})"


def _dim(dim: TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None  # Paddle writes -1 for free ones
    return decoded(dim.dim_param) or None


def _tensor_type(dtype: DType, shape: Shape | None) -> TypeProto:
    proto = TypeProto()
    proto.tensor_type.elem_type = int(dtype)
    write_shape(proto, shape)
    return proto


def write_shape(proto: TypeProto, shape: Shape | None) -> None:
    """Replace the shape in the type of a tensor; None leaves it unknown."""
    proto.tensor_type.ClearField("shape")
    if shape is None:
        return
    proto.tensor_type.shape.SetInParent()
    for extent in shape:
        dim = proto.tensor_type.shape.dim.add()
        if isinstance(extent, str):
            write(dim, "dim_param", extent)
        elif extent is not None:
            dim.dim_value = extent
