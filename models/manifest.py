"""Reading and writing `manifest.toml`, which tells where each file comes from."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

PATH = Path(__file__).parent / "manifest.toml"
HEAD = "# Where each file of this folder comes from. Written by train.py and fetch.py.\n"
Manifest = dict[str, dict[str, dict[str, Any]]]


def read(path: Path = PATH) -> Manifest:
    """Reads the manifest; without a file it is empty."""
    return tomllib.loads(path.read_text("utf-8")) if path.exists() else {}


def render(manifest: Manifest) -> str:
    """Turns the manifest into TOML text, tables in sorted order."""
    lines = [HEAD]
    for group in sorted(manifest):
        for name in sorted(manifest[group]):
            lines.append(f'[{group}."{name}"]')
            lines += [f"{key} = {json.dumps(item)}" for key, item in manifest[group][name].items()]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def sha256(path: Path) -> str:
    """Gives the SHA-256 of a file in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record(group: str, path: Path, fields: dict[str, Any], manifest: Path = PATH) -> None:
    """Puts one file into the manifest.

    Args:
        group: `net`, `data` or `real`.
        path: The file; its name without the ending is the name of the table.
        fields: What to say beside file name, hash and size.
        manifest: The manifest to change.
    """
    content = read(manifest)
    name = path.resolve().relative_to(manifest.resolve().parent).as_posix()
    measured = {"sha256": sha256(path), "bytes": path.stat().st_size}
    content.setdefault(group, {})[path.stem] = {"file": name, **fields, **measured}
    manifest.write_text(render(content), "utf-8")
