"""The formats' names, and reading so that a mistake in a file is named where it stands.

Every check takes `where`, written for people: the path, then the line or the JSON path. Each adds
the field it looks at, and raises a ValueError that names it.
"""

import json
import math
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np

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
"""The formats as callers name them: "json" is our own, other JSON is named after its origin."""

FORMATS: tuple[str, ...] = get_args(TrajectoryFormat)


def wrong(where: str, expected: str, got: str) -> ValueError:
    """The error of a mistake in a file or argument, in the words of them all."""
    return ValueError(f"{where}: expected {expected}; got {got}.")


def existing(path: str | Path) -> Path:
    """The path with `~` expanded. Raises FileNotFoundError if nothing is there."""
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"No trajectory file at {path}.")
    return path


def read_text(path: Path) -> str:
    """The text of a file that is not binary."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected a text file with a camera path; got binary data. "
            f"Known formats: {', '.join(FORMATS)}."
        ) from error


def read_json(path: Path) -> Any:
    """What a JSON file holds; an error names line and column."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}, line {error.lineno}, column {error.colno}: expected JSON; {error.msg}."
        ) from error


def table_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and words of every line that is neither empty nor a comment."""
    lines = enumerate(read_text(path).splitlines(), start=1)
    return [(n, line.split()) for n, line in lines if line.strip() and not line.startswith("#")]


def number_rows(
    lines: list[tuple[int, list[str]]], columns: int, path: Path, names: str
) -> np.ndarray:
    """The numbers of table lines that all have `columns` fields; `names` says which they are."""
    if not lines:
        raise wrong(str(path), f"lines of {columns} numbers ({names})", "none")
    rows: list[list[float]] = []
    for number, words in lines:
        where = f"{path}, line {number}"
        if len(words) != columns:
            raise wrong(where, f"{columns} numbers ({names})", f"{len(words)} fields")
        rows.append([finite_number(word, where, i + 1) for i, word in enumerate(words)])
    return np.array(rows)


def increasing(times: np.ndarray, lines: list[tuple[int, list[str]]], path: Path) -> np.ndarray:
    """The times, one per line, each later than the one before."""
    bad = np.flatnonzero(np.diff(times) <= 0)
    if bad.size:
        i = int(bad[0]) + 1
        raise wrong(
            f"{path}, line {lines[i][0]}, time", f"more than {times[i - 1]:.9g}", f"{times[i]:.9g}"
        )
    return times


def finite_number(word: str, where: str, column: int) -> float:
    """The number that a word says; an error names `column`, which counts from 1."""
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise wrong(f"{where}, field {column}", "a finite number", repr(word))
    return number


def check_keys(entry: Any, kinds: dict[str, type], where: str) -> None:
    """Check that this is an object with these keys only, and their types or null in them."""
    if not isinstance(entry, dict):
        raise wrong(where, "an object", type(entry).__name__)
    for name, value in cast(dict[str, Any], entry).items():
        if name not in kinds:
            raise wrong(where, f"keys of {', '.join(kinds)}", f"key {name!r}")
        kind = kinds[name]
        allowed = (int, float) if kind is float else kind
        # In Python a bool is an int; in a file it is a mistake.
        if value is not None and (
            not isinstance(value, allowed) or isinstance(value, bool) != (kind is bool)
        ):
            raise wrong(f"{where}.{name}", f"a value of type {kind.__name__}", repr(value)[:40])


def required(entry: Any, name: str, where: str) -> Any:
    """The value of a key that an object must have."""
    if not isinstance(entry, dict) or name not in entry:
        got = f"keys {sorted(entry)[:8]}" if isinstance(entry, dict) else type(entry).__name__
        raise wrong(f"{where}.{name}", "a value", got)
    return entry[name]


def required_number(entry: Any, name: str, where: str) -> float:
    """The finite number of a key that an object must have."""
    return float(finite_numbers(required(entry, name, where), (), f"{where}.{name}"))


def camera_entries(document: Any, name: str, path: Path) -> list[Any]:
    """The cameras under a key of the document, at least one."""
    entries = required(document, name, f"{path}: $")
    if not isinstance(entries, list) or not entries:
        raise wrong(f"{path}: $.{name}", "a list with at least one camera", repr(entries)[:40])
    return entries


def finite_numbers(value: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Finite numbers of a shape (-1 = any count above 0); an error names the first bad one."""
    if isinstance(value, list):
        _check_leaves(value, where)
    expected = "x".join("N" if n == -1 else str(n) for n in shape) or "a single number"
    try:
        array = np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise wrong(where, f"numbers of shape {expected}", f"{str(value)[:40]!r}") from error
    fits = array.ndim == len(shape) and all(
        want in (-1, got) and got > 0 for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        got = "x".join(map(str, array.shape)) or "a single number"
        raise wrong(where, f"numbers of shape {expected}", f"shape {got}")
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise wrong(where + "".join(f"[{i}]" for i in index), "a finite number", str(array[index]))
    return array


def _check_leaves(value: list[Any], where: str) -> None:
    for i, item in enumerate(value):
        if isinstance(item, list):
            _check_leaves(item, f"{where}[{i}]")
        elif not isinstance(item, int | float) or isinstance(item, bool):
            raise wrong(f"{where}[{i}]", "a number", repr(item)[:40])
