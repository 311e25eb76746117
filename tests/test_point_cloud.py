"""Lifting pixels into the world, culling of flying pixels, export."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from trajectorycrafter.geometry.cameras import Cameras, intrinsics, look_at, static_cameras
from trajectorycrafter.rendering.point_cloud import flying_pixels, lift, write_ply
from trajectorycrafter.video.clip import Depth, Video

HEIGHT, WIDTH = 20, 30


def clip(z: torch.Tensor, seed: int = 0) -> tuple[Video, Depth]:
    frames = torch.rand(len(z), 3, *z.shape[2:], generator=torch.Generator().manual_seed(seed))
    return Video(frames, 10.0), Depth.of(z)


def cameras(frames: int) -> Cameras:
    return static_cameras(intrinsics(25.0, HEIGHT, WIDTH, frames), HEIGHT, WIDTH)


def test_points_project_back_to_their_pixels_from_any_camera() -> None:
    video, depth = clip(2 + torch.rand(2, 1, HEIGHT, WIDTH))
    eye = torch.tensor([[1.0, 0.5, -1], [0, 0, 2]])
    placed = Cameras(
        look_at(eye, torch.tensor([[0.0, 0, 5], [3, 1, 5]])), cameras(2).K, HEIGHT, WIDTH
    )
    cloud = lift(video, depth, placed)
    pixels, z = placed.project(cloud.points)
    column, row = 7, 4
    torch.testing.assert_close(
        pixels[:, row * WIDTH + column], torch.tensor([[7.5, 4.5]] * 2), rtol=0, atol=1e-4
    )
    torch.testing.assert_close(z, depth.z.flatten(1), rtol=1e-5, atol=1e-5)
    assert torch.equal(cloud.colors[1, row * WIDTH + column], video.frames[1, :, row, column])


def test_spacing_is_the_distance_between_neighbouring_rays() -> None:
    cloud = lift(*clip(torch.full((1, 1, HEIGHT, WIDTH), 5.0)), cameras(1))
    assert (cloud.spacing - 5 / 25).abs().max() < 1e-6
    apart = (cloud.points[0, 1] - cloud.points[0, 0]).norm()
    assert abs(float(apart) - 0.2) < 1e-5


def test_a_moment_is_an_index() -> None:
    cloud = lift(*clip(2 + torch.rand(3, 1, HEIGHT, WIDTH)), cameras(3))
    again = cloud[torch.tensor([2, 2, 0, 1])]
    assert len(again) == 4
    assert torch.equal(again.points[1], cloud.points[2])
    assert torch.equal(again.colors[2], cloud.colors[0])


def test_only_pixels_in_mid_air_are_culled() -> None:
    step = torch.full((1, 1, HEIGHT, WIDTH), 6.0)
    step[..., :12] = 2.0
    assert not flying_pixels(Depth.of(step)).any(), "a sharp edge has none"
    ramp = step.clone()
    ramp[..., 12], ramp[..., 13] = 2.6, 3.8
    flying = flying_pixels(Depth.of(ramp))[0, 0]
    assert flying[:, 12:14].all() and flying.sum() == 2 * HEIGHT
    rows = torch.arange(HEIGHT)[:, None]
    floor = (20.0 / (rows + 2.0)).expand(1, 1, HEIGHT, WIDTH)
    assert not flying_pixels(Depth.of(floor)).any(), "a floor is no edge, however steep"


def test_culled_and_unknown_pixels_are_not_valid() -> None:
    z = torch.full((1, 1, HEIGHT, WIDTH), 6.0)
    z[..., :12] = 2.0
    z[..., 12] = 3.0
    z[0, 0, 3, 20], z[0, 0, 4, 21] = torch.nan, -1.0
    video, depth = clip(z)
    culled = lift(video, depth, cameras(1)).valid.view(HEIGHT, WIDTH)
    kept = lift(video, depth, cameras(1), cull=False).valid.view(HEIGHT, WIDTH)
    assert not culled[:, 12].any() and kept[:, 12].all()
    for valid in (culled, kept):
        assert not valid[3, 20] and not valid[4, 21]
    assert int(kept.sum()) == HEIGHT * WIDTH - 2


@pytest.mark.parametrize("wrong", ["depth", "cameras"])
def test_sizes_that_differ_are_refused(wrong: str) -> None:
    video, depth = clip(torch.ones(2, 1, HEIGHT, WIDTH))
    source = cameras(3) if wrong == "cameras" else cameras(2)
    if wrong == "depth":
        depth = Depth.of(torch.ones(2, 1, HEIGHT, WIDTH - 1))
    with pytest.raises(ValueError, match=f"Expected {wrong} of the video's"):
        lift(video, depth, source)


def test_ply_holds_the_valid_points(tmp_path: Path) -> None:
    z = torch.full((2, 1, HEIGHT, WIDTH), 3.0)
    z[1, 0, 0, :5] = torch.nan
    cloud = lift(*clip(z), cameras(2))
    path = write_ply(cloud, tmp_path / "cloud.ply", moment=1)
    header, body = path.read_bytes().split(b"end_header\n", 1)
    found = re.search(rb"element vertex (\d+)", header)
    assert found is not None
    count = int(found[1])
    assert count == HEIGHT * WIDTH - 5
    kind = [(c, "<f4") for c in "xyz"] + [(c, "u1") for c in "rgb"]
    vertices = np.frombuffer(body, dtype=kind)
    assert len(vertices) == count
    torch.testing.assert_close(torch.tensor(vertices["z"].copy()), torch.full((count,), 3.0))
    want = (cloud.colors[1, 5, 0] * 255).round()
    assert vertices["r"][0] == int(want)
    assert list(tmp_path.iterdir()) == [path]


def test_ply_of_a_moment_that_is_not_there(tmp_path: Path) -> None:
    cloud = lift(*clip(torch.ones(2, 1, HEIGHT, WIDTH)), cameras(2))
    with pytest.raises(ValueError, match="moments 0 to 1; got 2"):
        write_ply(cloud, tmp_path / "cloud.ply", moment=2)
