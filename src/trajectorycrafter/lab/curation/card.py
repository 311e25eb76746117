"""The card of a set of samples: one HTML page with contact sheets, histograms and licenses.

It is made from what is on disk, the index and the shards, not from what a run remembers, so it can
be written again at any time and is the same.
"""

import base64
import io
import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ...config.curation import Curation, HoleSettings
from ...runtime.files import to_json, write_text
from ...runtime.pages import render
from ..samples import read_index, read_sample
from .rejected import REASONS

SHEETS = 8
"""Samples shown."""
TILE = 200
"""Width of a frame on a sheet, pixels."""
HOLE = torch.tensor([0.85, 0.1, 0.75])
"""Magenta: hardly any picture has it."""
BINS = 20
CLASSES = {"dynamic": "bar", "static": "other"}
"""How the page's style sheet names the color of each kind."""


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
    kinds = Counter(row["kind"] for row in rows)
    origins = Counter((row["licence"] or "unknown", row["recipe"] or "") for row in rows)
    most = max((row["motion"] for row in rows if row["motion"] is not None), default=1.0) or 1.0
    facts = [
        (len(rows), "samples"),
        *((number, kind) for kind, number in sorted(kinds.items())),
        (len({row["clip"] for row in rows}), "clips"),
        (sum(row["frames"] for row in rows), "frames"),
        (sum(rejected.values()), "rejected"),
        (failed, "failed"),
        (round(sum(row["bytes"] for row in rows) / 1e6, 1), "MB"),
    ]
    page = render(
        "curation/card.html",
        source=settings.source,
        facts=facts,
        classes={kind: CLASSES[kind] for kind in sorted(kinds)},
        plots=[
            _plot(rows, "hole_share", "share of pixels that are hole", 1.0, settings.hole),
            _plot(rows, "motion", "motion, percent of the diagonal a frame", most),
        ],
        sheets=list(_sheets(folder, rows)),
        rejected=sorted(rejected.items(), key=lambda item: -item[1]),
        reasons=REASONS,
        origins=sorted(origins.items()),
        settings=json.dumps(to_json(settings), indent=2),
    )
    write_text(page, folder / "card.html")
    return folder / "card.html"


# ----------------------------------------------------------------------------------- histograms


@dataclass(frozen=True)
class _Plot:
    """A stacked histogram, in units of the SVG: 280 wide from x = 30, 130 high above y = 140."""

    title: str
    bars: list[tuple[str, int, float, float]]
    """Class, x, y, height."""
    wanted: list[tuple[float, float]]
    """Corners of the line over it; empty: nothing was wanted."""
    ticks: list[tuple[float, float]]
    """x and value."""
    top: int
    """Value at the upper edge."""


def _plot(
    rows: list[dict[str, Any]],
    column: str,
    title: str,
    most: float,
    hole: HoleSettings | None = None,
) -> _Plot:
    """The histogram from 0 to `most`; over it the wanted one of `hole`, if there is one."""
    edges = np.linspace(0.0, most, BINS + 1)
    known = [row for row in rows if row[column] is not None]
    values = [[row[column] for row in known if row["kind"] == kind] for kind in CLASSES]
    counts = np.stack([np.histogram(found, edges)[0] for found in values])
    ends = counts.cumsum(axis=0)
    line: list[tuple[float, float]] = []
    if hole is not None and hole.hole_histogram is not None:
        weights = hole.hole_histogram
        borders = np.linspace(*hole.holes, len(weights) + 1)
        # Samples per drawn bin, at both upper corners of each wanted one.
        per_bin, total = (edges[1] - edges[0]) / (borders[1] - borders[0]), int(counts.sum())
        for left, right, weight in zip(borders, borders[1:], weights):
            height = float(total * weight / sum(weights) * per_bin)
            line += [(float(left), height), (float(right), height)]
    top = max(1.0, float(ends[-1].max()), *(y for _, y in line))
    return _Plot(
        title,
        [
            (name, 30 + 14 * int(i), 140 - 130 * end[i] / top, 130 * count[i] / top)
            for name, count, end in zip(CLASSES.values(), counts, ends)
            for i in np.flatnonzero(count)
        ],
        [(30 + 280 * x / most, 140 - 130 * y / top) for x, y in line],
        [(30 + 280 * value / most, value) for value in np.linspace(0.0, most, 5)],
        math.ceil(top),
    )


# --------------------------------------------------------------------------------------- sheets


def _sheets(folder: Path, rows: list[dict[str, Any]]) -> Iterable[tuple[dict[str, Any], str]]:
    """Some samples with their pictures as base64, from few holes to many."""
    ordered = sorted(rows, key=lambda row: (row["hole_share"] or 0.0, row["id"]))
    chosen = np.unique(np.linspace(0, len(ordered) - 1, SHEETS).round().astype(int))
    for row in [ordered[i] for i in chosen] if ordered else []:
        sample = read_sample(folder, row)
        views = [sample.render, *([] if sample.memory is None else [sample.memory])]
        marked = [view.frames.where(view.visible, HOLE[:, None, None]) for view in views]
        lines = [sample.target.frames, *marked, sample.reference.frames]
        picture = torch.cat([_line(frames) for frames in lines], dim=1)
        pixels = (picture * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=85)
        yield row, base64.b64encode(stream.getvalue()).decode()


def _line(frames: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "3 h w"]:
    """First, middle and last frame side by side."""
    size = max(1, round(TILE * frames.shape[2] / frames.shape[3])), TILE
    three = frames[[0, len(frames) // 2, len(frames) - 1]]
    small = F.interpolate(three, size, mode="bilinear", antialias=True)
    return torch.cat(list(small), dim=2)
