"""Pictures for people: sizes, labels, colours that can be told by numbers, and whole files."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trajectorycrafter.geometry.cameras import Cameras, intrinsics, static_cameras
from trajectorycrafter.video import pictures
from trajectorycrafter.video.clip import Depth, Video
from trajectorycrafter.video.pictures import (
    GAP,
    colorize_depth,
    contact_sheet,
    plot_trajectory,
    side_by_side,
)


def test_near_is_warm_and_far_is_cold() -> None:
    z = torch.linspace(1, 20, 200).expand(2, 1, 10, 200).clone()
    colors = colorize_depth(Depth.of(z))
    assert colors.shape == (2, 3, 10, 200)
    assert colors.min() >= 0
    assert colors.max() <= 1
    near, far = colors[0, :, 5, 2], colors[0, :, 5, 190]
    assert near[0] > 2 * near[2]
    assert far[2] > 1.2 * far[0]


def test_untrusted_depth_is_black_and_does_not_count() -> None:
    """A wrong pixel changes neither its neighbours nor, if it is trusted, the range."""
    z = torch.linspace(1, 2, 4096).reshape(1, 1, 64, 64)
    clean = colorize_depth(Depth.of(z))
    holed = z.clone()
    holed[..., :4, :4] = torch.nan
    colors = colorize_depth(Depth.of(holed))
    assert colors[..., :4, :4].max() == 0
    assert (colors - clean)[..., 4:, :].abs().max() < 0.1
    spike = z.clone()
    spike[..., 32, 32] = 1e-6
    difference = (colorize_depth(Depth.of(spike)) - clean).abs()
    difference[..., 32, 32] = 0
    assert difference.max() < 0.05


def test_one_range_for_the_whole_clip() -> None:
    """The same depth has the same colour in every frame, whatever else that frame shows."""
    z = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0)) + 1
    z[0, 0, :16] *= 4
    z[:, 0, 20, 20] = 1.5
    colors = colorize_depth(Depth.of(z))
    assert torch.equal(colors[0, :, 20, 20], colors[2, :, 20, 20])
    assert not torch.equal(colors[0, :, 2, 2], colors[2, :, 2, 2])


def test_flat_and_empty_depth() -> None:
    flat = colorize_depth(Depth.of(torch.ones(1, 1, 8, 8)))
    assert flat.isfinite().all()
    nothing = colorize_depth(Depth.of(torch.full((2, 1, 8, 8), torch.nan)))
    assert torch.equal(nothing, torch.zeros(2, 3, 8, 8))


def test_side_by_side_keeps_each_clip() -> None:
    left, right = torch.rand(3, 3, 40, 60), torch.rand(3, 3, 40, 80)
    both = side_by_side([left, right], ["source", "result"])
    strip = both.shape[2] - 40
    assert strip >= 16
    assert both.shape == (3, 3, 40 + strip, 60 + GAP + 80)
    assert torch.equal(both[:, :, strip:, :60], left)
    assert torch.equal(both[:, :, strip:, 60 + GAP :], right)
    label = both[0, :, :strip, :60]
    assert label.max() > 0.9, "no letters on the strip"
    assert label.median() < 0.2
    assert not torch.equal(label, both[0, :, :strip, 60 + GAP : 60 + GAP + 60])


def test_side_by_side_brings_all_to_one_height() -> None:
    small, large = torch.rand(2, 3, 20, 30), torch.full((2, 3, 40, 80), 0.25)
    both = side_by_side([small, large], ["a", "b"])
    strip = both.shape[2] - 20
    assert both.shape[3] == 30 + GAP + 40
    assert both[:, :, strip:, 30 + GAP :].sub(0.25).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("lengths", "labels", "message"),
    [
        ([], [], "at least one clip"),
        ([2, 2], ["one"], "got 2 clips and 1 labels"),
        ([2, 3], ["a", "b"], r"same number of frames, got \[2, 3\]"),
    ],
)
def test_side_by_side_refuses(lengths: list[int], labels: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        side_by_side([torch.zeros(n, 3, 8, 8) for n in lengths], labels)


def test_contact_sheet_shows_first_and_last(tmp_path: Path) -> None:
    frames = torch.linspace(0, 1, 50).reshape(50, 1, 1, 1).expand(50, 3, 48, 64)
    path = contact_sheet(Video(frames, 10.0), tmp_path / "new" / "sheet.png", count=6, columns=3)
    sheet = np.asarray(Image.open(path))
    tall = (sheet.shape[0] - GAP) // 2
    assert sheet.shape == (2 * tall + GAP, 3 * 64 + 2 * GAP, 3)
    last_rows = [sheet[tall - 5], sheet[-5]]
    shown = [row[x, 0] for row in last_rows for x in (32, 96 + GAP, 160 + 2 * GAP)]
    expected = [round(255 * i / 49) for i in (0, 10, 20, 29, 39, 49)]
    assert shown == expected
    assert os.listdir(path.parent) == ["sheet.png"]


def test_contact_sheet_of_a_short_or_large_clip(tmp_path: Path) -> None:
    path = contact_sheet(Video(torch.zeros(2, 3, 600, 960), 10.0), tmp_path / "a.png")
    assert Image.open(path).size[0] == 2 * pictures.TILE_WIDTH + GAP
    for video, count in (
        (Video(torch.zeros(0, 3, 8, 8), 10.0), 4),
        (Video(torch.zeros(2, 3, 8, 8), 10.0), 0),
    ):
        with pytest.raises(ValueError, match="at least one frame, count and column"):
            contact_sheet(video, tmp_path / "b.png", count=count)
    assert os.listdir(tmp_path) == ["a.png"]


def sideways(frames: int) -> Cameras:
    """Cameras that go two units to the right."""
    cameras = static_cameras(intrinsics(100.0, 48, 64, frames), 48, 64)
    cameras.world_to_camera[:, 0, 3] = -torch.linspace(0, 2, frames)
    return cameras


@pytest.mark.parametrize("frames", [1, 2, 49])
@pytest.mark.parametrize("points", ["none", "empty", "some"])
def test_trajectory_plot_is_written(tmp_path: Path, frames: int, points: str) -> None:
    scene = {
        "none": None,
        "empty": torch.zeros(0, 3),
        "some": torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) + 2,
    }[points]
    if scene is not None and len(scene):
        scene[0] = torch.nan
    cameras = sideways(frames)
    path = plot_trajectory(cameras, cameras[[0]], tmp_path / "path.png", scene)
    assert Image.open(path).size[0] > 800
    assert os.listdir(tmp_path) == ["path.png"]


def test_frusta_stand_where_the_cameras_are() -> None:
    """By hand: focal 100, 64x48 pixels, so the rim at depth 1 lies at +-0.32 and +-0.24."""
    cameras = sideways(2)
    lines = pictures.frustum_lines(cameras, 1.0)
    assert lines.shape == (2, 8, 2, 3)
    first = {tuple(end) for end in lines[0].reshape(-1, 3).astype(float).round(6).tolist()}
    corners = {(x, y, 1.0) for x in (-0.32, 0.32) for y in (-0.24, 0.24)}
    assert first == {(0.0, 0.0, 0.0)} | corners
    assert np.allclose(lines[1] - lines[0], [2, 0, 0], atol=1e-6)


def test_points_and_path_are_drawn(tmp_path: Path) -> None:
    """The plot differs with the points and with the path, and red marks the source."""
    still, moving = static_cameras(intrinsics(100.0, 48, 64, 5), 48, 64), sideways(5)
    cloud = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) + 2
    plots = [
        np.asarray(
            Image.open(plot_trajectory(cameras, still, tmp_path / "a.png", points)).convert("RGB")
        )
        for cameras, points in ((still, None), (moving, None), (moving, cloud))
    ]
    assert not np.array_equal(plots[0], plots[1])
    assert not np.array_equal(plots[1], plots[2])
    red = (plots[2] == (255, 0, 0)).all(axis=-1)
    assert red.sum() > 20
