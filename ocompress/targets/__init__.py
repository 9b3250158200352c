"""What a device is: instruction set, safe integer scheme, cost of operators."""

from ocompress.targets.catalogue import NAMES, find, host
from ocompress.targets.target import Arch, OpCost, Target

__all__ = ["NAMES", "Arch", "OpCost", "Target", "find", "host"]
