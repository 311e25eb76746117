"""A case: a source clip, a camera path, and the true video along it; and how methods are scored.

The one thing a reader would get wrong: "in holes" is what the source camera does not see at the
same moment, by true depth. It is the same for every method, whatever a method itself left open.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from ...config.redirect import MODELS, GeneratorSettings, RedirectSettings
from ...depth.alignment import fit_disparity
from ...depth.estimator import load_depth_estimator
from ...geometry.cameras import Cameras
from ...geometry.trajectories import Trajectory
from ...job.generation import check_model
from ...job.pipeline import TrajectoryCrafter
from ...rendering.completion import PARTS, fill
from ...rendering.point_cloud import lift
from ...rendering.render import render
from ...rendering.shot import Shot
from ...runtime.engine import in_words
from ...runtime.plugins import unknown_name
from ...video.clip import Depth, Video
from .cameras import CAMERA_COLUMNS, CameraRecovery, camera_errors
from .metrics import METRICS, columns, score
from .records import Column, Entry, Key
from .report import write_media

SCORES = ("psnr", "ssim", "dino")
"""Measured whole, in holes and where the source sees."""
CAMERA_SCORES = ("rot_err_mean_deg", "ate", "cameras_found")
"""Those of `CAMERA_COLUMNS` that the tables show."""
TRUTH = "truth"
"""A row with the camera error of the true video alone: what the recovery itself gets wrong."""


@dataclass(frozen=True)
class Case:
    """One source clip, one path, and the truth along it."""

    clip: str
    """What is filmed and from where it is to be seen: the unit that confidence counts."""
    group: dict[str, str]
    video: Video
    source: Cameras
    """In the world of `cameras`."""
    cameras: Cameras
    """The path asked for, one per frame."""
    truth: Video
    """What they see."""
    visible: Bool[Tensor, "T 1 H W"] | None
    """True where `video` shows the same surface at the same moment; None if that is not known."""


Method = Callable[[Case, Depth], Float[Tensor, "T 3 H W"]]
"""Makes the new video; the depth belongs to the source clip and fits its cameras' scale."""


def render_released(case: Case, depth: Depth) -> Float[Tensor, "T 3 H W"]:
    """The point render as the released warper makes it."""
    cloud = lift(case.video, depth, case.source, cull=False)
    return render(cloud, case.cameras, mode="released").frames


def render_ours(case: Case, depth: Depth) -> Float[Tensor, "T 3 H W"]:
    """The point render that this package completes."""
    return render(lift(case.video, depth, case.source), case.cameras).frames


@dataclass(frozen=True)
class Fill:
    """The classical completion, or some parts of it."""

    parts: tuple[str, ...] = PARTS

    def __call__(self, case: Case, depth: Depth) -> Float[Tensor, "T 3 H W"]:
        return fill(Shot.along(case.video, depth, case.source, case.cameras), parts=self.parts)


@dataclass(frozen=True)
class Model:
    """Any generator that the package can load, by its name."""

    name: str

    def __call__(self, case: Case, depth: Depth) -> Float[Tensor, "T 3 H W"]:
        crafter = TrajectoryCrafter(
            self.name, lambda video: depth, lambda video, depth: case.source
        )
        path = Trajectory.from_cameras(case.cameras, relative_to="world")
        return crafter(case.video, path).video.frames


METHODS: dict[str, Method] = {
    "render, released": render_released,
    "render": render_ours,
    "fill": Fill(),
    "fill: smooth alone": Fill(()),
} | {f"fill without {part}": Fill(tuple(p for p in PARTS if p != part)) for part in PARTS}
"""Methods that need no weights; every other name is a model's."""


def load_method(name: str) -> Method:
    """The method of that name: one of `METHODS`, else a model for `TrajectoryCrafter`.

    Raises:
        ValueError: an unknown name.
        FileNotFoundError: a model's folder or weights that are not there.
    """
    if name in METHODS:
        return METHODS[name]
    if "/" not in name and name not in MODELS and not Path(name).is_dir():
        raise ValueError(unknown_name(name, "method", [*METHODS, *MODELS]))
    check_model(RedirectSettings(generator=GeneratorSettings(model=name, prompt="")))
    return Model(name)


def check_names(methods: Iterable[str], depths: Iterable[str]) -> None:
    """Load each once, so that what is missing is refused before any work."""
    for name in methods:
        load_method(name)
    for name in depths:
        load_depth_estimator(name)


def aligned(depth: Depth, truth: Depth) -> Depth:
    """Estimated depth in the scale of true depth, with the true intrinsics.

    Scale and shift of disparity are fitted over the whole clip to all pixels, in least squares of
    disparity, as depth is aligned to COLMAP's points in the iPhone benchmark.
    """
    both = (depth.valid & truth.valid).flatten()
    estimated, true = (1 / d.z.flatten()[both].double() for d in (depth, truth))
    scale, shift = fit_disparity(estimated, true)
    # There is nothing beyond the farthest true surface.
    disparity = (scale / depth.z + shift).clamp(min=float(true.min()))
    return Depth(1 / disparity, depth.valid, truth.K)


def case_columns(cameras: bool) -> list[Column]:
    """The columns that `score_case` fills."""
    return [
        *columns((METRICS[name] for name in SCORES), ["", "holes", "seen"]),
        *columns([METRICS["flicker"]], [""]),
        *(column for column in CAMERA_COLUMNS if cameras and column.name in CAMERA_SCORES),
        Column("holes", "Holes", "neither",
               "Share of pixels that the source camera does not see at the same moment.", 3),
        Column("seconds", "Seconds", "lower",
               "Wall clock from clip and depth to finished frames; estimated depth included.", 2),
    ]  # fmt: skip


def score_case(
    case: Case,
    depth: Depth,
    name: str,
    *,
    depth_seconds: float = 0.0,
    recovery: CameraRecovery | None = None,
    media: Path | None = None,
    group: Mapping[str, str] | None = None,
) -> Entry:
    """Make the video with method `name` and score it; a failure becomes the entry's error.

    Args:
        depth_seconds: added to the method's own time.
        recovery: finds the cameras of the made video; None leaves their errors out.
        media: folder of the report, if its players are to show this case.
        group: joined to the case's own.
    """
    joined = dict(case.group) | dict(group or {})
    try:
        if name == TRUTH:
            assert recovery is not None
            return Entry(name, case.clip, joined, camera_scores(case.truth, case, recovery))
        method = load_method(name)
        start = time.perf_counter()
        made = method(case, depth).float().clamp(0, 1).cpu()
        seconds = time.perf_counter() - start + depth_seconds
        values = measure(made, case, recovery) | {"seconds": seconds}
        shown = {}
        if media is not None:
            result = Video(made, case.truth.fps)
            shown = write_media(media, case.clip, name, result, case.truth, case.video, joined)
    except Exception as error:
        return Entry(name, case.clip, joined, error=in_words(error))
    return Entry(name, case.clip, joined, values, media=shown)


def measure(
    made: Float[Tensor, "T 3 H W"], case: Case, recovery: CameraRecovery | None = None
) -> dict[str, float]:
    """Every column but seconds."""
    regions: dict[str, Tensor | None] = {"": None}
    values = {}
    if case.visible is not None:
        regions |= {"holes": ~case.visible, "seen": case.visible}
        values["holes"] = float((~case.visible).float().mean())
    true = case.truth.frames
    values |= score(made, true, [METRICS[name] for name in SCORES], regions)
    values |= score(made, true, [METRICS["flicker"]], {"": None})
    if recovery is not None:
        values |= camera_scores(Video(made, case.truth.fps), case, recovery)
    return values


def camera_scores(made: Video, case: Case, recovery: CameraRecovery) -> dict[str, float]:
    """How far the cameras that a video shows are from those asked for."""
    return camera_errors(recovery(made, case.cameras.K), case.cameras, CAMERA_SCORES)


def score_methods(
    case: Case, depth: Depth, names: Iterable[str], done: set[Key], **options: Any
) -> list[Entry]:
    """`score_case` for all methods that are not `done` yet."""
    group = dict(case.group) | dict(options.get("group") or {})
    if options.get("recovery") is not None:
        names = [*names, TRUTH]
    left = [name for name in names if Entry(name, case.clip, group).key not in done]
    return [score_case(case, depth, name, **options) for name in left]
