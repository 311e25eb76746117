"""How far things are: the one shape of every depth estimator, loading by name, scene scale.

The one thing a reader would get wrong: depth without intrinsics is half an answer, since the same
map means another scene under another field of view. So whatever is loaded here comes out with `K`:
from the field of view asked for, else the estimator's own, else `DEFAULT_FOV_DEG`.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from ..config.redirect import QUALITY, Way
from ..geometry.cameras import (
    DEFAULT_FOV_DEG,
    check_cameras,
    focal_from_fov,
    intrinsics,
    static_cameras,
)
from ..runtime.plugins import load_plugin, unknown_name
from ..video.clip import Depth, Video

NAMES = {
    "embedded": "the small model inside this package",
    "depthcrafter": "the released system's video diffusion model (academic use only; wants a GPU)",
    "huggingface:ID": "any transformers depth-estimation checkpoint, hub id or folder",
    "file:PATH": "depth computed elsewhere: npz, npy, exr, 16-bit png",
    "module:attribute": "an object of your own that takes a Video and returns a Depth",
}
"""What `load_depth_estimator` understands."""
RELEASED_MAX_RADIUS = 5.0
"""Cap of the released pivot distance, in its depth units."""


def check_depth_name(name: str) -> None:
    """Raises ValueError, naming the nearest, unless `name` is one of `NAMES`; loads nothing."""
    kind, _, rest = name.partition(":")
    plain = ("embedded", "depthcrafter")
    if name not in plain and (not kind or not rest or kind in plain):
        raise ValueError(unknown_name(name, "depth estimator", NAMES))


@runtime_checkable
class DepthEstimator(Protocol):
    """Anything that takes a clip and returns its depth, at the clip's size, one map per frame."""

    def __call__(self, video: Video) -> Depth: ...


def load_depth_estimator(
    name: str,
    *,
    weights: Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    fov_deg: float | None = None,
    way: Way = QUALITY,
    seed: int = 42,
) -> DepthEstimator:
    """The estimator of that name; its results are checked and carry intrinsics.

    Args:
        name: one of `NAMES`.
        weights: folder with downloaded weights; None for the hub's cache.
        dtype: of the large estimator, `depthcrafter`; the others compute in float32.
        fov_deg: horizontal field of view, wins over the estimator's own.
        way: how disparity becomes depth, and the focal length of a camera that nobody knows.
        seed: of the estimators that draw random numbers.

    Raises:
        ValueError: an unknown name, or a field of view outside 0 to 180 degrees.
        FileNotFoundError: weights or a file that is not there.
    """
    if fov_deg is not None:
        focal_from_fov(fov_deg, 1)
    check_depth_name(name)
    device = torch.device(device)
    kind, _, rest = name.partition(":")
    if name == "embedded":
        from .embedded import EmbeddedDepth

        estimator: DepthEstimator = EmbeddedDepth(device=device)
    elif name == "depthcrafter":
        from .depthcrafter import DepthCrafter

        # Published as float16 numbers and run so; bfloat16 would drop three of their ten digits.
        half = torch.float16 if dtype == torch.bfloat16 else dtype
        estimator = DepthCrafter.from_pretrained(
            weights, device=device, dtype=half, way=way, seed=seed
        )
    elif kind == "huggingface":
        from .huggingface import HuggingFaceDepth

        estimator = HuggingFaceDepth.from_pretrained(rest, weights, device=device, fov_deg=fov_deg)
    elif kind == "file":
        from .from_file import DepthFile

        estimator = DepthFile(Path(rest))
    else:
        estimator = load_plugin(name, "depth estimator", NAMES)
    return completed(estimator, fov_deg=fov_deg, way=way)


def completed(
    estimator: DepthEstimator, *, fov_deg: float | None = None, way: Way = QUALITY
) -> DepthEstimator:
    """The same estimator with its results checked and given intrinsics; for objects of your own."""
    return lambda video: with_intrinsics(
        check_depth(estimator(video), video), fov_deg=fov_deg, way=way
    )


def with_intrinsics(depth: Depth, *, fov_deg: float | None = None, way: Way = QUALITY) -> Depth:
    """The same depth with `K`: from the field of view, else its own, else the default.

    On the released way its focal length, 500 pixels at 576x1024, takes the place of the last two.

    Raises:
        ValueError: unless 0 < fov_deg < 180.
    """
    frames, _, height, width = depth.z.shape
    if fov_deg is None and way.depth == "released":
        return replace(depth, K=_released_intrinsics(frames, height, width).to(depth.z))
    if fov_deg is None and depth.K is not None:
        return depth
    focal = focal_from_fov(DEFAULT_FOV_DEG if fov_deg is None else fov_deg, width)
    return replace(depth, K=intrinsics(focal, height, width, frames).to(depth.z))


def check_depth(depth: Any, video: Video) -> Depth:
    """The same depth, if it fits the clip and can be lifted into space.

    Args:
        depth: whatever an estimator returned.

    Raises:
        ValueError: another type, size or number of frames, numbers at valid pixels that are not
            finite or not positive, a frame without any valid pixel, unusable intrinsics.
    """
    if not isinstance(depth, Depth):
        raise ValueError(
            f"A depth estimator returns a Depth; got {type(depth).__name__}. "
            "Wrap the map: Depth.of(z, K) with z of shape (frames, 1, height, width)."
        )
    expected, came = (len(video), 1, video.height, video.width), tuple(depth.z.shape)
    if came != expected:
        raise ValueError(
            f"Expected depth of shape {expected} (frames, 1, height, width) for this clip; got "
            f"{came}. {_remedy(expected, came)}"
        )
    if tuple(depth.valid.shape) != came:
        raise ValueError(
            f"Depth.valid must have the shape of z, {came}; got {tuple(depth.valid.shape)}."
        )
    for name, wrong in (
        ("not finite", ~torch.isfinite(depth.z)),
        ("zero or negative", depth.z <= 0),
    ):
        count = (wrong & depth.valid).flatten(1).sum(dim=1)
        if count.any():
            frame = int(count.argmax())
            raise ValueError(
                f"Depth of frame {frame} is {name} at {int(count[frame])} pixels that are marked "
                "valid; expected distances > 0 along the optical axis. Depth.of(z) marks such "
                "pixels invalid."
            )
    empty = ~depth.valid.flatten(1).any(dim=1)
    if empty.any():
        raise ValueError(
            f"Depth of frame {int(empty.nonzero()[0])} has no valid pixel (all are zero, negative, "
            "NaN or infinite); choose other frames or another depth estimator."
        )
    if depth.K is not None:
        if tuple(depth.K.shape) != (len(video), 3, 3):
            raise ValueError(
                f"Expected one K per frame, shape {(len(video), 3, 3)}; got {tuple(depth.K.shape)}."
            )
        check_cameras(static_cameras(depth.K, video.height, video.width), "depth")
    return depth


def _remedy(expected: tuple[int, ...], came: tuple[int, ...]) -> str:
    if len(came) == 4 and came[0] != expected[0] and came[2:] == expected[2:]:
        return "Give one map per chosen frame: check start, stride and number of frames."
    return (
        f"Compute it on the frames as they are used here, {expected[2]}x{expected[3]}, "
        f"or read the clip at the depth's own size."
    )


def _released_intrinsics(frames: int, height: int, width: int) -> torch.Tensor:
    """f = 500, center (512, 288) at 576x1024 with pixel centers at integers; ours lie at +0.5."""
    K = intrinsics(500.0, 576, 1024, frames)
    K[:, :2, 2] += 0.5
    return static_cameras(K, 576, 1024).resized(height, width).K


def scene_radius(depth: Depth, frame: int = 0, region: float = 1.0, share: float = 0.25) -> float:
    """Distance of the pivot, scene units: where the nearer things in a frame stand.

    What a film is about stands before its background, and a pivot in the background would carry
    the camera past it; so a quarter's quantile of the valid depth. There is no cap.

    Args:
        frame: source frame, for instance the moment that bullet holds.
        region: side of a middle window as a fraction of the picture; if nothing in it is valid
            the whole frame counts.
        share: of the valid depth in it that is nearer than the pivot.

    Raises:
        ValueError: no such frame or no valid depth in it.
    """
    if not 0 <= frame < len(depth):
        raise ValueError(f"scene_radius: expected a frame 0..{len(depth) - 1}; got {frame}.")
    z, valid = depth.z[frame, 0], depth.valid[frame, 0]
    height, width = z.shape
    half_h, half_w = max(height * region / 2, 0.5), max(width * region / 2, 0.5)
    rows = slice(math.floor(height / 2 - half_h), math.ceil(height / 2 + half_h))
    columns = slice(math.floor(width / 2 - half_w), math.ceil(width / 2 + half_w))
    inside = z[rows, columns][valid[rows, columns]]
    inside = z[valid] if inside.numel() == 0 else inside
    if inside.numel() == 0:
        raise ValueError(
            f"Frame {frame} has no valid depth; choose another frame or depth estimator."
        )
    return float(inside.float().kthvalue(1 + int(share * (inside.numel() - 1))).values)


def released_radius(depth: Depth, scale: float = 1.0) -> float:
    """The released pivot distance: center depth of frame 0 times `scale`, at most 5."""
    height, width = depth.z.shape[-2:]
    return min(float(depth.z[0, 0, height // 2, width // 2]) * scale, RELEASED_MAX_RADIUS)
