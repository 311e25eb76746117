"""One clip and its samples: the five calls of curation, whatever the source.

    window -> depth -> cameras -> render of what was seen elsewhere -> Sample

The one thing a reader would get wrong: this runs in a worker. It takes a small `Clip`, gives back
bytes, and keeps nothing but the networks in `Parts`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...config.curation import Curation
from ...depth.estimator import DepthEstimator, load_depth_estimator
from ...model.captioning import Captioner, load_captioner
from ...runtime.machine import pick_device
from ...source_cameras import SourceCameras, load_source_cameras
from ...video.clip import Video
from ...video.reading import FrameChoice
from ..samples import Encoded, Kind, Sample, encode
from .clips import Window, choose_windows, look, video_motion
from .draws import rng_for
from .dynamic import reproject
from .geometry import Geometry, load_geometry
from .rejected import RejectedError
from .sequences import read_window
from .sources import Clip, opened
from .static import split
from .synthetic import film


@dataclass(frozen=True)
class Parts:
    """What a worker keeps from clip to clip."""

    depth: DepthEstimator | None
    cameras: SourceCameras | None
    geometry: Geometry | None
    captioner: Captioner


@dataclass(frozen=True)
class Made:
    """What a clip gave."""

    samples: list[Encoded]
    rejected: dict[str, int] = field(default_factory=dict)
    """Windows turned away, by reason; a clip without any window counts once."""


def kind_of(settings: Curation) -> Kind | None:
    """Whether pairs or triplets are made of the source; None for scenes, which give both.

    Raises:
        ValueError: a kind that the source cannot give.
    """
    source, kind = settings.source, settings.kind
    if source == "synthetic":
        if kind is not None:
            raise ValueError("Synthetic scenes give both kinds; set --recipes instead of --kind.")
        return None
    if source in ("folder", "openvid"):
        if kind == "static" and settings.triplet.geometry == "files":
            raise ValueError(
                f"Clips of source {source} have no cameras: use --geometry colmap or "
                "module:attribute, or source posed."
            )
        return kind or "dynamic"
    if kind == "dynamic":
        raise ValueError(f"Source {source} gives triplets; use source folder for pairs.")
    return "static"


def load_parts(settings: Curation) -> Parts:
    """The networks that the settings ask for, and no others.

    Raises:
        ValueError: unknown names or missing packages.
        FileNotFoundError: missing weights.
    """
    device = pick_device(settings.device)
    name, kind = settings.depth, kind_of(settings)
    if kind is None:
        name = settings.scene.scene_depth
    depth = None
    if name not in ("exact", "disturbed"):
        depth = load_depth_estimator(
            name, weights=settings.weights, device=device, fov_deg=settings.fov
        )
    captioner = load_captioner(settings.captioner, weights_dir=settings.weights, device=device)
    cameras = load_source_cameras(settings.source_cameras) if kind == "dynamic" else None
    geometry = None
    if kind == "static":
        assert depth is not None, name
        geometry = load_geometry(settings.triplet.geometry, depth)
    return Parts(depth, cameras, geometry, captioner)


@torch.inference_mode()
def make_samples(settings: Curation, clip: Clip, parts: Parts) -> Made:
    """All samples of a clip, as bytes."""
    made: list[Encoded] = []
    rejected: Counter[str] = Counter()
    try:
        if settings.source == "synthetic":
            made.append(encode(_of_scene(settings, clip, parts)))
        else:
            with opened(clip) as path:
                for result in _of_clip(settings, clip, path, parts):
                    if isinstance(result, Sample):
                        made.append(encode(result))
                    else:
                        rejected[result] += 1
    except RejectedError as error:
        rejected[error.reason] += 1
    return Made(made, dict(rejected))


def _of_scene(settings: Curation, clip: Clip, parts: Parts) -> Sample:
    number = int(clip.id.rpartition("-")[2])
    take = film(number, settings, rng_for(settings.seed, clip.id), parts.depth)
    info = take.conditions.info | {"recipe": take.recipe, "motion": video_motion(take.target)}
    where = "a room" if take.place == "room" else "an open place"
    words = "" if take.recipe == "segments" else " that move"
    return Sample(
        take.target,
        take.conditions.render,
        take.source[: settings.reference],
        clip.caption or parts.captioner(take.target) or f"{where} full of things{words}",
        take.kind,
        memory=take.conditions.memory,
        filled=take.conditions.filled,
        info=_described(settings, clip, 0) | info,
    )


def _of_clip(settings: Curation, clip: Clip, path: Path, parts: Parts) -> Iterator[Sample | str]:
    """Samples, and the reasons of windows that were turned away."""
    if clip.cameras is not None:
        for k in range(settings.window.per_clip):
            yield from _attempt(_of_sequence, settings, clip, path, parts, k)
        return
    rng = rng_for(settings.seed, f"{clip.id}/windows")
    measures = look(path, settings.window.look_at)
    static = kind_of(settings) == "static"
    before, length = (0, _sequence_length(settings)) if static else _around(settings)
    span = (length - 1) * settings.window.stride + 1
    windows, reasons = choose_windows(measures, settings.window, rng, span)
    yield from reasons
    of_window = _of_own_geometry if static else _of_window
    for k, window in enumerate(windows):
        job = settings, clip, path, parts, k, window, before, length
        yield from _attempt(of_window, *job)


def _attempt(make: Any, *job: Any) -> Iterator[Sample | str]:
    try:
        yield make(*job)
    except RejectedError as error:
        yield error.reason


def _sequence_length(settings: Curation) -> int:
    return round(settings.window.frames * settings.triplet.sequence)


def _around(settings: Curation) -> tuple[int, int]:
    """Frames read before a window, and in all."""
    extra = settings.reference if settings.reference_from == "around" else 0
    return (extra + 1) // 2, settings.window.frames + extra


def _read(path: Path, settings: Curation, window: Window, length: int) -> Video:
    stride, size = settings.window.stride, settings.window.size
    choice = FrameChoice(start=window.start, stride=stride, count=length, size=size)
    try:
        return Video.read(path, choice)
    except (ValueError, OSError) as error:
        raise RejectedError("unreadable", str(error)) from error


def _of_window(
    settings: Curation,
    clip: Clip,
    path: Path,
    parts: Parts,
    k: int,
    window: Window,
    before: int,
    length: int,
) -> Sample:
    """A pair of a monocular clip."""
    assert parts.depth is not None and parts.cameras is not None
    read = _read(path, settings, window, length)
    target = read[before : before + settings.window.frames]
    depth = parts.depth(target)
    try:
        cameras = parts.cameras(target, depth)
    except ValueError as error:
        raise RejectedError("geometry", str(error)) from error
    info = _described(settings, clip, k) | {"start": window.start, "motion": window.motion}
    rng = rng_for(settings.seed, info["id"])
    conditions = reproject(target, depth, cameras, settings, rng)
    reference = target[: settings.reference]
    if settings.reference_from == "around":
        outside = [*range(before), *range(before + len(target), length)]
        reference = read[outside]
    return Sample(
        target,
        conditions.render,
        reference,
        clip.caption or parts.captioner(target),
        "dynamic",
        memory=conditions.memory,
        filled=conditions.filled,
        info=info | conditions.info | {"recipe": "double_reprojection"},
    )


def _of_sequence(settings: Curation, clip: Clip, path: Path, parts: Parts, k: int) -> Sample:
    """A triplet of a posed sequence."""
    rng = rng_for(settings.seed, f"{clip.id}#{k}")
    video, cameras = read_window(clip, path, settings, rng)
    return _triplet(settings, clip, parts, k, video, cameras, rng)


def _of_own_geometry(
    settings: Curation,
    clip: Clip,
    path: Path,
    parts: Parts,
    k: int,
    window: Window,
    before: int,
    length: int,
) -> Sample:
    """A triplet of a clip whose cameras are to be found."""
    rng = rng_for(settings.seed, f"{clip.id}#{k}")
    read = _read(path, settings, window, length)
    return _triplet(settings, clip, parts, k, read, None, rng)


def _triplet(
    settings: Curation,
    clip: Clip,
    parts: Parts,
    k: int,
    video: Video,
    cameras: Any,
    rng: np.random.Generator,
) -> Sample:
    assert parts.geometry is not None
    found = split(parts.geometry(video, cameras), settings, rng)
    info = found.conditions.info | {"recipe": "segments", "motion": video_motion(found.target)}
    return Sample(
        found.target,
        found.conditions.render,
        found.source[: settings.reference],
        clip.caption or parts.captioner(found.target),
        "static",
        memory=found.conditions.memory,
        filled=found.conditions.filled,
        info=_described(settings, clip, k) | info,
    )


def _described(settings: Curation, clip: Clip, k: int) -> dict[str, Any]:
    return {
        "id": f"{clip.id}#{k}",
        "clip": clip.id,
        "source": settings.source,
        "scores": clip.scores,
        "provenance": clip.provenance,
        "licence": clip.licence,
        "seed": settings.seed,
    }
