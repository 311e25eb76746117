"""Camera paths: equal to the released poses, exact through their keys, and what the signs mean."""

import copy
import inspect
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from trajectorycrafter.depth.estimator import released_radius, scene_radius
from trajectorycrafter.geometry.cameras import (
    Cameras,
    intrinsics,
    rigid,
    rotation_y,
    static_cameras,
)
from trajectorycrafter.geometry.interpolation import interpolate, resample_cameras
from trajectorycrafter.geometry.keyframes import Keyframe
from trajectorycrafter.geometry.modes import Mode, ModeIndices, mode_indices, with_mode
from trajectorycrafter.geometry.presets import PRESETS, preset
from trajectorycrafter.geometry.trajectories import MOTION_FIELDS, Trajectory, check_ranges
from trajectorycrafter.video.clip import Depth

GOLDEN = Path(__file__).parent / "golden" / "trajectories"
CASES = {case["name"]: case for case in json.loads((GOLDEN / "cases.json").read_text())}


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    """The released poses; depths and source poses are cut to the one frame that matters."""
    return load_file(GOLDEN / "trajectories.safetensors")


def source(frames: int = 9, height: int = 36, width: int = 64) -> Cameras:
    return static_cameras(intrinsics(50.0, height, width, frames), height, width)


# The released poses ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_relative_poses_equal_the_released_ones(name: str, golden: dict[str, torch.Tensor]) -> None:
    case = CASES[name]
    radius = released_radius(Depth.of(golden[case["depths"]]), case["radius_scale"])
    frames = case["num_frames"]
    if case["camera"] == "target":
        theta, phi, r, x, y = case["target_pose"]
        trajectory = Trajectory.from_target(theta, phi, r, x, y, frames)
    else:
        path = GOLDEN / Path(case["traj_txt"]).name
        trajectory = Trajectory.from_txt(path, frames, interpolation="smoothing")
    trajectory = replace(trajectory, anchor=case["anchor_idx"])
    anchor = golden[f"{name}.pose_s"].double()
    expected = golden[f"{name}.pose_t"].double() @ torch.linalg.inv(anchor)
    # The released matrices are float32 sums of numbers up to 5: about 5e-7 of rounding.
    torch.testing.assert_close(trajectory.motion(radius).double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("loop", ["loop1", "loop2"])
@pytest.mark.parametrize("line", ["theta", "phi", "r"])
@pytest.mark.parametrize("frames", [20, 49])
def test_smoothing_equals_the_released_interpolation(
    loop: str, line: str, frames: int, golden: dict[str, torch.Tensor]
) -> None:
    numbers = golden[f"interp.{loop}.{line}.knots"].tolist()
    times = torch.linspace(0, 1, len(numbers), dtype=torch.float64).tolist()
    expected = golden[f"interp.{loop}.{line}.{frames}"]
    # Ours is rounded to float32; half a unit in the last place of 30 degrees is 1e-6.
    curve = interpolate(times, numbers, frames, "smoothing")
    torch.testing.assert_close(curve.double(), expected, atol=2e-6, rtol=0)


def test_released_radius_is_scaled_and_capped(golden: dict[str, torch.Tensor]) -> None:
    shallow, deep = (Depth.of(golden[f"depths_{name}"]) for name in ("shallow", "deep"))
    assert released_radius(shallow) == pytest.approx(3.7)
    assert released_radius(shallow, 0.5) == pytest.approx(1.85)
    assert released_radius(deep) == 5


# What the signs mean -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("motion", "position"),
    [
        ({"right": 0.5}, (1.0, 0, 0)),
        ({"up": 0.5}, (0, -1.0, 0)),
        ({"dolly": 0.25}, (0, 0, 0.5)),
        ({"azimuth_deg": 90}, (2.0, 0, 2.0)),
        ({"elevation_deg": 90}, (0, -2.0, 2.0)),
        ({"roll_deg": 40, "zoom": 3}, (0, 0, 0)),
    ],
)
def test_the_camera_goes_where_its_numbers_say(
    motion: dict[str, Any], position: tuple[float, float, float]
) -> None:
    """Radius 2; y points down, so up is negative; the pivot is at (0, 0, 2)."""
    trajectory = Trajectory.from_keyframes([Keyframe(**motion)], 1)
    center = trajectory.cameras(source(1), 2.0).centers[0]
    torch.testing.assert_close(center, torch.tensor(position).float(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", [n for n in PRESETS if n.startswith(("orbit", "arc", "spiral"))])
def test_orbits_keep_the_pivot_in_the_middle_of_the_picture(name: str) -> None:
    cameras = preset(name, 7).cameras(source(7), 3.0)
    pixels, _ = cameras.project(torch.tensor([0.0, 0, 3]).expand(7, 1, 3))
    torch.testing.assert_close(
        pixels[:, 0], torch.tensor([32.0, 18]).expand(7, 2), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize(
    ("name", "axis", "sign"),
    [
        ("orbit-left", 0, -1), ("orbit-right", 0, 1), ("orbit-up", 1, -1), ("orbit-down", 1, 1),
        ("pan-left", 0, -1), ("pan-right", 0, 1), ("pan-up", 1, -1), ("pan-down", 1, 1),
        ("dolly-in", 2, 1), ("dolly-out", 2, -1), ("arc", 0, 1), ("bullet", 0, 1), ("spiral", 2, 1),
    ],
)  # fmt: skip
def test_presets_move_the_way_they_are_called(name: str, axis: int, sign: int) -> None:
    centers = preset(name, 9).cameras(source(), 4.0).centers
    assert centers[0].abs().max() < 1e-6
    assert sign * centers[-1, axis] > 0.3


def test_a_clockwise_roll_turns_the_picture_the_other_way() -> None:
    rolled = Trajectory.from_keyframes([Keyframe(roll_deg=90)], 1).cameras(source(1), 1.0)
    pixels, _ = rolled.project(torch.tensor([[[1.0, 0, 5]]]))
    assert pixels[0, 0].tolist() == pytest.approx([32, 8], abs=1e-4)


def test_dolly_zoom_keeps_the_size_at_the_pivot() -> None:
    cameras = preset("dolly-zoom", 5, 0.5).cameras(source(5), 4.0)
    pixels, _ = cameras.project(torch.tensor([1.0, 0, 4]).expand(5, 1, 3))
    torch.testing.assert_close(pixels[:, 0, 0], torch.full((5,), 44.5), atol=1e-4, rtol=0)
    assert cameras.K[-1, 0, 0] == 25


def test_pan_in_scene_units_does_not_depend_on_the_radius() -> None:
    by_radius = preset("pan-right", 3, 0.5)
    released = Trajectory.from_target(0, 0, 0, 0.5, 0, 3)
    assert by_radius.cameras(source(3), 8.0).centers[-1, 0] == 4
    assert released.cameras(source(3), 8.0).centers[-1, 0] == 0.5


@given(
    st.tuples(st.floats(-80, 80), st.floats(-80, 80), st.floats(-0.9, 0.9), st.floats(-2, 2)),
    st.floats(0.1, 100),
)
@settings(max_examples=50, deadline=None)
def test_every_motion_is_rigid_and_scales_with_the_scene(
    numbers: tuple[float, float, float, float], radius: float
) -> None:
    """A scene twice as large, seen along the same path, gives the same picture."""
    theta, phi, r, x = numbers
    trajectory = Trajectory.from_target(theta, phi, r, x, -x, 5, pan_unit="radius")
    small, large = trajectory.motion(radius), trajectory.motion(2 * radius)
    gram = small[:, :3, :3] @ small[:, :3, :3].mT
    torch.testing.assert_close(gram, torch.eye(3).expand(5, 3, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(small[:, :3, :3], large[:, :3, :3])
    torch.testing.assert_close(2 * small[:, :3, 3], large[:, :3, 3], rtol=1e-5, atol=1e-6 * radius)


# Moving source cameras and absolute paths --------------------------------------------------------


def moving_source(frames: int = 4) -> Cameras:
    angle = torch.linspace(0, 30, frames)
    shift = torch.stack(
        [torch.linspace(0, 1, frames), torch.zeros(frames), torch.zeros(frames)], -1
    )
    return Cameras(rigid(rotation_y(angle), shift), intrinsics(50.0, 36, 64, frames), 36, 64)


def test_relative_to_says_what_a_static_path_stands_on() -> None:
    cameras = moving_source()
    static = Trajectory.static(4)
    shown = static.cameras(cameras, 1.0).world_to_camera
    torch.testing.assert_close(shown, cameras.world_to_camera)
    first = replace(static, relative_to="first_frame").cameras(cameras[[2, 3, 0, 1]], 1.0)
    torch.testing.assert_close(first.world_to_camera, cameras.world_to_camera[[2, 2, 2, 2]])
    world = replace(static, relative_to="world").cameras(cameras, 1.0).world_to_camera
    torch.testing.assert_close(world, torch.eye(4).expand(4, 4, 4))


def test_shown_frame_follows_source_frame_and_its_lens() -> None:
    cameras = moving_source()
    cameras.K[:, [0, 1], [0, 1]] *= torch.tensor([[1.0], [2], [3], [4]])
    held = with_mode(Trajectory.static(4), "bullet", 4, moment=2).cameras(cameras, 1.0)
    torch.testing.assert_close(held.world_to_camera, cameras.world_to_camera[[2, 2, 2, 2]])
    assert held.K[:, 0, 0].tolist() == [150] * 4


def test_zoom_scales_about_the_principal_point() -> None:
    zoomed = replace(Trajectory.static(2), zoom=torch.tensor([1.0, 2.0])).cameras(source(2), 1.0)
    points = torch.tensor([[[0.3, -0.2, 5]]]).expand(2, 1, 3)
    centre = torch.tensor([32.0, 18.0])
    seen, before = zoomed.project(points)[0], source(2).project(points)[0]
    torch.testing.assert_close(seen[0], before[0])
    torch.testing.assert_close(seen[1] - centre, 2 * (before[1] - centre))


def test_absolute_cameras_are_used_as_they_are() -> None:
    wanted = moving_source()
    trajectory = Trajectory.from_cameras(wanted)
    made = trajectory.cameras(source(4), 1.0)
    torch.testing.assert_close(made.world_to_camera, wanted.world_to_camera)
    torch.testing.assert_close(made.K, wanted.K)
    scaled = Trajectory.from_cameras(wanted, scale="radius").cameras(source(4), 3.0)
    torch.testing.assert_close(
        scaled.world_to_camera[:, :3, 3], 3 * wanted.world_to_camera[:, :3, 3]
    )
    assert torch.equal(scaled.world_to_camera[:, :3, :3], wanted.world_to_camera[:, :3, :3])


def test_absolute_cameras_stand_in_the_first_source_camera() -> None:
    """The first camera of the path is the first source camera, wherever that is in its world."""
    clip = moving_source()[[3, 0, 1, 2]]
    made = Trajectory.from_cameras(moving_source()).cameras(clip, 1.0)
    torch.testing.assert_close(made.world_to_camera[0], clip.world_to_camera[0])
    same_world = Trajectory.from_cameras(moving_source(), relative_to="world").cameras(clip, 1.0)
    torch.testing.assert_close(same_world.world_to_camera, moving_source().world_to_camera)


def test_absolute_lens_is_fitted_to_the_source_size_with_square_pixels() -> None:
    square = static_cameras(intrinsics(100.0, 200, 200, 2), 200, 200)
    K = Trajectory.from_cameras(square).cameras(source(2), 1.0).K[0]
    assert K[0, 0] == K[1, 1] == 32
    assert K[:2, 2].tolist() == [32, 18]
    kept = Trajectory.from_cameras(square, lens="source").cameras(source(2), 1.0).K[0]
    assert kept[0, 0] == 50


def test_motion_comes_on_top_of_absolute_cameras() -> None:
    wanted = moving_source()
    trajectory = replace(Trajectory.from_cameras(wanted), dolly=torch.full((4,), 0.5))
    made = trajectory.cameras(source(4), 2.0)
    torch.testing.assert_close(
        made.world_to_camera[:, :3, 3], wanted.world_to_camera[:, :3, 3] - torch.tensor([0, 0, 1.0])
    )


def test_anchor_is_the_frame_that_meets_the_source() -> None:
    swing = replace(preset("orbit-right", 9, 40), anchor=4)
    centers = swing.cameras(source(), 2.0).centers
    assert centers[4].abs().max() < 1e-6
    assert centers[0, 0] < -0.5 and centers[8, 0] > 0.5


# Interpolation -----------------------------------------------------------------------------------

keys = st.lists(st.floats(-60, 60), min_size=2, max_size=6)


@given(keys, st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_spline_meets_its_keys_and_never_overshoots(values: list[float], ease: bool) -> None:
    frames = 10 * (len(values) - 1) + 1
    keyframes = [Keyframe(azimuth_deg=value) for value in values]
    curve = Trajectory.from_keyframes(keyframes, frames, ease=ease).azimuth_deg
    torch.testing.assert_close(curve[::10], torch.tensor(values).float(), atol=1e-5, rtol=1e-6)
    for i in range(len(values) - 1):
        piece = curve[10 * i : 10 * i + 11]
        low, high = sorted(values[i : i + 2])
        assert piece.min() >= low - 1e-4 and piece.max() <= high + 1e-4


def test_a_hold_between_equal_keys_stays_still() -> None:
    keyframes = [Keyframe(dolly=v) for v in (0, 0.3, 0.3, 0.5)]
    assert (Trajectory.from_keyframes(keyframes, 31).dolly[10:21] == torch.tensor(0.3)).all()


def test_ease_starts_and_stops_at_zero_speed() -> None:
    eased = Trajectory.from_target(0, 30, 0, 0, 0, 101, ease=True).azimuth_deg
    steps = eased.diff()
    assert steps[0] < 0.02 and steps[-1] < 0.02 and steps[50] > 0.4
    linear = Trajectory.from_target(0, 30, 0, 0, 0, 101).azimuth_deg
    torch.testing.assert_close(linear, torch.linspace(0, 30, 101))


def test_keys_by_time_and_by_frame_agree_and_hold_outside() -> None:
    by_time = [Keyframe(time=0.25, roll_deg=4), Keyframe(time=0.75, roll_deg=8)]
    by_frame = [Keyframe(frame=2, roll_deg=4), Keyframe(frame=6, roll_deg=8)]
    curve = Trajectory.from_keyframes(by_time, 9, interpolation="linear").roll_deg
    assert curve.tolist() == [4, 4, 4, 5, 6, 7, 8, 8, 8]
    other = Trajectory.from_keyframes(by_frame, 9, interpolation="linear").roll_deg
    assert torch.equal(curve, other)


def test_keyframes_may_freeze_time() -> None:
    keyframes = [
        Keyframe(frame=0, source_frame=0),
        Keyframe(frame=4, source_frame=4),
        Keyframe(frame=8, source_frame=4, azimuth_deg=30),
    ]
    assert Trajectory.from_keyframes(keyframes, 9).source_frame.tolist() == [
        0,
        1,
        2,
        3,
        4,
        4,
        4,
        4,
        4,
    ]


def test_released_text_passes_through_its_numbers_unless_smoothing() -> None:
    exact = Trajectory.from_txt(GOLDEN / "loop1.txt", 97)
    assert exact.azimuth_deg[::12].tolist() == [0, -3, -10, -20, -30, -25, -17, -10, 0]
    smooth = Trajectory.from_txt(GOLDEN / "loop1.txt", 97, interpolation="smoothing")
    assert (smooth.azimuth_deg - exact.azimuth_deg)[::12].abs().max() > 0.3


def test_resampling_cameras_follows_the_arc_between_them() -> None:
    angle = torch.linspace(0, 60, 7)
    matrix = rigid(rotation_y(angle), torch.zeros(7, 3))
    path = Cameras(matrix, intrinsics(50.0, 36, 64, 7).clone(), 36, 64)
    dense = resample_cameras(path, 13)
    torch.testing.assert_close(dense.world_to_camera[::2], path.world_to_camera, atol=1e-6, rtol=0)
    expected = rotation_y(torch.linspace(0, 60, 13))
    torch.testing.assert_close(dense.world_to_camera[:, :3, :3], expected, atol=1e-6, rtol=0)
    assert len(resample_cameras(path[[2]], 4)) == 4 and len(resample_cameras(path, 1)) == 1


def test_resampling_heeds_uneven_times() -> None:
    shift = -torch.tensor([[0.0, 0, 0], [1, 0, 0], [4, 0, 0]])
    path = Cameras(rigid(torch.eye(3).expand(3, 3, 3), shift), intrinsics(1.0, 2, 2, 3), 2, 2)
    even = resample_cameras(path, 5, times=[0, 1, 4])
    torch.testing.assert_close(even.centers[:, 0], torch.arange(5.0), atol=1e-6, rtol=0)


def test_retiming_keeps_the_ends() -> None:
    moving = with_mode(preset("orbit-left", 21, 30), "gradual", 21)
    short = moving.retimed(6)
    assert short.source_frame.tolist() == [0, 4, 8, 12, 16, 20]
    torch.testing.assert_close(short.azimuth_deg, torch.linspace(0, -30, 6))
    assert moving.retimed(21) is moving


# Modes -------------------------------------------------------------------------------------------


def references(index: ModeIndices) -> list[int]:
    assert index.reference_frames is not None
    return index.reference_frames.tolist()


def test_modes_of_the_released_length() -> None:
    i = torch.arange(49)
    gradual = mode_indices("gradual", 49, 49)
    assert torch.equal(gradual.source_frame, i) and torch.equal(gradual.pose, i)
    direct = mode_indices("direct", 49, 49)
    assert direct.source_frame.tolist() == [0] * 20 + list(range(29))
    assert direct.pose.tolist() == list(range(20)) + [19] * 29
    bullet = mode_indices("bullet", 49, 49)
    assert set(bullet.source_frame.tolist()) == {48} and torch.equal(bullet.pose, i)
    assert mode_indices("zoom", 49, 49).source_frame.tolist() == list(range(49))
    firsts: dict[Mode, int] = {"gradual": 0, "direct": 0, "bullet": 39, "zoom": 0}
    for mode, first in firsts.items():
        assert references(mode_indices(mode, 49, 49)) == list(range(first, first + 10))


@given(
    st.sampled_from(["gradual", "direct", "bullet", "zoom"]),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 25),
)
@settings(max_examples=80, deadline=None)
def test_modes_of_any_length_stay_inside_the_clip(
    mode: Mode, frames: int, source_frames: int, hold: int
) -> None:
    needed = {"direct": max(frames - hold, 1), "bullet": 1}.get(mode, frames)
    if needed > source_frames:
        with pytest.raises(ValueError, match=f"the clip has {source_frames}"):
            mode_indices(mode, frames, source_frames, hold=hold)
        return
    index = mode_indices(mode, frames, source_frames, hold=hold)
    assert len(index.source_frame) == len(index.pose) == frames
    assert int(index.source_frame.min()) >= 0 and int(index.source_frame.max()) < source_frames
    assert len(references(index)) == min(10, source_frames)
    assert max(references(index)) < source_frames


def test_bullet_takes_its_reference_from_around_the_moment() -> None:
    assert references(mode_indices("bullet", 5, 49, moment=0)) == list(range(10))
    middle = references(mode_indices("bullet", 5, 49, moment=24))
    assert middle == list(range(19, 29))
    assert mode_indices("bullet", 5, 49, references=None).reference_frames is None


def test_direct_moves_first_and_then_plays() -> None:
    trajectory = with_mode(preset("orbit-right", 49, 30), "direct", 49)
    torch.testing.assert_close(trajectory.azimuth_deg[:20], torch.linspace(0, 30, 20))
    assert (trajectory.azimuth_deg[20:] == 30).all() and len(trajectory) == 49
    parity = Trajectory.from_target(0, 30, 0, 0, 0, 20)
    same = with_mode(parity, "direct", 49, frames=49)
    torch.testing.assert_close(same.azimuth_deg, trajectory.azimuth_deg)


def test_zoom_mode_moves_the_lens_and_the_camera() -> None:
    coupled = with_mode(Trajectory.static(49), "zoom", 49)
    torch.testing.assert_close(coupled.zoom, torch.linspace(1, 0.5, 49))
    torch.testing.assert_close(coupled.dolly, torch.linspace(0, 0.5, 49))
    own = Trajectory.from_target(0, 0, -0.9, 0, 0, 49)
    free = with_mode(own, "zoom", 49, final_zoom=2.0, couple_dolly=False)
    assert torch.equal(free.dolly, own.dolly) and free.zoom[-1] == 2


def test_modes_hold_absolute_cameras_too() -> None:
    path = Trajectory.from_cameras(moving_source())
    direct = with_mode(path, "direct", 6, frames=6, hold=4)
    assert len(direct) == 6
    assert direct.absolute is not None and path.absolute is not None
    torch.testing.assert_close(direct.absolute.world_to_camera[5], path.absolute.world_to_camera[3])


# Scene scale -------------------------------------------------------------------------------------


def test_scene_radius_is_where_the_nearer_things_stand_and_not_capped() -> None:
    z = torch.full((2, 1, 30, 40), 900.0)
    z[0, 0, 5:25, 5:30] = 700.0  # a subject on more than a quarter of the frame
    z[0, 0, 15, 20] = 1e-9  # one outlier does not matter
    z[1] = 3.0
    depth = Depth.of(z)
    assert scene_radius(depth) == 700 and scene_radius(depth, frame=1) == 3
    invalid = torch.full((1, 1, 30, 40), math.nan)
    invalid[0, 0, 0, :5] = 2.0
    assert scene_radius(Depth.of(invalid)) == 2


@given(st.integers(1, 7), st.integers(1, 7))
def test_scene_radius_of_tiny_pictures(height: int, width: int) -> None:
    assert scene_radius(Depth.of(torch.full((1, 1, height, width), 4.0))) == 4


def test_scene_radius_says_what_is_missing() -> None:
    empty = Depth.of(torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"no valid depth"):
        scene_radius(empty)
    with pytest.raises(ValueError, match=r"expected a frame 0\.\.0; got 3"):
        scene_radius(empty, frame=3)


def test_ranges_beyond_the_documented_ones_are_named() -> None:
    assert check_ranges(Trajectory.from_target(60, -60, 0.6, 4, -4, 5)) == []
    found = check_ranges(Trajectory.from_target(-61, 10, 0.7, 0, 5, 5))
    assert [warning.split()[0] for warning in found] == ["elevation", "dolly", "pan"]
    assert "61 degrees" in found[0] and "0.7 of the radius" in found[1] and "5 depth" in found[2]


# Mistakes ----------------------------------------------------------------------------------------


def test_unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'orbit-right'.*All: orbit-left, .*bullet"):
        preset("orbit_rigth", 9)


@pytest.mark.parametrize("radius", [0.0, -1.0, math.nan, math.inf])
def test_a_radius_that_is_not_positive_is_refused(radius: float) -> None:
    with pytest.raises(ValueError, match=r"radius must be finite and > 0.*scene_radius"):
        Trajectory.static(3).cameras(source(3), radius)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Trajectory.from_target(0, math.nan, 0, 0, 0, 5), "finite numbers"),
        (lambda: Trajectory.from_target(0, 1, 0, 0, 0, 0), "at least 1 output frame; got 0"),
        (lambda: Trajectory.from_keyframes([], 5), "at least one keyframe"),
        (lambda: Trajectory.from_keyframes([Keyframe(frame=9)], 5), r"0\.\.4; got frame=9"),
        (lambda: Trajectory.from_keyframes([Keyframe(time=1), Keyframe(time=0)], 5), "sort them"),
        (lambda: Trajectory.from_keyframes([Keyframe(time=0), Keyframe()], 5), "1: give either"),
        (lambda: replace(Trajectory.static(3), roll_deg=torch.tensor([0, 0, math.inf])),
         "roll_deg of frame 2 is not finite"),
        (lambda: replace(Trajectory.static(3), zoom=torch.zeros(3)), "zoom must be > 0"),
        (lambda: replace(Trajectory.static(1), source_frame=torch.tensor([-1])), ">= 0; got -1"),
        (lambda: replace(Trajectory.static(3), anchor=3), r"anchor must be 0\.\.2; got 3"),
        (lambda: replace(Trajectory.static(3), lens="absolute"), "needs absolute cameras"),
        (lambda: replace(Trajectory.static(3), absolute=source(4)), "4 cameras but there are 3"),
        (lambda: Trajectory.static(9).cameras(source(5), 1.0), "source frame 8, .* has 5 frames"),
        (lambda: mode_indices("bullet", 5, 5, moment=5), r"0\.\.4 that mode bullet holds; got 5"),
        (lambda: mode_indices("gradual", 5, 5, moment=1), "got 1 in mode gradual"),
        (lambda: mode_indices("direct", 5, 5, hold=0), "at least 1; got 0"),
        (lambda: with_mode(Trajectory.static(5), "zoom", 5, final_zoom=0), "focal factor > 0"),
        (lambda: preset("zoom-in", 5, -1), "finite amount"),
        (lambda: preset("orbit-left", 5, math.nan), "finite amount"),
        (lambda: resample_cameras(source(3), 5, times=[0, 2, 1]), "3 increasing times"),
    ],
)  # fmt: skip
def test_mistakes_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_mistakes_that_the_type_checker_of_the_tests_would_catch_first() -> None:
    with pytest.raises(ValueError, match="expected one of gradual, direct, bullet, zoom"):
        inspect.unwrap(mode_indices)("slow", 5, 5)
    with pytest.raises(ValueError, match="interpolation is one of"):
        inspect.unwrap(interpolate)([0], [1.0], 3, "cubic")
    made = Trajectory.static(3)
    for field, value, message in (
        ("dolly", torch.zeros(4), "dolly has 4 entries but elevation_deg has 3"),
        ("pan_unit", "metres", "pan_unit is one of radius, scene; got 'metres'"),
    ):
        broken = copy.copy(made)
        object.__setattr__(broken, field, value)
        with pytest.raises(ValueError, match=message):
            broken.__post_init__()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1\n0 1", r"expected 3 lines .*; got 2 line"),
        ("", "got 0 line"),
        ("0 1\n\n0 1", "line 2: expected at least one number"),
        ("0 1\n0 one\n0 1", "line 2, field 2: expected a finite number; got 'one'"),
        ("0 1\n0 1\n0 nan", "line 3, field 2"),
    ],
)
def test_a_wrong_text_file_names_line_and_field(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "path.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"path.txt.*{message}"):
        Trajectory.from_txt(path, 5)


def test_a_missing_text_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.txt"):
        Trajectory.from_txt(tmp_path / "gone.txt", 5)


def test_every_preset_gives_a_path_of_the_asked_length_from_the_source() -> None:
    for name in PRESETS:
        for ease in (False, True):
            trajectory = preset(name, 6, ease=ease)
            assert len(trajectory) == 6
            first = {field: getattr(trajectory, field)[0] for field in MOTION_FIELDS}
            assert first.pop("zoom") == 1, name
            assert all(not value.any() for value in first.values()), name
