"""The format of a file, told from its name and content: four formats are plain text and five are
JSON, so the count of columns and the keys decide."""

import math
import re
from pathlib import Path
from typing import Any

from .blender import BLENDER_FORMAT
from .checks import TrajectoryFormat, existing, read_json, table_lines, wrong
from .own_json import JSON_FORMAT


def detect_format(path: str | Path) -> TrajectoryFormat:
    """The format. Raises FileNotFoundError, or ValueError for a file of no format that we know."""
    path = existing(path)
    if path.is_dir() or path.name in ("images.txt", "images.bin", "cameras.txt", "cameras.bin"):
        return "colmap"
    if path.suffix == ".npz":
        return "vista4d"
    if path.suffix == ".json":
        return _json_kind(read_json(path), path)
    return _text_kind(path)


def _json_kind(document: Any, path: Path) -> TrajectoryFormat:
    keys = set(document) if isinstance(document, dict) else set()
    if keys and document.get("format") in (JSON_FORMAT, BLENDER_FORMAT):
        return "json" if document["format"] == JSON_FORMAT else "blender"
    if "camera_path" in keys:
        return "nerfstudio"
    if "frames" in keys:
        return "transforms"
    if any(re.fullmatch(r"frame\d+", key) for key in keys):
        return "recammaster"
    if "keyframes" in keys or "cameras" in keys:
        return "json"
    raise wrong(
        f"{path}: $", f'"format": "{JSON_FORMAT}" or another known JSON', f"keys {sorted(keys)}"
    )


def _text_kind(path: Path) -> TrajectoryFormat:
    lines = [words for _, words in table_lines(path)]
    if lines and lines[0][0].startswith("http"):
        return "realestate10k"
    widths = {len(line) for line in lines}
    columns = widths.pop() if len(widths) == 1 else 0
    # Three lines of eight numbers can be either; a pose ends in a quaternion of length 1.
    if columns == 8 and (len(lines) != 3 or all(_is_unit(line[4:]) for line in lines)):
        return "tum"
    if len(lines) == 3 and columns not in (16, 19):
        return "released"
    if columns in (16, 19):
        return "blender" if columns == 16 else "realestate10k"
    raise wrong(
        str(path),
        "3 lines (released), or 8 (tum), 16 (blender) or 19 (realestate10k) numbers on every line",
        f"{len(lines)} lines of {sorted(widths) or columns} fields",
    )


def _is_unit(words: list[str]) -> bool:
    try:
        return abs(math.hypot(*map(float, words)) - 1) < 1e-3
    except ValueError:
        return False
