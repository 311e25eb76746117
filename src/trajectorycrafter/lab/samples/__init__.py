"""Training examples: what they are, their shards on disk, and the stream that training reads."""

from .dataset import SampleDataset
from .sample import Encoded, Kind, Sample, decode, encode
from .shards import COLUMNS, ShardWriter, read_index, read_sample

__all__ = [
    "COLUMNS",
    "Encoded",
    "Kind",
    "Sample",
    "SampleDataset",
    "ShardWriter",
    "decode",
    "encode",
    "read_index",
    "read_sample",
]
