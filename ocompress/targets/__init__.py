"""What a device is: instruction set, safe integer scheme, cost of operators."""

from ocompress.targets.target import Arch, OpCost, Target

__all__ = ["Arch", "OpCost", "Target"]
