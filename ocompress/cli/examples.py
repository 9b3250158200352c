"""What `--help` of each command shows as examples; the tests run every one of them."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "optimize": (
        "ocompress optimize in.onnx out.onnx --passes quant --data calib.npz",
        "ocompress optimize in.onnx out.onnx -d calib.npz --max-drop 0.01 \\\n"
        "  --passes 'prune{sparsity=0.6},quant{per_channel=true}'",
        "ocompress optimize in.onnx out.onnx --recipe int8 -d calib.npz \\\n  --report out.html",
        "ocompress optimize in.onnx out.ocz --passes quant --data calib.npz",
    ),
    "distill": (
        "ocompress distill in.onnx out.onnx --student width=0.5 --data calib.npz",
        "ocompress distill in.onnx out.onnx --student separable -d calib.npz \\\n"
        "  --passes 'tune{epochs=5},quant' --report out.html",
    ),
    "plan": (
        "ocompress plan in.onnx --data calib.npz --time 20s -o plan.toml",
        "ocompress plan in.onnx -d calib.npz --for size --families channels,int8 \\\n"
        "  --max-drop 0.01 --time 20s",
    ),
    "sweep": (
        "ocompress sweep jobs.toml",
        "ocompress sweep jobs.toml --workers 2 --report jobs.html",
    ),
    "validate": (
        "ocompress validate in.onnx out.onnx --data test.npz",
        "ocompress validate in.onnx out.onnx -d test.npz --gate gate.toml \\\n  --junit gate.xml",
    ),
    "profile": (
        "ocompress profile out.onnx --against in.onnx --data test.npz",
        "ocompress profile in.onnx --shape x:8,16 --per-node",
    ),
    "inspect": (
        "ocompress inspect in.onnx --data calib.npz",
        "ocompress inspect --quant in.onnx out.onnx --data calib.npz",
    ),
    "pack": (
        "ocompress pack in.onnx in.ocz",
        "ocompress pack out.onnx change.ocz --base in.ocz",
    ),
    "unpack": ("ocompress unpack in.ocz again.onnx",),
    "info": ("ocompress info in.ocz", "ocompress info in.ocz --json > in.json"),
    "passes": (
        "ocompress passes",
        "ocompress passes prune",
    ),
    "recipes": ("ocompress recipes", "ocompress recipes int8 > mine.toml"),
    "cmake_dir": ("ocompress cmake-dir",),
    "setup": ("ocompress target setup qemu-aarch64",),
}
"""Command lines by name of the command, in a folder with in.onnx and so on."""

EXIT_CODES = (
    "Exit codes: 0 done and within budget, 1 budget or gate failed, 2 wrong usage, 3 model "
    "invalid or unsupported, 4 failure, 130 interrupted, 143 terminated."
)


def epilog(command: str) -> str:
    """Return what follows the options in a command's `--help`."""
    lines = "\n".join(f"  {line}" for one in EXAMPLES[command] for line in one.split("\n"))
    return f"Examples:\n{lines}\n\n{EXIT_CODES}"
