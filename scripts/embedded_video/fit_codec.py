"""Fit the embedded codec: the principal components of blocks of videos.

`python fit_codec.py OUT --samples FOLDER ... --videos FOLDER --height 96 --width 160` takes the
targets of curated samples and every video under a folder, crops and shrinks included, and writes
OUT in diffusers' layout.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import tyro
from tqdm.auto import tqdm

from trajectorycrafter.lab.samples import read_index, read_sample
from trajectorycrafter.model.codec import SpaceToDepthCodec
from trajectorycrafter.video.clip import Video
from trajectorycrafter.video.reading import FrameChoice

T = TypeVar("T")


@dataclass
class Settings:
    """What the codec is fitted to."""

    out: tyro.conf.Positional[Path]
    samples: tuple[Path, ...] = ()
    """Folders that `trajectorycrafter curate` wrote."""
    videos: Path | None = None
    """A folder with videos or animated images."""
    channels: int = 64
    height: int = 96
    width: int = 160
    frames: int = 13
    each: int = 100
    """Clips taken of a folder, evenly."""


def main(settings: Settings) -> None:
    clips = []
    for folder in settings.samples:
        rows = spread(read_index(folder).to_pylist(), settings.each)
        clips += [read_sample(folder, row).target.frames * 2 - 1 for row in rows]
    if settings.videos is not None:
        kinds = {".mp4", ".webm", ".webp", ".gif", ".avi", ".mov"}
        found = sorted(p for p in settings.videos.rglob("*") if p.suffix.lower() in kinds)
        size = (settings.height, settings.width)
        choice = FrameChoice(count=settings.frames, size=size)
        for path in tqdm(spread(found, settings.each), "Reading"):
            try:
                clips.append(Video.read(path, choice).frames * 2 - 1)
            except ValueError as error:  # a still among animated images
                tqdm.write(f"left out: {error}")
    if not clips:
        raise SystemExit("Expected --samples or --videos; got neither, or empty ones.")
    codec = SpaceToDepthCodec.fit(clips, settings.channels)
    codec.save_pretrained(settings.out)
    errors = [lost(codec, clip) for clip in clips]
    print(f"{len(clips)} clips; reconstruction {sum(errors) / len(errors):.2f} dB (mean)")


def lost(codec: SpaceToDepthCodec, clip: torch.Tensor) -> float:
    """PSNR of a clip that was coded, dB."""
    video = clip.transpose(0, 1)[None]
    back = codec.decode(codec.encode(video).latent_dist.mode()).sample[:, :, : len(clip)]
    return float(-10 * ((back - video) / 2).square().mean().log10())


def spread(items: list[T], count: int) -> list[T]:
    """At most `count` of the items, evenly."""
    step = max(1, -(-len(items) // count))
    return items[::step]


if __name__ == "__main__":
    main(tyro.cli(Settings))
