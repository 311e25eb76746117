"""One clip and its samples: the five calls of curation, whatever the source.

    window -> depth -> cameras -> render of what was seen elsewhere -> Sample

This runs in a worker: it takes a small `SourceClip`, gives back bytes, and keeps nothing but the
`Networks`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...config.curation import Curation
from ...depth.estimator import DepthEstimator, load_depth_estimator
from ...geometry.cameras import Cameras
from ...model.captioning import Captioner, load_captioner
from ...runtime.machine import pick_device
from ...source_cameras import SourceCameras, load_source_cameras
from ...video.clip import Video
from ...video.reading import FrameChoice
from ..samples import Encoded, Kind, Sample, encode
from .clips import Window, choose_windows, look, video_motion
from .draws import rng_for
from .dynamic import Seen, reproject
from .geometry import Geometry, load_geometry
from .opening import SourceClip, opened
from .rejected import RejectedError
from .sequences import read_window
from .static import split
from .synthetic import film


@dataclass(frozen=True)
class Networks:
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
    """Rejected windows, by reason; a clip without any window counts once."""


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


def load_networks(settings: Curation) -> Networks:
    """The networks that the settings ask for, and no others.

    Raises:
        ValueError: unknown names or missing packages.
        FileNotFoundError: missing weights.
    """
    device, weights = pick_device(settings.device), settings.weights
    kind = kind_of(settings)
    name = settings.scene.scene_depth if kind is None else settings.depth
    depth = geometry = cameras = None
    if name not in ("exact", "disturbed"):
        depth = load_depth_estimator(name, weights=weights, device=device, fov_deg=settings.fov)
    captioner = load_captioner(settings.captioner, weights_dir=weights, device=device)
    if kind == "dynamic":
        cameras = load_source_cameras(settings.source_cameras)
    if kind == "static":
        assert depth is not None, name
        geometry = load_geometry(settings.triplet.geometry, depth)
    return Networks(depth, cameras, geometry, captioner)


@torch.inference_mode()
def make_samples(settings: Curation, clip: SourceClip, networks: Networks) -> Made:
    """All samples of a clip, as bytes."""
    made: list[Encoded] = []
    rejected: Counter[str] = Counter()
    try:
        with opened(clip) as path:
            attempts, reasons = _Making(settings, clip, networks, path).attempts()
            rejected.update(reasons)
            for k, attempt in enumerate(attempts):
                try:
                    made.append(encode(attempt(k)))
                except RejectedError as error:
                    rejected[error.reason] += 1
    except RejectedError as error:
        rejected[error.reason] += 1
    return Made(made, dict(rejected))


@dataclass(frozen=True)
class _Making:
    """An opened clip and what its samples are made by; `k` is a sample's number."""

    settings: Curation
    clip: SourceClip
    networks: Networks
    path: Path

    def attempts(self) -> tuple[list[Callable[[int], Sample]], list[str]]:
        """What makes a sample each, and the reasons of windows that were rejected."""
        settings, window = self.settings, self.settings.window
        if settings.source == "synthetic":
            return [self._of_scene], []
        if self.clip.cameras is not None:
            return [self._of_sequence] * window.per_clip, []
        before, length = 0, round(window.frames * settings.triplet.sequence)
        if self.networks.geometry is None:
            extra = settings.reference if settings.reference_from == "around" else 0
            before, length = (extra + 1) // 2, window.frames + extra
        measures, rng = look(self.path, window.look_at), self._rng("/windows")
        windows, reasons = choose_windows(measures, window, rng, (length - 1) * window.stride + 1)
        return [partial(self._of_window, w, before, length) for w in windows], reasons

    def _rng(self, what: str) -> np.random.Generator:
        return rng_for(self.settings.seed, f"{self.clip.id}{what}")

    def _of_scene(self, k: int) -> Sample:
        number = int(self.clip.id.rpartition("-")[2])
        take = film(number, self.settings, self._rng(""), self.networks.depth)
        info = take.seen.info | {"recipe": take.recipe, "motion": video_motion(take.target)}
        where = "a room" if take.place == "room" else "an open place"
        caption = f"{where} full of things{'' if take.recipe == 'segments' else ' that move'}"
        reference = take.source[: self.settings.reference]
        return self._sample(k, take.kind, take.target, reference, take.seen, info, caption)

    def _of_sequence(self, k: int) -> Sample:
        """A triplet of a posed sequence."""
        rng = self._rng(f"#{k}")
        return self._triplet(k, *read_window(self.clip, self.path, self.settings, rng), rng)

    def _of_window(self, window: Window, before: int, length: int, k: int) -> Sample:
        """A pair of a monocular clip, or a triplet of one whose cameras are to be found.

        Args:
            before, length: frames read before the sample, and in all.
        """
        settings, networks, rng = self.settings, self.networks, self._rng(f"#{k}")
        stride, size = settings.window.stride, settings.window.size
        choice = FrameChoice(start=window.start, stride=stride, count=length, size=size)
        try:
            read = Video.read(self.path, choice)
        except (ValueError, OSError) as error:
            raise RejectedError("unreadable", str(error)) from error
        if networks.geometry is not None:
            return self._triplet(k, read, None, rng)
        assert networks.depth is not None and networks.cameras is not None
        target = read[before : before + settings.window.frames]
        depth = networks.depth(target)
        try:
            cameras = networks.cameras(target, depth)
        except ValueError as error:
            raise RejectedError("geometry", str(error)) from error
        seen = reproject(target, depth, cameras, settings, rng)
        reference = target[: settings.reference]
        if settings.reference_from == "around":
            reference = read[[*range(before), *range(before + len(target), length)]]
        info = {"start": window.start, "motion": window.motion}
        info |= seen.info | {"recipe": "double_reprojection"}
        return self._sample(k, "dynamic", target, reference, seen, info)

    def _triplet(
        self, k: int, video: Video, cameras: Cameras | None, rng: np.random.Generator
    ) -> Sample:
        assert self.networks.geometry is not None
        found = split(self.networks.geometry(video, cameras), self.settings, rng)
        info = found.seen.info | {"recipe": "segments", "motion": video_motion(found.target)}
        reference = found.source[: self.settings.reference]
        return self._sample(k, "static", found.target, reference, found.seen, info)

    def _sample(
        self,
        k: int,
        kind: Kind,
        target: Video,
        reference: Video,
        seen: Seen,
        info: dict[str, Any],
        caption: str = "",
    ) -> Sample:
        """`caption` is for a clip that neither list nor captioner names."""
        clip = self.clip
        described = {
            "id": f"{clip.id}#{k}",
            "clip": clip.id,
            "source": self.settings.source,
            "scores": clip.scores,
            "provenance": clip.provenance,
            "licence": clip.licence,
            "seed": self.settings.seed,
        }
        words = clip.caption or self.networks.captioner(target) or caption
        sample = Sample(target, seen.render, reference, words, kind, info=described | info)
        return replace(sample, memory=seen.memory, filled=seen.filled)
