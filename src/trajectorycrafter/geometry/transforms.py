"""Rigid motion: rotations, look-at, inverses.

The one thing a reader would get wrong: axes are OpenCV's (x right, y down, z forward), so "up" is
-y.
"""

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor


def _rotation(axis: int, angle_deg: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    angle = angle_deg * (math.pi / 180)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn = angle.new_zeros(*angle.shape, 3, 3)
    turn[..., axis, axis] = 1
    turn[..., first, first] = turn[..., second, second] = angle.cos()
    turn[..., first, second], turn[..., second, first] = -angle.sin(), angle.sin()
    return turn


rotation_x = partial(_rotation, 0)
"""Turns y towards z: rows (1,0,0), (0,cos,-sin), (0,sin,cos)."""
rotation_y = partial(_rotation, 1)
"""Turns z towards x: rows (cos,0,sin), (0,1,0), (-sin,0,cos)."""
rotation_z = partial(_rotation, 2)
"""Turns x towards y: rows (cos,-sin,0), (sin,cos,0), (0,0,1)."""


def rigid(
    rotation: Float[Tensor, "*batch 3 3"], translation: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """The 4x4 matrix of x -> rotation x + translation."""
    top = torch.cat([rotation, translation[..., None]], dim=-1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 3] = 1
    return torch.cat([top, bottom], dim=-2)


def rigid_inverse(transform: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """The inverse of a rotation and a shift, without a general matrix inverse."""
    rotation = transform[..., :3, :3].transpose(-1, -2)
    return rigid(rotation, -(rotation @ transform[..., :3, 3:])[..., 0])


def transform_points(
    transform: Float[Tensor, "*batch 4 4"], points: Float[Tensor, "*batch N 3"]
) -> Float[Tensor, "*batch N 3"]:
    """Apply a rigid transform to every point of its batch entry."""
    rotation = transform[..., :3, :3]
    return points @ rotation.transpose(-1, -2) + transform[..., None, :3, 3]


def look_at(
    eye: Float[Tensor, "*batch 3"],
    target: Float[Tensor, "*batch 3"],
    up: Float[Tensor, "*batch 3"] | None = None,
) -> Float[Tensor, "*batch 4 4"]:
    """world_to_camera of a camera at `eye` that looks at `target`.

    Args:
        up: the direction that is up in the picture; default -y.

    Raises:
        ValueError: if eye and target coincide or the view is along `up`.
    """
    if up is None:
        up = torch.tensor([0.0, -1.0, 0.0], dtype=eye.dtype, device=eye.device).expand_as(eye)
    forward = target - eye
    right = torch.linalg.cross(forward, up)
    if (forward.norm(dim=-1) < 1e-9).any() or (right.norm(dim=-1) < 1e-9).any():
        raise ValueError("look_at needs an eye apart from its target and a view not along `up`.")
    forward = forward / forward.norm(dim=-1, keepdim=True)
    right = right / right.norm(dim=-1, keepdim=True)
    down = torch.linalg.cross(forward, right)
    rotation = torch.stack([right, down, forward], dim=-2)
    return rigid(rotation, -(rotation @ eye[..., None])[..., 0])
