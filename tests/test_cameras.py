"""Pinhole cameras: project and unproject invert each other, pixels sit where they should."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trajectorycrafter.geometry.cameras import (
    Cameras,
    check_cameras,
    focal_from_fov,
    intrinsics,
    rigid,
    rotation_x,
    rotation_y,
    static_cameras,
)


def make(
    height: int = 6, width: int = 8, focal: float = 7.0, frames: int = 2, seed: int = 0
) -> Cameras:
    generator = torch.Generator().manual_seed(seed)
    angles = 40 * torch.rand(2, frames, generator=generator) - 20
    shift = torch.rand(frames, 3, generator=generator) - 0.5
    matrix = rigid(rotation_y(angles[0]) @ rotation_x(angles[1]), shift)
    return Cameras(matrix, intrinsics(focal, height, width, frames), height, width)


def pixel_centres(height: int, width: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(1, -1, 2) + 0.5


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    focal=st.floats(2, 50),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_projecting_unprojected_depth_gives_the_pixel_centres(
    height: int, width: int, focal: float, seed: int
) -> None:
    cameras = make(height, width, focal, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    z = 1 + 9 * torch.rand(2, 1, height, width, generator=generator)
    pixels, depth = cameras.project(cameras.unproject(z))
    # Float32 positions up to 50 pixels from the axis, through an inverse and a product.
    expected = pixel_centres(height, width).expand_as(pixels)
    torch.testing.assert_close(pixels, expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(depth, z.flatten(1), atol=1e-5, rtol=1e-5)


def test_projection_by_hand() -> None:
    cameras = static_cameras(intrinsics(100.0, 40, 60), 40, 60)
    pixels, z = cameras.project(torch.tensor([[[0.0, 0, 5], [1, 0, 5], [0, -1, 10]]]))
    assert pixels.tolist() == [[[30, 20], [50, 20], [30, 10]]]
    assert z.tolist() == [[5, 5, 10]]


def test_first_pixel_is_half_a_pixel_from_the_corner() -> None:
    rays = static_cameras(intrinsics(2.0, 2, 4), 2, 4).rays()
    assert rays[0, 0, 0].tolist() == [-0.75, -0.25, 1]
    assert rays[0, 1, 3].tolist() == [0.75, 0.25, 1]


def test_centers_are_where_the_camera_stands() -> None:
    matrix = rigid(torch.eye(3)[None], torch.tensor([[-1.0, 0, 3]]))
    assert Cameras(matrix, intrinsics(1.0, 2, 2), 2, 2).centers.tolist() == [[1, 0, -3]]


@given(
    scale=st.sampled_from([0.25, 0.5, 2.0, 3.0]),
    top=st.integers(-4, 4),
    left=st.integers(-4, 4),
    seed=st.integers(0, 100),
)
@settings(max_examples=40, deadline=None)
def test_resizing_and_cropping_move_projected_points_with_the_picture(
    scale: float, top: int, left: int, seed: int
) -> None:
    cameras = make(8, 12, seed=seed)
    points = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(seed))
    points[..., 2] += 8
    pixels, z = cameras.project(points)
    resized = cameras.resized(round(8 * scale), round(12 * scale))
    torch.testing.assert_close(resized.project(points)[0], pixels * scale, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(resized.horizontal_fov_deg, cameras.horizontal_fov_deg)
    cropped = cameras.cropped(top, left, 5, 7)
    moved = pixels - torch.tensor([left, top])
    torch.testing.assert_close(cropped.project(points)[0], moved, atol=1e-3, rtol=1e-5)
    assert (cropped.height, cropped.width) == (5, 7)
    torch.testing.assert_close(cropped.project(points)[1], z)


def test_indexing_picks_moments() -> None:
    cameras = make(frames=4)
    picked = cameras[torch.tensor([3, 3, 0])]
    assert len(picked) == 3
    assert torch.equal(picked.world_to_camera, cameras.world_to_camera[[3, 3, 0]])
    assert len(cameras[1:3]) == 2 and len(cameras[[2]]) == 1


def test_focal_and_field_of_view_by_hand() -> None:
    assert focal_from_fov(90, 100) == pytest.approx(50)
    cameras = static_cameras(intrinsics(500.0, 576, 1024), 576, 1024)
    expected = math.degrees(2 * math.atan(512 / 500))
    assert cameras.horizontal_fov_deg.item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("fov", [0, 180, -5, math.nan])
def test_a_field_of_view_out_of_range_is_refused(fov: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 180"):
        focal_from_fov(fov, 100)


def spoiled(**changes: Any) -> Cameras:
    cameras = make(frames=3)
    matrix, K = cameras.world_to_camera.clone(), cameras.K.clone()
    if "matrix" in changes:
        matrix[1] = changes["matrix"](matrix[1])
    if "K" in changes:
        K[2] = changes["K"](K[2])
    return replace(cameras, world_to_camera=matrix, K=K)


@pytest.mark.parametrize(
    ("cameras", "message"),
    [
        (spoiled(matrix=lambda m: m * math.nan), "clip: world_to_camera of frame 1 .* not finite"),
        (spoiled(K=lambda K: K / 0), "clip: K of frame 2 .* not finite"),
        (spoiled(K=lambda K: K * torch.tensor([[-1.0], [1], [1]])), "K of frame 2 .* fx=-7"),
        (spoiled(K=lambda K: K * torch.tensor([[1.0], [1], [0]])), "K of frame 2 is singular"),
        (spoiled(matrix=lambda m: m * 2), "frame 1 is not a rotation .* scale"),
        (spoiled(matrix=lambda m: torch.diag(torch.tensor([1, 1, -1.0, 1]))),
         "frame 1 is not a rotation .*determinant -1"),
        (replace(make(), height=0), "size > 0; got 0x8"),
    ],
)  # fmt: skip
def test_unusable_cameras_are_refused(cameras: Cameras, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_cameras(cameras, "clip")


def test_usable_cameras_pass_unchanged() -> None:
    cameras = make()
    assert check_cameras(cameras) is cameras
