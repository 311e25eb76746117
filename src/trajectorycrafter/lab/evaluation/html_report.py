"""The page of an evaluation: one HTML file that needs no network and no server.

The one thing a reader would get wrong: texts of an evaluation (clips, rows, errors) are foreign.
Here they pass `html.escape` or `_embedded`; in the page's script they become text nodes only.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from .comparison import (
    COMPARISON_LEGEND,
    Change,
    Comparison,
    change_cells,
    change_headings,
    pair_cells,
    remarks,
    sections,
    tally,
)
from .records import Column, Evaluation, Mean, Quoted, summarise
from .report import (
    LEGEND,
    UNLIKE,
    Table,
    column_heading,
    describe_group,
    failures,
    group_values,
    number,
    numeric_keys,
    row_clips,
    tables,
    words,
)

ASSETS = Path(__file__).parents[2] / "assets" / "report"


def html(evaluation: Evaluation) -> str:
    """The evaluation as a page: tables, plots, clips, failures, and how it was made."""
    plots = _asset("plots.html") if evaluation.columns and evaluation.entries else ""
    clips = _asset("clips.html") if evaluation.entries else ""
    body = [_tables(evaluation), plots, clips, _failures(evaluation), _about(evaluation)]
    return _page(evaluation.benchmark, _lead(evaluation), "\n".join(body), _data(evaluation))


def comparison_html(found: Comparison) -> str:
    """The comparison as a page."""
    a, b = found.names
    divided = sections(found)
    parts = [
        _changes(f"part-{i}", title, changes, found.names, is_open=len(divided) == 1)
        for i, (title, changes) in enumerate(divided)
    ]
    parts.append(f'<p class="legend">{escape(COMPARISON_LEGEND)}</p>')
    lines = remarks(found)
    if lines:
        items = "".join(f"<li>{escape(line)}</li>" for line in lines)
        parts.append(_section("remarks", "Not compared", f"<ul>{items}</ul>"))
    lead = f'<p class="facts">{escape(tally(found))}</p>'
    return _page(f"{found.benchmark}: {b} against {a}", lead, "\n".join(parts), {})


def _page(title: str, lead: str, body: str, data: dict[str, Any]) -> str:
    return Template(_asset("page.html")).substitute(
        title=escape(title),
        lead=lead,
        body=body,
        data=_embedded(data),
        style=_asset("report.css"),
        script=_asset("report.js"),
    )


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _embedded(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, allow_nan=False, default=str)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _region(label: str, table: str) -> str:
    """A table that scrolls by itself, also by keyboard."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">{table}</div>'
    )


def _section(name: str, title: str, content: str) -> str:
    return f'<section id="{name}"><h2>{escape(title)}</h2>\n{content}\n</section>'


# ------------------------------------------------------------------------------------ what JS reads


def _data(evaluation: Evaluation) -> dict[str, Any]:
    """What the page's script draws from; numbers that are not finite are left out."""
    scales = numeric_keys(evaluation)
    return {
        "columns": [asdict(column) for column in evaluation.columns],
        "rows": list(dict.fromkeys(entry.row for entry in evaluation.entries)),
        "keys": [
            {"key": key, "scale": key in scales, "values": values}
            for key, values in group_values(evaluation).items()
        ],
        "entries": [
            asdict(entry) | {"values": _finite(entry.values)} for entry in evaluation.entries
        ],
        "means": [asdict(mean) for mean in summarise(evaluation)],
    }


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}


# ------------------------------------------------------------------------------------------ tables


def _lead(evaluation: Evaluation) -> str:
    """What was done, in a line."""
    entries, broken = evaluation.entries, failures(evaluation)
    facts = [
        _count(len({entry.clip for entry in entries}), "clip"),
        _count(len({entry.row for entry in entries}), "row"),
        _count(len(entries), "result"),
    ]
    if "seconds" in evaluation.about:
        facts.append(words("seconds", evaluation.about["seconds"]))
    shown = [f"<li>{escape(fact)}</li>" for fact in facts]
    if broken:
        text = _count(len(broken), "failure")
        shown.append(f'<li><a class="bad" href="#failures">{text}</a></li>')
    return f'<ul class="facts">{"".join(shown)}</ul>'


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _tables(evaluation: Evaluation) -> str:
    parts, details = [], []
    for table in [*tables(evaluation), None]:
        if table is not None and table.detail:
            details.append(_table(evaluation, table))
            continue
        if details:
            summary = f"<summary>By step ({len(details)} tables)</summary>"
            parts.append(f"<details>{summary}{''.join(details)}</details>")
            details = []
        if table is not None:
            parts.append(_table(evaluation, table))
    return _section("tables", "Results", "\n".join(parts) + f'<p class="legend">{LEGEND}</p>')


def _table(evaluation: Evaluation, table: Table) -> str:
    quoted = [] if table.detail else evaluation.quoted
    named = {name for row in quoted for name in row.values}
    shown = [c for c in evaluation.columns if c in table.columns or c.name in named]
    rows = "".join(_row(table, row, shown) for row in table.cells)
    foot = "".join(_quoted_row(row, shown) for row in quoted)
    foot = f'<tbody class="quoted">{foot}</tbody>' if foot else ""
    note = "" if table.alike else f'<p class="warning">{UNLIKE}</p>'
    heads = "".join(_head(column_heading(c), c.about) for c in shown)
    content = (
        f"<table><caption>{escape(table.title)}</caption>"
        f"<thead><tr>{_head('method')}{heads}{_head('clips')}</tr></thead>"
        f'<tbody class="sortable">{rows}</tbody>{foot}</table>'
    )
    return _region(table.title, content) + note


def _head(text: str, about: str = "") -> str:
    title = f' title="{escape(about)}"' if about else ""
    return f'<th scope="col"{title}><button type="button">{escape(text)}</button></th>'


def _row(table: Table, row: str, columns: list[Column]) -> str:
    cells = "".join(_cell(table, row, column) for column in columns)
    count, text = row_clips(table, row)
    return (
        f'<tr data-row="{escape(row)}"><th scope="row">{escape(row)}</th>{cells}'
        f'<td data-value="{count}">{text}</td></tr>'
    )


def _cell(table: Table, row: str, column: Column) -> str:
    mean = table.cells[row].get(column.name)
    if mean is None:
        return '<td class="none">–</td>'
    best = row in table.best(column)
    text = number(mean.mean, column)
    text = f"<strong>{text}</strong>" if best else text
    few = f"<small>n = {mean.clips}</small>" if mean.clips != row_clips(table, row)[0] else ""
    interval = ""
    if mean.clips > 1:
        interval = (
            f"<small>{number(mean.low, column)} – {number(mean.high, column)}</small>"
            + _whisker(mean, [cells.get(column.name) for cells in table.cells.values()])
        )
    return f'<td data-value="{mean.mean!r}"{" class=best" * best}>{text}{interval}{few}</td>'


def _whisker(mean: Mean, others: Iterable[Mean | None]) -> str:
    """The interval as a line, on the scale of the table's column."""
    seen = [other for other in others if other is not None]
    low, high = min(m.low for m in seen), max(m.high for m in seen)
    spread = max(high - low, 1e-12)
    at = [100 * (value - low) / spread for value in (mean.low, mean.mean, mean.high)]
    style = f"--low:{at[0]:.1f}%;--mean:{at[1]:.1f}%;--high:{at[2]:.1f}%"
    return f'<i class="whisker" style="{style}" aria-hidden="true"></i>'


def _quoted_row(row: Quoted, columns: list[Column]) -> str:
    cells = "".join(
        f"<td>{number(row.values[c.name], c)}</td>" if c.name in row.values else _NONE
        for c in columns
    )
    source = f'<span class="badge">quoted</span> <small>{escape(row.source)}</small>'
    return f'<tr><th scope="row">{escape(row.row)} {source}</th>{cells}{_NONE}</tr>'


_NONE = '<td class="none">–</td>'


# ----------------------------------------------------------------------- failures, how it was made


def _failures(evaluation: Evaluation) -> str:
    broken = failures(evaluation)
    if not broken:
        return ""
    lines = "".join(
        f"<tr><th scope=row>{escape(e.row)}</th><td>{escape(e.clip)}</td>"
        f"<td>{escape(describe_group(e.group))}</td><td>{escape(e.error or '')}</td></tr>"
        for e in broken
    )
    heads = "".join(f"<th scope=col>{text}</th>" for text in ("method", "clip", "group", "why"))
    table = f'<table class="texts"><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>'
    return _section("failures", f"Failures ({len(broken)})", _region("Failures", table))


def _about(evaluation: Evaluation) -> str:
    items = "".join(
        f"<dt>{escape(str(key))}</dt><dd>{_item(str(key), value)}</dd>"
        for key, value in evaluation.about.items()
    )
    terms = "".join(
        f"<dt>{escape(c.label)}</dt><dd>{escape(c.about)}</dd>"
        for c in evaluation.columns
        if c.about
    )
    made = _section("about", "How it was made", f"<dl>{items or 'Nothing was recorded.'}</dl>")
    return made + (
        _section("columns", "What the columns are", f"<dl>{terms}</dl>") if terms else ""
    )


def _item(key: str, value: Any) -> str:
    if isinstance(value, dict) and value:
        items = (f"<dt>{escape(str(k))}</dt><dd>{_item(str(k), v)}</dd>" for k, v in value.items())
        return f"<dl>{''.join(items)}</dl>"
    text = escape(words(key, value))
    return f"<code>{text}</code>" if key == "command" else text


# -------------------------------------------------------------------------------------- comparison


def _changes(
    name: str, title: str, changes: list[Change], names: tuple[str, str], is_open: bool
) -> str:
    heads = "".join(_head(text) for text in ("column", *change_headings(*names)))
    rows = "".join(_change_row(change) for change in changes)
    table = f'<table><thead><tr>{heads}</tr></thead><tbody class="sortable">{rows}</tbody></table>'
    content = _region(title, table)
    if any(change.largest for change in changes):
        content += (
            f"<details{' open' * is_open}><summary>Largest changes</summary>"
            f"{_region(f'Largest changes, {title}', _largest(changes, names))}</details>"
        )
    return _section(name, title, content)


def _largest(changes: list[Change], names: tuple[str, str]) -> str:
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in pair_cells(change, pair))}</tr>"
        for change in changes
        for pair in change.largest
    )
    heads = "".join(
        f"<th scope=col>{escape(text)}</th>"
        for text in ("column", "clip", "group", *names, "difference")
    )
    return f'<table class="pairs"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _change_row(change: Change) -> str:
    texts = change_cells(change)
    sorted_by = [change.mean_a, change.mean_b, change.difference, change.low, change.wins]
    sorted_by += [change.sign_p, {"worse": -1, "better": 1}.get(change.verdict or "", 0)]
    cells = [
        f'<td data-value="{value!r}">{escape(text)}</td>'
        for text, value in zip(texts, [*sorted_by, change.clips])
    ]
    cells[3] = f'<td data-value="{change.low!r}">{escape(texts[3])}{_forest(change)}</td>'
    mark = f'<span class="verdict {change.verdict or "none"}">{escape(texts[6])}</span>'
    cells[6] = f'<td data-value="{sorted_by[6]}">{mark}</td>'
    head = f'<th scope="row">{escape(change.column.label)}</th>'
    return f'<tr data-row="{escape(change.column.label)}">{head}{"".join(cells)}</tr>'


def _forest(change: Change) -> str:
    """The interval of the difference as a line, with zero in the middle."""
    reach = max(abs(change.low), abs(change.high), 1e-12)
    at = [50 + 50 * v / reach for v in (change.low, change.difference, change.high)]
    style = f"--low:{at[0]:.1f}%;--mean:{at[1]:.1f}%;--high:{at[2]:.1f}%"
    return f'<i class="whisker zero" style="{style}" aria-hidden="true"></i>'
