"""The public front: load, save, optimize, validate, profile."""

from ocompress.front.api import optimize
from ocompress.front.archives import load_archive, pack, unpack
from ocompress.front.budget import Budget
from ocompress.front.compare import profile, validate, validate_on
from ocompress.front.files import load, save
from ocompress.front.job import run
from ocompress.front.request import Request, storage_for

__all__ = [
    "Budget",
    "Request",
    "load",
    "load_archive",
    "optimize",
    "pack",
    "profile",
    "run",
    "save",
    "storage_for",
    "unpack",
    "validate",
    "validate_on",
]
