"""Cameras in synthetic scenes, and what one camera can see of what another sees.

All angles are about the scene's pivot, from where the source camera's place is seen: azimuth 20 is
a fifth of a quarter turn around what is filmed, not a pan of 20 degrees.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...geometry.cameras import (
    Cameras,
    focal_from_fov,
    intrinsics,
    look_at,
    rigid,
    rotation_x,
    rotation_y,
    rotation_z,
)
from ...video.clip import Depth
from .shared import Vector

FOV_DEG = 60.0
"""Horizontal field of view of the synthetic cameras."""
SAME_SURFACE = 0.02
"""Relative depth difference up to which two views see the same surface point."""


def around(
    pivot: Vector,
    azimuth_deg: Float[Tensor, " T"],
    elevation_deg: Float[Tensor, " T"],
    distance: Float[Tensor, " T"],
    size: tuple[int, int],
    fov_deg: float = FOV_DEG,
) -> Cameras:
    """Cameras that look at the pivot from all around.

    Args:
        azimuth_deg: 0 is the source camera's side; positive goes to its right.
        elevation_deg: above (positive) the source camera's line of sight.
        distance: share of the source camera's distance.
        size: height and width.
    """
    middle = torch.tensor(pivot)
    level = math.degrees(math.asin(float(middle[1] / middle.norm())))
    eye = torch.zeros(len(azimuth_deg), 3)
    eye[:, 2] = -middle.norm()
    up = rotation_x(-(elevation_deg + level))
    eye = (rotation_y(-azimuth_deg) @ up @ eye[..., None])[..., 0] * distance[:, None]
    K = intrinsics(focal_from_fov(fov_deg, size[1]), *size, len(azimuth_deg))
    return Cameras(look_at(middle + eye, middle.expand_as(eye)), K, *size)


def steady(
    pivot: Vector,
    frames: int,
    size: tuple[int, int],
    azimuth_deg: float = 0.0,
    elevation_deg: float = 0.0,
    distance: float = 1.0,
) -> Cameras:
    """A camera that stands still."""
    still = torch.ones(frames)
    return around(pivot, azimuth_deg * still, elevation_deg * still, distance * still, size)


def handheld(
    pivot: Vector,
    frames: int,
    size: tuple[int, int],
    generator: torch.Generator,
    *,
    sweep_deg: float = 8.0,
) -> Cameras:
    """A source camera in somebody's hand: it sweeps a few degrees, sways and never quite rests."""

    def wave(amount: float) -> Float[Tensor, " T"]:
        phase, turns = torch.rand(2, generator=generator).tolist()
        time = torch.linspace(0, 1, frames)
        wave = torch.sin(2 * math.pi * (time * (0.7 + turns) + phase))
        return amount * (wave - wave[0])

    sign = 1.0 if torch.rand(1, generator=generator) < 0.5 else -1.0
    sweep = sign * sweep_deg * torch.linspace(0, 1, frames)
    path = around(pivot, sweep + wave(0.6), wave(0.5), 1 + wave(0.02), size)
    shake = rotation_x(wave(0.4)) @ rotation_y(wave(0.4)) @ rotation_z(wave(0.5))
    turned = rigid(shake, torch.zeros(frames, 3)) @ path.world_to_camera
    return Cameras(turned, path.K, *size)


def swung(
    pivot: Vector,
    frames: int,
    size: tuple[int, int],
    azimuth_deg: float,
    elevation_deg: float = 0.0,
    distance: float = 1.0,
) -> Cameras:
    """From the source camera's place to the given one, evenly over the clip; frame 0 has already
    gone one step, so that no frame is the source's own."""
    time = torch.arange(1, frames + 1) / frames
    return around(pivot, azimuth_deg * time, elevation_deg * time, 1 + (distance - 1) * time, size)


def seen_from(
    depth: Depth, cameras: Cameras, other_depth: Depth, other: Cameras
) -> Bool[Tensor, "T 1 H W"]:
    """True on pixels of `cameras` whose surface `other` sees at the same moment.

    Both depths are exact. A pixel is seen if one of the four pixels around its place in the other
    picture has its depth there, up to `SAME_SURFACE`, or the plane through them has.

    Raises:
        ValueError: the clips differ in length.
    """
    if not len(depth) == len(other_depth) == len(cameras) == len(other):
        raise ValueError(
            f"Expected clips of one length; got {len(depth)} and {len(other_depth)} maps, "
            f"{len(cameras)} and {len(other)} cameras."
        )
    pixels, z = other.project(cameras.unproject(depth.z))
    corner = (pixels - 0.5).floor()
    seen = torch.zeros_like(z, dtype=torch.bool)
    flat = torch.where(other_depth.valid, other_depth.z, torch.inf).flatten(1)
    # Disparity is linear over a plane's picture, depth is not.
    disparity, share = torch.zeros_like(z), pixels - 0.5 - corner
    for dx in (0, 1):
        for dy in (0, 1):
            column, row = corner[..., 0] + dx, corner[..., 1] + dy
            inside = (column >= 0) & (column < other.width) & (row >= 0) & (row < other.height)
            place = torch.where(inside, row * other.width + column, 0).long()
            there = flat.gather(1, place)
            seen |= inside & ((there / z - 1).abs() < SAME_SURFACE)
            weight = (share[..., 0] - (1 - dx)).abs() * (share[..., 1] - (1 - dy)).abs()
            disparity += torch.where(inside, weight / there, torch.nan)
    seen |= (disparity * z - 1).abs() < SAME_SURFACE
    seen &= z > 0
    return seen.unflatten(1, depth.z.shape[2:])[:, None] & depth.valid
