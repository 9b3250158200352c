"""Reading and writing files: models with external data, calibration data, atomic writes."""

from ocompress.archive import is_archive
from ocompress.io.archives import files_to_pack, pack_model, unpack_model, unpacked
from ocompress.io.atomic import Staging, atomic_write, check_output, check_outputs, staging
from ocompress.io.cache_files import CacheFiles
from ocompress.io.data import as_dataset, load_data, synthetic_data
from ocompress.io.dataset import Dataset, Feeds
from ocompress.io.depfile import data_files, depfile, module_files
from ocompress.io.feeds import Unlabelled
from ocompress.io.holdout import Split, hold_out
from ocompress.io.model_reader import load_model, model_files, model_from
from ocompress.io.model_writer import save_model, stage_model
from ocompress.io.named import is_file, is_folder, is_there
from ocompress.io.one_call import OneCall, one_call
from ocompress.io.synthetic import SYNTHETIC
from ocompress.ir.mapping import release

__all__ = [
    "SYNTHETIC",
    "CacheFiles",
    "Dataset",
    "Feeds",
    "OneCall",
    "Split",
    "Staging",
    "Unlabelled",
    "as_dataset",
    "atomic_write",
    "check_output",
    "check_outputs",
    "data_files",
    "depfile",
    "files_to_pack",
    "hold_out",
    "is_archive",
    "is_file",
    "is_folder",
    "is_there",
    "load_data",
    "load_model",
    "model_files",
    "model_from",
    "module_files",
    "one_call",
    "pack_model",
    "release",
    "save_model",
    "stage_model",
    "staging",
    "synthetic_data",
    "unpack_model",
    "unpacked",
]
