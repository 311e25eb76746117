"""Cameras as keyframe numbers and back, and orbits about any point."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trajectorycrafter.geometry.cameras import (
    Cameras,
    intrinsics,
    look_at,
    rigid,
    rotation_x,
    rotation_y,
    static_cameras,
)
from trajectorycrafter.geometry.interpolation import smoothed
from trajectorycrafter.geometry.keyframes import Keyframe
from trajectorycrafter.geometry.pivot import keyframe_at, turned_about
from trajectorycrafter.geometry.trajectories import Trajectory

ANGLE = st.floats(-175, 175)
SHIFT = st.floats(-2, 2)


def cameras_of(key: Keyframe, radius: float, pivot: torch.Tensor | None = None) -> torch.Tensor:
    """World to camera of the one frame of a path with this key."""
    source = static_cameras(intrinsics(50.0, 32, 48, 1), 32, 48)
    path = Trajectory.from_keyframes([key], 1)
    if pivot is not None:
        path = turned_about(path, pivot[None], radius)
    return path.cameras(source, radius).world_to_camera[0]


@settings(max_examples=60, deadline=None)
@given(ANGLE, st.floats(-85, 85), ANGLE, SHIFT, SHIFT, SHIFT, st.booleans())
def test_every_pose_has_a_keyframe_that_stands_there(
    el: float, az: float, roll: float, right: float, up: float, dolly: float, pivoted: bool
) -> None:
    pivot = torch.tensor([0.7, -0.4, 5.0]) if pivoted else None
    key = Keyframe(elevation_deg=el, azimuth_deg=az, roll_deg=roll, right=right, up=up, dolly=dolly)
    pose = cameras_of(key, 2.5, pivot)
    found = keyframe_at(pose, torch.eye(4), 2.5, pivot, near=key)
    # Float32 poses of lengths about 10 carry errors of a millionth.
    torch.testing.assert_close(cameras_of(found, 2.5, pivot), pose, rtol=0, atol=2e-5)


def test_the_angles_next_to_the_wanted_ones_are_taken() -> None:
    turned = Keyframe(azimuth_deg=200.0)
    found = keyframe_at(cameras_of(turned, 2.0), torch.eye(4), 2.0, near=Keyframe(azimuth_deg=170))
    assert found.azimuth_deg == pytest.approx(200, abs=1e-3)
    assert found.elevation_deg == pytest.approx(0, abs=1e-3)
    assert found.roll_deg == pytest.approx(0, abs=1e-3)


def test_a_view_straight_across_has_a_keyframe() -> None:
    pose = rigid(rotation_y(torch.tensor(90.0)) @ rotation_x(torch.tensor(20.0)), torch.ones(3))
    found = keyframe_at(pose, torch.eye(4), 1.5)
    torch.testing.assert_close(cameras_of(found, 1.5), pose, rtol=0, atol=2e-4)


def test_a_keyframe_is_relative_to_its_base() -> None:
    base = look_at(torch.tensor([1.0, 2.0, -1.0]), torch.tensor([0.0, 0.0, 4.0]))
    found = keyframe_at(base, base, 3.0)
    for name in ("elevation_deg", "azimuth_deg", "roll_deg", "right", "up", "dolly"):
        assert getattr(found, name) == pytest.approx(0, abs=1e-4), name


def test_an_orbit_keeps_its_distance_to_the_pivot_and_its_place_in_the_picture() -> None:
    source = static_cameras(intrinsics(50.0, 32, 48, 9), 32, 48)
    pivot = torch.tensor([0.8, 0.3, 4.0])
    path = Trajectory.from_keyframes([Keyframe(), Keyframe(azimuth_deg=60, elevation_deg=30)], 9)
    cameras = turned_about(path, pivot.expand(9, 3), 2.0).cameras(source, 2.0)
    distance = (cameras.centers - pivot).norm(dim=1)
    torch.testing.assert_close(distance, distance[:1].expand(9), rtol=1e-5, atol=0)
    pixels, depth = cameras.project(pivot.expand(9, 1, 3))
    torch.testing.assert_close(pixels, pixels[:1].expand(9, 1, 2), rtol=0, atol=1e-3)
    assert (depth > 0).all()
    assert math.dist(cameras.centers[0].tolist(), cameras.centers[-1].tolist()) > 3


def test_the_default_pivot_changes_nothing() -> None:
    path = Trajectory.from_keyframes([Keyframe(), Keyframe(azimuth_deg=60, dolly=0.2)], 5)
    same = turned_about(path, torch.tensor([0.0, 0.0, 2.0]).expand(5, 3), 2.0)
    torch.testing.assert_close(same.pan, path.pan)
    torch.testing.assert_close(same.dolly, path.dolly)


# Smoothing ---------------------------------------------------------------------------------------


def trembling(frames: int = 21) -> Cameras:
    generator = torch.Generator().manual_seed(1)
    shake = 0.05 * torch.randn(frames, 3, generator=generator)
    eye = torch.stack([torch.linspace(0, 2, frames), torch.zeros(frames), torch.zeros(frames)], 1)
    target = eye + torch.tensor([0.0, 0.0, 4.0])
    matrices = look_at(eye + shake, target - shake)
    return Cameras(matrices, intrinsics(50.0, 32, 48, frames), 32, 48)


def roughness(cameras: Cameras) -> float:
    return float(cameras.centers.diff(n=2, dim=0).norm(dim=1).mean())


def test_smoothing_takes_the_tremble_and_keeps_the_way() -> None:
    cameras = trembling()
    calm = smoothed(cameras, 3.0)
    assert roughness(calm) < 0.1 * roughness(cameras)
    assert float((calm.centers - cameras.centers)[5:-5].norm(dim=1).max()) < 0.2
    identity = calm.world_to_camera[:, :3, :3] @ calm.world_to_camera[:, :3, :3].mT
    torch.testing.assert_close(identity, torch.eye(3).expand(21, 3, 3), rtol=0, atol=1e-5)


def test_the_ends_of_smoothing() -> None:
    cameras = trembling()
    assert smoothed(cameras, 0.0) is cameras
    still = smoothed(cameras, math.inf)
    torch.testing.assert_close(still.centers, still.centers[:1].expand(21, 3))
    with pytest.raises(ValueError, match="at least 0 frames; got -1"):
        smoothed(cameras, -1.0)
