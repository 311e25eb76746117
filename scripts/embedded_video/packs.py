"""Curated samples as arrays of bytes, for training in pixels.

A folder of shards gets `clips.npy` and `references.npy` beside them, made once. Samples of double
reprojection are left out, since their reference is the target itself.
"""

import math
import random
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajectorycrafter.lab.samples import Sample, read_index, read_sample
from trajectorycrafter.model.codec import Pictures
from trajectorycrafter.runtime.files import whole

PLACES = {"target": 3, "filled": 3, "render": 3, "memory": 3, "visible": 1, "memory_visible": 1}
"""Channels of a packed clip, in order."""
Pack = tuple[np.ndarray, np.ndarray]
"""Clips `N T 14 H W` and references `N R 3 H W`, bytes."""


def pack(folder: Path) -> Pack:
    """A folder's clips and references as arrays of bytes, made once and kept beside the shards."""
    clips, references = folder / "clips.npy", folder / "references.npy"
    if not clips.exists():
        rows = [r for r in read_index(folder).to_pylist() if r["recipe"] != "double_reprojection"]
        samples = [read_sample(folder, row) for row in rows]
        save(references, np.stack([as_bytes(s.reference.frames) for s in samples]))
        save(clips, np.stack([_packed(s) for s in samples]))
    return np.load(clips, mmap_mode="r"), np.load(references, mmap_mode="r")


def _packed(sample: Sample) -> np.ndarray:
    assert sample.memory is not None and sample.filled is not None, "curate with --filled"
    parts = [sample.target.frames, sample.filled.frames, sample.render.frames]
    parts += [sample.memory.frames, sample.render.visible.float(), sample.memory.visible.float()]
    return np.concatenate([as_bytes(part) for part in parts], axis=1)


def as_bytes(frames: Tensor) -> np.ndarray:
    """Colors or masks in [0, 1] as bytes."""
    return (frames * 255).round().clamp(0, 255).byte().numpy()


def save(path: Path, array: np.ndarray) -> None:
    """Write an array that appears when it is whole."""
    with whole(path) as partial:
        np.save(partial, array)


def load(place: Pack, index: int, draw: random.Random | None) -> Any:
    """A clip `T 14 H W` and its reference, changed at random if a generator is given."""
    clip, reference = (torch.from_numpy(a[index].copy()).float().div_(255) for a in place)
    if draw is None:
        return clip, reference
    if draw.random() < 0.5:
        clip, reference = clip.flip(-1), reference.flip(-1)
    if draw.random() < 0.25:
        clip = clip.flip(0)
    order = draw.sample(range(3), 3) if draw.random() < 0.7 else [0, 1, 2]
    gamma = math.exp(draw.uniform(-0.3, 0.3))
    for first in (0, 3, 6, 9):
        colors = clip[:, first : first + 3]
        clip[:, first : first + 3] = colors[:, order] ** gamma
    return clip, reference[:, order] ** gamma


def batch_of(items: list[Any]) -> tuple[Tensor, Pictures, Tensor]:
    """Targets, pictures and references, colors in [-1, 1]."""
    reference = torch.stack([reference for _, reference in items]) * 2 - 1
    return *pictures_of(torch.stack([clip for clip, _ in items])), reference


def pictures_of(clips: Tensor) -> tuple[Tensor, Pictures]:
    """Targets and pictures of clips `b T 14 H W`."""
    parts = dict(zip(PLACES, clips.split(list(PLACES.values()), dim=2), strict=True))
    for name in ("target", "filled", "render", "memory"):
        parts[name] = parts[name] * 2 - 1
    for name in ("visible", "memory_visible"):
        parts[name] = parts[name] > 0.5
    return parts.pop("target"), Pictures(**parts)


def cut(pictures: Pictures, frames: slice) -> Pictures:
    """Some frames of all clips."""
    return Pictures(*(getattr(pictures, f.name)[:, frames] for f in fields(pictures)))
