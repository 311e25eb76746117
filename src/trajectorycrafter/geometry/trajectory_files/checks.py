"""Reading text, JSON and numbers so that a mistake in a file is named where it stands.

The one thing a reader would get wrong: `where` is written for people, the path and then the line or
the JSON path; every check takes it, and each adds the field it looks at.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from .formats import FORMATS


def wrong(where: str, expected: str, got: str) -> ValueError:
    """The error of a mistake in a file or argument, in the words of them all."""
    return ValueError(f"{where}: expected {expected}; got {got}.")


def existing(path: str | Path) -> Path:
    """The path itself.

    Raises:
        FileNotFoundError: nothing is there.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No trajectory file at {path}.")
    return path


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        ValueError: binary data.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected a text file with a camera path; got binary data. "
            f"Known formats: {', '.join(FORMATS)}."
        ) from error


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: not JSON; names line and column.
    """
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
    """The numbers of table lines that all have `columns` fields; `names` says which they are.

    Raises:
        ValueError: no lines, a wrong count, something that is no finite number.
    """
    if not lines:
        raise wrong(str(path), f"lines of {columns} numbers ({names})", "none")
    rows = []
    for number, words in lines:
        where = f"{path}, line {number}"
        if len(words) != columns:
            raise wrong(where, f"{columns} numbers ({names})", f"{len(words)} fields")
        rows.append([finite_number(word, where, i + 1) for i, word in enumerate(words)])
    return np.array(rows)


def increasing(times: np.ndarray, lines: list[tuple[int, list[str]]], path: Path) -> np.ndarray:
    """The times themselves, one per line.

    Raises:
        ValueError: a time that is not later than the one before.
    """
    bad = np.flatnonzero(np.diff(times) <= 0)
    if bad.size:
        i = int(bad[0]) + 1
        raise wrong(
            f"{path}, line {lines[i][0]}, time", f"more than {times[i - 1]:.9g}", f"{times[i]:.9g}"
        )
    return times


def finite_number(word: str, where: str, column: int) -> float:
    """The number that a word says; `column` counts from 1.

    Raises:
        ValueError: no finite number.
    """
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise wrong(f"{where}, field {column}", "a finite number", repr(word))
    return number


def check_keys(entry: Any, kinds: dict[str, type], where: str) -> None:
    """Accept an object with these keys only and values of their types, or null.

    Raises:
        ValueError: no object, an unknown key, a value of another type.
    """
    if not isinstance(entry, dict):
        raise wrong(where, "an object", type(entry).__name__)
    for name, value in entry.items():
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
    """The value of a key.

    Raises:
        ValueError: no object, or it has no such key.
    """
    if not isinstance(entry, dict) or name not in entry:
        got = f"keys {sorted(entry)[:8]}" if isinstance(entry, dict) else type(entry).__name__
        raise wrong(f"{where}.{name}", "a value", got)
    return entry[name]


def required_number(entry: Any, name: str, where: str) -> float:
    """The finite number of a key.

    Raises:
        ValueError: the key is missing or holds something else.
    """
    return float(finite_numbers(required(entry, name, where), (), f"{where}.{name}"))


def camera_entries(document: Any, name: str, path: Path) -> list[Any]:
    """The list of cameras under a key of the whole document.

    Raises:
        ValueError: no such key, no list, an empty list.
    """
    entries = required(document, name, f"{path}: $")
    if not isinstance(entries, list) or not entries:
        raise wrong(f"{path}: $.{name}", "a list with at least one camera", repr(entries)[:40])
    return entries


def finite_numbers(value: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Finite numbers of a shape (-1 = any count above 0); an error names the first bad one."""
    if isinstance(value, list):
        _check_leaves(value, where)
    try:
        array = np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError) as error:
        expected = f"numbers of shape {_shape_text(shape)}"
        raise wrong(where, expected, f"{str(value)[:40]!r}") from error
    fits = array.ndim == len(shape) and all(
        want in (-1, got) and got > 0 for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise wrong(
            where, f"numbers of shape {_shape_text(shape)}", f"shape {_shape_text(array.shape)}"
        )
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


def _shape_text(shape: tuple[int, ...]) -> str:
    return "x".join("N" if size == -1 else str(size) for size in shape) or "a single number"
