"""Tables of an evaluation, and how their numbers are printed.

The one thing a reader would get wrong: a table whose group lacks a key pools over that key, and a
clip that is there several times then counts once, with its mean (`records.summarize`). Quoted rows
were measured by others, on whatever they measured; they are never bold and never pooled.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .records import Column, Entry, Evaluation, Mean, Quoted, summarize


@dataclass(frozen=True)
class Table:
    """Methods by columns, for one group of an evaluation."""

    group: dict[str, str]
    """What all its entries share; empty where everything is pooled."""
    detail: bool
    """Whether it is one step of a numeric key, a part of the table before it."""
    columns: list[Column]
    """Those that have a value, or a quoted one."""
    cells: dict[str, dict[str, Mean]]
    """Row, then column name; rows in the order of the evaluation, failed ones empty."""
    tried: dict[str, int]
    """Clips that each row was tried on, failures included."""
    alike: bool
    """Whether all rows have values for the same clips and groups."""
    quoted: list[Quoted]
    """Rows beneath; none in a detail."""

    @property
    def title(self) -> str:
        return describe_group(self.group) or "all clips"

    def means(self, column: Column) -> dict[str, Mean]:
        """The cells of a column, by row."""
        return {row: c[column.name] for row, c in self.cells.items() if column.name in c}

    def best(self, column: Column) -> set[str]:
        """The rows with the best mean as printed; none where there is nothing to be better than."""
        found = {row: round(m.mean, column.digits) for row, m in self.means(column).items()}
        if len(found) < 2 or column.better == "neither":
            return set()
        wanted = (max if column.better == "higher" else min)(found.values())
        return {row for row, value in found.items() if value == wanted}

    def clips(self, row: str) -> int:
        """The clips behind most cells of a row."""
        return max((mean.clips for mean in self.cells[row].values()), default=0)

    def clips_text(self, row: str) -> str:
        """`20`, or `18 of 20` where some failed."""
        clips, tried = self.clips(row), self.tried[row]
        return str(clips) if clips == tried else f"{clips} of {tried}"


def group_values(evaluation: Evaluation) -> dict[str, list[str]]:
    """Every group key with its values, in order of appearance; numbers in ascending order."""
    found: dict[str, dict[str, None]] = {}
    for entry in evaluation.entries:
        for key, value in entry.group.items():
            found.setdefault(key, {})[value] = None
    return {k: sorted(v, key=float) if _numeric(v) else list(v) for k, v in found.items()}


def numeric_keys(evaluation: Evaluation) -> list[str]:
    """Group keys that are a scale, such as the camera's range: numbers, and more than one."""
    return [k for k, v in group_values(evaluation).items() if len(v) > 1 and _numeric(v)]


def _numeric(values: Iterable[str]) -> bool:
    try:
        return all(math.isfinite(float(value)) for value in values)
    except ValueError:
        return False


def tables(evaluation: Evaluation, by: Iterable[str] | None = None) -> list[Table]:
    """The tables of an evaluation.

    Args:
        by: one table for each combination of these group keys, pooled over the others. Default: a
            table for each combination of the keys that are no scale, followed by its details, one
            for each step of each scale.

    Raises:
        ValueError: `by` has a key that no entry has.
    """
    if by is not None:
        by = list(by)
        known = list(group_values(evaluation))
        if not set(by) <= set(known):
            raise ValueError(f"Expected group keys among {known}, got {by}.")
        return _divided(evaluation, by)
    scales = numeric_keys(evaluation)
    outer = [key for key in group_values(evaluation) if key not in scales]
    found = []
    for table in _divided(evaluation, outer):
        found.append(table)
        for scale in scales:
            parts = _divided(evaluation, [*outer, scale], scale)
            inside = [part for part in parts if table.group.items() <= part.group.items()]
            found += [part for part in inside if part.detail]
    return found


def _divided(evaluation: Evaluation, by: list[str], scale: str | None = None) -> list[Table]:
    """One table for each combination of the keys `by`, in the order of their values."""
    groups: dict[tuple[tuple[str, str], ...], list[Entry]] = {}
    for entry in evaluation.entries:
        group = tuple((key, entry.group[key]) for key in by if key in entry.group)
        groups.setdefault(group, []).append(entry)
    ranks = {key: values.index for key, values in group_values(evaluation).items()}
    found = []
    for group in sorted(groups, key=lambda group: [ranks[key](value) for key, value in group]):
        entries, detail = groups[group], scale in dict(group)
        means = summarize(replace(evaluation, entries=entries), by)
        rows = dict.fromkeys(entry.row for entry in entries)
        cells = {row: {m.column: m for m in means if m.row == row} for row in rows}
        measured = [c for c in evaluation.columns if any(c.name in cell for cell in cells.values())]
        quoted = [] if detail else evaluation.quoted
        named = {name for row in quoted for name in row.values}
        tried = {row: len({entry.clip for entry in entries if entry.row == row}) for row in rows}
        # A row without the leading column, such as one of cameras alone, compares with none in it.
        leads = [e for e in entries if not measured or measured[0].name in e.values or e.error]
        done = {e.row: {o.key[1:] for o in leads if o.row == e.row and o.values} for e in leads}
        alike = len({frozenset(keys) for keys in done.values()}) < 2
        columns = [c for c in evaluation.columns if c in measured or c.name in named]
        found.append(Table(dict(group), detail, columns, cells, tried, alike, quoted))
    return found


# ------------------------------------------------------------------------------------------ texts


def describe_group(group: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in group.items())


def describe_clip(entry: Entry) -> str:
    """Its clip, and its group if it has one."""
    return f"{entry.clip} ({describe_group(entry.group)})" if entry.group else entry.clip


def number(value: float, column: Column) -> str:
    """A value as tables print it, without a sign on zero and with a true minus."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.{column.digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def column_heading(column: Column) -> str:
    arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[column.better]
    return column.label + arrow
