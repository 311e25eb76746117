"""The names of the file formats, as callers give them.

The one thing a reader would get wrong: "json" is our own format alone; the other JSON files are
named after the program or the data set that they come from.
"""

from typing import Literal, get_args

TrajectoryFormat = Literal[
    "json",
    "released",
    "nerfstudio",
    "transforms",
    "realestate10k",
    "colmap",
    "tum",
    "vista4d",
    "recammaster",
    "blender",
]

FORMATS: tuple[str, ...] = get_args(TrajectoryFormat)
