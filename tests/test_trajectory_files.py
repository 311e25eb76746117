"""The format hub: formats round-trip, mean what their tools mean, and mistakes are told."""

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trajectorycrafter.geometry.cameras import (
    Cameras,
    intrinsics,
    rigid,
    rotation_x,
    rotation_y,
    rotation_z,
    static_cameras,
)
from trajectorycrafter.geometry.keyframes import Keyframe
from trajectorycrafter.geometry.modes import with_mode
from trajectorycrafter.geometry.presets import preset
from trajectorycrafter.geometry.trajectories import MOTION_FIELDS, Trajectory
from trajectorycrafter.geometry.trajectory_files import (
    TrajectoryFormat,
    detect_format,
    keyframes_as_json,
    read_cameras,
    read_trajectory,
    write_trajectory,
)

ASSETS = Path(__file__).parents[1] / "src" / "trajectorycrafter" / "assets" / "trajectories"

CAMERA_FILES = {
    "json": "path.json",
    "nerfstudio": "camera_path.json",
    "transforms": "transforms.json",
    "realestate10k": "clip.txt",
    "colmap": "sparse",
    "tum": "poses.txt",
    "vista4d": "cameras.npz",
    "recammaster": "camera_extrinsics.json",
    "blender": "camera.json",
}
WITHOUT_LENS = ("tum", "recammaster")


def path_of_cameras(
    frames: int = 4, seed: int = 0, reach: float = 1.0, frame0: bool = True
) -> Cameras:
    """A path that turns about all axes; its first camera is the origin unless `frame0` is False."""
    generator = torch.Generator().manual_seed(seed)
    angles = 80 * torch.rand(3, frames, generator=generator) - 40
    shift = reach * (2 * torch.rand(frames, 3, generator=generator) - 1)
    if frame0:
        angles[:, 0], shift[0] = 0, 0
    rotation = rotation_z(angles[0]) @ rotation_y(angles[1]) @ rotation_x(angles[2])
    focal = 40 + 20 * torch.rand(frames, generator=generator)
    return Cameras(rigid(rotation, shift), intrinsics(focal, 36, 64, frames), 36, 64)


def source(frames: int) -> Cameras:
    return static_cameras(intrinsics(50.0, 36, 64, frames), 36, 64)


# Round trips -------------------------------------------------------------------------------------


@given(
    format=st.sampled_from(sorted(CAMERA_FILES)),
    frames=st.integers(1, 5),
    seed=st.integers(0, 10_000),
    reach=st.sampled_from([0.01, 1.0, 300.0]),
)
@settings(max_examples=80, deadline=None)
def test_cameras_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory,
    format: TrajectoryFormat,
    frames: int,
    seed: int,
    reach: float,
) -> None:
    cameras = path_of_cameras(frames, seed, reach, frame0=False)
    path = tmp_path_factory.mktemp("trip") / CAMERA_FILES[format]
    assert write_trajectory(cameras, path, format) == path
    assert detect_format(path) == format
    back = read_cameras(path, focal=45.0, size=(36, 64))
    # Nine digits of text and float32 matrices: some 1e-6 of the path's extent.
    torch.testing.assert_close(
        back.world_to_camera, cameras.world_to_camera, atol=2e-6 * max(reach, 1), rtol=2e-6
    )
    assert (back.height, back.width) == (36, 64) or format == "realestate10k"
    if format == "realestate10k":
        back = read_cameras(path, size=(36, 64))
    K = intrinsics(45.0, 36, 64, frames) if format in WITHOUT_LENS else cameras.K
    torch.testing.assert_close(back.K, K, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("format", CAMERA_FILES)
def test_a_read_path_shows_the_written_cameras(format: TrajectoryFormat, tmp_path: Path) -> None:
    """The whole way: cameras, file, trajectory, cameras for a clip."""
    cameras = path_of_cameras(5)
    path = write_trajectory(cameras, tmp_path / CAMERA_FILES[format], format)
    trajectory = read_trajectory(path, size=(36, 64))
    made = trajectory.cameras(source(5), 2.0)
    torch.testing.assert_close(made.world_to_camera, cameras.world_to_camera, atol=5e-6, rtol=1e-5)
    K = source(5).K if format in WITHOUT_LENS else cameras.K
    torch.testing.assert_close(made.K, K, atol=1e-4, rtol=1e-5)


def test_only_the_motion_is_copied_unless_the_world_is_shared(tmp_path: Path) -> None:
    cameras = path_of_cameras(3, frame0=False)
    path = write_trajectory(cameras, tmp_path / "poses.tum")
    copied = read_trajectory(path).cameras(source(3), 1.0).world_to_camera
    expected = cameras.world_to_camera @ torch.linalg.inv(cameras.world_to_camera[0])
    torch.testing.assert_close(copied, expected, atol=1e-5, rtol=0)
    shared = read_trajectory(path, world="file").cameras(source(3), 1.0).world_to_camera
    torch.testing.assert_close(shared, cameras.world_to_camera, atol=1e-5, rtol=0)
    scaled = read_trajectory(path, scale="radius").cameras(source(3), 4.0).world_to_camera
    torch.testing.assert_close(scaled[:, :3, 3], 4 * expected[:, :3, 3], atol=1e-5, rtol=0)


def random_trajectory(seed: int, frames: int) -> Trajectory:
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator) - 0.5

    return Trajectory(
        elevation_deg=90 * numbers(frames),
        azimuth_deg=90 * numbers(frames),
        dolly=numbers(frames),
        pan=numbers(frames, 2),
        zoom=1 + numbers(frames),
        roll_deg=45 * numbers(frames),
        source_frame=torch.randint(0, 9, (frames,), generator=generator),
        reference_frames=torch.tensor([0, 3]) if seed % 2 else None,
        pan_unit="scene" if seed % 3 else "radius",
        relative_to=("shown_frame", "first_frame", "world")[seed % 3],
        anchor=frames - 1 if seed % 5 == 0 else None,
        absolute=path_of_cameras(frames, seed) if seed % 4 == 0 else None,
        scale="radius" if seed % 4 == 0 else "scene",
    )


@given(st.integers(0, 10_000), st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_our_json_keeps_every_field(
    tmp_path_factory: pytest.TempPathFactory, seed: int, frames: int
) -> None:
    trajectory = random_trajectory(seed, frames)
    path = tmp_path_factory.mktemp("json") / "path.json"
    back = read_trajectory(write_trajectory(trajectory, path))
    for name in MOTION_FIELDS:
        # At its own keys linear interpolation rounds at most the last bit.
        torch.testing.assert_close(
            getattr(back, name), getattr(trajectory, name), rtol=2e-7, atol=1e-7
        )
    assert torch.equal(back.source_frame, trajectory.source_frame)
    for name in ("pan_unit", "relative_to", "anchor", "scale", "lens"):
        assert getattr(back, name) == getattr(trajectory, name) or back.absolute is None
    if trajectory.reference_frames is not None:
        assert back.reference_frames is not None
        assert torch.equal(back.reference_frames, trajectory.reference_frames)
    if trajectory.absolute is not None:
        assert back.absolute is not None
        assert torch.equal(back.absolute.world_to_camera, trajectory.absolute.world_to_camera)
        assert torch.equal(back.absolute.K, trajectory.absolute.K)


def test_keyframes_serve_any_number_of_frames(tmp_path: Path) -> None:
    keyframes = [
        Keyframe(frame=0),
        Keyframe(frame=4, azimuth_deg=20, zoom=1.5),
        Keyframe(frame=8, azimuth_deg=30, roll_deg=5, source_frame=6),
    ]
    path = tmp_path / "keys.json"
    path.write_text(keyframes_as_json(keyframes, 9, ease=True))
    own = read_trajectory(path)
    assert len(own) == 9
    expected = Trajectory.from_keyframes(keyframes, 9, ease=True)
    torch.testing.assert_close(own.azimuth_deg, expected.azimuth_deg)
    dense = read_trajectory(path, 17)
    torch.testing.assert_close(dense.azimuth_deg[::2], own.azimuth_deg)
    assert dense.source_frame[-1] == 6


def test_cameras_in_json_stand_in_the_first_source_camera_unless_said(tmp_path: Path) -> None:
    path = write_trajectory(path_of_cameras(2), tmp_path / "a.json")
    document = json.loads(path.read_text())
    assert document.pop("relative_to") == "world"
    path.write_text(json.dumps(document))
    assert read_trajectory(path).relative_to == "first_frame"


def test_a_mode_survives_the_json(tmp_path: Path) -> None:
    bullet = with_mode(preset("orbit-right", 7), "bullet", 12)
    back = read_trajectory(write_trajectory(bullet, tmp_path / "bullet.json"))
    assert back.source_frame.tolist() == [11] * 7
    assert back.reference_frames is not None
    assert back.reference_frames.tolist() == list(range(2, 12))


def test_released_text_round_trips(tmp_path: Path) -> None:
    written = Trajectory.from_target(10, -30, 0.3, 0, 0, 13)
    path = write_trajectory(written, tmp_path / "path.txt")
    assert detect_format(path) == "released"
    back = read_trajectory(path)
    for name in ("elevation_deg", "azimuth_deg", "dolly"):
        torch.testing.assert_close(
            getattr(back, name), getattr(written, name), rtol=1e-6, atol=1e-6
        )


def test_blender_text_round_trips(tmp_path: Path) -> None:
    cameras = path_of_cameras(4, frame0=False)
    path = write_trajectory(cameras, tmp_path / "matrices.txt", "blender")
    assert detect_format(path) == "blender"
    back = read_cameras(path, focal=45.0, size=(36, 64))
    torch.testing.assert_close(back.world_to_camera, cameras.world_to_camera, atol=1e-5, rtol=0)
    assert read_trajectory(path).lens == "source"


def test_a_path_is_resampled_to_the_clip(tmp_path: Path) -> None:
    angle = torch.linspace(0, 40, 9)
    cameras = Cameras(
        rigid(rotation_y(angle), torch.zeros(9, 3)), intrinsics(50.0, 36, 64, 9), 36, 64
    )
    path = write_trajectory(cameras, tmp_path / "poses.tum")
    made = read_trajectory(path, 5).cameras(source(5), 1.0)
    torch.testing.assert_close(
        made.world_to_camera, cameras.world_to_camera[::2], atol=1e-5, rtol=0
    )


def test_resampling_heeds_the_times_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "poses.txt"
    path.write_text(
        "# made by hand\n0 0 0 0 0 0 0 1\n1 1 0 0 0 0 0 1\n\n4 4 0 0 0 0 0 1\n5 5 0 0 0 0 0 1\n"
    )
    centers = read_trajectory(path, 6).cameras(source(6), 1.0).centers
    torch.testing.assert_close(centers[:, 0], torch.arange(6.0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted(path.name for path in ASSETS.iterdir()))
def test_shipped_paths_can_be_read(name: str) -> None:
    trajectory = read_trajectory(ASSETS / name, 49)
    assert len(trajectory) == 49
    trajectory.cameras(source(49), 3.0)


# What the formats mean, by hand ------------------------------------------------------------------


def test_tum_is_camera_to_world(tmp_path: Path) -> None:
    """A camera 2 to the right, turned by 90 degrees about y, so that it looks along +x."""
    path = tmp_path / "poses.txt"
    half = 0.5**0.5
    path.write_text(f"0.5 2 0 0 0 {half} 0 {half}\n")
    cameras = read_cameras(path, focal=50.0, size=(36, 64))
    assert cameras.centers[0].tolist() == pytest.approx([2, 0, 0], abs=1e-6)
    pixels, z = cameras.project(torch.tensor([[[7.0, 0, 0]]]))
    assert pixels[0, 0].tolist() == pytest.approx([32, 18], abs=1e-4)
    assert z.item() == pytest.approx(5, abs=1e-5)


def test_realestate10k_is_world_to_camera_with_a_normalised_lens(tmp_path: Path) -> None:
    path = tmp_path / "clip.txt"
    path.write_text(
        "https://example.org/watch\n"
        "1000 0.5 0.9 0.5 0.5 0 0 1 0 0 0 0 1 0 0 0 0 1 0\n"
        "2000 0.5 0.9 0.5 0.5 0 0 1 0 0 -3 0 1 0 0 0 0 1 0\n"
    )
    cameras = read_cameras(path, size=(100, 200))
    assert cameras.centers.tolist() == [[0, 0, 0], [3, 0, 0]]
    assert cameras.K[0].tolist() == [[100, 0, 100], [0, 90, 50], [0, 0, 1]]


def opengl_at_1_looking_along_minus_z() -> list[list[float]]:
    return [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("flat", [True, False])
def test_nerfstudio_paths_look_along_minus_z_with_a_vertical_field(
    tmp_path: Path, flat: bool
) -> None:
    path = tmp_path / "camera_path.json"
    matrix = opengl_at_1_looking_along_minus_z()
    document = {
        "render_height": 100,
        "render_width": 200,
        "camera_path": [
            {"camera_to_world": np.ravel(matrix).tolist() if flat else matrix, "fov": 90}
        ],
    }
    path.write_text(json.dumps(document))
    cameras = read_cameras(path)
    assert cameras.K[0, 1, 1].item() == pytest.approx(50)
    # A point in front (-z), 1 to the right and 1 up (+y): right of and above the middle.
    pixels, z = cameras.project(torch.tensor([[[2.0, 1, -5]]]))
    assert pixels[0, 0].tolist() == pytest.approx([110, 40], abs=1e-4)
    assert z.item() == pytest.approx(5)


def test_nerfstudio_transforms_take_the_lens_per_file_or_per_frame(tmp_path: Path) -> None:
    path = tmp_path / "transforms.json"
    matrix = opengl_at_1_looking_along_minus_z()
    frames = [
        {"file_path": "b.png", "transform_matrix": matrix, "fl_x": 70},
        {"file_path": "a.png", "transform_matrix": matrix},
    ]
    path.write_text(json.dumps({"w": 200, "h": 100, "camera_angle_x": np.pi / 2, "frames": frames}))
    K = read_cameras(path).K
    assert K[:, 0, 0].tolist() == pytest.approx([100, 70])
    assert K[0, :2, 2].tolist() == [100, 50]


def test_blender_is_z_up(tmp_path: Path) -> None:
    """An upright Blender camera that looks north (+y) is our camera at rest."""
    north = [[1, 0, 0, 0], [0, 0, -1, -4], [0, 1, 0, 2], [0, 0, 0, 1]]
    path = tmp_path / "camera.json"
    frames = [{"matrix_world": north, "angle_x": np.pi / 2}]
    path.write_text(
        json.dumps({"format": "blender-camera", "height": 36, "width": 64, "frames": frames})
    )
    cameras = read_cameras(path)
    # 4 to the south is behind us; 2 up is -2 in y.
    torch.testing.assert_close(cameras.centers, torch.tensor([[0.0, -2, -4]]))
    torch.testing.assert_close(cameras.world_to_camera[0, :3, :3], torch.eye(3))
    assert cameras.K[0, 0, 0].item() == pytest.approx(32)


def test_recammaster_is_unreal_in_centimetres_with_row_vectors(tmp_path: Path) -> None:
    """The second camera went 100 forward, 20 right and 50 up and turned 90 degrees to the right."""
    path = tmp_path / "camera_extrinsics.json"
    start = "[1 0 0 0] [0 1 0 0] [0 0 1 0] [300 0 100 1] "
    end = "[0 1 0 0] [-1 0 0 0] [0 0 1 0] [400 20 150 1] "
    document = {f"frame{i}": {"cam02": t, "cam01": start} for i, t in enumerate([start, end])}
    path.write_text(json.dumps(document))
    assert detect_format(path) == "recammaster"
    still = read_trajectory(path).cameras(source(2), 1.0)
    torch.testing.assert_close(still.world_to_camera, torch.eye(4).expand(2, 4, 4))
    moved = read_trajectory(path, camera="cam02").cameras(source(2), 1.0)
    torch.testing.assert_close(moved.centers[1], torch.tensor([0.2, -0.5, 1.0]))
    # What was to its right is ahead of it now.
    _, z = moved.project(torch.tensor([[5.2, -0.5, 1.0]]).expand(2, 1, 3))
    assert z[1].item() == pytest.approx(5, abs=1e-5)


def test_vista4d_is_opencv_camera_to_world(tmp_path: Path) -> None:
    matrix = np.eye(4)[None].repeat(2, axis=0)
    matrix[1, 0, 3] = 1.5
    path = tmp_path / "cameras_tgt.npz"
    np.savez(path, cam_c2w=matrix, intrinsics=np.array([[60.0, 61, 32, 18]] * 2))
    cameras = read_cameras(path)
    assert cameras.centers[1].tolist() == [1.5, 0, 0]
    assert cameras.K[0].tolist() == [[60, 0, 32], [0, 61, 18], [0, 0, 1]]
    assert (cameras.height, cameras.width) == (36, 64)


COLMAP_CAMERAS = "# comment\n7 SIMPLE_RADIAL 64 36 50 32 18 0\n"
COLMAP_IMAGES = "# comment\n5 1 0 0 0 0 0 3 7 b 2.png\n1 2 3\n2 1 0 0 0 -1 0 0 7 a.png\n\n"


def colmap_folder(folder: Path, cameras: str = COLMAP_CAMERAS, images: str = COLMAP_IMAGES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cameras.txt").write_text(cameras)
    (folder / "images.txt").write_text(images)
    return folder


def test_colmap_is_world_to_camera_in_the_order_of_names(tmp_path: Path) -> None:
    folder = colmap_folder(tmp_path / "scene" / "sparse" / "0")
    for path in (folder, folder / "images.txt", tmp_path / "scene"):
        cameras = read_cameras(path)
        assert cameras.world_to_camera[:, :3, 3].tolist() == [[-1, 0, 0], [0, 0, 3]]
        assert cameras.K[1].tolist() == [[50, 0, 32], [0, 50, 18], [0, 0, 1]]


def test_colmap_binary_says_the_same_as_its_text(tmp_path: Path) -> None:
    text = read_cameras(colmap_folder(tmp_path / "text"))
    folder = tmp_path / "binary"
    folder.mkdir()
    lens = struct.pack("<iiQQ4d", 7, 2, 64, 36, 50, 32, 18, 0)
    (folder / "cameras.bin").write_bytes(struct.pack("<Q", 1) + lens)
    first = struct.pack("<i7di", 5, 1, 0, 0, 0, 0, 0, 3, 7) + b"b 2.png\0"
    first += struct.pack("<Qddq", 1, 1.0, 2.0, 3)
    second = struct.pack("<i7di", 2, 1, 0, 0, 0, -1, 0, 0, 7) + b"a.png\0" + struct.pack("<Q", 0)
    (folder / "images.bin").write_bytes(struct.pack("<Q", 2) + first + second)
    binary = read_cameras(folder)
    assert torch.equal(binary.world_to_camera, text.world_to_camera)
    assert torch.equal(binary.K, text.K)
    (folder / "images.bin").write_bytes((struct.pack("<Q", 2) + first + second)[:-20])
    with pytest.raises(ValueError, match=r"images\.bin, byte \d+: expected"):
        read_cameras(folder)


def test_ignored_distortion_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    colmap_folder(tmp_path, cameras="7 SIMPLE_RADIAL 64 36 50 32 18 0.1\n")
    read_cameras(tmp_path)
    assert "distortion is ignored" in caplog.text


def test_three_poses_are_not_taken_for_the_released_text(tmp_path: Path) -> None:
    path = tmp_path / "three.txt"
    path.write_text("0 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1\n2 0 0 0 0 0 0 1\n")
    assert detect_format(path) == "tum"
    path.write_text("0 5 9 9 9 9 5 0\n0 5 9 9 9 9 5 0\n0 .1 .2 .2 .2 .2 .1 0\n")
    assert detect_format(path) == "released"


# Mistakes ----------------------------------------------------------------------------------------

OURS = {"format": "trajectorycrafter-trajectory", "version": 1, "frames": 5}
ROW = "0 1 1 .5 .5 0 0 1 0 0 0 0 1 0 0 0 0 1 0"
NERFSTUDIO = {"render_height": 4, "render_width": 4}
MATRIX = np.eye(4).tolist()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "3 lines .released."),
        ("a.txt", "1 2\n3 4", "expected 3 lines"),
        ("a.txt", "0 1\n0 x\n0 1", "line 2, field 2: expected a finite number; got 'x'"),
        ("a.txt", "0 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 one", "line 2, field 8.*'one'"),
        (
            "a.txt",
            "0 0 0 0 0 0 0 2\n1 0 0 0 0 0 0 1",
            "line 1, quaternion: expected length 1; got 2",
        ),
        ("a.txt", "1 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1", "line 2, time: expected more than 1; got 1"),
        ("a.txt", f"http://x\n{ROW}\n{ROW[:-2]}", "line 3: expected 19 numbers .*; got 18 fields"),
        (
            "a.txt",
            f"http://x\n{ROW.replace('1 0 0 0 0 1', '9 0 0 0 0 1')}",
            "frame 0: expected a rotation",
        ),
        ("a.json", '{"frames": [1,\n]}', "line 2, column 1: expected JSON"),
        ("a.json", {"a": 1}, r"a\.json: \$: expected .*; got keys"),
        ("a.json", [1], r"a\.json: \$: expected"),
        ("a.json", {**OURS, "version": 2}, r"\$\.version: expected 1, .*; got 2"),
        ("a.json", {**OURS, "frames": 0}, r"\$\.frames: expected the number"),
        ("a.json", {**OURS, "frames": "5"}, r"\$\.frames: expected a value of type int; got '5'"),
        ("a.json", {**OURS, "keyframe": []}, r"\$: expected keys of .*; got key 'keyframe'"),
        (
            "a.json",
            {**OURS, "interpolation": "x"},
            r"\$\.interpolation: expected one of spline, .*'x'",
        ),
        (
            "a.json",
            {**OURS, "keyframes": [{"dolly": "x"}]},
            r"\$\.keyframes\[0\]\.dolly: .*got 'x'",
        ),
        (
            "a.json",
            {**OURS, "keyframes": [{"azimuth": 1}]},
            r"\$\.keyframes\[0\]: .*got key 'azimuth'",
        ),
        (
            "a.json",
            {**OURS, "keyframes": [{"frame": 5}]},
            r"keyframes\[0\]\.frame: expected 0\.\.4",
        ),
        ("a.json", {**OURS, "keyframes": [{"zoom": -1}]}, r"a\.json: .*zoom must be > 0"),
        ("a.json", {**OURS, "keyframes": [{"zoom": float("nan")}]}, r"\[0\]\.zoom: .*finite"),
        ("a.json", {**OURS, "cameras": {"height": 4}}, r"\$\.cameras\.width: expected a value"),
        (
            "a.json",
            {**OURS, "cameras": {"height": 4, "width": 4, "K": [], "world_to_camera": [[1]]}},
            r"world_to_camera: expected numbers of shape Nx4x4; got shape 1x1",
        ),
        ("a.json", {"camera_path": []}, r"\$\.camera_path: expected a list with at least one"),
        ("a.json", {"camera_path": [1]}, r"\$\.render_height: expected a value"),
        (
            "a.json",
            {**NERFSTUDIO, "camera_path": [{"fov": 50}]},
            r"camera_path\[0\]\.camera_to_world",
        ),
        (
            "a.json",
            {**NERFSTUDIO, "camera_path": [{"fov": 180, "camera_to_world": MATRIX}]},
            r"camera_path\[0\]\.fov: expected vertical degrees",
        ),
        (
            "a.json",
            {**NERFSTUDIO, "camera_path": [{"fov": 50, "camera_to_world": [1] * 15}]},
            r"camera_to_world: expected numbers of shape 16; got shape 15",
        ),
        (
            "a.json",
            {"w": 4, "h": 4, "fl_x": 4, "frames": [{"transform_matrix": [[1, "x"]]}]},
            r"frames\[0\]\.transform_matrix\[0\]\[1\]: expected a number; got 'x'",
        ),
        ("a.json", {"h": 4, "frames": [{"transform_matrix": MATRIX}]}, r"frames\[0\]\.w: expected"),
        ("a.json", {"frame0": {"cam01": "[1 0] [0 1]"}}, r"\$\.frame0\.cam01: expected 4 rows"),
        (
            "a.json",
            {"frame0": {"cam01": "[1 0 0 0] [0 1 0 0] [0 0 1 0] [0 0 a 1]"}},
            "field 3.*'a'",
        ),
        ("a.json", {"frame0": {}}, r"\$\.frame0: expected an object of cameras"),
        (
            "a.json",
            {
                "format": "blender-camera",
                "height": 4,
                "width": 4,
                "frames": [{"matrix_world": MATRIX, "angle_x": 4}],
            },
            r"frames\[0\]\.angle_x",
        ),
        ("a.bin", b"\xff\xfe\x00", "expected a text file with a camera path; got binary"),
        ("a.npz", b"PK nothing", r"a\.npz: expected an npz archive"),
    ],
)
def test_a_wrong_file_is_told_by_name_place_and_field(
    name: str, content: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=message) as error:
        read_trajectory(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"c2w": np.eye(4)[None]}, r"cam_c2w: expected an array .*; got arrays \['c2w'\]"),
        (
            {"cam_c2w": np.eye(3)[None], "intrinsics": np.ones((1, 4))},
            "expected numbers of shape Nx4x4",
        ),
        (
            {"cam_c2w": np.eye(4)[None], "intrinsics": np.ones((2, 4))},
            "intrinsics: .* 1x4; got .* 2x4",
        ),
        (
            {"cam_c2w": np.eye(4)[None] * np.nan, "intrinsics": np.ones((1, 4))},
            r"cam_c2w\[0\]\[0\]\[0\]",
        ),
        ({"cam_c2w": -np.eye(4)[None], "intrinsics": np.ones((1, 4))}, "frame 0: .*mirroring"),
    ],
)
def test_a_wrong_archive_is_told(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_trajectory(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("cameras", "images", "message"),
    [
        ("7 FISHEYE 64 36 50\n", COLMAP_IMAGES, r"cameras\.txt, line 1: expected id, model"),
        (
            "7 PINHOLE 64 36 50 32 18\n",
            COLMAP_IMAGES,
            "line 1: expected 4 parameters for PINHOLE; got 3",
        ),
        (
            COLMAP_CAMERAS,
            "1 1 0 0 0 0 0 0 7\n\n",
            r"images\.txt, line 1: expected id, qw.*; got 9 fields",
        ),
        (COLMAP_CAMERAS, "1 1 0 0 0 0 z 0 7 a\n\n", r"images\.txt, line 1, field 7: .*'z'"),
        (
            COLMAP_CAMERAS,
            "1 1 0 0 0 0 0 0 8 a\n\n",
            r"image a: expected a camera of \[7\]; got camera 8",
        ),
        (COLMAP_CAMERAS, "# none\n", "expected at least one image"),
    ],
)
def test_a_wrong_colmap_folder_is_told(
    cameras: str, images: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        read_trajectory(colmap_folder(tmp_path, cameras, images))


def test_missing_files_and_empty_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No trajectory file at .*gone\.json"):
        read_trajectory(tmp_path / "gone.json")
    with pytest.raises(ValueError, match=r"expected cameras\.txt and images\.txt"):
        read_trajectory(tmp_path)
    for make, message in (
        (lambda: write_trajectory(preset("static", 3), tmp_path / "a.xyz"), "suffix"),
        (lambda: read_cameras(ASSETS / "loop_left.txt"), "relative motion"),
        (lambda: read_cameras(ASSETS / "pause_and_return.json"), "keyframes only"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_a_format_that_cannot_hold_the_path_says_which_can(tmp_path: Path) -> None:
    path = tmp_path / "x"
    off_centre = path_of_cameras(2).cropped(3, 0, 36, 64)
    wide = Trajectory.from_target(0, 0, 0, 1, 0, 3)
    refused: list[tuple[Trajectory | Cameras, TrajectoryFormat, str]] = [
        (wide, "released", "pan as well; use format json"),
        (with_mode(preset("static", 3), "bullet", 3), "released", "source_frame as well"),
        (path_of_cameras(2), "released", "use format json"),
        (wide, "tum", r"give trajectory\.cameras\(source, radius\)"),
        (Trajectory.from_cameras(path_of_cameras(2), lens="source"), "colmap", "relative path"),
        (off_centre, "nerfstudio", "use transforms"),
        (off_centre, "blender", "use json"),
    ]
    for value, format, message in refused:
        with pytest.raises(ValueError, match=message):
            write_trajectory(value, path, format)
    assert not path.exists()


def test_no_lens_and_no_focal_is_told(tmp_path: Path) -> None:
    path = write_trajectory(path_of_cameras(2), tmp_path / "a.tum")
    with pytest.raises(ValueError, match="arguments focal and size"):
        read_cameras(path)


def test_the_json_of_the_documentation_can_be_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "use" / "trajectories.md").read_text()
    path = tmp_path / "docs.json"
    path.write_text(page.split("```json\n")[1].split("```")[0])
    trajectory = read_trajectory(path)
    assert trajectory.azimuth_deg[24] == 25 and trajectory.source_frame[-1] == 48


def test_impossible_numbers_of_frames_and_rates_are_told(tmp_path: Path) -> None:
    path = write_trajectory(path_of_cameras(2), tmp_path / "a.tum")
    for name in (path, ASSETS / "loop_left.txt", ASSETS / "pause_and_return.json"):
        with pytest.raises(ValueError, match="at least 1 output frame; got 0"):
            read_trajectory(name, 0)
    with pytest.raises(ValueError, match="fps: expected a frame rate > 0; got 0"):
        write_trajectory(path_of_cameras(2), path, fps=0.0)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_trajectory(preset("static", 3), tmp_path / "a.json")
    before = path.read_text()

    def full(*_args: object, **_kwargs: object):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_trajectory(preset("orbit-left", 3), path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == before


def test_a_trajectory_of_cameras_is_written_like_its_cameras(tmp_path: Path) -> None:
    cameras = path_of_cameras(3)
    trajectory = Trajectory.from_cameras(cameras)
    first = write_trajectory(cameras, tmp_path / "a.npz").read_bytes()
    assert write_trajectory(trajectory, tmp_path / "b.npz").read_bytes() == first
    moved = replace(trajectory, dolly=torch.ones(3))
    with pytest.raises(ValueError, match="relative path"):
        write_trajectory(moved, tmp_path / "c.npz")
