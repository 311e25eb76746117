"""Curves through numbers and cameras, sampled at any number of frames, and cameras made calm.

The one thing a reader would get wrong: "smoothing", the released system's spline, misses its keys;
"spline" passes through every key and never overshoots. Frames are even in time, ends included.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import (
    CubicHermiteSpline,
    PchipInterpolator,
    UnivariateSpline,
    make_interp_spline,
)
from scipy.spatial.transform import Rotation, Slerp
from torch import Tensor

from .cameras import Cameras, rigid, rigid_inverse

Interpolation = Literal["spline", "linear", "smoothing"]


def interpolate(
    times: Sequence[float] | np.ndarray,
    values: Sequence[float],
    frames: int,
    interpolation: Interpolation = "spline",
    ease: bool = False,
) -> Float[Tensor, " T"]:
    """Numbers at increasing times in [0, 1], sampled at `frames` even times, ends included.

    Args:
        interpolation: see `Trajectory.from_keyframes`.

    Raises:
        ValueError: an unknown interpolation, no values or values that are not finite.
    """
    x, y = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(y) == 0 or not np.isfinite(y).all():
        raise ValueError(f"A camera curve needs finite numbers; got {list(values)}.")
    if interpolation not in get_args(Interpolation):
        raise ValueError(
            f"interpolation is one of {get_args(Interpolation)}; got {interpolation!r}."
        )
    at = np.linspace(0, 1, check_frames(frames))
    if len(y) == 1:
        result = np.full(frames, y[0])
    elif interpolation == "smoothing" and len(y) > 3:
        # The released curve misses the numbers; its first and last are then put back, which makes
        # a jump at both ends. Kept for parity only.
        result = np.asarray(UnivariateSpline(x, y)(np.clip(at, x[0], x[-1])))
        result[0], result[-1] = y[0], y[-1]
    elif interpolation == "spline" and (len(y) > 2 or ease):
        slopes = np.asarray(PchipInterpolator(x, y).derivative()(x))
        if ease:
            slopes[0] = slopes[-1] = 0.0
        result = np.asarray(CubicHermiteSpline(x, y, slopes)(np.clip(at, x[0], x[-1])))
    else:
        result = np.interp(at, x, y)
    return torch.from_numpy(result).float()


def resample_cameras(
    cameras: Cameras, frames: int, times: Sequence[float] | np.ndarray | None = None
) -> Cameras:
    """A path of cameras in another number of frames: slerp of rotations, cubic spline of centers.

    Args:
        frames: wanted number of frames, evenly spaced from the first to the last camera.
        times: increasing moments of the given cameras, any unit; None = evenly spaced.

    Raises:
        ValueError: times that do not increase or do not match, frames < 1.
    """
    count = len(cameras)
    x = np.arange(count, dtype=np.float64) if times is None else np.asarray(times, dtype=np.float64)
    if len(x) != count or not np.isfinite(x).all() or (np.diff(x) <= 0).any():
        raise ValueError(f"Expected {count} increasing times, one per camera; got {len(x)}.")
    at = np.linspace(x[0], x[-1], check_frames(frames))
    if count == 1:
        return cameras[[0] * frames]
    if frames == count and np.allclose(at, x, rtol=0, atol=1e-9 * (x[-1] - x[0])):
        return cameras
    camera_to_world = rigid_inverse(cameras.world_to_camera.double())
    rotation = Slerp(x, Rotation.from_matrix(camera_to_world[:, :3, :3].numpy()))(at).as_matrix()
    # Keys closer than a cubic needs make a parabola or a line.
    centers = make_interp_spline(x, camera_to_world[:, :3, 3].numpy(), k=min(3, count - 1))(at)
    K = np.stack(
        [np.interp(at, x, k) for k in cameras.K.double().numpy().reshape(count, 9).T], axis=-1
    )
    return Cameras(
        rigid_inverse(rigid(torch.from_numpy(rotation), torch.from_numpy(centers))).float(),
        torch.from_numpy(K).float().reshape(frames, 3, 3),
        cameras.height,
        cameras.width,
    )


def smoothed(cameras: Cameras, sigma: float) -> Cameras:
    """Centers and rotations averaged over time by a Gaussian; lenses are kept.

    The first camera is smoothed as well, so the path need not begin where it began. Near the ends
    the weights of missing frames are given to those that are there.

    Args:
        sigma: frames; 0 changes nothing, infinity gives the mean camera in every frame.

    Raises:
        ValueError: sigma < 0 or not a number.
    """
    if math.isnan(sigma) or sigma < 0:
        raise ValueError(f"Smoothing needs a width of at least 0 frames; got {sigma}.")
    if sigma == 0 or len(cameras) == 1:
        return cameras
    to_world = rigid_inverse(cameras.world_to_camera.double().cpu())
    frames = np.arange(len(cameras))
    weights = np.exp(-0.5 * ((frames[:, None] - frames) / sigma) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    turns = Rotation.from_matrix(to_world[:, :3, :3].numpy())
    rotation = np.stack([turns.mean(weights=w).as_matrix() for w in weights])
    centers = weights @ to_world[:, :3, 3].numpy()
    placed = rigid(torch.from_numpy(rotation), torch.from_numpy(centers))
    return replace(cameras, world_to_camera=rigid_inverse(placed).to(cameras.world_to_camera))


def check_frames(frames: int) -> int:
    """The number itself. Raises ValueError unless it is at least 1."""
    if frames < 1:
        raise ValueError(f"Expected at least 1 output frame; got {frames}.")
    return frames
