"""A camera anywhere as the numbers of a keyframe, and orbits about any point.

The one thing a reader would get wrong: a keyframe turns about the point on the base camera's axis
at the scene radius. To turn about another point the same turn is made and the camera is shifted;
the shift depends on the turn, so it has to be known in every frame, not at the keys alone.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from .cameras import rigid_inverse, rotation_x, rotation_y, rotation_z
from .keyframes import Keyframe
from .trajectories import Trajectory


def pivot_shift(
    elevation_deg: Float[Tensor, " T"],
    azimuth_deg: Float[Tensor, " T"],
    pivot: Float[Tensor, "T 3"],
    radius: float,
) -> Float[Tensor, "T 3"]:
    """Right, up and dolly, in radii, that make a turn about the default pivot one about `pivot`.

    Args:
        pivot: in the base camera's coordinates, scene units.
        radius: distance of the default pivot on the base camera's axis, scene units.
    """
    turn = rotation_y(azimuth_deg.double()) @ rotation_x(elevation_deg.double())
    off = pivot.double() - pivot.new_tensor([0.0, 0.0, radius]).double()
    shift = ((turn.mT @ off[..., None])[..., 0] - off) / radius
    return shift * shift.new_tensor([-1.0, 1.0, -1.0])


def turned_about(trajectory: Trajectory, pivot: Float[Tensor, "T 3"], radius: float) -> Trajectory:
    """The same turns about another point; shifts and dolly are made on top, as before.

    Args:
        trajectory: a relative path with `pan_unit="radius"`.
        pivot: one a frame, in the coordinates of that frame's base camera, scene units.
        radius: as in `Trajectory.cameras`.
    """
    assert trajectory.pan_unit == "radius", trajectory.pan_unit
    shift = pivot_shift(trajectory.elevation_deg, trajectory.azimuth_deg, pivot, radius)
    return replace(
        trajectory,
        pan=(trajectory.pan.double() + shift[:, :2]).float(),
        dolly=(trajectory.dolly.double() + shift[:, 2]).float(),
    )


def keyframe_at(
    world_to_camera: Float[Tensor, "4 4"],
    base: Float[Tensor, "4 4"],
    radius: float,
    pivot: Float[Tensor, "3"] | None = None,
    near: Keyframe | None = None,
) -> Keyframe:
    """The keyframe whose camera stands at `world_to_camera`; every pose has one.

    Args:
        base: world_to_camera of the camera that the keyframe is relative to.
        radius: distance of the default pivot, scene units.
        pivot: the point that the path turns about, in base camera coordinates; None = the default.
        near: of angles that mean the same, those next to this keyframe's are taken.

    Returns:
        A keyframe without a moment and with the lens of the source.
    """
    motion = world_to_camera.double() @ rigid_inverse(base.double())
    elevation, azimuth, roll = _angles(motion[:3, :3], near or Keyframe())
    numbers = torch.tensor([elevation, azimuth, roll], dtype=torch.float64)
    turn = rotation_y(numbers[1]) @ rotation_x(numbers[0])
    default = torch.tensor([0.0, 0.0, radius], dtype=torch.float64)
    offset = turn.mT @ (rotation_z(numbers[2]) @ motion[:3, 3] - default) + default
    right, up, dolly = (offset / radius * offset.new_tensor([-1.0, 1.0, -1.0])).tolist()
    if pivot is not None:
        shift = pivot_shift(numbers[:1], numbers[1:2], pivot.double()[None], radius)[0]
        right, up, dolly = (x - float(s) for x, s in zip((right, up, dolly), shift, strict=True))
    return Keyframe(
        elevation_deg=elevation,
        azimuth_deg=azimuth,
        dolly=dolly,
        right=right,
        up=up,
        roll_deg=roll,
    )


def _angles(rotation: Float[Tensor, "3 3"], near: Keyframe) -> tuple[float, float, float]:
    """Elevation, azimuth and roll of Rz(-roll) Ry(azimuth) Rx(elevation), next to `near`'s."""
    r = rotation.tolist()
    azimuth = math.asin(max(-1.0, min(1.0, -r[2][0])))
    if abs(r[2][0]) > 1 - 1e-9:
        # Looking straight across, elevation and roll are one turn; all of it is called elevation.
        elevation, roll = math.atan2(-r[1][2], r[1][1]), 0.0
    else:
        elevation, roll = math.atan2(r[2][1], r[2][2]), -math.atan2(r[1][0], r[0][0])
    first = [math.degrees(a) for a in (elevation, azimuth, roll)]
    # The other triple of angles for the same rotation: it serves cameras that look back.
    second = [first[0] + 180, 180 - first[1], first[2] + 180]
    wanted = (near.elevation_deg, near.azimuth_deg, near.roll_deg)
    # Each by whole turns next to the wanted one.
    near_by = [
        [a - 360 * round((a - w) / 360) for a, w in zip(angles, wanted, strict=True)]
        for angles in (first, second)
    ]
    best = min(near_by, key=lambda a: sum(abs(x - w) for x, w in zip(a, wanted, strict=True)))
    return best[0], best[1], best[2]
