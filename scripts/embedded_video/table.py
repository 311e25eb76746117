"""A table of what `score.py` measured; models named NAME-SEED are one row, with spread over seeds.

`python table.py WORK/scores.jsonl` prints Markdown: the mean over clips and seeds, the standard
deviation over seeds of the seeds' means, and the difference from the row `--base` with its standard
error over scenes (seeds averaged first).
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from trajectorycrafter.runtime.files import JsonLines

KEYS = ("psnr_holes", "ssim_holes", "dino_holes", "psnr", "ssim", "dino", "flicker")


@dataclass
class Settings:
    """What is read, and what rows are compared with."""

    scores: tyro.conf.Positional[Path]
    base: str = "none"


def by_seed(rows: list[dict[str, Any]], key: str) -> dict[str, np.ndarray]:
    """By row the values `seeds scenes` of a column; ranges are averaged."""
    values: dict[str, Any] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in rows:
        name, seed = split(row["model"])
        values[name][seed][row["scene"]].append(row[key])
    return {
        name: np.array([[np.mean(seeds[s][scene]) for scene in sorted(seeds[s])] for s in seeds])
        for name, seeds in values.items()
    }


def split(model: str) -> tuple[str, int]:
    """Name and seed of a model's folder."""
    found = re.fullmatch(r"(.+)-(\d+)", Path(model).name)
    return (found[1], int(found[2])) if found else (Path(model).name, 0)


def table(rows: list[dict[str, Any]], base: str) -> list[str]:
    """Lines of Markdown."""
    columns = {key: by_seed(rows, key) for key in KEYS if key in rows[0]}
    lines = ["| row | seeds | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
    for name in next(iter(columns.values())):
        cells = []
        for values in columns.values():
            mine, other = values[name], values[base]
            apart = mine.mean(axis=0) - other.mean(axis=0)
            error = apart.std(ddof=1) / len(apart) ** 0.5
            spread = f" ± {mine.mean(axis=1).std(ddof=1):.3f}" if len(mine) > 1 else ""
            told = "" if name == base else f" ({apart.mean():+.3f} ± {error:.3f})"
            cells.append(f"{mine.mean():.3f}{spread}{told}")
        seeds = len(next(iter(columns.values()))[name])
        lines.append(f"| {name} | {seeds} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    chosen = tyro.cli(Settings)
    print("\n".join(table(JsonLines(chosen.scores).read(), chosen.base)))
