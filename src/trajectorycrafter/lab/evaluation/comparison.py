"""Two evaluations of one benchmark against each other, clip by clip.

The one thing a reader would get wrong: the interval is that of the mean *difference* over the clips
both have. Two means whose own intervals overlap can still differ for certain, since hard clips are
hard for both.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ...runtime.files import write_text
from ...runtime.pages import render
from .records import Column, Entry, Evaluation, interval
from .report import escape, markdown_table
from .tables import describe_clip, describe_group, group_values, number, numeric_keys

FEWEST = 6
"""Clips below which nothing is decided: that all of 5 clips point one way happens by chance in
1 of 16 cases, more than the interval's 1 of 20."""
LARGEST = 3
"""Clips that are listed for each column."""
LISTED = 8
"""Unpaired entries that are named for each row."""

Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class Pair:
    """One column of one clip in both evaluations."""

    clip: str
    group: dict[str, str]
    a: float
    b: float

    @property
    def difference(self) -> float:
        """Positive where b has more."""
        return self.b - self.a


@dataclass(frozen=True)
class Change:
    """How one column changed from a to b, for one row and group."""

    row: str
    """`old -> new` where the rows have different names."""
    group: dict[str, str]
    column: Column
    mean_a: float
    mean_b: float
    low: float
    """Lower end of the 95 % interval of `mean_b - mean_a`, paired over clips."""
    high: float
    clips: int
    wins: int
    """Clips where b is better (where neither is better: has more), by more than half a printed
    digit."""
    losses: int
    verdict: Verdict | None
    """What b is; None where neither side of the column is better."""
    largest: list[Pair]
    """The pairs that changed most, most first; none that changed by less than a printed digit."""

    @property
    def difference(self) -> float:
        return self.mean_b - self.mean_a

    @property
    def ties(self) -> int:
        return self.clips - self.wins - self.losses

    @property
    def sign_p(self) -> float:
        """Two-sided exact sign test over wins and losses; ties are left out."""
        total, fewer = self.wins + self.losses, min(self.wins, self.losses)
        return min(1.0, 2 * sum(math.comb(total, k) for k in range(fewer + 1)) / 2**total)


@dataclass(frozen=True)
class Comparison:
    """What `compare` found."""

    benchmark: str
    names: tuple[str, str]
    changes: list[Change]
    only: tuple[list[Entry], list[Entry]]
    """Entries without a counterpart, of a and of b; a failed counterpart is none."""
    columns: tuple[list[str], list[str]]
    """Labels of columns that only a and only b has."""


def compare(
    a: Evaluation,
    b: Evaluation,
    names: tuple[str, str] = ("a", "b"),
    by: Iterable[str] | None = None,
) -> Comparison:
    """Compare b with a, on the clips, groups and rows that both have.

    Entries are paired by row, clip and group. If no row name is shared and each side has exactly
    one row, these two are compared.

    Args:
        by: group keys whose values are told apart; over the others a clip counts once, with its
            mean. Default: the keys that are no scale, as in `tables.tables`.

    Raises:
        ValueError: of different benchmarks, or nothing could be paired.
    """
    if a.benchmark != b.benchmark:
        raise ValueError(
            f"Expected two evaluations of one benchmark, got {a.benchmark!r} and {b.benchmark!r}; "
            "their numbers mean different things."
        )
    rows_a, rows_b = (list(dict.fromkeys(e.row for e in side.entries)) for side in (a, b))
    lone = len(rows_a) == len(rows_b) == 1
    left = {(rows_b[0] if lone else e.row, *e.key[1:]): e for e in a.entries if e.values}
    right = {entry.key: entry for entry in b.entries if entry.values}
    pairs = [(left[key], right[key]) for key in left if key in right]
    if not pairs:
        raise ValueError(
            f"Expected entries of the same row, clip and group; {names[0]} has the rows "
            f"{rows_a}, {names[1]} has {rows_b}, and no entry of one is in the other. "
            "Evaluate the same clips, or give both one row."
        )
    if by is None:
        by = {*group_values(a), *group_values(b)} - {*numeric_keys(a), *numeric_keys(b)}
    known = set(by)
    parts: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[Entry, Entry]]] = {}
    for x, y in pairs:
        row = y.row if x.row == y.row else f"{x.row} -> {y.row}"
        group = tuple((key, value) for key, value in y.group.items() if key in known)
        parts.setdefault((row, group), []).append((x, y))
    in_a, in_b = ({column.name for column in side.columns} for side in (a, b))
    both = [column for column in a.columns if column.name in in_b]
    found = (_change(row, dict(g), c, part) for (row, g), part in parts.items() for c in both)
    return Comparison(
        a.benchmark,
        names,
        [change for change in found if change is not None],
        ([left[k] for k in left if k not in right], [right[k] for k in right if k not in left]),
        (
            [column.label for column in a.columns if column.name not in in_b],
            [column.label for column in b.columns if column.name not in in_a],
        ),
    )


def _change(
    row: str, group: dict[str, str], column: Column, entries: list[tuple[Entry, Entry]]
) -> Change | None:
    """One column over the pairs that have it on both sides; None if none has."""
    values = [[entry.values.get(column.name, math.nan) for entry in pair] for pair in entries]
    pairs = [
        Pair(y.clip, y.group, a, b)
        for (_, y), (a, b) in zip(entries, values)
        if math.isfinite(a) and math.isfinite(b)
    ]
    if not pairs:
        return None
    clips: dict[str, list[Pair]] = {}
    for pair in pairs:
        clips.setdefault(pair.clip, []).append(pair)
    means = np.array([np.mean([(p.a, p.b) for p in found], axis=0) for found in clips.values()])
    differences = means[:, 1] - means[:, 0]
    low, high = interval(differences)
    gains = -differences if column.better == "lower" else differences
    least = 0.5 * 10.0**-column.digits
    moved = [pair for pair in pairs if abs(pair.difference) > least]
    verdict: Verdict | None = None
    if column.better != "neither":
        verdict = "better" if (low > 0) == (column.better == "higher") else "worse"
        printed = abs(float(differences.mean())) > least
        if len(clips) < FEWEST or low <= 0 <= high or not printed:
            verdict = "undecided"
    return Change(
        row,
        group,
        column,
        float(means[:, 0].mean()),
        float(means[:, 1].mean()),
        low,
        high,
        len(clips),
        int((gains > least).sum()),
        int((gains < -least).sum()),
        verdict,
        sorted(moved, key=lambda pair: -abs(pair.difference))[:LARGEST],
    )


# ---------------------------------------------------------------------------------------- writing


def write_comparison(
    a: Evaluation, b: Evaluation, out: Path, names: tuple[str, str] = ("a", "b")
) -> Comparison:
    """Write `comparison.md` and `comparison.html` into the folder `out`.

    Raises:
        ValueError: as `compare`.
        OSError: the folder cannot be written.
    """
    found = compare(a, b, names)
    write_text(comparison_markdown(found), out / "comparison.md")
    a_name, b_name = names
    page = render(
        "report/comparison.html",
        title=f"{found.benchmark}: {b_name} against {a_name}",
        data={},
        tally=_tally(found),
        sections=_sections(found),
        headings=[a_name, b_name, *HEADINGS],
        change_cells=_change_cells,
        pair_headings=[*PAIR_HEADINGS, a_name, b_name, "difference"],
        largest=_largest,
        legend=COMPARISON_LEGEND,
        remarks=_remarks(found),
    )
    write_text(page, out / "comparison.html")
    return found


def comparison_markdown(found: Comparison) -> str:
    """The comparison as GitHub's Markdown."""
    a, b = map(escape, found.names)
    parts = [f"# {escape(found.benchmark)}: {b} against {a}", f"{_tally(found)}."]
    for title, changes in _sections(found):
        lines = []
        for change in changes:
            cells = [
                f"**{x}**" if x in ("better", "worse") else escape(x) for x in _change_cells(change)
            ]
            lines.append([escape(change.column.label), *cells])
        parts += [f"## {escape(title)}", markdown_table(["", a, b, *HEADINGS], lines)]
        largest = [[escape(cell) for cell in cells] for cells in _largest(changes)]
        if largest:
            table = markdown_table([*PAIR_HEADINGS, a, b, "difference"], largest)
            parts += [f"Largest changes from {a} to {b}:", table]
    parts.append(COMPARISON_LEGEND)
    lines = _remarks(found)
    if lines:
        parts += ["## Not compared", "\n".join(f"- {escape(line)}" for line in lines)]
    return "\n\n".join(parts) + "\n"


HEADINGS = ("difference", "95 % interval", "wins / losses / ties", "p", "verdict", "clips")
"""Over `_change_cells`, after the two means."""
PAIR_HEADINGS = ("column", "clip", "group")
"""Over `_largest`, before the two values and their difference."""
COMPARISON_LEGEND = (
    "Differences are second minus first, over the clips both have, with the 95 % interval of their "
    "mean by bootstrap over clips. Better or worse: the interval lies on one side of zero, has at "
    f"least {FEWEST} clips, and the difference is large enough to be printed. p is that of the "
    "two-sided sign test over wins and losses. "
    "Intervals of few clips are too narrow: read p as well. Several columns are looked at, so one "
    "verdict that stands alone is weak evidence."
)


def _tally(found: Comparison) -> str:
    """How many columns went which way, over all rows and groups."""
    verdicts = [change.verdict for change in found.changes]
    return ", ".join(f"{verdicts.count(word)} {word}" for word in get_args(Verdict))


def _sections(found: Comparison) -> list[tuple[str, list[Change]]]:
    """The changes by row and group, each under its title."""
    parts: dict[str, list[Change]] = {}
    for change in found.changes:
        group = describe_group(change.group)
        title = f"{change.row}, {group}" if group else change.row
        parts.setdefault(title, []).append(change)
    return list(parts.items())


def _remarks(found: Comparison) -> list[str]:
    """What could not be compared."""
    lines = []
    for name, entries, columns in zip(found.names, found.only, found.columns):
        if columns:
            lines.append(f"Only {name} has the columns {', '.join(columns)}.")
        for row in dict.fromkeys(entry.row for entry in entries):
            found_in = [describe_clip(entry) for entry in entries if entry.row == row]
            more = f" and {len(found_in) - LISTED} more" if len(found_in) > LISTED else ""
            lines.append(f"Only {name} has {row} for {', '.join(found_in[:LISTED])}{more}.")
    return lines


def _signed(value: float, column: Column) -> str:
    text = number(value, column)
    return f"+{text}" if value > 0 and float(text) != 0 else text


def _change_cells(change: Change) -> list[str]:
    c = change.column
    return [
        *(number(mean, c) for mean in (change.mean_a, change.mean_b)),
        _signed(change.difference, c),
        f"[{_signed(change.low, c)}, {_signed(change.high, c)}]",
        f"{change.wins} / {change.losses} / {change.ties}",
        f"{change.sign_p:.3f}" if change.sign_p >= 0.001 else "< 0.001",
        change.verdict or "–",
        str(change.clips),
    ]


def _largest(changes: list[Change]) -> list[list[str]]:
    """The largest pairs of every change as texts."""
    cells = []
    for change in changes:
        c = change.column
        for pair in change.largest:
            values = (number(pair.a, c), number(pair.b, c), _signed(pair.difference, c))
            cells.append([c.label, pair.clip, describe_group(pair.group), *values])
    return cells
