"""Reports of an evaluation: its tables, its Markdown, and the folder that holds all of it.

The one thing a reader would get wrong: a table whose group lacks a key pools over that key, and a
clip that is there several times then counts once, with its mean (`records.summarise`). Quoted rows
were measured by others, on whatever they measured; they are never bold and never pooled.
"""

import hashlib
import math
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runtime.files import write_text
from .records import Column, Entry, Evaluation, Mean, summarise, write_evaluation

if TYPE_CHECKING:
    from ...video.clip import Video

CRF = 18
"""Quality of the clips in a report: no loss that can be seen, half the size of the default."""


@dataclass(frozen=True)
class Table:
    """Methods by columns, for one group of an evaluation."""

    group: dict[str, str]
    """What all its entries share; empty where everything is pooled."""
    detail: bool
    """Whether it is one step of a numeric key, a part of the table before it."""
    columns: list[Column]
    """Those that have a value."""
    cells: dict[str, dict[str, Mean]]
    """Row, then column name; rows in the order of the evaluation, failed ones empty."""
    clips: dict[str, int]
    """Clips that each row was tried on, failures included."""
    alike: bool
    """Whether all rows have values for the same clips and groups."""

    @property
    def title(self) -> str:
        return ", ".join(f"{key} {value}" for key, value in self.group.items()) or "all clips"

    def best(self, column: Column) -> set[str]:
        """The rows with the best mean as printed; none where there is nothing to be better than."""
        found = {r: round(c[column.name].mean, column.digits) for r, c in self._with(column)}
        if len(found) < 2 or column.better == "neither":
            return set()
        wanted = (max if column.better == "higher" else min)(found.values())
        return {row for row, value in found.items() if value == wanted}

    def _with(self, column: Column) -> list[tuple[str, dict[str, Mean]]]:
        return [(row, cells) for row, cells in self.cells.items() if column.name in cells]


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
        return _divided(evaluation, by, None)
    scales = numeric_keys(evaluation)
    outer = [key for key in group_values(evaluation) if key not in scales]
    found = []
    for table in _divided(evaluation, outer, None):
        found.append(table)
        for scale in scales:
            parts = _divided(evaluation, [*outer, scale], scale)
            inside = [part for part in parts if table.group.items() <= part.group.items()]
            found += [part for part in inside if part.detail]
    return found


def _divided(evaluation: Evaluation, by: list[str], scale: str | None) -> list[Table]:
    """One table for each combination of the keys `by`, in the order of their values."""
    groups: dict[tuple, list[Entry]] = {}
    for entry in evaluation.entries:
        group = tuple((key, entry.group[key]) for key in by if key in entry.group)
        groups.setdefault(group, []).append(entry)
    means: dict[frozenset, list[Mean]] = {}
    for mean in summarise(evaluation, by):
        means.setdefault(frozenset(mean.group.items()), []).append(mean)
    ranks = {key: values.index for key, values in group_values(evaluation).items()}
    ordered = sorted(groups, key=lambda group: [ranks[key](value) for key, value in group])
    return [
        _table(evaluation, dict(g), scale in dict(g), groups[g], means.get(frozenset(g), []))
        for g in ordered
    ]


def _table(
    evaluation: Evaluation,
    group: dict[str, str],
    detail: bool,
    entries: list[Entry],
    means: list[Mean],
) -> Table:
    rows = dict.fromkeys(entry.row for entry in entries)
    cells = {row: {m.column: m for m in means if m.row == row} for row in rows}
    columns = [c for c in evaluation.columns if any(c.name in cell for cell in cells.values())]
    tried = {row: {entry.clip for entry in entries if entry.row == row} for row in rows}
    # A row without the leading column, such as one of cameras alone, compares with none in it.
    leads = [e for e in entries if not columns or columns[0].name in e.values or e.error]
    done = {e.row: {o.key[1:] for o in leads if o.row == e.row and o.values} for e in leads}
    alike = len({frozenset(keys) for keys in done.values()}) < 2
    clips = {row: len(names) for row, names in tried.items()}
    return Table(group, detail, columns, cells, clips, alike)


def failures(evaluation: Evaluation) -> list[Entry]:
    return [entry for entry in evaluation.entries if entry.error is not None]


def describe_group(group: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in group.items())


def number(value: float, column: Column) -> str:
    """A value as tables print it, without a sign on zero and with a true minus."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.{column.digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def row_clips(table: Table, row: str) -> tuple[int, str]:
    """The clips behind most cells of a row, and the words for it."""
    counts = [mean.clips for mean in table.cells[row].values()]
    most = max(counts, default=0)
    tried = table.clips[row]
    return most, str(most) if most == tried else f"{most} of {tried}"


def column_heading(column: Column) -> str:
    arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[column.better]
    return column.label + arrow


# --------------------------------------------------------------------------------------- Markdown


def markdown(evaluation: Evaluation, by: Iterable[str] | None = None) -> str:
    """The evaluation as GitHub's Markdown: tables, failures, and how it was made.

    Cells are the mean over clips with its 95 % interval; the best mean of a column is bold. Quoted
    rows stand beneath every table that is no detail.

    Args:
        by: as for `tables`.
    """
    parts = [f"# {escape(evaluation.benchmark)}"]
    for table in tables(evaluation, by):
        mark = "###" if table.detail else "##"
        parts += [f"{mark} {escape(table.title)}", _markdown_table(evaluation, table)]
        if not table.alike:
            parts.append(UNLIKE)
    parts.append(LEGEND)
    broken = failures(evaluation)
    if broken:
        parts += [f"## Failures ({len(broken)})", "\n".join(map(_failure_line, broken))]
    parts += ["## How it was made", _made_by(evaluation.about)]
    return "\n\n".join(parts) + "\n"


LEGEND = (
    "Means over clips, each with the 95 % interval of the mean by bootstrap over clips. "
    "Arrows point to the better side, the best mean is bold. Quoted rows are as their authors "
    "printed them; they were not measured here."
)
UNLIKE = "The rows of this table do not cover the same clips; their means cannot be compared as is."


def escape(text: object) -> str:
    """Text that Markdown, also inside a table, shows as it is."""
    plain = " ".join(str(text).split())
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*|\[\]])", r"\\\1", plain)


def markdown_table(heading: list[str], lines: list[list[str]]) -> str:
    """A table of texts that are Markdown already; the first column reads from the left."""
    rule = ["---"] + ["---:"] * (len(heading) - 1)
    return "\n".join(f"| {' | '.join(line)} |" for line in [heading, rule, *lines])


def _markdown_table(evaluation: Evaluation, table: Table) -> str:
    quoted = [] if table.detail else evaluation.quoted
    named = {name for row in quoted for name in row.values}
    shown = [c for c in evaluation.columns if c in table.columns or c.name in named]
    best = {column.name: table.best(column) for column in shown}
    lines = []
    for row in table.cells:
        cells = [_markdown_cell(table, row, c, row in best[c.name]) for c in shown]
        lines.append([escape(row), *cells, row_clips(table, row)[1]])
    for row in quoted:
        cells = [number(row.values.get(c.name, math.nan), c) for c in shown]
        lines.append([f"{escape(row.row)} (quoted: {escape(row.source)})", *cells, "–"])
    return markdown_table(["", *(escape(column_heading(c)) for c in shown), "clips"], lines)


def _markdown_cell(table: Table, row: str, column: Column, best: bool) -> str:
    mean = table.cells[row].get(column.name)
    if mean is None:
        return "–"
    text = number(mean.mean, column)
    text = f"**{text}**" if best else text
    if mean.clips > 1:
        text += f" [{number(mean.low, column)}, {number(mean.high, column)}]"
    if mean.clips != row_clips(table, row)[0]:
        text += f" (n = {mean.clips})"
    return text


def _failure_line(entry: Entry) -> str:
    group = describe_group(entry.group)
    where = f"{entry.clip} ({group})" if group else entry.clip
    return f"- **{escape(entry.row)}**, {escape(where)}: {escape(entry.error)}"


def _made_by(about: dict[str, Any]) -> str:
    lines = [f"- {escape(key)}: {escape(words(key, value))}" for key, value in about.items()]
    return "\n".join(lines) or "Nothing was recorded."


def words(key: str, value: Any) -> str:
    """An item of `Evaluation.about` in a line."""
    if key == "command" and isinstance(value, list | tuple):
        return shlex.join(map(str, value))
    if key == "seconds" and isinstance(value, int | float) and math.isfinite(value):
        return duration(value)
    if isinstance(value, Mapping):
        return "; ".join(f"{k} {words(str(k), v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(words("", item) for item in value)
    return str(value)


def duration(seconds: float) -> str:
    """`3.2 s`, `4 min 10 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


# ------------------------------------------------------------------------------------- the folder


def write_report(evaluation: Evaluation, out: Path) -> None:
    """Write `report.json`, `report.md` and `report.html` into the folder `out`.

    Each appears whole or not at all; what was there is replaced. The page finds the clips of
    `Entry.media` beside it.

    Raises:
        OSError: the folder cannot be written.
    """
    from .html_report import html

    write_evaluation(evaluation, out / "report.json")
    write_text(markdown(evaluation), out / "report.md")
    write_text(html(evaluation), out / "report.html")


def write_media(
    folder: Path,
    clip: str,
    row: str,
    made: "Video",
    true: "Video | None",
    source: "Video | None",
    view: str | Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Write the clips that a report shows of one entry, and name them for `Entry.media`.

    Source and truth are named by their content, so that rows and views share one file, also when a
    stopped run goes on. The result and its difference map replace those of an earlier run.

    Args:
        folder: of the report; the names are relative to it.
        true: what the result should be, frame by frame; None: there is no truth and no map.
        source: the clip that was re-shot; None: not shown.
        view: what else tells this entry from others of its clip and row: its group, or a name.

    Raises:
        ValueError: result and truth differ in shape, or there is nothing to write.
        OSError: the folder cannot be written.
    """
    if true is not None and true.frames.shape != made.frames.shape:
        raise ValueError(
            f"Expected the result of {row!r} on {clip!r} to have the shape of the truth, "
            f"{tuple(true.frames.shape)}; got {tuple(made.frames.shape)}."
        )
    place = f"media/{file_name(clip)}"
    found = {}
    for key, video in (("source", source), ("truth", true)):
        if video is not None:
            found[key] = f"{place}/{key}.{_digest(video)}.mp4"
            if not (folder / found[key]).exists():
                video.write(folder / found[key], crf=CRF)
    named = describe_group(view) if isinstance(view, Mapping) else view
    stem = "/".join([place, *([file_name(named)] if named else []), file_name(row)])
    found["result"] = f"{stem}.mp4"
    made.write(folder / found["result"], overwrite=True, crf=CRF)
    if true is not None:
        found["difference"] = f"{stem}.difference.mp4"
        _difference(made, true).write(folder / found["difference"], overwrite=True, crf=CRF)
    return found


def _difference(made: "Video", true: "Video") -> "Video":
    from ...video.clip import Video
    from ...video.pictures import difference_video

    return Video(difference_video(made.frames, true.frames), made.fps)


def file_name(text: str) -> str:
    """A name that every file system and URL takes; different texts get different names."""
    safe = re.sub(r"[^a-z0-9_-]+", "_", text.lower()).strip("_-")[:60]
    if safe and safe == text:
        return safe
    # Behind a dot, which no name above has.
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{safe or 'x'}.{digest[:6]}"


def _digest(video: "Video") -> str:
    """Tells clips apart that would be seen to differ."""
    found = hashlib.sha256(f"{tuple(video.frames.shape)} {video.fps}".encode())
    for frame in video.frames:
        found.update(frame.detach().float().clamp(0, 1).mul(255).round().byte().cpu().numpy().data)
    return found.hexdigest()[:10]
