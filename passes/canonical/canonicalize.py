"""The family that runs first in every pipeline."""

from __future__ import annotations

from ocompress.pipeline import Family, Numerics, option


class Canonicalize(Family):
    """Bring a model into the form that the other passes expect.

    Runs its members, each exact or rounding-only, until none of them changes anything.
    Numerics: rounding only.
    """

    name = "canonicalize"
    numerics = Numerics.ROUNDING
    members = (
        "inline-functions",
        "freeze-initializers",
        "lift-constants",
        "infer-shapes",
        "fold-shapes",
        "fold-constants",
        "scalarize-range",
        "inline-branches",
        "upgrade-opset",
        "split-fused",
        "split-variadic",
        "einsum-to-matmul",
        "unflatten-softmax",
        "remove-identity",
        "merge-layout-ops",
        "fold-pad",
        "merge-hard-swish",
        "fold-batch-norm",
        "fold-affine",
        "merge-matmul-add",
        "fold-gemm-scale",
        "share-initializers",
        "share-subexpressions",
        "remove-dead-code",
        "strip-text",
    )

    opset: int = option(
        17,
        help="Lowest opset wanted; per-channel quantization needs 13, 4-bit types 21.",
        at_least=7,
        at_most=21,
    )
    strip: tuple[str, ...] = option(
        (),
        help="Text to drop: documentation strings (docs), entries of nodes, values and graphs "
        "(metadata), those of the model as a whole, which programs may read (model-metadata).",
        choices=("docs", "metadata", "model-metadata"),
    )
    freeze_inputs: bool = option(
        False,
        help="Turn inputs that have a default value into constants; callers can no longer "
        "set them.",
    )
