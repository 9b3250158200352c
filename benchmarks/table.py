"""The table and the plot that `run.py` leaves."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

COLOURS = {"ocompress": "#c2410c", "ORT": "#2563eb", "NNCF": "#15803d"}
HEAD = (
    "model",
    "tool",
    "size",
    "SQNR dB",
    "agreement",
    "task",
    "latency, 1 thread",
    "2 threads",
    "seconds",
    "MiB",
)


@dataclass
class Row:
    """A tool's result on a net; ratios are to the float model."""

    model: str
    tool: str
    seconds: float | None = None
    mib: float | None = None
    size: float | None = None
    sqnr_db: float | None = None
    agreement: float | None = None
    task: str = ""
    score: float | None = None
    latency_1: float | None = None
    latency_2: float | None = None
    error: str = ""

    def text(self) -> str:
        """Return the row in Markdown."""
        if self.error:
            return f"| {self.model} | {self.tool} | fails: {self.error.replace('|', '/')} |"
        score = "" if self.score is None else f"{self.score:.4f}"
        cells = [
            self.model,
            self.tool,
            _shown(self.size, 3),
            _shown(self.sqnr_db, 1),
            _shown(self.agreement, 4),
            f"{score} ({self.task})" if self.task else score,
            _shown(self.latency_1, 2),
            _shown(self.latency_2, 2),
            _shown(self.seconds, 1),
            _shown(self.mib, 0),
        ]
        return "| " + " | ".join(cells) + " |"


def _shown(number: float | None, digits: int) -> str:
    return "" if number is None else f"{number:.{digits}f}"


def report(rows: list[Row], folder: Path) -> None:
    """Write table and plot into a folder."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD), *(r.text() for r in rows)]
    facts = (
        f"{_processor()}, {platform.system()}, Python {platform.python_version()}, "
        f"ONNX Runtime {ort.__version__}"
    )
    page = f"""# int8 beside other tools

Made by `python benchmarks/run.py --photos DIR --rivals PYTHON --write`, on one machine: {facts}.
All rows of a net come from one run. Every tool got the same model and the same 128 calibration
samples and ran in a process of its own (seconds without imports, peak memory with them). Size and
latency are relative to the float model, latency interleaved with it; SQNR and agreement are against
the float model on held-out data; the task's score needs labels, which no tool saw. `ocompress` is
`--passes quant --target portable`, `fastest` adds `noise_price=0`.

![SQNR over latency]({stem()}.svg)

""" + "\n".join(lines)
    (folder / f"{stem()}.md").write_text(page + "\n", encoding="utf-8")
    (folder / f"{stem()}.svg").write_text(plot(rows), encoding="utf-8")


def stem() -> str:
    """Return the name of the files: integer kernels with VNNI are another world."""
    return "benchmarks-vnni" if "vnni" in _processor() else "benchmarks"


def known(folder: Path) -> list[Row]:
    """Return the rows of the table that is in a folder, none if there is none."""
    path = folder / f"{stem()}.md"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = []
    for line in lines:
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if not line.startswith("| ") or cells[0] == HEAD[0]:
            continue
        if len(cells) < len(HEAD):
            rows.append(Row(cells[0], cells[1], error=cells[2].removeprefix("fails: ")))
            continue
        size, noise, same, _, one, two, seconds, mib = (_number(c) for c in cells[2:])
        score, _, task = cells[5].partition(" (")
        row = Row(cells[0], cells[1], seconds, mib, size, noise, same, task.rstrip(")"))
        row.score, row.latency_1, row.latency_2 = _number(score), one, two
        rows.append(row)
    return rows


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def plot(rows: list[Row]) -> str:
    """Return a small chart for each net: SQNR over latency, up and left is better."""
    nets = list(dict.fromkeys(r.model for r in rows))
    wide, high, across = 300, 210, 3
    parts = []
    for number, net in enumerate(nets):
        left, top = number % across * wide, number // across * high
        parts.append(_chart([r for r in rows if r.model == net], net, left, top))
    height = -(-len(nets) // across) * high + 30
    legend = "".join(
        f'<circle cx="{20 + 120 * i}" cy="{height - 14}" r="5" fill="{colour}"/>'
        f'<text x="{30 + 120 * i}" y="{height - 10}">{name}</text>'
        for i, (name, colour) in enumerate(COLOURS.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide * across}" height="{height}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        + "".join(parts)
        + legend
        + "</svg>\n"
    )


def _chart(rows: list[Row], net: str, left: int, top: int) -> str:
    shown = [r for r in rows if r.latency_1 is not None and r.sqnr_db is not None]
    most = max([1.2, *(r.latency_1 or 0.0 for r in shown)]) * 1.05
    loud = max([20.0, *(r.sqnr_db or 0.0 for r in shown)]) * 1.1
    x0, y0, w, h = left + 40, top + 170, 240, 140

    def x(latency: float) -> float:
        return x0 + w * latency / most

    def y(sqnr: float) -> float:
        return y0 - h * max(0.0, sqnr) / loud

    lines = [
        f'<text x="{left + 70}" y="{top + 24}" font-weight="bold">{net}</text>',
        f'<path d="M{x0},{y0 - h}V{y0}H{x0 + w}" stroke="#555" fill="none"/>',
        f'<path d="M{x(1)},{y0 - h}V{y0}" stroke="#999" stroke-dasharray="3"/>',
        f'<text x="{x(1) - 12}" y="{y0 + 13}">float</text>',
        f'<text x="{x0 + w - 90}" y="{y0 + 26}">latency / float</text>',
        f'<text x="{left + 4}" y="{y0 - h - 4}">SQNR dB</text>',
    ]
    lines += [
        f'<text x="{left + 20}" y="{y(step) + 4}">{step}</text>'
        for step in (10, 20, 30, 40)
        if step < loud
    ]
    for row in shown:
        colour = next((c for k, c in COLOURS.items() if row.tool.startswith(k)), "#555")
        lines.append(
            f'<circle cx="{x(row.latency_1 or 0):.1f}" cy="{y(row.sqnr_db or 0):.1f}" r="5" '
            f'fill="{colour}" fill-opacity="0.75"><title>{row.tool}</title></circle>'
        )
    return "".join(lines)


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    name = next(
        (ln.partition(":")[2].strip() for ln in text.splitlines() if "model name" in ln), ""
    )
    flags = [f for f in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimddp") if f in text]
    return f"{name or platform.machine()} ({' '.join(flags)})"
