"""The card of a set of samples: one HTML page with contact sheets, histograms and licences.

The one thing a reader would get wrong: it is made of what is on disk, the index and the shards, not
of what a run remembers, so it can be written again at any time and is the same.
"""

import base64
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ...config.curation import Curation
from ...config.serialization import to_json
from ...rendering.render import Render
from ...runtime.files import write_text
from ..samples import Sample, read_index, read_sample
from .rejected import REASONS

TEMPLATE = Path(__file__).parents[2] / "assets" / "curation" / "card.html"
SHEETS = 8
"""Samples shown."""
TILE = 200
"""Width of a frame on a sheet, pixels."""
HOLE = (0.85, 0.1, 0.75)
"""Magenta: hardly any picture has it."""
BINS = 20
KIND_CLASS = {"dynamic": "bar", "static": "other"}


def write_card(folder: Path, settings: Curation, failed: int = 0) -> Path:
    """Write `card.html` of a folder with samples.

    Args:
        failed: clips that failed and are to be tried again.

    Raises:
        FileNotFoundError: no index in the folder.
    """
    table = read_index(folder)
    rows = table.to_pylist()
    rejected = json.loads(table.schema.metadata[b"rejected"])
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(f"Samples from {settings.source}"),
        facts=_facts(rows, rejected, failed),
        key=_key(rows),
        plots="\n".join(_plots(rows, settings)),
        sheets="\n".join(_sheets(folder, rows)),
        rejected=_counts(rejected, REASONS),
        licences=_licences(rows),
        settings=escape(json.dumps(to_json(settings), indent=2)),
    )
    write_text(page, folder / "card.html")
    return folder / "card.html"


def _facts(rows: list[dict[str, Any]], rejected: dict[str, int], failed: int) -> str:
    kinds = Counter(row["kind"] for row in rows)
    seconds = sum(row["frames"] for row in rows)
    facts = [(len(rows), "samples"), *((n, kind) for kind, n in sorted(kinds.items()))]
    facts += [(len({row["clip"] for row in rows}), "clips"), (seconds, "frames")]
    facts += [(sum(rejected.values()), "turned away"), (failed, "failed")]
    facts.append((round(sum(row["bytes"] for row in rows) / 1e6, 1), "MB"))
    return "".join(f"<li><b>{number}</b> {escape(str(word))}</li>" for number, word in facts)


def _key(rows: list[dict[str, Any]]) -> str:
    names = {"bar": "--bar", "other": "--other"}
    kinds = sorted({row["kind"] for row in rows})
    return "".join(
        f'<i style="background: var({names[KIND_CLASS[kind]]})"></i>{escape(kind)}'
        for kind in kinds
    )


# ----------------------------------------------------------------------------------- histograms


def _plots(rows: list[dict[str, Any]], settings: Curation) -> Iterable[str]:
    low, high = settings.hole.holes
    wanted = settings.hole.hole_histogram
    outline = None if wanted is None else (low, high, wanted)
    yield _plot(rows, "hole_share", "share of pixels that are hole", (0.0, 1.0), outline)
    motions = [row["motion"] for row in rows if row["motion"] is not None]
    most = max(motions, default=1.0) or 1.0
    yield _plot(rows, "motion", "motion, percent of the diagonal a frame", (0.0, most))


def _plot(
    rows: list[dict[str, Any]],
    column: str,
    title: str,
    limits: tuple[float, float],
    wanted: tuple[float, float, Sequence[float]] | None = None,
) -> str:
    """A stacked histogram as SVG; `wanted` is drawn over it as a broken line."""
    edges = np.linspace(*limits, BINS + 1)
    stacks = [
        (KIND_CLASS[kind], np.histogram(_values(rows, column, kind), edges)[0])
        for kind in KIND_CLASS
    ]
    total = np.sum([counts for _, counts in stacks], axis=0)
    line = _wanted_counts(wanted, edges, int(total.sum()))
    top = max(1.0, float(total.max()), max((y for _, _, y in line), default=0.0))
    shapes, floor = [], np.zeros(BINS)
    for name, counts in stacks:
        for i in np.flatnonzero(counts):
            x, height = 30 + 14 * i, 130 * counts[i] / top
            y = 140 - 130 * floor[i] / top - height
            shapes.append(
                f'<rect class="{name}" x="{x}" y="{y:.1f}" width="13" height="{height:.1f}"/>'
            )
        floor += counts
    path = " ".join(
        f"{x},{140 - 130 * y / top:.1f}"
        for a, b, y in line
        for x in (_place(a, limits), _place(b, limits))
    )
    shapes += [f'<polyline class="wanted" points="{path}"/>'] if path else []
    ticks = "".join(
        f'<text x="{_place(v, limits)}" y="156" text-anchor="middle">{v:.3g}</text>'
        for v in np.linspace(*limits, 5)
    )
    return (
        f'<figure><svg viewBox="0 0 330 160" role="img" aria-label="{escape(title)}">'
        f'<line class="axis" x1="30" y1="140" x2="310" y2="140"/>{"".join(shapes)}{ticks}'
        f'<text x="26" y="18" text-anchor="end">{math.ceil(top)}</text></svg>'
        f"<figcaption>{escape(title)}{' (broken line: wanted)' if path else ''}</figcaption>"
        "</figure>"
    )


def _place(value: float, limits: tuple[float, float]) -> str:
    return f"{30 + 280 * (value - limits[0]) / (limits[1] - limits[0]):.1f}"


def _values(rows: list[dict[str, Any]], column: str, kind: str) -> list[float]:
    return [row[column] for row in rows if row["kind"] == kind and row[column] is not None]


def _wanted_counts(
    wanted: tuple[float, float, Sequence[float]] | None, edges: np.ndarray, total: int
) -> list[tuple[float, float, float]]:
    """Begin, end and height of each wanted bin, in samples per drawn bin."""
    if wanted is None:
        return []
    low, high, weights = wanted
    borders = np.linspace(low, high, len(weights) + 1)
    per_bin = (edges[1] - edges[0]) / (borders[1] - borders[0])
    return [
        (float(a), float(b), float(total * weight / sum(weights) * per_bin))
        for a, b, weight in zip(borders, borders[1:], weights)
    ]


# --------------------------------------------------------------------------------------- sheets


def _sheets(folder: Path, rows: list[dict[str, Any]]) -> Iterable[str]:
    """Some samples, from few holes to many."""
    ordered = sorted(rows, key=lambda row: (row["hole_share"] or 0.0, row["id"]))
    chosen = np.unique(np.linspace(0, len(ordered) - 1, SHEETS).round().astype(int))
    for row in [ordered[i] for i in chosen] if ordered else []:
        data = base64.b64encode(_jpeg(_sheet(read_sample(folder, row)))).decode()
        holes = "unknown" if row["hole_share"] is None else f"{row['hole_share']:.0%}"
        words = f"{row['id']}: {row['recipe']}, {holes} holes. {row['caption']}"
        yield (
            f'<figure><img alt="{escape(row["id"])}" src="data:image/jpeg;base64,{data}">'
            f"<figcaption>{escape(words)}</figcaption></figure>"
        )


def _sheet(sample: Sample) -> Float[Tensor, "3 H W"]:
    lines = [sample.target.frames, _marked(sample.render)]
    lines += [] if sample.memory is None else [_marked(sample.memory)]
    lines.append(sample.reference.frames)
    return torch.cat([_line(frames) for frames in lines], dim=1)


def _marked(view: Render) -> Float[Tensor, "T 3 H W"]:
    return torch.where(view.visible, view.frames, torch.tensor(HOLE)[:, None, None])


def _line(frames: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "3 h w"]:
    """First, middle and last frame side by side."""
    size = max(1, round(TILE * frames.shape[2] / frames.shape[3])), TILE
    three = frames[[0, len(frames) // 2, len(frames) - 1]]
    small = F.interpolate(three, size, mode="bilinear", antialias=True)
    return torch.cat(list(small), dim=2)


def _jpeg(picture: Float[Tensor, "3 H W"]) -> bytes:
    pixels = (picture * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=85)
    return stream.getvalue()


# --------------------------------------------------------------------------------------- tables


def _counts(counts: dict[str, int], about: dict[str, str]) -> str:
    if not counts:
        return "<p>Nothing.</p>"
    lines = "".join(
        f'<tr><td>{escape(name)}</td><td class="n">{count}</td>'
        f"<td>{escape(about.get(name, ''))}</td></tr>"
        for name, count in sorted(counts.items(), key=lambda item: -item[1])
    )
    return f"<table><tr><th>reason</th><th>number</th><th></th></tr>{lines}</table>"


def _licences(rows: list[dict[str, Any]]) -> str:
    counts = Counter((row["licence"] or "unknown", row["recipe"] or "") for row in rows)
    lines = "".join(
        f'<tr><td>{escape(licence)}</td><td>{escape(recipe)}</td><td class="n">{count}</td></tr>'
        for (licence, recipe), count in sorted(counts.items())
    )
    return f"<table><tr><th>licence</th><th>recipe</th><th>samples</th></tr>{lines}</table>"
