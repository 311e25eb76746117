"""The procedural scene is what it says: deterministic, moving, and exact between views."""

import pytest
import torch
import torch.nn.functional as F

from trajectorycrafter.geometry.cameras import (
    Cameras,
    focal_from_fov,
    intrinsics,
    static_cameras,
)
from trajectorycrafter.geometry.transforms import rigid, rotation_y
from trajectorycrafter.synthetic.scene import Scene, render_scene

HEIGHT, WIDTH = 72, 128
K = intrinsics(focal_from_fov(60.0, WIDTH), HEIGHT, WIDTH)
SOURCE = static_cameras(K, HEIGHT, WIDTH)


def test_the_seed_decides() -> None:
    time = torch.tensor([0.3])
    (a, za), (b, zb), (c, _) = (render_scene(Scene.make(seed), SOURCE, time) for seed in (3, 3, 4))
    assert torch.equal(a.frames, b.frames) and torch.equal(za.z, zb.z)
    assert not torch.equal(a.frames, c.frames)


def test_some_things_move_and_some_do_not() -> None:
    cameras = SOURCE[[0, 0]]
    video, depth = render_scene(Scene.make(0), cameras, torch.tensor([0.0, 0.5]))
    moved = ((depth.z[1] - depth.z[0]).abs() > 1e-4).float().mean()
    assert 0.01 < moved < 0.6
    assert video.fps == 2.0
    assert depth.valid.all() and video.frames.min() >= 0 and video.frames.max() <= 1


def test_depth_and_color_agree_between_two_views() -> None:
    """Points of one view, looked up in another, have that view's depth unless they are hidden."""
    scene, time = Scene.make(1), torch.tensor([0.2])
    turn = rotation_y(torch.tensor([8.0]))
    other = Cameras(rigid(turn, torch.tensor([[0.3, 0.1, -0.4]])), K, HEIGHT, WIDTH)
    video, depth = render_scene(scene, SOURCE, time)
    there, depth_there = render_scene(scene, other, time)
    pixels, z = other.project(SOURCE.unproject(depth.z))
    grid = pixels / torch.tensor([WIDTH / 2, HEIGHT / 2]) - 1
    inside = (grid.abs() < 0.95).all(-1)[0]

    def look_up(image: torch.Tensor) -> torch.Tensor:
        return F.grid_sample(image, grid[:, None], align_corners=False)[0, :, 0]

    ratio = look_up(depth_there.z)[0] / z[0]
    same = inside & ((ratio - 1).abs() < 0.01)
    # What is not the same is hidden there (nearer), apart from silhouettes, which blend.
    assert same.sum() > 0.75 * inside.sum()
    assert (ratio[inside] > 1.01).float().mean() < 0.06
    error = (look_up(there.frames) - video.frames[0].flatten(1)).abs().mean(0)
    assert error[same].mean() < 0.02


def test_cameras_must_stay_in_the_room() -> None:
    outside = Cameras(SOURCE.world_to_camera.clone(), K, HEIGHT, WIDTH)
    outside.world_to_camera[0, 2, 3] = -50
    with pytest.raises(ValueError, match="outside the room"):
        render_scene(Scene.make(0), outside, torch.zeros(1))
    with pytest.raises(ValueError, match="one time per camera; got 2 and 1"):
        render_scene(Scene.make(0), SOURCE, torch.zeros(2))
