"""How well a produced video keeps to the camera path that was asked for.

Cameras are recovered from the produced video by structure from motion or a plug-in, and compared
with the asked ones. Every published variant of the error has a name of its own in `CAMERA_COLUMNS`;
`docs/reference/camera_accuracy.md` gives formula and source.

The one thing a reader would get wrong: only frames that got a camera are compared, so a sum over
few frames is small. No number here means anything without `cameras_found` beside it.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...depth.alignment import align_cameras, umeyama
from ...geometry.cameras import Cameras, check_cameras, intrinsics, rigid_inverse, static_cameras
from ...runtime.plugins import load_plugin, unknown_name
from ...video.clip import Video
from .records import Column

FEWEST_CAMERAS = 3
"""Fewer than this are aligned by any numbers at all."""
STILL = 1e-3
"""A path that stays within so many scene units has no translation to compare. The nearest things
are at about 1; there it is less than a pixel of parallax in a picture 672 pixels wide."""

NAMES = {
    "colmap": "COLMAP, both of its mappers, whichever fits better (extra `poses`)",
    "glomap": "GLOMAP alone, COLMAP's global mapper (extra `poses`)",
    "module:attribute": "an object of your own that takes a Video and K and returns Recovered",
}
"""What `load_recovery` understands."""


@dataclass(frozen=True)
class Recovered:
    """The cameras found in a video's frames, in a world and a scale of their own."""

    cameras: Cameras
    """One per frame; those of frames that were not found mean nothing."""
    found: Bool[Tensor, " T"]
    """True where the frame got a camera."""

    def __post_init__(self) -> None:
        if len(self.cameras) != len(self.found):
            raise ValueError(
                f"Expected one `found` per camera; got {len(self.found)} and {len(self.cameras)}."
            )


@runtime_checkable
class CameraRecovery(Protocol):
    """Anything that finds cameras in a video; K, if given, is the lens it was made with."""

    def __call__(self, video: Video, K: Float[Tensor, "T 3 3"] | None) -> Recovered: ...


@dataclass(frozen=True)
class StructureFromMotion:
    """Cameras by COLMAP, the lens kept as given, or fitted (one focal length) if it is not."""

    mappers: tuple[Literal["incremental", "global"], ...] = ("incremental", "incremental", "global")
    """Each is run once, and the reconstruction that fits best is taken."""

    def __call__(self, video: Video, K: Float[Tensor, "T 3 3"] | None) -> Recovered:
        """The frames that could be placed; none, if the video shows no camera motion.

        Raises:
            ValueError: pycolmap is not installed.
        """
        from ...source_cameras.colmap import Colmap

        # Moving things and what a model invented are off by little
        # (docs/reference/camera_accuracy.md).
        error = max(1.0, video.width / 480)
        search = Colmap(mappers=self.mappers, largest_error=error)
        placed, frames = search.place(video, K)
        lens = intrinsics(video.width, video.height, video.width, len(video)) if K is None else K
        cameras = static_cameras(lens.cpu().clone(), video.height, video.width)
        cameras.world_to_camera[frames] = placed.world_to_camera.to(cameras.K)
        cameras.K[frames] = placed.K.to(cameras.K)
        found = torch.zeros(len(video), dtype=torch.bool)
        found[frames] = True
        return Recovered(cameras, found)


def load_recovery(name: str = "colmap") -> CameraRecovery:
    """The recovery of that name, one of `NAMES`.

    Raises:
        ValueError: an unknown name.
    """
    if name == "colmap":
        return StructureFromMotion()
    if name == "glomap":
        return StructureFromMotion(("global",))
    if ":" in name:
        return load_plugin(name, "camera recovery", NAMES)
    raise ValueError(unknown_name(name, "camera recovery", NAMES))


def camera_errors(
    recovered: Recovered, asked: Cameras, names: Collection[str] | None = None, still: float = STILL
) -> dict[str, float]:
    """Errors of the recovered cameras, by the names of `CAMERA_COLUMNS`.

    All are the same for every world and scale of the recovered cameras. `cameras_found` is always
    there; the others are left out where fewer than three cameras were found, and those of the
    translation where either path stands still.

    Args:
        still: largest extent of an asked path that counts as standing still, scene units.

    Raises:
        ValueError: other than one recovered camera per asked one, found cameras that are not
            rigid or not finite, or an unknown name.
    """
    if len(recovered.cameras) != len(asked):
        raise ValueError(
            f"Expected one recovered camera per asked one; got {len(recovered.cameras)} and "
            f"{len(asked)}. Compare the frames that were produced."
        )
    for name in names or ():
        if name not in COLUMNS:
            raise ValueError(unknown_name(name, "camera error", COLUMNS))
    found = recovered.found.cpu()
    values = {"cameras_found": float(found.double().mean()) if len(found) else 0.0}
    if int(found.sum()) >= FEWEST_CAMERAS:
        index = found.nonzero()[:, 0]
        check_cameras(recovered.cameras[index], "recovered cameras")
        ours, theirs = (
            replace(c[index], world_to_camera=c[index].world_to_camera.cpu().double())
            for c in (recovered.cameras, asked)
        )
        # Where in the found cameras the next one is that of the next frame.
        steps = (index.diff() == 1).nonzero()[:, 0]
        values |= _rotation_errors(ours, theirs, steps)
        # What float32 makes of one and the same position that is far from the origin.
        rounding = 1e-5 * float(ours.world_to_camera[:, :3, 3].abs().max())
        if extent(theirs) > still and extent(ours) > rounding:
            values |= _translation_errors(ours, theirs, steps)
    return {name: value for name, value in values.items() if names is None or name in names}


def _rotation_errors(ours: Cameras, theirs: Cameras, steps: Tensor) -> dict[str, float]:
    from_first = angle(_from_first(ours), _from_first(theirs))
    a, b = (cameras.camera_to_world[:, :3, :3] for cameras in (ours, theirs))
    i, j = torch.triu_indices(len(a), len(a), 1)
    pairs = angle(a[i].transpose(-1, -2) @ a[j], b[i].transpose(-1, -2) @ b[j])
    values = {
        "rot_err_sum_rad": float(from_first.sum()),
        "rot_err_mean_deg": float(from_first.mean().rad2deg()),
        "rot_pairs_deg": float(pairs.mean().rad2deg()),
    }
    if len(steps):
        off = angle(_moves(ours, steps), _moves(theirs, steps))
        values["rpe_rot_deg"] = float(_rms(off).rad2deg())
    return values


def _translation_errors(ours: Cameras, theirs: Cameras, steps: Tensor) -> dict[str, float]:
    # Positions from the first camera; either path's farthest is brought to distance 1.
    went, asked = (_from_first(cameras)[:, :3, 3] for cameras in (ours, theirs))
    reached, reach = went.norm(dim=-1).max(), asked.norm(dim=-1).max()
    off = (went / reached - asked / reach).norm(dim=-1)
    # The numbers of the position alone must not depend on how a nearly straight path is turned.
    scale, rotation, shift = umeyama(ours.centers, theirs.centers)
    apart = (scale * ours.centers @ rotation.T + shift - theirs.centers).norm(dim=-1)
    aligned = align_cameras(ours, theirs).cameras(ours)
    turned = angle(aligned.camera_to_world, theirs.camera_to_world)
    values = {
        "trans_err_sum": float(off.sum()),
        "trans_err_mean": float(off.mean()),
        "trans_err_sum_scene": float(off.sum()) * float(reach),
        "trans_pairs_share": float(apart.mean()) / extent(theirs),
        "ate": float(_rms(apart)),
        "ate_rot_deg": float(_rms(turned).rad2deg()),
    }
    if len(steps):
        rest = rigid_inverse(_moves(theirs, steps)) @ _moves(aligned, steps)
        values["rpe_trans"] = float(_rms(rest[:, :3, 3].norm(dim=-1)))
    return values


def angle(a: Float[Tensor, "*N m m"], b: Float[Tensor, "*N m m"]) -> Float[Tensor, "*N"]:
    """Angle between rotations or the rotations of rigid motions: arccos((tr(a b^T) - 1) / 2).

    In radians, computed as an atan2: near 0 the arccos of a trace in float32 errs by 0.03 degrees.
    """
    rest = a[..., :3, :3] @ b[..., :3, :3].transpose(-1, -2)
    skew = (rest - rest.transpose(-1, -2)) / 2
    sine = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], dim=-1).norm(dim=-1)
    return torch.atan2(sine, (rest.diagonal(dim1=-2, dim2=-1).sum(dim=-1) - 1) / 2)


def extent(cameras: Cameras) -> float:
    """The largest distance between two camera positions."""
    return float(torch.cdist(cameras.centers, cameras.centers).max())


def _from_first(cameras: Cameras) -> Float[Tensor, "N 4 4"]:
    """camera_to_world, the world being the first camera."""
    return cameras.world_to_camera[:1] @ cameras.camera_to_world


def _moves(cameras: Cameras, steps: Tensor) -> Float[Tensor, "n 4 4"]:
    """For every step, the next camera as the one before it sees it (camera_to_world)."""
    return cameras.world_to_camera[steps] @ cameras.camera_to_world[steps + 1]


def _rms(values: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    return values.square().mean().sqrt()


CAMERA_COLUMNS = [
    Column("cameras_found", "cameras found", "higher",
           "Share of the frames that the recovery gave a camera; all other columns are over "
           "these."),
    Column("rot_err_sum_rad", "RotErr (rad, sum)", "lower",
           "Sum over frames of arccos((tr(R_gen R_gt^T) - 1) / 2), relative to the first "
           "frame (CameraCtrl, ReCamMaster, CamI2V).", 3),
    Column("rot_err_mean_deg", "RotErr (deg, mean)", "lower", "The same, the mean in degrees.", 3),
    Column("trans_err_sum", "TransErr (sum)", "lower",
           "Sum over frames of |T_gen - T_gt|, relative to the first frame, either path "
           "divided by its farthest position (CamI2V).", 3),
    Column("trans_err_mean", "TransErr (mean)", "lower", "The same, the mean.", 4),
    Column("trans_err_sum_scene", "TransErr (scene units, sum)", "lower",
           "trans_err_sum times the distance of the asked path's farthest position.", 3),
    Column("rot_pairs_deg", "RotErr, all pairs (deg)", "lower",
           "Mean angle between the relative rotations of all pairs of frames (ReDirector).", 3),
    Column("trans_pairs_share", "TransErr (share of extent)", "lower",
           "Mean distance of positions after Umeyama's alignment, divided by the asked "
           "path's largest distance between two positions (ReDirector).", 4),
    Column("ate", "ATE (scene units)", "lower",
           "Absolute trajectory error: root mean square distance of positions after Sim(3) "
           "(Sturm et al. 2012).", 4),
    Column("ate_rot_deg", "ATE rotation (deg)", "lower",
           "Root mean square angle after Sim(3) (Zhang and Scaramuzza 2018); about a "
           "straight path the turn comes from the cameras' directions.", 3),
    Column("rpe_trans", "RPE (scene units)", "lower",
           "Relative pose error over one frame after Sim(3), root mean square (Sturm et al. "
           "2012).", 4),
    Column("rpe_rot_deg", "RPE rotation (deg)", "lower",
           "The rotation of the same, root mean square.", 3),
]  # fmt: skip
"""The numbers of `camera_errors`, in the order of a table."""
COLUMNS = {column.name: column for column in CAMERA_COLUMNS}
