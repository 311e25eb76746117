"""Synthetic-4D: dynamic scenes with true second views, on any machine.

Two sets. `drawn`: 100 test scenes, each filmed by a camera that stands or is held in a hand, and to
be seen along a path that swings 10, 20, 40 or 60 degrees around what is filmed. `named`: five
scenes filmed by a moving camera and to be seen from two cameras that stand, as in the iPhone set.

The scenes are of the test split. Their materials and designs are in no training scene, so a model
may train on all of `RayScene.make(..., split="train")`.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from tqdm.auto import tqdm

from ...config.evaluation import Synthetic4D
from ...depth.estimator import load_depth_estimator
from ...geometry.cameras import Cameras
from ...runtime.engine import in_words, run_all
from ...video.clip import Depth, Video
from ..synthetic.scene import Place, RayScene
from ..synthetic.takes import handheld, seen_from, steady, swung
from .cameras import load_recovery
from .cases import Case, aligned, case_columns, check_names, score_methods
from .records import Entry, EntryLog, Evaluation, Key

FIRST_SEED = 1000
"""Seed of the first drawn scene."""
CLIP_S = 1.0
"""Seconds that a clip lasts."""
_loaded = lru_cache(2)(load_depth_estimator)


@runtime_checkable
class Scenery(Protocol):
    """What the ray caster's and the mesh scenes have in common."""

    @property
    def pivot(self) -> Sequence[float] | torch.Tensor: ...

    def render(
        self, cameras: Cameras, times: torch.Tensor, *, samples: int = 2
    ) -> tuple[Video, Depth]: ...


Filmed = tuple[Scenery, Cameras, float, list[tuple[str, dict[str, str], Cameras]]]
"""A scene, the source cameras, seconds, and clip, group and cameras of each target."""


@dataclass(frozen=True)
class Named:
    """A scene of the named set; it never changes, so that its numbers can be compared."""

    seed: int
    place: Place
    sweep_deg: float
    """How far the source camera goes around the pivot."""
    targets: tuple[tuple[str, float, float], ...]
    """Name, azimuth and elevation (degrees) of each standing camera."""


NAMED = {
    "parlour": Named(1, "room", 16.0, (("left", -24.0, 3.0), ("right", 30.0, 2.0))),
    "plaza": Named(2, "ground", 14.0, (("left", -28.0, 6.0), ("right", 22.0, 10.0))),
    "workshop": Named(3, "room", 12.0, (("left", -32.0, 4.0), ("right", 20.0, 1.0))),
    "garden": Named(4, "ground", 18.0, (("left", -20.0, 4.0), ("right", 34.0, 8.0))),
    "playroom": Named(7, "room", 15.0, (("left", -26.0, 1.0), ("right", 26.0, 4.0))),
}
NAMED_SIZE, NAMED_FRAMES = (192, 320), 25


def evaluate_synthetic4d(out: Path, settings: Synthetic4D) -> Evaluation:
    """Run the benchmark; entries that an earlier run of the same folder made are kept.

    Raises:
        ValueError: an unknown method, depth, recovery or engine.
        FileNotFoundError: a model's weights that are not there.
    """
    check_names(settings.methods + settings.parts, set(settings.depth) - {"exact"})
    log = EntryLog(out / "entries.jsonl")
    if settings.camera_recovery is not None:
        load_recovery(settings.camera_recovery)
    scenes = list(NAMED) if settings.named else []
    scenes += [f"scene {number:03d}" for number in range(settings.scenes)]
    work = partial(_scene_entries, out, settings, log.done)
    results = run_all(work, scenes, engine=settings.engine, workers=settings.workers)
    for scene, found in tqdm(results, "Synthetic-4D", len(scenes), delay=1, leave=False):
        if isinstance(found, Exception):
            found = [Entry("all", scene, {}, error=in_words(found))]
        for entry in found:
            log.add(entry)
    cameras = settings.camera_recovery is not None
    return Evaluation("synthetic-4d", case_columns(cameras), log.entries)


def _scene_entries(out: Path, settings: Synthetic4D, done: set[Key], scene: str) -> list[Entry]:
    """All rows of one scene."""
    entries, recovery = [], None
    number = None if scene in NAMED else int(scene.split()[1])
    media = out if number is None or number < settings.shown else None
    if settings.camera_recovery is not None and number is not None:
        known = number < settings.camera_scenes
        recovery = load_recovery(settings.camera_recovery) if known else None
    depths: dict[str, tuple[Depth, float]] = {}
    for case, exact in cases(scene, settings):
        for kind in settings.depth:
            if kind not in depths:
                depths[kind] = depth_of(case.video, exact, kind)
            depth, seconds = depths[kind]
            rows = (*settings.methods, *(settings.parts if kind == "exact" else ()))
            options = {"depth_seconds": seconds, "recovery": recovery, "media": media}
            entries += score_methods(case, depth, rows, done, group={"depth": kind}, **options)
    return entries


def depth_of(video: Video, exact: Depth, kind: str) -> tuple[Depth, float]:
    """The clip's depth, exact or estimated and aligned, and the seconds it took."""
    if kind == "exact":
        return exact, 0.0
    estimator = _loaded(kind)
    start = time.perf_counter()
    depth = aligned(estimator(video), exact)
    return depth, time.perf_counter() - start


def cases(scene: str, settings: Synthetic4D) -> Iterator[tuple[Case, Depth]]:
    """The scene's cases, each with the source clip's exact depth."""
    scenery, source, seconds, targets = _named(scene) if scene in NAMED else _drawn(scene, settings)
    times = torch.linspace(0, seconds, len(source))
    video, exact = scenery.render(source, times)
    for clip, group, target in targets:
        truth, depth = scenery.render(target, times)
        visible = seen_from(depth, target, exact, source)
        yield Case(clip, group, video, source, target, truth, visible), exact


def _named(name: str) -> Filmed:
    named = NAMED[name]
    scene = RayScene.make(named.seed, split="test", place=named.place)
    generator = torch.Generator().manual_seed(named.seed)
    shape = (scene.pivot, NAMED_FRAMES, NAMED_SIZE)
    source = handheld(*shape, generator, sweep_deg=named.sweep_deg)
    targets = [
        (f"{name}, {side}", {"set": "named"}, steady(*shape, *angles))
        for side, *angles in named.targets
    ]
    return scene, source, 2 * CLIP_S, targets


def _drawn(name: str, settings: Synthetic4D) -> Filmed:
    number = int(name.split()[1])
    rng = np.random.default_rng([5, number])
    place: Place = "room" if rng.random() < 0.5 else "ground"
    if settings.meshes is None:
        scene, drawn = RayScene.make(FIRST_SEED + number, split="test", place=place), "drawn"
    else:
        from ..synthetic.meshes.scene import MeshScene

        seed, assets, drawn = FIRST_SEED + number, settings.meshes, "drawn from meshes"
        scene = MeshScene.make(seed, split="test", place=place, assets=assets)
    generator = torch.Generator().manual_seed(number)
    x, y, z = (float(value) for value in scene.pivot)
    shape = ((x, y, z), settings.frames, settings.size)
    source = steady(*shape) if number % 2 == 0 else handheld(*shape, generator)
    ways = {r: (float(rng.choice([-1, 1])), *rng.uniform(0, 1, 2)) for r in (10, 20, 40, 60)}
    targets = []
    for degrees in settings.ranges:
        side, up, near = ways.get(degrees) or (1.0, 0.5, 0.5)
        highest = min(degrees / 4, 6.0 if place == "room" else 12.0)
        path = swung(*shape, side * degrees, up * highest, 0.9 + 0.15 * near)
        targets.append((name, {"set": drawn, "range": str(degrees)}, path))
    return scene, source, CLIP_S, targets
