"""What the training tests share: small samples on disk, and settings that train on them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from trajectorycrafter.config.training import TrainSettings, changed
from trajectorycrafter.config.training_presets import preset
from trajectorycrafter.lab.samples import Kind, Sample, ShardWriter
from trajectorycrafter.rendering.render import Render
from trajectorycrafter.video.clip import Video


def sample(
    i: int,
    kind: Kind | None = None,
    frames: int = 9,
    size: tuple[int, int] = (32, 48),
    **other: Any,
) -> Sample:
    """A sample of noise with a third of its pixels unseen; the sizes that the tiny preset takes."""
    g = torch.Generator().manual_seed(i)
    target = torch.rand(frames, 3, *size, generator=g)
    visible = torch.rand(frames, 1, *size, generator=g) > 0.3
    return Sample(
        Video(target, 8.0),
        Render(target * visible, visible.float() * 2, visible),
        Video(target[:5], 8.0),
        "a thing",
        kind or ("dynamic" if i % 2 else "static"),
        info={"id": f"s{i}"},
        **other,
    )


def write_samples(folder: Path, count: int = 6) -> Path:
    """A folder of samples, half of each kind."""
    with ShardWriter(folder) as writer:
        for i in range(count):
            writer.write(sample(i))
    return folder


def settings(named: str, samples: Path, ablation: str = "none", **optimizer: Any) -> TrainSettings:
    """A tiny preset on the samples, on the CPU, two steps of one sample unless said."""
    made = changed(preset(named, ablation), "data", samples=(samples,), batch=1)
    made = changed(made, "optimizer", **{"steps": 2, **optimizer})
    return replace(made, device="cpu")
