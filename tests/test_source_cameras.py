"""Where the source camera was: standing still, from a file, from structure from motion."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trajectorycrafter.depth.estimator import load_depth_estimator
from trajectorycrafter.geometry.cameras import (
    Cameras,
    focal_from_fov,
    intrinsics,
    rigid_inverse,
    rotation_y,
)
from trajectorycrafter.geometry.trajectory_files import read_trajectory, write_trajectory
from trajectorycrafter.lab.synthetic.materials import Material
from trajectorycrafter.lab.synthetic.scene import RayScene
from trajectorycrafter.source_cameras import NAMES, load_source_cameras
from trajectorycrafter.video.clip import Depth, Video
from trajectorycrafter.video.depth_npz import write_depth

FRAMES, HEIGHT, WIDTH = 4, 6, 8
K = intrinsics(9.0, HEIGHT, WIDTH, FRAMES)


def _moving(frames: int, K: torch.Tensor, height: int, width: int) -> Cameras:
    """A camera that goes right, up and forward while turning from left to right."""
    t = torch.linspace(0, 1, frames)
    camera_to_world = torch.eye(4).repeat(frames, 1, 1)
    camera_to_world[:, :3, :3] = rotation_y(8 * t - 4)
    camera_to_world[:, :3, 3] = torch.stack([0.8 * t - 0.4, -0.2 * t, 0.3 * t], dim=-1)
    return Cameras(rigid_inverse(camera_to_world), K, height, width)


@pytest.fixture
def video() -> Video:
    return Video(torch.rand(FRAMES, 3, HEIGHT, WIDTH), 24.0)


@pytest.fixture
def depth() -> Depth:
    return Depth.of(torch.full((FRAMES, 1, HEIGHT, WIDTH), 2.0), K)


@pytest.fixture
def cameras() -> Cameras:
    return _moving(FRAMES, K, HEIGHT, WIDTH)


def _from_first(cameras: Cameras) -> torch.Tensor:
    return cameras.world_to_camera @ torch.linalg.inv(cameras.world_to_camera[:1])


def test_static_stands_at_the_origin_with_the_depths_lens(video: Video, depth: Depth) -> None:
    found = load_source_cameras()(video, depth)
    assert torch.equal(found.world_to_camera, torch.eye(4).repeat(FRAMES, 1, 1))
    assert torch.equal(found.K, K) and (found.height, found.width) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("name", ["static", "colmap"])
def test_depth_without_a_lens_is_refused(video: Video, depth: Depth, name: str) -> None:
    with pytest.raises(ValueError, match="without intrinsics"):
        load_source_cameras(name)(video, replace(depth, K=None))


def test_singular_lens_is_refused(video: Video, depth: Depth) -> None:
    with pytest.raises(ValueError, match="singular"):
        load_source_cameras("static")(video, replace(depth, K=torch.zeros_like(K)))


def test_cameras_of_a_depth_file(
    video: Video, depth: Depth, cameras: Cameras, tmp_path: Path
) -> None:
    path = write_depth(depth, tmp_path / "depth.npz", cameras)
    found = load_source_cameras(f"file:{path}")(video, depth)
    torch.testing.assert_close(found.world_to_camera, _from_first(cameras), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.K, K)


def test_readers_know_the_home_folder(
    video: Video,
    depth: Depth,
    cameras: Cameras,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_depth(depth, tmp_path / "depth.npz", cameras)
    write_trajectory(cameras, tmp_path / "path.json")
    assert torch.equal(load_depth_estimator("file:~/depth.npz")(video).z, depth.z)
    for name in ("depth.npz", "path.json"):
        found = load_source_cameras(f"file:~/{name}")(video, depth)
        torch.testing.assert_close(found.world_to_camera, _from_first(cameras), rtol=0, atol=1e-5)
    assert len(read_trajectory("~/path.json")) == FRAMES


def test_camera_to_world_and_three_rows(
    video: Video, depth: Depth, cameras: Cameras, tmp_path: Path
) -> None:
    path = tmp_path / "cameras.npz"
    np.savez(path, camera_to_world=cameras.camera_to_world[:, :3].numpy())
    found = load_source_cameras(f"file:{path}")(video, depth)
    torch.testing.assert_close(found.world_to_camera, _from_first(cameras), rtol=0, atol=1e-6)
    assert torch.equal(found.K, K)


def test_lens_of_another_picture_size_is_scaled(
    video: Video, depth: Depth, cameras: Cameras, tmp_path: Path
) -> None:
    path = tmp_path / "cameras.npz"
    twice = K.clone()
    twice[:, :2] *= 2
    matrices = cameras.world_to_camera.numpy()
    np.savez(path, world_to_camera=matrices, K=twice.numpy(), height=2 * HEIGHT, width=2 * WIDTH)
    torch.testing.assert_close(load_source_cameras(f"file:{path}")(video, depth).K, K)


@pytest.mark.parametrize("name", ["path.json", "path.tum"])
def test_cameras_of_a_trajectory_file(
    video: Video, depth: Depth, cameras: Cameras, tmp_path: Path, name: str
) -> None:
    path = write_trajectory(cameras, tmp_path / name)
    found = load_source_cameras(f"file:{path}")(video, depth)
    # Text formats keep six to nine digits.
    torch.testing.assert_close(found.world_to_camera, _from_first(cameras), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.K, K)


def test_wrong_number_of_cameras(
    video: Video, depth: Depth, cameras: Cameras, tmp_path: Path
) -> None:
    path = write_depth(depth[[0, 1]], tmp_path / "depth.npz", cameras[[0, 1]])
    with pytest.raises(ValueError, match=r"depth\.npz holds 2 cameras but the clip has 4 frames"):
        load_source_cameras(f"file:{path}")(video, depth)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"z": np.ones((4, 6, 8))}, "has depth but no cameras"),
        ({"world_to_camera": np.ones((4, 2, 4))}, r"expected matrices \(frames, 4, 4\)"),
        ({"world_to_camera": 2 * np.tile(np.eye(4), (4, 1, 1))}, "not a rotation and a shift"),
        ({"camera_to_world": np.full((4, 4, 4), np.nan)}, "not finite"),
        (
            {"world_to_camera": np.tile(np.eye(4), (4, 1, 1)), "K": np.eye(2)},
            r"expected K of shape",
        ),
    ],
)
def test_unusable_camera_file_says_why(
    video: Video, depth: Depth, tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    np.savez(tmp_path / "cameras.npz", **arrays)
    with pytest.raises(ValueError, match=said):
        load_source_cameras(f"file:{tmp_path / 'cameras.npz'}")(video, depth)


def test_missing_file_is_said_at_once() -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        load_source_cameras("file:/absent.npz")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("statik", "static"), ("colmp", "colmap"), ("colmap:fast", "colmap"), ("file", "file:PATH")],
)
def test_unknown_name_suggests_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"Did you mean {nearest}") as error:
        load_source_cameras(name)
    assert all(known in str(error.value) for known in NAMES)


def test_own_cameras_by_module_and_attribute(
    video: Video, depth: Depth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_cameras_of_the_test.py").write_text(
        "from trajectorycrafter.source_cameras import static_source as mine\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = load_source_cameras("my_cameras_of_the_test:mine")(video, depth)
    assert len(found) == FRAMES
    with pytest.raises(ValueError, match="has no 'absent'"):
        load_source_cameras("my_cameras_of_the_test:absent")
    with pytest.raises(ValueError, match="on PYTHONPATH"):
        load_source_cameras("no_such_module_here:mine")


def test_colmap_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(ValueError, match=r'pip install "trajectorycrafter\[poses\]"'):
        load_source_cameras("colmap")


# Structure from motion ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filmed() -> tuple[Video, Depth, Cameras]:
    """Eight frames of a finely textured room by a moving camera, with exact depth."""
    pytest.importorskip("pycolmap")
    lens = intrinsics(focal_from_fov(60.0, 240), 180, 240, 8)
    cameras = _moving(8, lens, 180, 240)
    scene = RayScene.make(1, place="room")
    things = tuple(
        replace(thing, parts=tuple(replace(p, material=_fine(p.material)) for p in thing.parts))
        for thing in scene.things
    )
    walls = tuple(_fine(wall) for wall in scene.surroundings)
    scene = replace(scene, surroundings=walls, things=things)
    video, depth = scene.render(cameras, torch.zeros(8))
    return video, depth, cameras


def _fine(material: Material) -> Material:
    """More to hold on to: plain walls leave the focal length open."""
    return replace(material, scale=2 * material.scale, grain=0.6)


def _errors(found: Cameras, truth: Cameras) -> tuple[float, float]:
    """Largest error of direction (degrees) and of place (share of the path's length)."""
    wanted = _from_first(truth)
    rest = (found.world_to_camera @ torch.linalg.inv(wanted))[:, :3, :3]
    cosine = (rest.diagonal(dim1=1, dim2=2).sum(dim=-1) - 1) / 2
    centers = replace(truth, world_to_camera=wanted).centers
    place = (found.centers - centers).norm(dim=-1).max() / centers[-1].norm()
    return float(torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).max()), float(place)


def _first(depth: Depth, frames: int) -> Depth:
    assert depth.K is not None
    return Depth(depth.z[:frames], depth.valid[:frames], depth.K[:frames])


def test_colmap_finds_the_path_in_the_depths_units(filmed: tuple[Video, Depth, Cameras]) -> None:
    video, depth, cameras = filmed
    found = load_source_cameras("colmap")(video, replace(depth, z=3 * depth.z))
    third = found.world_to_camera.clone()
    third[:, :3, 3] /= 3
    degrees, place = _errors(replace(found, world_to_camera=third), cameras)
    # Measured: 0.05 degrees and 0.5 percent of the path; in units of its own it is far off.
    assert degrees < 0.3 and place < 0.04, (degrees, place)


def test_colmap_refines_a_wrong_focal_length(filmed: tuple[Video, Depth, Cameras]) -> None:
    video, depth, cameras = filmed
    assert depth.K is not None
    wrong = depth.K.clone()
    wrong[:, 0, 0] *= 1.2
    wrong[:, 1, 1] *= 1.2
    found = load_source_cameras("colmap:refine")(video, replace(depth, K=wrong))
    # Measured: 0.5 percent.
    assert float(found.K[0, 0, 0]) == pytest.approx(float(cameras.K[0, 0, 0]), rel=0.03)


def test_colmap_fills_frames_that_could_not_be_placed(filmed: tuple[Video, Depth, Cameras]) -> None:
    video, depth, cameras = filmed
    frames = video.frames.clone()
    # Nothing to be seen in the middle, at the start and at the end.
    frames[[0, 4, 7]] = 0.5
    found = load_source_cameras("colmap")(replace(video, frames=frames), depth)
    truth = cameras[[1, *range(1, 7), 6]]
    degrees, place = _errors(found, truth)
    assert len(found) == 8
    # Measured: 0.1 and 0.02. A frame that repeats its neighbour is 1/7 of the path away.
    assert degrees < 0.5 and place < 0.1, (degrees, place)


@pytest.mark.parametrize("what", ["still", "blank"])
def test_colmap_says_when_there_is_no_motion_to_find(
    filmed: tuple[Video, Depth, Cameras], what: str
) -> None:
    video, depth, _ = filmed
    frames = (
        video.frames[:1].repeat(6, 1, 1, 1)
        if what == "still"
        else torch.full((6, 3, 180, 240), 0.5)
    )
    with pytest.raises(ValueError, match=r"found no camera motion.*`static`"):
        load_source_cameras("colmap")(Video(frames, 24.0), _first(depth, 6))


def test_colmap_needs_some_frames(filmed: tuple[Video, Depth, Cameras]) -> None:
    video, depth, _ = filmed
    short = Video(video.frames[:2], 24.0)
    with pytest.raises(ValueError, match="at least 3 frames; got 2"):
        load_source_cameras("colmap")(short, _first(depth, 2))


def test_colmap_leaves_no_files_behind(
    filmed: tuple[Video, Depth, Cameras], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, depth, _ = filmed
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    blank = Video(torch.full((3, 3, 180, 240), 0.5), 24.0)
    with pytest.raises(ValueError, match="found no camera motion"):
        load_source_cameras("colmap")(blank, _first(depth, 3))
    assert not list(Path(tmp_path).iterdir())
