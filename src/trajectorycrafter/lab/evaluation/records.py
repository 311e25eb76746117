"""What an evaluation found: one entry per row and clip, and how the entries become a table.

The one thing a reader would get wrong: confidence intervals are over clips, the unit that was drawn
at random. Frames of one clip are alike and count once.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...runtime.files import JsonLines

SCHEMA = "trajectorycrafter-evaluation/1"
DRAWS = 2000
"""Bootstrap draws."""

Better = Literal["higher", "lower", "neither"]
Key = tuple[str, str, tuple[tuple[str, str], ...]]
"""Row, clip and group: what tells an entry from all others of its evaluation."""


@dataclass(frozen=True)
class Column:
    """One number that every clip gets."""

    name: str
    """Key in `Entry.values`: `psnr`, `psnr_holes`, `seconds`, ..."""
    label: str
    """Heading, unit included: `PSNR (dB)`."""
    better: Better
    about: str = ""
    """What it is, in a sentence: formula, data range, source."""
    digits: int = 2
    """After the point, in tables."""


@dataclass(frozen=True)
class Entry:
    """What one row (a method) got on one clip."""

    row: str
    """The method: `fill`, `render (released)`, `GCD`, ..."""
    clip: str
    group: dict[str, str]
    """What divides a table into parts: `{"depth": "exact", "range": "40"}`."""
    values: dict[str, float] = field(default_factory=dict)
    """By column name; a value that could not be computed is left out."""
    error: str | None = None
    """Why the clip failed; `values` is empty then."""
    media: dict[str, str] = field(default_factory=dict)
    """Files beside the report, relative to it: `source`, `truth`, `result`, `difference`, ..."""

    @property
    def key(self) -> Key:
        return self.row, self.clip, tuple(sorted(self.group.items()))


@dataclass(frozen=True)
class Quoted:
    """A row as somebody else printed it: never measured here, and always marked so."""

    row: str
    values: dict[str, float]
    quoted_from: str
    """Paper and table."""


@dataclass(frozen=True)
class Evaluation:
    """One run of one benchmark."""

    benchmark: str
    """`synthetic-4d`, `real-4d`, `iphone`, `vbench`, `folder`."""
    columns: list[Column]
    entries: list[Entry]
    quoted: list[Quoted] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    """Command, settings, versions, machine, when, seconds."""


@dataclass(frozen=True)
class Mean:
    """A column's mean over the clips of one row and group."""

    row: str
    group: dict[str, str]
    column: str
    mean: float
    low: float
    """Lower end of the 95 % interval; the mean itself where there is one clip."""
    high: float
    clips: int


def summarize(evaluation: Evaluation, by: Iterable[str] | None = None) -> list[Mean]:
    """Means over clips with 95 % percentile bootstrap intervals.

    Args:
        by: the group keys that divide the table; the others are pooled, and a clip that is there
            several times counts once with its mean. Default: all keys.
    """
    keys = None if by is None else set(by)
    cells: dict[tuple[str, tuple[tuple[str, str], ...], str], dict[str, list[float]]] = {}
    for entry in evaluation.entries:
        group = tuple((k, v) for k, v in entry.group.items() if keys is None or k in keys)
        for column in evaluation.columns:
            value = entry.values.get(column.name)
            if value is not None and math.isfinite(value):
                cell = cells.setdefault((entry.row, group, column.name), {})
                cell.setdefault(entry.clip, []).append(value)
    means = []
    for (row, group, column), clips in cells.items():
        values = np.array([np.mean(v) for v in clips.values()])
        low, high = interval(values)
        means.append(Mean(row, dict(group), column, float(values.mean()), low, high, len(values)))
    return means


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of `values`."""
    draws = np.random.default_rng(0).integers(0, len(values), (DRAWS, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [(1 - 0.95) / 2, (1 + 0.95) / 2])
    return float(low), float(high)


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The content of `report.json` (`docs/reference/report.md`): the evaluation and its summary.

    Values that are not finite are left out: JSON knows no infinity.
    """
    finite = [
        replace(entry, values={k: v for k, v in entry.values.items() if math.isfinite(v)})
        for entry in evaluation.entries
    ]
    value: dict[str, Any] = {"schema": SCHEMA} | asdict(replace(evaluation, entries=finite))
    for row in value["quoted"]:
        row["source"] = row.pop("quoted_from")
    return value | {"summary": [asdict(mean) for mean in summarize(evaluation)]}


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation of a `report.json`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an evaluation, or one of another schema.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    found = value.get("schema") if isinstance(value, dict) else None
    if found != SCHEMA:
        raise ValueError(f"{path}: expected schema {SCHEMA!r}, got {found!r}.")
    return Evaluation(
        value["benchmark"],
        [Column(**column) for column in value["columns"]],
        [Entry(**entry) for entry in value["entries"]],
        [Quoted(row["row"], row["values"], row["source"]) for row in value["quoted"]],
        value["about"],
    )


class EntryLog:
    """Entries as they are made, a JSON line each, so that a stopped run goes on."""

    def __init__(self, path: Path, *, new: bool = False):
        """Read what an earlier run wrote, or remove it if this one is `new`."""
        self._log = JsonLines(path)
        if new:
            path.unlink(missing_ok=True)
        entries = (Entry(**line) for line in self._log.read())
        self._entries = {entry.key: entry for entry in entries}

    @property
    def entries(self) -> list[Entry]:
        """Each once, in the order of their first writing."""
        return list(self._entries.values())

    @property
    def done(self) -> set[Key]:
        """Keys of the entries that did not fail."""
        return {key for key, entry in self._entries.items() if entry.error is None}

    def add(self, entry: Entry) -> None:
        """Keep the entry, on disk first; it replaces an earlier one of its key."""
        self._log.add(asdict(entry))
        self._entries[entry.key] = entry
