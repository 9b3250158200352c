"""From a trained PyTorch net to one clean ONNX file, and its accuracy in ONNX Runtime."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn


def strip(model: onnx.ModelProto) -> None:
    """Removes doc strings and metadata, which tell source paths of the exporting machine.

    Args:
        model: The model to change.
    """
    graph = model.graph
    things = [model, graph, *graph.node, *graph.input, *graph.output]
    things += [*graph.value_info, *graph.initializer, *model.functions]
    for thing in things:
        thing.ClearField("doc_string")
        thing.ClearField("metadata_props")
    for value in (*graph.input, *graph.output):
        value.type.ClearField("denotation")
    del graph.value_info[:]


def export(
    net: nn.Module,
    path: Path,
    shape: tuple[int, ...],
    opset: int,
    *,
    keep_bn: bool = False,
    dynamo: bool = False,
) -> None:
    """Writes a net as a float32 ONNX file with input `image`, output `logits`, dynamic batch.

    Args:
        net: The net; it is put into evaluation mode.
        path: The file to write.
        shape: The shape of one input, without the batch.
        opset: The opset of the file.
        keep_bn: Whether BatchNormalization nodes stay instead of being folded into convolutions.
        dynamo: Whether to use PyTorch's newer exporter, which always folds BatchNormalization.
    """
    net = net.eval().to(memory_format=torch.contiguous_format)
    image = torch.rand(2, *shape)
    names: dict = {"input_names": ["image"], "output_names": ["logits"], "opset_version": opset}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            program = torch.onnx.export(
                net,
                (image,),
                dynamo=True,
                verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                **names,
            )
            if program is None:
                raise RuntimeError(f"{path.name} was not exported")
            model = program.model_proto
        else:
            mode = torch.onnx.TrainingMode
            torch.onnx.export(
                net,
                (image,),
                str(path),
                dynamo=False,
                training=mode.PRESERVE if keep_bn else mode.EVAL,
                dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
                **names,
            )
            model = onnx.load(path)
    strip(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def parameters(path: Path) -> int:
    """Counts the float numbers that an ONNX file holds, in initializers and constants."""
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
    graph = onnx.load(path).graph
    tensors = list(graph.initializer)
    for node in graph.node:
        if node.op_type == "Constant":
            tensors += [item.t for item in node.attribute if item.name == "value"]
    return sum(int(np.prod(t.dims)) for t in tensors if t.data_type in floats)


def session(path: Path) -> onnxruntime.InferenceSession:
    """Opens an ONNX file on the CPU with two threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def accuracy(path: Path, data: Path) -> float:
    """Measures a net in ONNX Runtime.

    Args:
        path: The ONNX file.
        data: An npz file with `image` and `label`.

    Returns:
        The share of right answers, 0 to 1.
    """
    run = session(path)
    with np.load(data) as arrays:
        image, label = arrays["image"], arrays["label"]
    hits = 0
    for start in range(0, len(label), 500):
        part = slice(start, start + 500)
        logits = run.run(["logits"], {"image": image[part]})[0]
        hits += int((logits.argmax(1) == label[part]).sum())
    return hits / len(label)
