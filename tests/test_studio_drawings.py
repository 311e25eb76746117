"""The page's small drawings: what they show, and that nothing a visitor wrote becomes markup."""

import re

import torch

from trajectorycrafter.geometry.keyframes import Keyframe
from trajectorycrafter.job.plan import Estimate
from trajectorycrafter.studio import drawings
from trajectorycrafter.studio.editing import Design
from trajectorycrafter.studio.preview import FrameShares


def test_the_shares_bar_shows_them_as_areas() -> None:
    shares = FrameShares(
        torch.tensor([1.0, 0.5]), torch.tensor([0.0, 0.25]), torch.tensor([0.0, 0.25])
    )
    bar = drawings.shares_bar(shares, 1, height=100)
    # Seen stands at the bottom: all of the first half, half of the second.
    assert 'points="0,100 0.0,0.0 200.0,0.0 200.0,50.0 400.0,50.0 400.0,100"' in bar
    assert "seen</span>" not in bar and "seen 75%" in re.sub("<[^>]*>", "", bar)
    assert "stretched 12%" in bar and "holes 12%" in bar
    assert 'x="299.0"' in bar


def test_the_time_curve_marks_its_points_and_the_frame() -> None:
    curve = drawings.time_curve([0, 0, 4], 4, [(0, 0), (2, 4)], 1)
    assert curve.count("<circle") == 3
    assert curve.count("<polyline") == 2


def test_the_key_table_has_a_row_each_and_no_minus_zero() -> None:
    design = Design(9, kind="keys", keys=(Keyframe(frame=0, azimuth_deg=-0.2), Keyframe(frame=4)))
    table = drawings.key_table(design, 4)
    assert table.count("<tr") == 3 and "-0" not in table
    assert table.count("background") == 1
    assert "No keys yet" in drawings.key_table(Design(9), None)


def test_a_plan_is_summed_up() -> None:
    table = drawings.plan_table([Estimate("depth", 60.0, 1.0), Estimate("render", 50.0, 2.5)])
    assert "1 min 50 s" in table and "2.5 GB" in table


def test_words_are_escaped() -> None:
    for text in (drawings.notes(["<b>x"]), drawings.said("<b>x")):
        assert "&lt;b&gt;x" in text
    assert "Within the range" in drawings.notes([])
