"""The folder of an evaluation's report: its JSON, its Markdown, its page, and the clips it plays.

The page is one HTML file that needs no network and no server. Texts of an evaluation (clips, rows,
errors) come from outside: `escape` makes them safe in Markdown, `render` in HTML, and in the page's
script they become text nodes only.
"""

import hashlib
import math
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runtime.files import write_json, write_text
from ...runtime.pages import render
from .records import Evaluation, as_json
from .tables import (
    Table,
    column_heading,
    describe_clip,
    describe_group,
    group_values,
    number,
    numeric_keys,
    tables,
)

if TYPE_CHECKING:
    from ...video.clip import Video

CRF = 18
"""Quality of the clips in a report: no loss that can be seen, half the size of the default."""
LEGEND = (
    "Means over clips, each with the 95 % interval of the mean by bootstrap over clips. "
    "Arrows point to the better side, the best mean is bold. Quoted rows are as their authors "
    "printed them; they were not measured here."
)
UNLIKE = "The rows of this table do not cover the same clips; their means cannot be compared as is."


def write_report(evaluation: Evaluation, out: Path) -> None:
    """Write `report.json`, `report.md` and `report.html` into the folder `out`.

    Each appears whole or not at all; what was there is replaced. The page finds the clips of
    `Entry.media` beside it.

    Raises:
        OSError: the folder cannot be written.
    """
    write_json(as_json(evaluation), out / "report.json")
    write_text(markdown(evaluation), out / "report.md")
    write_text(html(evaluation), out / "report.html")


# --------------------------------------------------------------------------------------- Markdown


def markdown(evaluation: Evaluation, by: Iterable[str] | None = None) -> str:
    """The evaluation as GitHub's Markdown; `by` as for `tables`.

    Cells are the mean over clips with its 95 % interval; the best mean of a column is bold. Quoted
    rows stand beneath every table that is no detail.
    """
    parts = [f"# {escape(evaluation.benchmark)}"]
    for table in tables(evaluation, by):
        mark = "###" if table.detail else "##"
        parts += [f"{mark} {escape(table.title)}", _markdown_table(table)]
        if not table.alike:
            parts.append(UNLIKE)
    parts.append(LEGEND)
    broken = [
        f"- **{escape(entry.row)}**, {escape(describe_clip(entry))}: {escape(entry.error)}"
        for entry in evaluation.entries
        if entry.error is not None
    ]
    if broken:
        parts += [f"## Failures ({len(broken)})", "\n".join(broken)]
    made = [f"- {escape(key)}: {escape(words(key, v))}" for key, v in evaluation.about.items()]
    parts += ["## How it was made", "\n".join(made) or "Nothing was recorded."]
    return "\n\n".join(parts) + "\n"


def escape(text: object) -> str:
    """Text that Markdown, also inside a table, shows as it is."""
    plain = " ".join(str(text).split())
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*|\[\]])", r"\\\1", plain)


def markdown_table(heading: list[str], lines: list[list[str]]) -> str:
    """A table of texts that are Markdown already; the first column reads from the left."""
    rule = ["---"] + ["---:"] * (len(heading) - 1)
    return "\n".join(f"| {' | '.join(line)} |" for line in [heading, rule, *lines])


def _markdown_table(table: Table) -> str:
    best = {column.name: table.best(column) for column in table.columns}
    lines = []
    for row, means in table.cells.items():
        cells = []
        for column in table.columns:
            mean = means.get(column.name)
            text = "–" if mean is None else number(mean.mean, column)
            text = f"**{text}**" if row in best[column.name] else text
            if mean and mean.clips > 1:
                text += f" [{number(mean.low, column)}, {number(mean.high, column)}]"
            if mean and mean.clips != table.clips(row):
                text += f" (n = {mean.clips})"
            cells.append(text)
        lines.append([escape(row), *cells, table.clips_text(row)])
    for row in table.quoted:
        cells = [number(row.values.get(c.name, math.nan), c) for c in table.columns]
        lines.append([f"{escape(row.row)} (quoted: {escape(row.quoted_from)})", *cells, "–"])
    headings = (escape(column_heading(column)) for column in table.columns)
    return markdown_table(["", *headings, "clips"], lines)


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


# --------------------------------------------------------------------------------------- the page


def html(evaluation: Evaluation) -> str:
    """The evaluation as a page: tables, plots, clips, failures, and how it was made."""
    rows = list(dict.fromkeys(entry.row for entry in evaluation.entries))
    scales, values = numeric_keys(evaluation), group_values(evaluation)
    keys = [{"key": key, "scale": key in scales, "values": v} for key, v in values.items()]
    found = as_json(evaluation)
    data = {name: found[name] for name in ("columns", "entries")}
    return render(
        "report/report.html",
        title=evaluation.benchmark,
        evaluation=evaluation,
        data=data | {"rows": rows, "keys": keys, "means": found["summary"]},
        counts=[
            (len({entry.clip for entry in evaluation.entries}), "clip"),
            (len(rows), "row"),
            (len(evaluation.entries), "result"),
        ],
        broken=[entry for entry in evaluation.entries if entry.error is not None],
        # Details stand folded beneath the table before them.
        parts=[(d, list(part)) for d, part in groupby(tables(evaluation), lambda t: t.detail)],
        legend=LEGEND,
        unlike=UNLIKE,
        describe_group=describe_group,
        heading=column_heading,
        number=number,
        words=words,
    )


# ------------------------------------------------------------------------------------- the clips


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
        true: what the result should be, frame by frame; without it there is no map.
        source: the clip that was re-shot.
        view: what else tells this entry from others of its clip and row: its group, or a name.

    Raises:
        ValueError: result and truth differ in shape.
        OSError: the folder cannot be written.
    """
    from ...video.pictures import difference_video

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
        difference = replace(made, frames=difference_video(made.frames, true.frames))
        difference.write(folder / found["difference"], overwrite=True, crf=CRF)
    return found


def file_name(text: str) -> str:
    """A name that every file system and URL takes; different texts get different names."""
    safe = re.sub(r"[^a-z0-9_-]+", "_", text.lower()).strip("_-")[:60]
    if safe and safe == text:
        return safe
    # After a dot, which no name above has.
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{safe or 'x'}.{digest[:6]}"


def _digest(video: "Video") -> str:
    """Tells clips apart that would be seen to differ."""
    found = hashlib.sha256(f"{tuple(video.frames.shape)} {video.fps}".encode())
    for frame in video.frames:
        found.update(frame.detach().float().clamp(0, 1).mul(255).round().byte().cpu().numpy().data)
    return found.hexdigest()[:10]
