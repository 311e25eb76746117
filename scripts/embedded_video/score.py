"""Score many small models on the same test clips: the drawn scenes of Synthetic-4D, filmed once.

`python score.py WORK MODEL ...` films 100 scenes into WORK (some ten minutes of one core; goes
on where it was stopped) and prints for every model folder what it gains over the classical fill in
holes, paired over clips. `trajectorycrafter evaluate synthetic-4d` gives the same numbers more
slowly, with every column; here pictures are rounded to 8 bits.

The one thing a reader would get wrong: nothing may be chosen by these numbers. They are the test.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from packs import as_bytes, pictures_of, save
from tqdm.auto import tqdm

from trajectorycrafter.config.evaluation import Synthetic4D
from trajectorycrafter.lab.evaluation.metrics import METRICS, score
from trajectorycrafter.lab.evaluation.synthetic4d import cases
from trajectorycrafter.model.embedded import EmbeddedModel
from trajectorycrafter.rendering.blending import blend
from trajectorycrafter.rendering.completion import fill
from trajectorycrafter.rendering.memory import other_moments
from trajectorycrafter.rendering.shot import Shot
from trajectorycrafter.runtime.files import JsonLines

MOMENTS, REFERENCE = 6, 9


@dataclass
class Settings:
    """What is scored on what."""

    work: tyro.conf.Positional[Path]
    models: tyro.conf.Positional[tuple[Path, ...]] = ()
    scenes: int = 100
    ranges: tuple[int, ...] = (10, 20, 40, 60)
    metrics: tuple[str, ...] = ("psnr", "ssim", "dino")
    steps: int = 1
    blend: bool = True
    threads: int = 1


def film(work: Path, number: int, ranges: tuple[int, ...]) -> None:
    """One scene's cases as bytes, with exact depth."""
    path = work / f"scene_{number:03d}.npy"
    if path.exists():
        return
    clips, references = [], []
    for case, depth in cases(f"scene {number:03d}", Synthetic4D(ranges=ranges)):
        shot = Shot.along(case.video, depth, case.source, case.cameras)
        view, memory = shot.view, other_moments(shot.cloud, case.cameras, MOMENTS)
        assert case.visible is not None
        parts = [case.truth.frames, fill(shot), view.frames, memory.frames, view.visible]
        parts += [memory.visible, case.visible]
        clips.append(np.concatenate([as_bytes(part.float()) for part in parts], axis=1))
        references.append(as_bytes(case.video.frames[:REFERENCE]))
    save(path.with_name(f"source_{number:03d}.npy"), np.stack(references))
    save(path, np.stack(clips))


@torch.no_grad()
def score_models(settings: Settings) -> list[dict[str, Any]]:
    """Every value of every model, and of the fill, of every clip."""
    models = {"fill": None} | {str(m): EmbeddedModel.load(m) for m in settings.models}
    metrics = [METRICS[name] for name in settings.metrics]
    rows = []
    for number in tqdm(range(settings.scenes), "Scoring"):
        clips, references = (
            np.load(settings.work / f"{name}_{number:03d}.npy") for name in ("scene", "source")
        )
        for place, degrees in enumerate(settings.ranges):
            clip = torch.from_numpy(clips[place]).float().div_(255)
            holes = {"holes": clip[:, 14:] < 0.5, "": None}
            true, pictures = pictures_of(clip[None, :, :14])
            true = (true[0] + 1) / 2  # One tensor for all models, so that metrics know it again.
            reference = torch.from_numpy(references[place]).float().div_(255)[None] * 2 - 1
            for name, model in models.items():
                made = pictures.filled
                if model is not None:
                    generator = torch.Generator().manual_seed(number)
                    made = model(pictures, reference, steps=settings.steps, generator=generator)
                made = (made[0] + 1) / 2
                if model is not None and settings.blend:
                    made = blend(made, (pictures.render[0] + 1) / 2, pictures.visible[0])
                values = score(made, true, metrics, holes)
                values |= score(made, true, [METRICS["flicker"]], {"": None})
                rows.append({"model": name, "scene": number, "range": degrees} | values)
    return rows


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """Gain over the fill by model, range and column: mean of the paired differences and its error.

    The standard error is over scenes; the four ranges of a scene are averaged first.
    """
    base = {(r["scene"], r["range"]): r for r in rows if r["model"] == "fill"}
    columns = [k for k in rows[0] if k not in ("model", "scene", "range")]
    lines = []
    for model in dict.fromkeys(r["model"] for r in rows):
        mine = [r for r in rows if r["model"] == model]
        for ranges in [*sorted({r["range"] for r in mine}), "all"]:
            by_scene = defaultdict(list)
            chosen = [r for r in mine if ranges in ("all", r["range"])]
            for r in chosen:
                other = base[r["scene"], r["range"]]
                by_scene[r["scene"]].append([r[c] - other[c] for c in columns])
            gains = np.array([np.mean(values, axis=0) for values in by_scene.values()])
            error = gains.std(axis=0, ddof=1) / len(gains) ** 0.5
            told = [
                f"{c} {np.mean([r[c] for r in chosen]):.4f} ({g:+.4f} +- {e:.4f})"
                for c, g, e in zip(columns, gains.mean(axis=0), error, strict=True)
            ]
            lines.append(f"{model} {ranges}: " + ", ".join(told))
    return lines


def main(settings: Settings) -> None:
    torch.set_num_threads(settings.threads)
    settings.work.mkdir(parents=True, exist_ok=True)
    for number in tqdm(range(settings.scenes), "Filming"):
        film(settings.work, number, settings.ranges)
    if settings.models:
        rows = score_models(settings)
        log = JsonLines(settings.work / "scores.jsonl")
        for row in rows:
            log.add(row)
        print("\n".join(summary(rows)))


if __name__ == "__main__":
    main(tyro.cli(Settings))
