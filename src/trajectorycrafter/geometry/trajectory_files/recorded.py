"""What the camera formats have in common: between the numbers of a file and `Cameras`.

The one thing a reader would get wrong: `Recorded` is camera_to_world in float64, `Cameras` is
world_to_camera in float32; both have OpenCV camera axes, so a format turns its own before this.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from ..cameras import Cameras, intrinsics
from ..trajectories import MOTION_FIELDS, Trajectory
from .checks import TrajectoryFormat, wrong

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
"""OpenCV camera axes to OpenGL's (x right, y up, z backward) and back."""


@dataclass(frozen=True)
class Recorded:
    """What a file of cameras says, in OpenCV camera axes."""

    camera_to_world: np.ndarray
    """T 4 4, float64."""
    K: np.ndarray | None = None
    """T 3 3 in pixels, centers at +0.5; None = the file has no lens."""
    size: tuple[int, int] = (720, 1280)
    """Height and width that K belongs to."""
    times: np.ndarray | None = None
    """Increasing moments; None = evenly spaced."""


def as_cameras(recorded: Recorded) -> Cameras:
    """Cameras in the file's own world and unit."""
    height, width = recorded.size
    world_to_camera = torch.from_numpy(np.linalg.inv(recorded.camera_to_world)).float()
    # Without a lens only a placeholder: the trajectory is marked to use the source's.
    lens = (
        intrinsics(float(width), height, width, len(world_to_camera))
        if recorded.K is None
        else torch.from_numpy(recorded.K).float()
    )
    return Cameras(world_to_camera, lens, height, width)


def concrete(value: Trajectory | Cameras, format: TrajectoryFormat) -> Cameras:
    """The cameras to write; raises ValueError for a path that needs the source's, or their lens."""
    if isinstance(value, Cameras):
        return value
    plain = Trajectory.static(len(value))
    names = (*MOTION_FIELDS, "source_frame")
    moves = any(not torch.equal(getattr(value, name), getattr(plain, name)) for name in names)
    without_lens = format in ("tum", "recammaster")
    if value.absolute is None or moves or (value.lens == "source" and not without_lens):
        raise wrong(
            f"format {format}",
            "cameras",
            "a relative path; give trajectory.cameras(source, radius)",
        )
    return value.absolute


def camera_to_world_of(cameras: Cameras) -> np.ndarray:
    """T 4 4, float64, OpenCV camera axes."""
    return np.linalg.inv(cameras.world_to_camera.double().numpy())


def pinhole(focal: float, size: tuple[int, int]) -> np.ndarray:
    """3 3: square pixels of `focal`, the principal point in the center of height and width."""
    return intrinsics(focal, *size).double().numpy()[0]


def square_centered_focal(cameras: Cameras, format: str, better: str) -> Float[np.ndarray, " T"]:
    """The focal lengths in pixels; raises ValueError, naming the format that is `better`, unless
    pixels are square and the principal point is the center."""
    K = cameras.K.double()
    center = K.new_tensor([cameras.width / 2, cameras.height / 2])
    off = (K[:, :2, 2] - center).abs().max() / cameras.width
    if off > 1e-4 or ((K[:, 0, 0] / K[:, 1, 1] - 1).abs() > 1e-4).any():
        raise wrong(
            f"format {format}",
            "square pixels and a centered principal point",
            f"others; use {better}",
        )
    return K[:, 1, 1].numpy()


def from_wxyz(quaternion: Sequence[float], translation: Sequence[float], where: str) -> np.ndarray:
    """A 4 4 transform from a unit quaternion, real part first, and a translation."""
    w, x, y, z = quaternion
    length = math.hypot(w, x, y, z)
    # Files of few digits are off by less than 1 %; more means another order or unit.
    if abs(length - 1) > 1e-2:
        raise wrong(f"{where}, quaternion", "length 1", f"{length:.4g}")
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
    matrix[:3, 3] = translation
    return matrix


def orthonormal(matrices: np.ndarray, where: str) -> np.ndarray:
    """The nearest rigid matrices; raises ValueError for a scaled, sheared or mirrored one."""
    rotation = matrices[:, :3, :3]
    error = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    handed = np.linalg.det(rotation)
    bad = np.flatnonzero((error > 1e-2) | (handed < 0))
    if bad.size:
        frame = int(bad[0])
        raise wrong(
            f"{where}, frame {frame}",
            "a rotation and a shift without scale or mirroring",
            f"one off orthonormal by {error[frame]:.3g}, determinant {handed[frame]:.3g}",
        )
    u, _, vt = np.linalg.svd(rotation)
    rigid = np.tile(np.eye(4), (len(matrices), 1, 1))
    rigid[:, :3, :3], rigid[:, :3, 3] = u @ vt, matrices[:, :3, 3]
    return rigid
