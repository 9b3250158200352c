"""Calls that run elsewhere: in this process, in others of this machine, or on a cluster.

All of them are reached through futures of `concurrent.futures`. A call is a function of a module
with arguments that can be pickled; what a killed worker was busy with is done again by another.
"""

from ocompress.workers.base import Workers
from ocompress.workers.opening import check_workers, open_workers
from ocompress.workers.parcels import Parcel, unpacked

__all__ = ["Parcel", "Workers", "check_workers", "open_workers", "unpacked"]
