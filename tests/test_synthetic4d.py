"""Synthetic-4D runs small, resumes, and its recorded numbers hold."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch

from trajectorycrafter.config.evaluation import Synthetic4D
from trajectorycrafter.lab.evaluation import synthetic4d
from trajectorycrafter.lab.evaluation.cases import Case
from trajectorycrafter.lab.evaluation.records import (
    Entry,
    Evaluation,
    read_evaluation,
    summarize,
)
from trajectorycrafter.lab.evaluation.run import evaluate
from trajectorycrafter.lab.evaluation.synthetic4d import NAMED, cases, evaluate_synthetic4d
from trajectorycrafter.lab.synthetic.scene import RayScene
from trajectorycrafter.video.clip import Depth

SUBSET = Synthetic4D(scenes=2, ranges=(20, 40), named=False, frames=9, depth=("exact",), shown=1)
"""A source that stands and one that is held by hand."""


@pytest.fixture(scope="module")
def subset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    out = tmp_path_factory.mktemp("synthetic") / "out"
    return out, evaluate(SUBSET, out)


def mean(found: Evaluation, row: str, column: str) -> float:
    return next(m.mean for m in summarize(found, by=()) if (m.row, m.column) == (row, column))


RECORDED = {
    ("render, released", "psnr"): 13.161,
    ("render, released", "psnr_seen"): 24.974,
    ("render", "psnr"): 12.603,
    ("fill", "psnr"): 21.941,
    ("fill", "psnr_holes"): 17.0,
    ("fill", "ssim"): 0.789,
}
"""Means over the subset as measured; content, renderer, fill and metrics all show in them."""


def test_recorded_numbers_hold(subset: tuple[Path, Evaluation]) -> None:
    for (row, column), value in RECORDED.items():
        tolerance = 0.005 if column == "ssim" else 0.1
        assert mean(subset[1], row, column) == pytest.approx(value, abs=tolerance), (row, column)


def test_completion_helps_most_in_the_holes(subset: tuple[Path, Evaluation]) -> None:
    found = subset[1]
    assert mean(found, "fill", "psnr_holes") > mean(found, "render", "psnr_holes") + 6
    assert mean(found, "fill", "dino") < 0.7 * mean(found, "render", "dino")
    assert mean(found, "fill", "flicker") < mean(found, "render", "flicker")


def test_the_report_is_written_with_players(subset: tuple[Path, Evaluation]) -> None:
    out, found = subset
    assert read_evaluation(out / "report.json") == found
    assert "fill" in (out / "report.md").read_text() and (out / "report.html").exists()
    shown = [entry for entry in found.entries if entry.media]
    assert {entry.clip for entry in shown} == {"scene 000"}
    assert all((out / file).exists() for entry in shown for file in entry.media.values())


def test_wider_paths_have_more_holes(subset: tuple[Path, Evaluation]) -> None:
    holes = {m.group["range"]: m.mean for m in summarize(subset[1], ["range"])
             if m.column == "holes" and m.row == "fill"}  # fmt: skip
    assert holes["20"] < holes["40"]


SMALL = replace(SUBSET, scenes=2, ranges=(20,), frames=3, size=(48, 80), shown=0)


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate_synthetic4d(tmp_path, SMALL)
    log = tmp_path / "entries.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:4]) + lines[4][:20])
    made: list[str] = []
    score = synthetic4d.score_methods

    def counted(*args: Any, **options: Any) -> list[Entry]:
        entries = score(*args, **options)
        made.extend(entry.row for entry in entries)
        return entries

    monkeypatch.setattr(synthetic4d, "score_methods", counted)
    found = evaluate_synthetic4d(tmp_path, SMALL)
    assert len(made) == len(lines) - 4
    assert {e.key for e in found.entries} == {e.key for e in whole.entries}


def test_a_failing_scene_is_told_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = synthetic4d.cases

    def fails(scene: str, settings: Synthetic4D) -> Iterator[tuple[Case, Depth]]:
        if scene == "scene 000":
            raise RuntimeError("no such scene")
        return make(scene, settings)

    monkeypatch.setattr(synthetic4d, "cases", fails)
    found = evaluate_synthetic4d(tmp_path, SMALL)
    assert [e.error for e in found.entries if e.error] == ["RuntimeError: no such scene"]
    assert {e.clip for e in found.entries if not e.error} == {"scene 001"}


def test_cases_are_the_same_each_time() -> None:
    small = replace(SUBSET, ranges=(10, 60), frames=3, size=(48, 80))
    for (a, depth_a), (b, depth_b) in zip(
        cases("scene 001", small), cases("scene 001", small), strict=True
    ):
        assert torch.equal(a.truth.frames, b.truth.frames) and torch.equal(depth_a.z, depth_b.z)
        assert torch.equal(a.cameras.world_to_camera, b.cameras.world_to_camera)


@pytest.mark.parametrize("name", list(NAMED)[:2])
def test_named_scenes_move_their_source_and_not_their_targets(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One ray a pixel: neither cameras nor depth depend on how smooth the colors are.
    monkeypatch.setattr(RayScene, "render", partialmethod(RayScene.render, samples=1))
    both = list(cases(name, SUBSET))
    assert len(both) == 2
    for case, depth in both:
        assert depth.z.shape[2:] == (192, 320)
        assert (case.source.centers[-1] - case.source.centers[0]).norm() > 0.3
        assert (case.cameras.world_to_camera - case.cameras.world_to_camera[:1]).abs().max() == 0
        assert case.visible is not None and 0.3 < case.visible.float().mean() < 0.95


def test_a_taken_folder_and_other_settings_are_refused(subset: tuple[Path, Evaluation]) -> None:
    out = subset[0]
    with pytest.raises(ValueError, match="not empty"):
        evaluate(SUBSET, out)
    with pytest.raises(ValueError, match="ranges was"):
        evaluate(replace(SUBSET, ranges=(10,)), out, resume=True)
    again = evaluate(replace(SUBSET, workers=1), out, resume=True)
    assert len(again.entries) == len(subset[1].entries)
    assert json.loads((out / "settings.json").read_text())["benchmark"] == "Synthetic4D"
