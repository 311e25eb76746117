"""Many clips: each on its own, whatever befalls the others, and again from where it stopped."""

import importlib
import json
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Clip

from trajectorycrafter.config.redirect import (
    CameraSettings,
    ClipSettings,
    DepthSettings,
    GeneratorSettings,
    MachineSettings,
    RedirectSettings,
)
from trajectorycrafter.geometry.cameras import intrinsics, static_cameras
from trajectorycrafter.job import batch
from trajectorycrafter.job.batch import BatchResult, redirect_all
from trajectorycrafter.job.manifest import Job
from trajectorycrafter.lab.evaluation.batches import blank_entries, evaluate_manifest, read_truth
from trajectorycrafter.lab.evaluation.cameras import Recovered
from trajectorycrafter.lab.evaluation.records import read_evaluation
from trajectorycrafter.video.clip import Video


def quiet(line: str) -> None:
    pass


def common(clip: Clip, **camera: Any) -> RedirectSettings:
    return RedirectSettings(
        clip=ClipSettings(size=(64, 96)),
        camera=CameraSettings(**camera),
        depth=DepthSettings(depth=f"file:{clip.depth_path}"),
        machine=MachineSettings(device="cpu"),
    )


def manifest(clip: Clip, folder: Path, *lines: str, columns: str = "clip,trajectory") -> Path:
    path = folder / "clips.csv"
    text = "\n".join(line.replace("CLIP", str(clip.path)) for line in lines)
    path.write_text(f"{columns}\n{text}\n")
    return path


def truncated(clip: Clip, folder: Path) -> Path:
    path = folder / "bad.mp4"
    path.write_bytes(clip.path.read_bytes()[:300])
    return path


def stand(out: Path) -> dict[str, str]:
    return {job["name"]: job["status"] for job in json.loads(out.read_text())["jobs"]}


def test_a_bad_clip_is_recorded_and_the_rest_goes_on(clip: Clip, tmp_path: Path) -> None:
    bad, out, said = truncated(clip, tmp_path), tmp_path / "out", []
    path = manifest(clip, tmp_path, "CLIP,orbit-right", f"{bad},orbit-right", "CLIP,0 -5 0.1 0 0")
    result = redirect_all(path, out, common(clip), say=said.append)
    assert [record.status for record in result.records] == ["done", "failed", "done"]
    assert [record.name for record in result.failed] == ["bad-orbit-right"]
    assert "bad.mp4" in (result.failed[0].error or "")
    written = json.loads((out / "batch.json").read_text())
    assert written["counts"] == {"done": 2, "failed": 1}
    assert "bad.mp4" in written["jobs"][1]["error"]
    assert written["jobs"][0]["seconds"] > 0
    for name, kind in (("clip-orbit-right", "camera"), ("clip-0_-5_0.1_0_0", "target")):
        assert (out / name / "video.mp4").exists()
        run = json.loads((out / name / "run.json").read_text())
        assert run["settings"]["camera"][kind] is not None
    assert not (out / "bad-orbit-right").exists()
    assert said[0].startswith("3 clips: 0 done before, 3 to do")
    assert said[1].startswith("clip-orbit-right: done in ")
    assert any(line.startswith("bad-orbit-right: failed in 0 s: ") for line in said)
    assert said[-1].startswith("2 done, 1 failed")

    # The clip is repaired: only it is made.
    bad.write_bytes(clip.path.read_bytes())
    before = (out / "clip-orbit-right" / "video.mp4").stat().st_mtime_ns
    again = redirect_all(path, out, common(clip), resume=True, say=said.append)
    assert (len(again.done), again.made) == (3, {"bad-orbit-right"})
    assert (out / "clip-orbit-right" / "video.mp4").stat().st_mtime_ns == before
    assert stand(out / "batch.json") == dict.fromkeys([r.name for r in again.records], "done")


def test_other_settings_are_another_batch(clip: Clip, tmp_path: Path) -> None:
    out, columns = tmp_path / "out", "clip,trajectory,name"

    def make(*, resume: bool = False, overwrite: bool = False) -> BatchResult:
        return redirect_all(
            path,
            out,
            common(clip),
            render_only=True,
            resume=resume,
            overwrite=overwrite,
            say=quiet,
        )

    path = manifest(clip, tmp_path, "CLIP,spiral,one", columns=columns)
    make()
    assert not (out / "one" / "video.mp4").exists()
    with pytest.raises(ValueError, match="--resume to go on"):
        make()
    path = manifest(clip, tmp_path, "CLIP,spiral:3,one", columns=columns)
    refused = make(resume=True)
    assert "camera.amount was None and is 3.0" in (refused.failed[0].error or "")
    assert (out / "one" / "render.mp4").exists()
    assert make(resume=True, overwrite=True).made == {"one"}
    assert make(resume=True, overwrite=True).made == set()
    (out / "one" / "render.mp4").unlink()
    assert make(resume=True).made == {"one"}
    assert make(overwrite=True).made == {"one"}


def test_what_no_clip_can_have_is_told_before_any_work(clip: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = manifest(clip, tmp_path, "CLIP,spiral", "CLIP,")
    with pytest.raises(ValueError, match="No trajectory in line 3"):
        redirect_all(path, out, common(clip), say=quiet)
    wrong = RedirectSettings(
        depth=DepthSettings(depth="embeded"), camera=CameraSettings(camera="spiral")
    )
    with pytest.raises(ValueError, match="embedded"):
        redirect_all(path, out, wrong, say=quiet)
    wrong = RedirectSettings(
        generator=GeneratorSettings(model="./none"), camera=CameraSettings(camera="spiral")
    )
    with pytest.raises(FileNotFoundError, match="none"):
        redirect_all(path, out, wrong, say=quiet)
    with pytest.raises(ValueError, match="at least 1 worker"):
        redirect_all(path, out, common(clip, camera="spiral"), workers=0, say=quiet)
    with pytest.raises(ValueError, match="nothing to resume"):
        redirect_all(path, out, common(clip, camera="spiral"), resume=True, say=quiet)
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(ValueError, match="is a file"):
        redirect_all(path, out, common(clip, camera="spiral"), say=quiet)


def test_ctrl_c_is_recorded(clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: object, **kwargs: object):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "redirect", stop)
    path = manifest(clip, tmp_path, "CLIP,spiral", "CLIP,arc")
    with pytest.raises(KeyboardInterrupt):
        redirect_all(path, tmp_path / "out", common(clip), say=quiet)
    assert list(stand(tmp_path / "out" / "batch.json").values()) == ["stopped", "waiting"]


def test_a_killed_batch_goes_on_where_it_was(clip: Clip, tmp_path: Path) -> None:
    path = manifest(clip, tmp_path, "CLIP,spiral", "CLIP,arc", "CLIP,orbit-up", "CLIP,dolly-in")
    out, script = tmp_path / "out", tmp_path / "main.py"
    script.write_text(
        textwrap.dedent(f"""
        from trajectorycrafter.job.batch import redirect_all
        from trajectorycrafter.config.redirect import *
        settings = RedirectSettings(
            clip=ClipSettings(size=(64, 96)),
            depth=DepthSettings(depth={f"file:{clip.depth_path}"!r}),
            machine=MachineSettings(device="cpu"),
        )
        if __name__ == "__main__":
            redirect_all({str(path)!r}, {str(out)!r}, settings, workers=2, render_only=True)
        """)
    )
    process = subprocess.Popen([sys.executable, script])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:  # until one is done and the next has begun
        states = list(stand(out / "batch.json").values()) if (out / "batch.json").exists() else []
        if "done" in states and len([*out.glob("*/run.json")]) > states.count("done"):
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = stand(out / "batch.json")
    assert "running" in killed.values() and "done" in killed.values(), killed
    done = [name for name, status in killed.items() if status == "done"]
    before = {name: (out / name / "render.mp4").stat().st_mtime_ns for name in done}
    time.sleep(0.3)  # workers end with their parent, within a moment
    result = redirect_all(path, out, common(clip), resume=True, render_only=True, say=quiet)
    assert [record.status for record in result.records] == ["done"] * 4
    assert not result.made & set(done)
    assert before == {name: (out / name / "render.mp4").stat().st_mtime_ns for name in done}
    assert not list(out.rglob("*partial*")) and not list(out.rglob(".stages"))


def test_two_workers_make_the_same_and_a_deadly_clip_fails_alone(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly.py").write_text(
        "import os\ndef depth(video):\n    os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)  # spawned workers inherit it
    lines = ["CLIP,spiral,,lives", f"{truncated(clip, tmp_path)},spiral,,damaged"]
    columns = "clip,trajectory,depth,name"
    path = manifest(clip, tmp_path, *lines, columns=columns)
    alone = redirect_all(path, tmp_path / "a", common(clip), render_only=True, say=quiet)
    path = manifest(clip, tmp_path, *lines, "CLIP,spiral,deadly:depth,dies", columns=columns)
    both = redirect_all(path, tmp_path / "b", common(clip), render_only=True, workers=2, say=quiet)
    assert [r.status for r in both.records] == ["done", "failed", "failed"]
    assert [r.error for r in both.records[:2]] == [r.error for r in alone.records]
    assert "worker died at dies (SIGKILL" in (both.records[2].error or "")
    first, second = (tmp_path / x / "lives" / "render.mp4" for x in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_models_are_loaded_once_for_all_clips_that_share_them(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counting.py").write_text(
        "loads = []\n"
        "class Estimator:\n"
        "    def __init__(self):\n"
        "        from trajectorycrafter.depth.from_file import read_depth\n"
        "        loads.append(self)\n"
        f"        self.depth = read_depth({str(clip.depth_path)!r})\n"
        "    def __call__(self, video):\n"
        "        return self.depth\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    lines = ["CLIP,spiral,", f"CLIP,arc,file:{clip.depth_path}", "CLIP,arc,", "CLIP,static,"]
    path = manifest(clip, tmp_path, *lines, columns="clip,trajectory,depth")
    shared = replace(common(clip), depth=DepthSettings(depth="counting:Estimator"))
    made = redirect_all(path, tmp_path / "out", shared, render_only=True, say=quiet)
    assert len(made.done) == 4
    assert len(importlib.import_module("counting").loads) == 2  # line 2 came between
    plain = manifest(clip, tmp_path, "CLIP,static", columns="clip,trajectory")
    redirect_all(plain, tmp_path / "plain", common(clip), render_only=True, say=quiet)
    one, other = (tmp_path / o / "clip-static" / "render.mp4" for o in ("out", "plain"))
    assert one.read_bytes() == other.read_bytes()


# Scores ------------------------------------------------------------------------------------------


def still(video: Video, K: torch.Tensor | None) -> Recovered:
    """A recovery that sees no camera move."""
    lens = intrinsics(100.0, video.height, video.width, len(video)) if K is None else K
    cameras = static_cameras(lens, video.height, video.width)
    return Recovered(cameras, torch.ones(len(video), dtype=torch.bool))


def test_a_manifest_is_scored_and_what_fails_is_told(clip: Clip, tmp_path: Path) -> None:
    bad, out, said = truncated(clip, tmp_path), tmp_path / "out", []
    path = manifest(
        clip,
        tmp_path,
        "CLIP,static,CLIP,,",
        "CLIP,orbit-right:10,,,",
        "CLIP,static,CLIP,CLIP,copy",
        f"{bad},static,CLIP,,",
        f"CLIP,static,{bad},CLIP,no truth",
        columns="clip,trajectory,target,result,row",
    )
    options: dict[str, Any] = {"metrics": ["psnr", "ssim"], "camera_recovery": "test_batch:still"}
    found = evaluate_manifest(path, out, common(clip), say=said.append, **options)
    made, turned, copy, failed, no_truth = found.entries
    assert (made.row, made.clip, made.group) == ("fill", "clip", {"trajectory": "static"})
    # The camera stands still, so the made video is the source, but for H.264.
    assert made.values["psnr"] > 28
    assert made.values["psnr_seen"] > 28
    run = json.loads((out / "runs" / "clip-static" / "run.json").read_text())
    assert made.values["holes"] == pytest.approx(sum(run["holes"]) / 9)
    assert made.values["seconds"] > 0 and made.values["peak_gb"] > 0.05
    assert "psnr" not in turned.values
    assert turned.values["holes"] > made.values["holes"]
    assert turned.values["cameras_found"] == 1
    # 0 to 10 degrees in nine even steps, found as none: 5 on average.
    assert turned.values["rot_err_mean_deg"] == pytest.approx(5, abs=1e-3)
    assert copy.key[1:] == made.key[1:]
    assert copy.values["psnr"] == 100.0
    assert copy.values["rot_err_mean_deg"] == pytest.approx(0, abs=1e-3)
    assert "seconds" not in copy.values and "ate" not in copy.values
    for entry in (failed, no_truth):
        assert "bad.mp4" in (entry.error or "") and not entry.values
    for entry in (made, copy):
        assert set(entry.media) == {"source", "truth", "result", "difference"}
        assert all((out / file).exists() for file in entry.media.values())
    read = read_evaluation(out / "report.json")
    assert [entry.key for entry in read.entries] == [entry.key for entry in found.entries]
    assert read.about["metrics"] == ["psnr", "ssim"]
    assert (out / "report.html").exists() and (out / "runs" / "batch.json").exists()
    with pytest.raises(ValueError, match="not empty"):
        evaluate_manifest(path, out, common(clip), say=quiet, **options)

    # Repaired and resumed: what was scored is not scored again.
    bad.write_bytes(clip.path.read_bytes())
    lines = len((out / "entries.jsonl").read_text().splitlines())
    again = evaluate_manifest(path, out, common(clip), resume=True, say=said.append, **options)
    assert all(entry.error is None for entry in again.entries)
    assert again.entries[:3] == found.entries[:3]
    assert len((out / "entries.jsonl").read_text().splitlines()) == lines + 2
    assert said[-1].startswith("scores of ") and said[-1].endswith(": done")
    options["metrics"] = ["ssim"]
    with pytest.raises(ValueError, match="metrics was"):
        evaluate_manifest(path, out, common(clip), resume=True, say=quiet, **options)


def test_wrong_names_are_told_before_any_work(clip: Clip, tmp_path: Path) -> None:
    path = manifest(clip, tmp_path, "CLIP,spiral")
    with pytest.raises(ValueError, match="Did you mean psnr"):
        evaluate_manifest(path, tmp_path / "out", metrics=["psrn"], say=quiet)
    with pytest.raises(ValueError, match="colmap"):
        evaluate_manifest(path, tmp_path / "out", camera_recovery="colmab", say=quiet)
    assert not (tmp_path / "out").exists()


def test_no_two_lines_share_an_entry() -> None:
    jobs = [
        Job(Path("/a/x.mp4"), "1", preset="spiral"),
        Job(Path("/b/x.mp4"), "2", preset="spiral"),
        Job(Path("/a/x.mp4"), "3", preset="spiral", prompt="another"),
        Job(Path("/a/x.mp4"), "4", preset="spiral", result=Path("/r.mp4"), row="GCD"),
        Job(Path("/a/x.mp4"), "5", result=Path("/r.mp4")),
    ]
    entries = blank_entries(jobs, RedirectSettings())
    assert [(e.row, e.clip) for e in entries.values()] == [
        ("fill", "x"),
        ("fill", "x (2)"),
        ("fill", "x: 3"),
        ("GCD", "x"),
        ("result", "x"),
    ]
    assert entries["5"].group == {"trajectory": "not given"}
    assert len({entry.key for entry in entries.values()}) == 5


def test_the_truth_is_read_as_the_source_was(clip: Clip) -> None:
    made = Video(torch.zeros(3, 3, 32, 48), 24.0)
    chosen = RedirectSettings(clip=ClipSettings(start=2, stride=3))
    small = read_truth(clip.path, made, chosen).frames
    wanted = torch.nn.functional.interpolate(clip.video.frames[2::3], (32, 48), mode="area")
    assert (small - wanted).abs().mean() < 0.03
    assert (small - wanted.roll(1, 0)).abs().mean() > (small - wanted).abs().mean() * 2
    whole = Video(torch.zeros(9, 3, 64, 96), 24.0)
    assert torch.equal(read_truth(clip.path, whole, chosen).frames, Video.read(clip.path).frames)
    with pytest.raises(ValueError, match="9"):
        read_truth(clip.path, Video(torch.zeros(8, 3, 32, 48), 24.0), chosen)
