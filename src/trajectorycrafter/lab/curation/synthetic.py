"""Samples of synthetic scenes, training split: pairs, and triplets with true second views.

Three recipes: `double_reprojection` as with filmed clips, `segments` of a moment that stands still
(what posed sequences give), and `synchronised`: a second camera that films the same moments.

The one thing a reader would get wrong: depth is exact only where asked for. By default it is
disturbed as estimated depth is, since a model trained on exact renders alone has not seen what it
will be given.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...config.curation import Curation
from ...depth.alignment import fit_disparity
from ...geometry.cameras import Cameras
from ...rendering.point_cloud import lift
from ...rendering.render import hole_share, render
from ...video.clip import Depth, Video
from ..samples import Kind
from ..synthetic.scene import RayScene
from ..synthetic.takes import handheld, steady
from .draws import RandomPath, paths, seek_path, wanted_holes
from .dynamic import PREVIEW, Seen, reproject, spread
from .static import PosedVideo, see

RECIPES = ("double_reprojection", "segments", "synchronised")
SECONDS = (0.8, 2.0)
"""How long a clip lasts, at least and at most."""
SWEEPS_DEG = (0.0, 12.0)
"""How far a source camera that is held in a hand goes around the pivot."""
NEAREST = 0.35
"""Metres: a target camera is not closer to anything, over the middle of its picture."""
CELL = 24
"""Pixels over which disturbances of depth are alike."""


@dataclass(frozen=True)
class Take:
    """What a scene gave."""

    recipe: str
    kind: Kind
    source: Video
    target: Video
    seen: Seen
    place: str


def film(
    number: int,
    settings: Curation,
    rng: np.random.Generator,
    depth_estimator: Callable[[Video], Depth] | None = None,
) -> Take:
    """A sample of the scene of that number, by a recipe that is drawn.

    Raises:
        RejectedError: no path with the wanted share of holes.
    """
    scene = RayScene.make(number)
    weights = np.array(settings.scene.recipes) / sum(settings.scene.recipes)
    recipe = RECIPES[int(rng.choice(len(RECIPES), p=weights))]
    frames, size = settings.window.frames, settings.window.size
    times = torch.linspace(0, float(rng.uniform(*SECONDS)), frames)
    if recipe == "segments":
        times = torch.full_like(times, float(rng.uniform(*SECONDS)))
    if recipe != "segments" and rng.random() < 0.4:
        cameras = steady(scene.pivot, frames, size)
    else:  # held in a hand
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        sweep = float(rng.uniform(*SWEEPS_DEG))
        cameras = handheld(scene.pivot, frames, size, generator, sweep_deg=sweep)
    video, exact = scene.render(cameras, times, samples=settings.scene.rays)
    depth = exact
    if settings.scene.scene_depth == "disturbed":
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        depth = disturbed(exact, settings.scene.disturbance, generator)
    elif settings.scene.scene_depth != "exact":
        assert depth_estimator is not None, settings.scene.scene_depth
        depth = aligned_to(depth_estimator(video), exact)
    if recipe == "double_reprojection":
        seen = reproject(video, depth, cameras, settings, rng)
        return Take(recipe, "dynamic", video, video, seen, scene.place)
    source = PosedVideo(video, depth, cameras)
    path, target = _target(scene, source, times, settings, rng)
    true, _ = scene.render(target, times, samples=settings.scene.rays)
    seen = see(source, target, settings)
    seen.info["path"] = path.as_numbers()
    kind: Kind = "static" if recipe == "segments" else "dynamic"
    return Take(recipe, kind, video, true, seen, scene.place)


def _target(
    scene: RayScene,
    source: PosedVideo,
    times: Float[Tensor, " T"],
    settings: Curation,
    rng: np.random.Generator,
) -> tuple[RandomPath, Cameras]:
    """A random path that stays inside, goes through nothing and has the wanted share of holes."""
    radius = math.dist((0, 0, 0), scene.pivot)
    few = spread(len(times), PREVIEW)
    cloud = lift(source.video[few], source.depth[few], source.cameras[few])

    def cameras(path: RandomPath) -> Cameras:
        return path.trajectory(len(times), "first_frame").cameras(source.cameras, radius)

    def holes(path: RandomPath) -> float:
        walked = cameras(path)
        if not _free(scene, walked, times):
            return math.inf
        return float(hole_share(render(cloud, walked[few])).mean())

    wanted = wanted_holes(settings.hole, rng)
    path = seek_path(paths(settings.path, rng), holes, wanted, settings.hole)
    return path, cameras(path)


def _free(scene: RayScene, cameras: Cameras, times: Float[Tensor, " T"]) -> bool:
    """Whether the cameras are in the scene and have nothing right before them."""
    try:
        _, depth = scene.render(cameras.resized(9, 16), times, samples=1)
    except ValueError:  # outside of the room, or below the floor
        return False
    return bool((depth.z[:, :, 2:-2, 4:-4].flatten(1).amin(dim=1) > NEAREST).all())


# ---------------------------------------------------------------------------------------- depth


def aligned_to(depth: Depth, exact: Depth) -> Depth:
    """Estimated depth with one scale and shift of disparity for the clip, fitted to the truth."""
    both = depth.valid & exact.valid
    thinned = slice(None, None, max(1, int(both.sum()) // 20_000))
    guess, true = (1 / depth.z[both])[thinned], exact.z[both][thinned].double()
    scale, shift = fit_disparity(guess, 1 / true, "ratios")
    # A disparity near zero must not put a surface at infinity: at most twice the farthest truth.
    z = 1 / (scale / depth.z + shift).clamp(min=1 / (float(true.max()) * 2))
    return Depth(z, depth.valid, exact.K)


def disturbed(depth: Depth, amount: float, generator: torch.Generator) -> Depth:
    """Exact depth with the faults of estimated depth.

    Errors that are smooth over the picture and mostly last over the clip, a little flicker of the
    scale, and outlines that are as coarse as a network's own grid.

    Args:
        amount: relative error, standard deviation.
    """
    frames, _, height, width = depth.z.shape
    cells = max(2, height // CELL), max(2, width // CELL)
    lasting = torch.randn(1, 1, *cells, generator=generator)
    passing = torch.randn(frames, 1, *cells, generator=generator)
    field = F.interpolate(0.9 * lasting + 0.4 * passing, (height, width), mode="bicubic")
    flicker = torch.randn(frames, 1, 1, 1, generator=generator) * amount / 4
    disparity = torch.where(depth.valid, 1 / depth.z, 0.0)
    # A network's map is some two or three times coarser than the picture.
    coarse = F.interpolate(disparity, (height // 2, width // 2), mode="area")
    soft = F.interpolate(coarse, (height, width), mode="bilinear")
    wrong = soft * torch.exp(amount * field + flicker)
    return replace(depth, z=torch.where(depth.valid, 1 / wrong.clamp(min=1e-4), depth.z))
