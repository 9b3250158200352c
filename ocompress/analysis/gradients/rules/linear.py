"""Matrix products."""

from __future__ import annotations

import math

from ocompress.analysis.gradients.registry import Gradients, rule
from ocompress.analysis.gradients.tape import StoppedError, Tape
from ocompress.ir import Node, Value


@rule("Gemm")
def gemm(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dA = alpha g B', dB = alpha A' g, dC = beta g, transposed as A and B are."""
    a, b, c = node.input(0), node.input(1), node.input(2)
    alpha, beta = node.attr("alpha", 1.0), node.attr("beta", 1.0)
    flip_a, flip_b = int(node.attr("transA", 0)), int(node.attr("transB", 0))
    found: list[Value | None] = [None, None, None]

    def product(left: Value, right: Value, flip_left: int, flip_right: int) -> Value:
        return tape.op("Gemm", left, right, alpha=alpha, transA=flip_left, transB=flip_right)

    if tape.wants(a):
        other = tape.forward(b)
        found[0] = product(other, g, flip_b, 1) if flip_a else product(g, other, 0, 1 - flip_b)
    if tape.wants(b):
        other = tape.forward(a)
        found[1] = product(g, other, 1, flip_a) if flip_b else product(other, g, 1 - flip_a, 0)
    if tape.wants(c):
        found[2] = tape.sum_to(tape.scale(g, beta), tape.shape(node.output), tape.shape(c))
    return found


@rule("MatMul")
def matmul(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dA = g B', dB = A' g, summed over what was broadcast."""
    a, b = node.inputs
    shape_a, shape_b, made = tape.shape(a), tape.shape(b), tape.shape(node.output)
    full_a = (1, *shape_a) if len(shape_a) == 1 else shape_a
    full_b = (*shape_b, 1) if len(shape_b) == 1 else shape_b
    batch = made[: len(made) - (len(shape_a) > 1) - (len(shape_b) > 1)]
    full = (*batch, full_a[-2], full_b[-1])
    if full != made:
        g = tape.reshape(g, full)
    found: list[Value | None] = [None, None]
    if tape.wants(a):
        right = _flipped(tape, b, full_b)
        product = tape.op("MatMul", g, right)
        found[0] = _back(tape, product, (*batch, *full_a[-2:]), full_a, shape_a)
    if tape.wants(b):
        product = _right(tape, g, a, (full, full_a, full_b))
        found[1] = product if full_b == shape_b else tape.reshape(product, shape_b)
    return found


def _right(tape: Tape, g: Value, a: Value | None, shapes: tuple[tuple[int, ...], ...]) -> Value:
    full, full_a, full_b = shapes
    if len(full_b) == 2 and len(full_a) == len(full):  # one matrix for all: sum within the product
        rows = math.prod(full_a[:-1])
        left = tape.transpose(tape.reshape(tape.forward(a), (rows, full_a[-1])), (1, 0))
        return tape.op("MatMul", left, tape.reshape(g, (rows, full[-1])))
    product = tape.op("MatMul", _flipped(tape, a, full_a), g)
    return tape.sum_to(product, (*full[:-2], *full_b[-2:]), full_b)


def _back(
    tape: Tape,
    value: Value,
    present: tuple[int, ...],
    full: tuple[int, ...],
    wanted: tuple[int, ...],
) -> Value:
    summed = tape.sum_to(value, present, full)
    return summed if full == wanted else tape.reshape(summed, wanted)


def _flipped(tape: Tape, value: Value | None, full: tuple[int, ...]) -> Value:
    source = tape.forward(value)
    if full != tape.shape(value):
        source = tape.reshape(source, full)
    order = [*range(len(full) - 2), len(full) - 1, len(full) - 2]
    return tape.transpose(source, order)


@rule("Einsum")
def einsum(tape: Tape, node: Node, g: Value) -> Gradients:
    """Contract g with the other operands; each index of an operand must be in one of those."""
    equation = node.attr("equation", "").replace(" ", "")
    left, arrow, made = equation.partition("->")
    terms = left.split(",")
    if not arrow or "." in equation or any(len(set(t)) != len(t) for t in terms):
        msg = f"the form {equation!r} has no rule"
        raise StoppedError(msg)
    found: list[Value | None] = []
    for index, value in enumerate(node.inputs):
        if not tape.wants(value):
            found.append(None)
            continue
        others = [i for i in range(len(terms)) if i != index]
        sources = [made, *(terms[i] for i in others)]
        if not set(terms[index]) <= set("".join(sources)):
            msg = f"the form {equation!r} has no rule"
            raise StoppedError(msg)
        operands = [g, *(tape.forward(node.inputs[i]) for i in others)]
        form = f"{','.join(sources)}->{terms[index]}"
        found.append(tape.op("Einsum", *operands, equation=form))
    return found
