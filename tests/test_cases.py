"""Cases are scored as they say: same holes for every row, aligned depth, failures told."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trajectorycrafter.config.evaluation import Synthetic4D
from trajectorycrafter.lab.evaluation.cases import (
    METHODS,
    Case,
    Model,
    aligned,
    case_columns,
    load_method,
    measure,
    score_case,
    score_methods,
)
from trajectorycrafter.lab.evaluation.records import Entry
from trajectorycrafter.lab.evaluation.synthetic4d import cases, evaluate_synthetic4d
from trajectorycrafter.rendering.completion import PARTS
from trajectorycrafter.video.clip import Depth, Video

SMALL = Synthetic4D(scenes=1, ranges=(30,), size=(48, 80), frames=5, named=False)


@pytest.fixture(scope="module")
def case() -> tuple[Case, Depth]:
    return next(cases("scene 000", SMALL))


def test_every_method_makes_the_whole_clip(case: tuple[Case, Depth]) -> None:
    for name, method in METHODS.items():
        made = method(*case)
        assert made.shape == case[0].truth.frames.shape, name
        assert bool(made.isfinite().all())


def test_more_of_the_fill_is_better_than_none_and_leaves_the_render(
    case: tuple[Case, Depth],
) -> None:
    rows = ("render", "fill: smooth alone", "fill")
    scores = [score_case(*case, name).values["psnr"] for name in rows]
    assert scores[0] < scores[1] < scores[2]
    assert {f"fill without {part}" for part in PARTS} < set(METHODS)


def test_an_entry_has_every_column(case: tuple[Case, Depth]) -> None:
    entry = score_case(*case, "fill", depth_seconds=10.0, group={"depth": "exact"})
    assert entry.error is None
    assert set(entry.values) == {column.name for column in case_columns(cameras=False)}
    assert entry.values["seconds"] > 10
    assert entry.group == {"set": "drawn", "range": "30", "depth": "exact"}
    assert 0.02 < entry.values["holes"] < 0.6


def test_holes_are_where_the_source_does_not_see(case: tuple[Case, Depth]) -> None:
    """The truth with noise in the holes alone is perfect where the source sees."""
    shot = case[0]
    assert shot.visible is not None
    noise = torch.rand(shot.truth.frames.shape, generator=torch.Generator().manual_seed(0))
    spoiled = torch.where(shot.visible, shot.truth.frames, noise)

    values = measure(spoiled, shot)
    assert values["psnr_seen"] == 100.0
    assert values["psnr_holes"] < values["psnr"] < 25


def test_a_method_that_fails_is_told_in_the_entry(
    case: tuple[Case, Depth], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(case: Case, depth: Depth) -> torch.Tensor:
        raise RuntimeError("out of memory")

    monkeypatch.setitem(METHODS, "fill", fails)
    entry = score_case(*case, "fill")
    assert entry.error == "RuntimeError: out of memory" and entry.values == {}


@pytest.mark.parametrize(
    "name, error, message",
    [
        ("fil", ValueError, "Did you mean fill"),
        ("./no/such/model", FileNotFoundError, "no such folder"),
    ],
)
def test_wrong_names_are_told_before_any_work(
    name: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        evaluate_synthetic4d(tmp_path, replace(SMALL, methods=("fill", name)))
    assert not any(tmp_path.iterdir())


def test_a_model_gets_the_case_s_depth_and_cameras(
    case: tuple[Case, Depth], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator that hands the render back scores as the render does."""
    from trajectorycrafter.job import pipeline

    def same(settings: object, device: object, dtype: object):
        return lambda shot, stages: (shot.view.frames, None)

    monkeypatch.setattr(pipeline, "load_generator", same)
    monkeypatch.setattr("trajectorycrafter.lab.evaluation.cases.check_model", lambda settings: None)
    model, render = score_case(*case, "5b"), score_case(*case, "render")
    assert model.error is None
    for name, value in render.values.items():
        if name != "seconds":
            assert model.values[name] == pytest.approx(value, abs=1e-3), name


def test_what_is_done_is_not_made_again(case: tuple[Case, Depth]) -> None:
    group = {"depth": "exact"}
    done = {Entry("fill", case[0].clip, case[0].group | group).key}
    entries = score_methods(*case, ("render", "fill"), done, group=group)
    assert [entry.row for entry in entries] == ["render"]


def test_depth_is_aligned_in_disparity(case: tuple[Case, Depth]) -> None:
    exact = case[1]
    wrong = Depth(1 / (0.3 / exact.z + 0.05), exact.valid)
    back = aligned(wrong, exact)
    assert back.K is exact.K
    torch.testing.assert_close(back.z, exact.z, rtol=2e-3, atol=1e-3)


def test_without_visibility_there_are_no_holes_columns(case: tuple[Case, Depth]) -> None:
    shot = replace(case[0], visible=None)
    values = score_case(shot, case[1], "render").values
    assert "psnr" in values and "psnr_holes" not in values and "holes" not in values


def test_cameras_are_compared_if_asked(case: tuple[Case, Depth]) -> None:
    from trajectorycrafter.lab.evaluation.cameras import Recovered

    shot, depth = case

    def knows(video: Video, K: torch.Tensor | None) -> Recovered:
        return Recovered(shot.cameras, torch.ones(len(video), dtype=torch.bool))

    entries = score_methods(shot, depth, ("render",), set(), recovery=knows)
    assert [entry.row for entry in entries] == ["render", "truth"]
    for entry in entries:
        assert entry.values["cameras_found"] == 1 and entry.values["rot_err_mean_deg"] < 0.05
    assert "psnr" in entries[0].values and "psnr" not in entries[1].values


def test_methods_are_known_by_name_and_models_by_theirs() -> None:
    assert load_method("fill") is METHODS["fill"]
    assert load_method("some/model") == Model("some/model")
