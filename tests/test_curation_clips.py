"""Which windows of a clip are taken, and what is drawn at random for them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from curation_trees import moving_clip
from hypothesis import given, settings
from hypothesis import strategies as st

from trajectorycrafter.config.curation import HoleSettings, PathSettings, WindowSettings
from trajectorycrafter.geometry.keyframes import Keyframe
from trajectorycrafter.lab.curation.clips import (
    choose_windows,
    cuts,
    flow_percent,
    look,
    measure,
    video_motion,
)
from trajectorycrafter.lab.curation.draws import (
    RandomPath,
    check_holes,
    draw_path,
    paths,
    rng_for,
    seek_path,
    wanted_holes,
)
from trajectorycrafter.lab.curation.rejected import RejectedError
from trajectorycrafter.video.clip import Video

WINDOW = WindowSettings(frames=5, size=(48, 64), per_clip=3)


def joined(*parts: Video) -> Video:
    return Video(torch.cat([part.frames for part in parts]), 24.0)


def tinted(video: Video, *color: float) -> Video:
    return Video(video.frames * torch.tensor(color)[:, None, None], video.fps)


def test_cuts_are_found_where_they_are() -> None:
    film = joined(
        moving_clip(7, 1),
        tinted(moving_clip(9, 2), 1, 0.3, 0.3),
        tinted(moving_clip(6, 3), 0, 0, 1),
    )
    assert cuts(measure(film)) == [7, 16]


def test_pans_fades_and_flashes_of_light_are_no_cuts() -> None:
    fast = moving_clip(16, 1, step=6)
    fade = moving_clip(16, 2)
    fade = Video(fade.frames * torch.linspace(1, 0, 16)[:, None, None, None], 24.0)
    assert cuts(measure(fast)) == []
    assert cuts(measure(fade)) == []


@pytest.mark.parametrize("step", [0.0, 1.0, 2.0])
def test_motion_is_the_drift_in_percent_of_the_diagonal(step: float) -> None:
    film = moving_clip(8, 3, step=step, size=(64, 96))
    expected = 100 * step / np.hypot(64, 96)
    assert video_motion(film) == pytest.approx(expected, rel=0.25, abs=0.02)
    assert flow_percent([np.zeros((20, 20), np.uint8)]) == 0


def test_windows_lie_inside_shots_and_do_not_overlap() -> None:
    film = joined(moving_clip(12, 1), tinted(moving_clip(13, 2), 0.1, 1, 0.3), moving_clip(4, 3))
    for seed in range(5):
        windows, rejected = choose_windows(measure(film), WINDOW, np.random.default_rng(seed))
        starts = sorted(window.start for window in windows)
        assert len(starts) == 3 and not rejected
        assert all(b - a >= 5 for a, b in zip(starts, starts[1:]))
        assert all(0 <= s <= 7 or 12 <= s <= 20 for s in starts)


def test_the_stride_widens_the_window_and_counts_as_motion() -> None:
    film = moving_clip(20, 4)
    one, _ = choose_windows(measure(film), WindowSettings(5), np.random.default_rng(0))
    wide = WindowSettings(5, stride=4, per_clip=9)
    four, _ = choose_windows(measure(film), wide, np.random.default_rng(0))
    assert len(four) == 1 and four[0].start <= 3
    assert four[0].motion == pytest.approx(4 * one[0].motion, rel=0.3)


@pytest.mark.parametrize(
    ("film", "reason"),
    [
        (moving_clip(4), "short"),
        (
            joined(moving_clip(4, 1), tinted(moving_clip(4, 2), 1, 0, 0), moving_clip(3, 3)),
            "cut",
        ),
    ],
)
def test_clips_without_a_window_say_why(film: Video, reason: str) -> None:
    with pytest.raises(RejectedError) as caught:
        choose_windows(measure(film), WINDOW, np.random.default_rng(0))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("film", "reason"),
    [
        (moving_clip(6, step=0), "still"),
        (Video(torch.full((6, 3, 48, 64), 0.4), 24.0), "blank"),
        (moving_clip(6, 2, step=4), "fast"),
    ],
)
def test_windows_that_are_no_good_say_why(film: Video, reason: str) -> None:
    limits = WindowSettings(frames=5, most_motion=3.0)
    windows, rejected = choose_windows(measure(film), limits, np.random.default_rng(0))
    assert (windows, rejected) == ([], [reason])


def test_what_cannot_be_read_is_turned_away(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"no film")
    with pytest.raises(RejectedError, match="unreadable"):
        look(tmp_path / "x.mp4", 100)


# ---------------------------------------------------------------------------------------- draws


def test_randomness_belongs_to_seed_and_name() -> None:
    assert rng_for(1, "a").random() == rng_for(1, "a").random()
    drawn = {rng_for(seed, name).random() for seed in (1, 2) for name in ("a", "b", "a#0")}
    assert len(drawn) == 6


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_paths_stay_in_their_ranges(seed: int) -> None:
    ranges = PathSettings(zoom=(0.8, 1.3))
    path = draw_path(ranges, np.random.default_rng(seed)).trajectory(9)
    for value, (low, high) in (
        (path.azimuth_deg, ranges.azimuth),
        (path.elevation_deg, ranges.elevation),
        (path.dolly, ranges.dolly),
        (path.pan[:, 0], ranges.right),
        (path.pan[:, 1], ranges.up),
        (path.zoom, ranges.zoom),
    ):
        assert low - 1e-5 <= float(value.min()) and float(value.max()) <= high + 1e-5


def test_shares_of_bent_paths_and_of_paths_that_begin_away() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_path(PathSettings(away=0.25, bent=0.7), rng) for _ in range(400)]
    assert np.mean([path.keys[0] != Keyframe() for path in drawn]) == pytest.approx(0.25, abs=0.07)
    assert np.mean([len(path.keys) == 3 for path in drawn]) == pytest.approx(0.7, abs=0.07)


def test_a_path_in_part_is_nearer_to_the_source() -> None:
    path = RandomPath((Keyframe(), Keyframe(azimuth_deg=20, dolly=0.4, zoom=4.0)), amount=0.5)
    walked = path.trajectory(5)
    assert float(walked.azimuth_deg[-1]) == pytest.approx(10)
    assert float(walked.zoom[-1]) == pytest.approx(2)
    assert path.as_numbers()[-1]["dolly"] == pytest.approx(0.2)


def along(path: RandomPath) -> float:
    """Holes that grow with the angle, as they mostly do."""
    return abs(path.keys[-1].azimuth_deg * path.amount) / 40


def test_the_histogram_of_holes_is_met() -> None:
    """Users of such data complained of gaps too large or too small; here they choose."""
    wanted = HoleSettings((0.1, 0.5), hole_histogram=(1, 0, 3, 0), tries=40)
    ranges, shares = PathSettings(azimuth=(20.0, 40.0)), []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        limits = wanted_holes(wanted, rng)
        path = seek_path(paths(ranges, rng), along, limits, wanted)
        assert limits[0] <= along(path) <= limits[1]
        shares.append(along(path))
    counts = np.histogram(shares, np.linspace(0.1, 0.5, 5))[0] / 200
    assert counts == pytest.approx([0.25, 0, 0.75, 0], abs=0.09)


def test_without_a_histogram_the_paths_own_distribution_is_cut() -> None:
    plain, ranges = HoleSettings((0.25, 0.75), tries=50), PathSettings(azimuth=(0.0, 40.0))
    rng = np.random.default_rng(0)
    found = [seek_path(paths(ranges, rng), along, plain.holes, plain) for _ in range(300)]
    assert all(path.amount == 1 for path in found)
    counts = np.histogram([along(path) for path in found], np.linspace(0.25, 0.75, 3))[0]
    assert counts / 300 == pytest.approx([0.5, 0.5], abs=0.1)


@pytest.mark.parametrize(("share", "reason"), [(0.0, "holes too small"), (1.0, "holes too large")])
def test_holes_that_cannot_be_had_are_told(share: float, reason: str) -> None:
    limits = HoleSettings((0.2, 0.4), tries=3)
    tried = []
    with pytest.raises(RejectedError, match=reason):
        seek_path(
            paths(PathSettings(), np.random.default_rng(0)),
            lambda path: tried.append(path) or share,
            limits.holes,
            limits,
        )
    assert len(tried) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        HoleSettings((0.5, 0.4)),
        HoleSettings((0.1, 1.2)),
        HoleSettings(hole_histogram=(0, 0)),
        HoleSettings(tries=0),
    ],
)
def test_impossible_settings_are_told_before_any_work(wrong: HoleSettings) -> None:
    with pytest.raises(ValueError, match="got"):
        check_holes(wrong)
