import pytest

from trajectorycrafter.config.redirect import DepthSettings, GeneratorSettings, RedirectSettings
from trajectorycrafter.job.plan import Estimate, duration, hole_bar, planned, transformer_gflop


def stages(
    depth: str, model: str, *, frames: int = 49, guidance: float = 6.0
) -> dict[str, Estimate]:
    settings = RedirectSettings(
        depth=DepthSettings(depth), generator=GeneratorSettings(model, guidance=guidance)
    )
    found = planned(settings, 49, frames, (384, 672), gflops=100.0)
    return {estimate.stage: estimate for estimate in found}


def test_transformer_operations_are_those_of_the_released_sizes() -> None:
    # 13,104 view and 226 text tokens: the linear layers alone are 2 x 6.1e9 x 13,330 = 163 TFLOP;
    # joint attention adds 4 x 42 x 13,330^2 x 3,072 = 92 TFLOP.
    assert transformer_gflop(49, 384, 672, 10) == pytest.approx(257e3, rel=0.05)


def test_the_released_model_is_told_apart_from_the_fill() -> None:
    fill, full = stages("embedded", "fill"), stages("depthcrafter", "5b")
    assert full["generate"].seconds > 100 * fill["generate"].seconds
    assert full["generate"].gigabytes > 12.2
    only = planned(
        RedirectSettings(depth=DepthSettings("file:x")), 49, 49, (384, 672), render_only=True
    )
    assert [estimate.stage for estimate in only] == ["render"]


def test_guidance_and_windows_multiply_the_work() -> None:
    guided = stages("file:x", "5b")["generate"].seconds
    alone = stages("file:x", "5b", guidance=1.0)["generate"].seconds
    assert alone == pytest.approx(guided / 2, rel=0.1)
    three_windows = stages("file:x", "5b", frames=49 + 2 * 40)["generate"].seconds
    assert three_windows == pytest.approx(3 * guided, rel=0.1)


@pytest.mark.parametrize(
    ("seconds", "words"), [(12.3, "12 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations_read_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_hole_bar_is_empty_without_holes_and_full_at_half() -> None:
    assert hole_bar([0.0, 0.25, 0.5, 0.9]) == " ▄██"
    assert len(hole_bar([0.1] * 200)) == 49
    assert hole_bar([]) == ""
