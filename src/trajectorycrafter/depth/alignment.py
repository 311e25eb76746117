"""What an estimator leaves open, fitted to known values: a disparity's scale, a path's Sim(3).

The one thing a reader would get wrong: positions on a straight line do not tell the turn about that
line, and most camera moves (dolly, pan, a short orbit) are straight or nearly so. `umeyama` sees
positions only and then returns one of many equal answers; `align_cameras` asks the cameras'
directions for the turn that is left.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..geometry.cameras import Cameras, rigid, rigid_inverse

STRAIGHT = 0.05
"""A path whose spread across its line is below this share of the spread along it counts as
straight: an orbit of 10 degrees has 0.02, and structure from motion errs by 0.01 of the path."""
# Rounds of reweighting after which the fit no longer moves, and the error below which errors count
# as squares: smaller ones are noise, and without a floor one exact point would take all weight.
_REWEIGHTING = {None: (1, 1.0), "differences": (50, 1e-3), "ratios": (30, 0.01)}


def fit_disparity(
    disparity: Float[Tensor, " N"],
    true: Float[Tensor, " N"],
    robust: Literal["differences", "ratios"] | None = None,
) -> tuple[float, float]:
    """The scale and shift that bring disparity to known disparity (1 / z), solved in float64.

    Args:
        robust: None for the least squares of the differences; "differences" for their least
            absolute sum, which bears wrong points; "ratios" for the least absolute sum of the
            errors relative to `true`, so that far points count as much as near ones.
    """
    wanted = true.double()
    terms = torch.stack([disparity.double(), torch.ones_like(wanted)], dim=1)
    if robust == "ratios":
        terms, wanted = terms / wanted[:, None], torch.ones_like(wanted)
    rounds, floor = _REWEIGHTING[robust]
    weight, solution = torch.ones_like(wanted), torch.zeros(2)
    for _ in range(rounds):
        root = weight.sqrt()
        solution = torch.linalg.lstsq(terms * root[:, None], wanted * root).solution
        weight = 1 / (terms @ solution - wanted).abs().clamp(min=floor)
    scale, shift = solution.tolist()
    return scale, shift


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation x + translation."""

    scale: float
    rotation: Float[Tensor, "3 3"]
    translation: Float[Tensor, "3"]

    def points(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """The moved points."""
        return self.scale * points @ self.rotation.T + self.translation

    def cameras(self, cameras: Cameras) -> Cameras:
        """The same cameras in the world that this maps to; what they see is scaled with them."""
        to_world = cameras.camera_to_world
        rotation = self.rotation.to(to_world) @ to_world[:, :3, :3]
        centers = self.points(to_world[:, :3, 3].to(self.rotation)).to(to_world)
        return replace(cameras, world_to_camera=rigid_inverse(rigid(rotation, centers)))


def umeyama(
    source: Float[Tensor, "N 3"], target: Float[Tensor, "N 3"], with_scale: bool = True
) -> tuple[float, Float[Tensor, "3 3"], Float[Tensor, "3"]]:
    """The scale c, rotation R and shift t that minimize the mean of |target - (c R source + t)|^2.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    TPAMI 13(4), 1991, Eq. 34-43. R is proper, also where a reflection would fit better. Points on a
    line leave the turn about it open (the paper asks for rank >= 2); R is then one of the best.

    Raises:
        ValueError: no points, or points that all coincide and so have no scale.
    """
    if len(source) == 0:
        raise ValueError("Umeyama's alignment needs at least one pair of points; got none.")
    x, y = source.double(), target.double()
    mean_x, mean_y = x.mean(dim=0), y.mean(dim=0)  # Eq. 34, 35
    variance_x = float((x - mean_x).square().sum(dim=1).mean())  # Eq. 36
    covariance = (y - mean_y).T @ (x - mean_x) / len(x)  # Eq. 38
    U, D, Vt = torch.linalg.svd(covariance)
    S = torch.ones_like(D)
    if torch.linalg.det(U) * torch.linalg.det(Vt) < 0:  # Eq. 43, which holds for full rank as well
        S[2] = -1
    R = U @ torch.diag(S) @ Vt  # Eq. 40
    if with_scale and variance_x == 0:
        raise ValueError("Points that all coincide have no scale; use with_scale=False.")
    c = float((D * S).sum()) / variance_x if with_scale else 1.0  # Eq. 42
    t = mean_y - c * R @ mean_x  # Eq. 41
    return c, R.to(source.dtype), t.to(source.dtype)


def align_cameras(source: Cameras, target: Cameras) -> Similarity:
    """The Sim(3) that carries the source cameras to the target's, one for one.

    `umeyama` on the positions. Where the target's path is `STRAIGHT`, the turn about its line is
    the one under which the cameras' directions agree best (least squares over the rotation
    matrices); the fit of the positions on the line stays as it is.

    Raises:
        ValueError: source cameras that all stand in one place.
    """
    from_centers, to_centers = source.centers.double(), target.centers.double()
    scale, rotation, _ = umeyama(from_centers, to_centers)
    line = main_line(to_centers)
    if line is not None:
        seen = rotation @ source.camera_to_world[:, :3, :3].double()
        rotation = turn_about(line, seen, target.camera_to_world[:, :3, :3].double()) @ rotation
    shift = to_centers.mean(dim=0) - scale * rotation @ from_centers.mean(dim=0)
    return Similarity(scale, rotation, shift)


def main_line(points: Float[Tensor, "N 3"]) -> Float[Tensor, "3"] | None:
    """The unit direction of points that lie nearly on a line, else None."""
    _, spread, axes = torch.linalg.svd(points - points.mean(dim=0), full_matrices=False)
    return axes[0] if len(spread) < 2 or spread[1] < STRAIGHT * spread[0] else None


def turn_about(
    axis: Float[Tensor, "3"], source: Float[Tensor, "N 3 3"], target: Float[Tensor, "N 3 3"]
) -> Float[Tensor, "3 3"]:
    """The rotation about `axis` (a unit vector) that brings `source` nearest to `target`.

    It maximizes the sum of tr(target^T T source), which is A cos + B sin + const in its angle.
    """
    x, y, z = axis.tolist()
    cross = axis.new_tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    both = (source @ target.transpose(-1, -2)).sum(dim=0)
    cosine = both.trace() - axis @ both @ axis
    sine = (cross @ both).trace()
    angle = torch.atan2(sine, cosine)
    # Rodrigues' formula.
    return torch.eye(3).to(axis) + angle.sin() * cross + (1 - angle.cos()) * cross @ cross
