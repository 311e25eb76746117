"""Pinhole cameras over time, and the rigid motions between them.

The one thing a reader would get wrong: pixel centers lie at +0.5, so the center of an image of
width W is x = W/2 in `K`, and pixel (row 0, column 0) is the point (0.5, 0.5). The released system
puts centers at integers; add 0.5 to its principal point to get ours. Axes are OpenCV's (x right,
y down, z forward), so "up" is -y.
"""

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from .frames import Frames


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
        ValueError: eye and target coincide, or the view is along `up`.
    """
    up = eye.new_tensor([0.0, -1.0, 0.0]).expand_as(eye) if up is None else up
    forward = target - eye
    right = torch.linalg.cross(forward, up)
    if (forward.norm(dim=-1) < 1e-9).any() or (right.norm(dim=-1) < 1e-9).any():
        raise ValueError("look_at needs an eye apart from its target and a view not along `up`.")
    forward = forward / forward.norm(dim=-1, keepdim=True)
    right = right / right.norm(dim=-1, keepdim=True)
    down = torch.linalg.cross(forward, right)
    rotation = torch.stack([right, down, forward], dim=-2)
    return rigid(rotation, -(rotation @ eye[..., None])[..., 0])


@dataclass(frozen=True)
class Cameras(Frames):
    """One pinhole camera per frame, OpenCV axes (x right, y down, z forward)."""

    world_to_camera: Float[Tensor, "T 4 4"]
    """Rigid; the world is the first source camera unless said otherwise."""
    K: Float[Tensor, "T 3 3"]
    """Intrinsics in pixels, pixel centers at +0.5."""
    height: int
    width: int

    @property
    def camera_to_world(self) -> Float[Tensor, "T 4 4"]:
        return rigid_inverse(self.world_to_camera)

    @property
    def centers(self) -> Float[Tensor, "T 3"]:
        """Camera positions in the world."""
        return self.camera_to_world[:, :3, 3]

    def project(
        self, points: Float[Tensor, "T N 3"]
    ) -> tuple[Float[Tensor, "T N 2"], Float[Tensor, "T N"]]:
        """World points to pixel coordinates, meaningless where the depth is <= 0, and depth."""
        in_camera = transform_points(self.world_to_camera, points)
        z = in_camera[..., 2]
        homogeneous = in_camera @ self.K.transpose(-1, -2)
        return homogeneous[..., :2] / homogeneous[..., 2:], z

    def rays(self) -> Float[Tensor, "T H W 3"]:
        """Camera-space directions through the pixel centers, scaled to depth 1."""
        device, dtype = self.K.device, self.K.dtype
        x = torch.arange(self.width, device=device, dtype=dtype) + 0.5
        y = torch.arange(self.height, device=device, dtype=dtype) + 0.5
        x, y = torch.meshgrid(x, y, indexing="xy")
        pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1)
        return torch.einsum("tij,hwj->thwi", torch.linalg.inv(self.K), pixels)

    def unproject(self, z: Float[Tensor, "T 1 H W"]) -> Float[Tensor, "T N 3"]:
        """Depth maps to world points, row by row (paper Eq. 2)."""
        in_camera = (self.rays() * z[:, 0, :, :, None]).flatten(1, 2)
        return transform_points(self.camera_to_world, in_camera)

    def resized(self, height: int, width: int) -> "Cameras":
        """The same views at another resolution; the field of view stays."""
        scale = self.K.new_tensor([width / self.width, height / self.height, 1.0])
        return replace(self, K=self.K * scale[:, None], height=height, width=width)

    def cropped(self, top: float, left: float, height: int, width: int) -> "Cameras":
        """A window of the image; negative offsets pad."""
        K = self.K.clone()
        K[:, 0, 2] -= left
        K[:, 1, 2] -= top
        return replace(self, K=K, height=height, width=width)

    @property
    def horizontal_fov_deg(self) -> Float[Tensor, " T"]:
        return torch.rad2deg(2 * torch.atan(self.width / 2 / self.K[:, 0, 0]))


DEFAULT_FOV_DEG = 55.0
"""Horizontal field of view of an unknown camera: between a phone's main lens held upright (about
45) and held level (about 65), and the middle of what video shows."""


def intrinsics(
    focal: float | Float[Tensor, " T"], height: int, width: int, frames: int = 1
) -> Float[Tensor, "T 3 3"]:
    """K of a focal length in pixels, with square pixels and a centered principal point."""
    focal = torch.as_tensor(focal, dtype=torch.float32).expand(frames)
    K = torch.zeros(frames, 3, 3)
    K[:, 0, 0] = K[:, 1, 1] = focal
    K[:, 0, 2], K[:, 1, 2], K[:, 2, 2] = width / 2, height / 2, 1
    return K


def focal_from_fov(fov_deg: float, size: int) -> float:
    """Focal length in pixels of an image side of `size` pixels seen under `fov_deg`.

    Raises:
        ValueError: unless 0 < fov_deg < 180.
    """
    if not 0 < fov_deg < 180:
        raise ValueError(f"A field of view lies between 0 and 180 degrees; got {fov_deg:g}.")
    return size / 2 / math.tan(math.radians(fov_deg / 2))


def static_cameras(K: Float[Tensor, "T 3 3"], height: int, width: int) -> Cameras:
    """Cameras that stand still at the world's origin."""
    world_to_camera = torch.eye(4, dtype=K.dtype, device=K.device).repeat(K.shape[0], 1, 1)
    return Cameras(world_to_camera, K, height, width)


def check_cameras(cameras: Cameras, name: str = "cameras") -> Cameras:
    """The same cameras, if they can be used.

    Raises:
        ValueError: names the first frame with a number that is not finite, a singular K, a focal
            length that is not positive or a motion that is not rigid; or an empty picture.
    """
    if cameras.height < 1 or cameras.width < 1:
        raise ValueError(f"{name}: expected a size > 0; got {cameras.height}x{cameras.width}.")
    matrix, K = cameras.world_to_camera, cameras.K
    for label, value in (("world_to_camera", matrix), ("K", K)):
        bad = (~torch.isfinite(value)).flatten(1).any(dim=1).nonzero()
        if len(bad):
            raise ValueError(
                f"{name}: {label} of frame {int(bad[0])} has a number that is not finite."
            )
    # A determinant is fx * fy; far below a pixel squared, K is broken, not a wide lens.
    bad = (K[:, 0, 0] <= 0) | (K[:, 1, 1] <= 0) | (torch.linalg.det(K).abs() < 1e-9)
    if bad.any():
        frame = int(bad.nonzero()[0])
        raise ValueError(
            f"{name}: K of frame {frame} is singular or has a focal length that is not positive "
            f"(got fx={K[frame, 0, 0]:g}, fy={K[frame, 1, 1]:g}); give focal lengths in pixels."
        )
    rotation = matrix[:, :3, :3]
    identity = torch.eye(3, dtype=rotation.dtype, device=rotation.device)
    error = (rotation @ rotation.mT - identity).abs().flatten(1).amax(dim=1)
    # Wide enough for matrices that went through float32 or a text of few digits.
    bad = (error > 1e-3) | (torch.linalg.det(rotation) < 0)
    if bad.any():
        frame = int(bad.nonzero()[0])
        raise ValueError(
            f"{name}: world_to_camera of frame {frame} is not a rotation and a shift (determinant "
            f"{torch.linalg.det(rotation[frame]):.3g}, off orthonormal by {error[frame]:.3g}); "
            "check scale and handedness."
        )
    return cameras
