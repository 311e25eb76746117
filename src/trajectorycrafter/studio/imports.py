"""Paths that a visitor uploads: unpacked safely, and kept editable where they are keys.

A visitor's file name chooses only the suffix of the file that is written, and of the names in a
packed folder only the last part counts.
"""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

from ..geometry.trajectory_files import detect_format, read_trajectory
from ..geometry.trajectory_files.own_json import read_keyframes
from .editing import Design, TimePlan

LARGEST_PATH_MB = 20.0
"""Size of a file with a camera path, packed or not."""
MOST_KEYS = 24
"""A file with more keys is taken as a path frame by frame, which nobody edits by hand."""


def unpacked(name: str, data: bytes, folder: Path) -> Path:
    """Write a visitor's path, of a sensible size, into `folder`; a zip becomes a folder."""
    if not data or len(data) > LARGEST_PATH_MB * 1e6:
        raise ValueError(
            f"{name} has {len(data) / 1e6:.1f} MB; a camera path has up to {LARGEST_PATH_MB:g} MB."
        )
    if not zipfile.is_zipfile(io.BytesIO(data)) or name.lower().endswith(".npz"):
        suffix = "".join(c for c in Path(name).suffix.lower() if c.isalnum() or c == ".")
        file = folder / f"path{suffix}"
        file.write_bytes(data)
        return file
    inner = folder / "path"
    inner.mkdir()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if sum(entry.file_size for entry in entries) > LARGEST_PATH_MB * 1e6:
            raise ValueError(f"{name} holds more than {LARGEST_PATH_MB:g} MB.")
        for entry in entries:
            # Names in an archive may climb out of it.
            (inner / Path(entry.filename).name).write_bytes(archive.read(entry))
    return inner


def editable_keys(file: Path, design: Design, *, still: bool) -> Design | None:
    """The design with the keys of our JSON; None where the file is another kind of path.

    Args:
        still: whether the source camera stands still, so that it does not matter which of its
            frames the keys are relative to.

    Raises:
        ValueError: our JSON with something wrong in it.
    """
    if file.is_dir() or detect_format(file) != "json":
        return None
    document = json.loads(file.read_text(encoding="utf-8"))
    keyframes = document.get("keyframes") or []
    special = bool({"cameras", "anchor", "reference_frames"} & document.keys())
    special |= not still and document.get("relative_to") != "first_frame"
    special |= document.get("pan_unit", "radius") != "radius"
    if special or not 0 < len(keyframes) <= MOST_KEYS:
        return None
    read_trajectory(file, design.frames)  # which says what is wrong with the file
    keys = read_keyframes(file)
    last = design.frames - 1
    placed = [replace(key, time=None, frame=round((key.time or 0.0) * last)) for key in keys]
    if len({key.frame for key in placed}) < len(placed):
        return None
    timed = any(key.source_frame is not None for key in placed)
    return replace(
        design,
        kind="keys",
        keys=tuple(placed),
        interpolation=document.get("interpolation", "spline"),
        ease=document.get("ease", False),
        pivot=None,
        time=TimePlan("keys") if timed else TimePlan(),
    )
