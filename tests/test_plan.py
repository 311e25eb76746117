from typing import Any

import pytest

from trajectorycrafter.job.plan import duration, estimate, hole_bar, transformer_gflop

COMMON: dict[str, Any] = {
    "source_frames": 49,
    "frames": 49,
    "height": 384,
    "width": 672,
    "steps": 50,
    "guided": True,
    "reference": 10,
    "windows": 1,
    "gflops": 100.0,
    "bytes_per_number": 2,
}


def test_transformer_operations_are_those_of_the_released_sizes() -> None:
    # 13,104 view and 226 text tokens: the linear layers alone are 2 x 6.1e9 x 13,330 = 163 TFLOP;
    # joint attention adds 4 x 42 x 13,330^2 x 3,072 = 92 TFLOP.
    assert transformer_gflop(49, 384, 672, 10) == pytest.approx(257e3, rel=0.05)


def test_the_released_model_is_told_apart_from_the_fill() -> None:
    fill = {s.stage: s for s in estimate(depth="embedded", generator="fill", **COMMON)}
    full = {s.stage: s for s in estimate(depth="depthcrafter", generator="released", **COMMON)}
    assert full["generate"].seconds > 100 * fill["generate"].seconds
    assert full["generate"].gigabytes > 12.2
    assert [s.stage for s in estimate(depth="file:x", generator=None, **COMMON)] == ["render"]


def test_guidance_and_windows_multiply_the_work() -> None:
    def seconds(**change: Any) -> float:
        return estimate(depth="file:x", generator="released", **COMMON | change)[-1].seconds

    assert seconds(guided=False) == pytest.approx(seconds() / 2, rel=0.1)
    assert seconds(windows=3) == pytest.approx(3 * seconds(), rel=0.1)


@pytest.mark.parametrize(
    ("seconds", "words"), [(12.3, "12 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations_read_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_hole_bar_is_empty_without_holes_and_full_at_half() -> None:
    assert hole_bar([0.0, 0.25, 0.5, 0.9]) == " ▄██"
    assert len(hole_bar([0.1] * 200)) == 49
    assert hole_bar([]) == ""
