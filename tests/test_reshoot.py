"""The job as users meet it: through the command line, good input and bad."""

import json
import re
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from conftest import Clip

from trajectorycrafter import cli, redirect
from trajectorycrafter.config.redirect import (
    CameraSettings,
    ClipSettings,
    DepthSettings,
    RedirectSettings,
)
from trajectorycrafter.geometry.presets import preset
from trajectorycrafter.geometry.trajectory_files import write_trajectory
from trajectorycrafter.job.reshoot import OUTPUTS, default_size, make_trajectory
from trajectorycrafter.rendering.shot import Shot
from trajectorycrafter.runtime.stages import Stages
from trajectorycrafter.video.clip import Depth, Video
from trajectorycrafter.video.reading import DEMO_CLIP, clip_path, probe
from trajectorycrafter.video.sound import Sound


def arguments(clip: Clip, out: Path, *more: str, camera: str | None = "orbit-right") -> list[str]:
    path = [] if camera is None else ["--camera", camera]
    depth = ["--depth", f"file:{clip.depth_path}", "--size", "64", "96", "--device", "cpu"]
    return ["redirect", str(clip.path), "--out", str(out), *path, *depth, *more]


def left_behind(out: Path) -> list[str]:
    """Files that are neither whole outputs nor the record of what was going on."""
    if not out.is_dir():
        return []
    whole = {*OUTPUTS}
    found = (p for p in out.rglob("*") if p.is_file())
    return [p.name for p in found if p.name not in whole or "partial" in p.name]


def test_redirect_writes_everything(
    clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.run(arguments(clip, out)) == 0
    said = capsys.readouterr().out
    assert "plan: 9 frames of 96x64" in said
    assert "holes:" in said
    assert sorted(p.name for p in out.iterdir()) == sorted(OUTPUTS)
    for name in ("video.mp4", "render.mp4", "mask.mp4", "depth.mp4"):
        info = probe(out / name)
        assert (info.frames, info.height, info.width) == (9, 64, 96)
    assert probe(out / "comparison.mp4").width >= 3 * 96
    run = json.loads((out / "run.json").read_text())
    assert run["status"] == "done"
    assert run["settings"]["camera"]["camera"] == "orbit-right"
    assert run["stages"]["depth"]["seconds"] >= 0
    assert run["stages"]["generate"]["peak_gb"] > 0
    assert len(run["holes"]) == 9
    assert run["holes"][0] < 0.1 < run["holes"][-1]


def test_the_result_keeps_what_was_seen_and_fills_the_rest(clip: Clip, tmp_path: Path) -> None:
    assert cli.run(arguments(clip, tmp_path / "out")) == 0
    video = Video.read(tmp_path / "out" / "video.mp4")
    # Output frame 0 is the source camera: it must show the source (H.264 costs a little).
    error = (video.frames[0] - clip.video.frames[0]).square().mean().sqrt()
    assert error < 0.04
    render = Video.read(tmp_path / "out" / "render.mp4").frames[-1]
    seen = Video.read(tmp_path / "out" / "mask.mp4").frames[-1].mean(0) > 0.5
    assert (video.frames[-1] - render).abs().mean(0)[seen].mean() < 0.04
    assert video.frames[-1].mean(0)[~seen].mean() > 0.1  # not left black


def test_same_seed_same_result(clip: Clip, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert cli.run(arguments(clip, tmp_path / name)) == 0
    first, second = ((tmp_path / name / "video.mp4").read_bytes() for name in ("a", "b"))
    assert first == second


def test_render_stops_before_the_generator(clip: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli.run(["render", *arguments(clip, out)[1:]]) == 0
    assert not (out / "video.mp4").exists()
    assert (out / "render.mp4").exists()
    assert json.loads((out / "run.json").read_text())["status"] == "done"


def test_a_run_repeats_from_the_trajectory_it_wrote(clip: Clip, tmp_path: Path) -> None:
    assert cli.run(arguments(clip, tmp_path / "a")) == 0
    path = ["--trajectory", str(tmp_path / "a" / "trajectory.json")]
    assert cli.run(arguments(clip, tmp_path / "b", *path, camera=None)) == 0
    first, second = (Video.read(tmp_path / n / "video.mp4").frames for n in ("a", "b"))
    assert (first - second).abs().max() < 0.02


@pytest.mark.parametrize("name", ["dolly-in", "bullet", "dolly-zoom", "static", "spiral"])
def test_presets_run(clip: Clip, tmp_path: Path, name: str) -> None:
    assert cli.run(arguments(clip, tmp_path / "out", camera=name)) == 0


def test_sound_follows_where_time_runs_as_in_the_clip(
    clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone = tmp_path / "tone.wav"
    with wave.open(str(tone), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((8000 * np.sin(np.arange(32_000))).astype("<i2").tobytes())
    talk = clip.video.write(tmp_path / "talk.mp4", sound=Sound(tone, 0))
    for camera, heard in (("orbit-right", True), ("bullet", False)):
        out = tmp_path / camera
        command = arguments(replace(clip, path=talk), out, camera=camera)
        assert cli.run(["render", *command[1:]]) == 0
        assert probe(out / "render.mp4").has_audio == heard
        assert not probe(out / "mask.mp4").has_audio
        assert ("the sound is left out" in capsys.readouterr().out) != heard


def test_parity_mode_works_at_the_released_sizes(clip: Clip, tmp_path: Path) -> None:
    z = torch.nn.functional.interpolate(clip.depth.z[:2], (576, 1024))
    np.savez(tmp_path / "depth.npz", z=z.numpy())
    more = ["--parity", "--frames", "2", "--depth", f"file:{tmp_path / 'depth.npz'}"]
    assert cli.run(arguments(clip, tmp_path / "out", *more)) == 0
    info = probe(tmp_path / "out" / "video.mp4")
    assert (info.height, info.width) == (384, 672)


def test_a_still_picture_is_shown_for_a_whole_window(clip: Clip, tmp_path: Path) -> None:
    Video(clip.video.frames[:1], 24.0).write(tmp_path / "still")
    picture = next((tmp_path / "still").iterdir())
    np.savez(tmp_path / "depth.npz", z=clip.depth.z[:1].numpy())
    moved = Clip(clip.video, clip.depth, clip.cameras, picture, tmp_path / "depth.npz")
    assert cli.run(arguments(moved, tmp_path / "out", camera="dolly-in")) == 0
    assert probe(tmp_path / "out" / "video.mp4").frames == 49


def test_portrait_and_odd_clips_keep_their_shape() -> None:
    assert default_size(1080, 1920) == (384, 672)
    assert default_size(1920, 1080) == (672, 384)
    assert default_size(719, 1281) == (384, 672)
    tall = default_size(1280, 590)
    assert tall[0] % 16 == tall[1] % 16 == 0
    assert tall[0] / tall[1] == pytest.approx(1280 / 590, rel=0.05)


# Bad input ---------------------------------------------------------------------------------------


def no_file(clip: Clip, tmp: Path) -> tuple[list[str], str]:
    args = arguments(clip, tmp / "out")
    args[1] = str(tmp / "nowhere.mp4")
    return args, "nowhere.mp4"


Case = Callable[[Clip, Path], tuple[list[str], str]]
"""Writes a bad clip or depth into a folder; gives the arguments and what the message says."""


def file_of(content: bytes) -> Case:
    def case(clip: Clip, tmp: Path) -> tuple[list[str], str]:
        (tmp / "bad.mp4").write_bytes(content)
        args = arguments(clip, tmp / "out")
        args[1] = str(tmp / "bad.mp4")
        return args, "bad.mp4"

    return case


def truncated(clip: Clip, tmp: Path) -> tuple[list[str], str]:
    return file_of(clip.path.read_bytes()[:300])(clip, tmp)


def audio_only(clip: Clip, tmp: Path) -> tuple[list[str], str]:
    with av.open(str(tmp / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    args = arguments(clip, tmp / "out")
    args[1] = str(tmp / "sound.wav")
    return args, "video"


def tiny(clip: Clip, tmp: Path) -> tuple[list[str], str]:
    from PIL import Image

    Image.new("RGB", (1, 1)).save(tmp / "tiny.png")
    args = arguments(clip, tmp / "out")
    args[1] = str(tmp / "tiny.png")
    return args, "1x1"


def empty_folder(clip: Clip, tmp: Path) -> tuple[list[str], str]:
    (tmp / "images").mkdir()
    args = arguments(clip, tmp / "out")
    args[1] = str(tmp / "images")
    return args, "images"


def depth_with(change: Callable[[dict[str, np.ndarray]], str]) -> Case:
    def case(clip: Clip, tmp: Path) -> tuple[list[str], str]:
        z = clip.depth.z.clone()
        arrays: dict[str, Any] = {"z": z.numpy(), "K": clip.cameras.K.numpy().copy()}
        expected = change(arrays)
        np.savez(tmp / "depth.npz", **arrays)
        args = arguments(clip, tmp / "out")
        args[args.index("--depth") + 1] = f"file:{tmp / 'depth.npz'}"
        return args, expected

    return case


def all_nan(arrays: dict[str, np.ndarray]) -> str:
    arrays["z"][:] = np.nan
    return "depth"


def negative(arrays: dict[str, np.ndarray]) -> str:
    arrays["z"][:] = -1
    return "depth"


def zero(arrays: dict[str, np.ndarray]) -> str:
    arrays["z"][:] = 0
    return "depth"


def wrong_shape(arrays: dict[str, np.ndarray]) -> str:
    arrays["z"] = arrays["z"][:, :, :10, :10]
    return "10"


def wrong_count(arrays: dict[str, np.ndarray]) -> str:
    arrays["z"] = arrays["z"][:4]
    arrays["K"] = arrays["K"][:4]
    return "4"


def singular(arrays: dict[str, np.ndarray]) -> str:
    arrays["K"][:, 0, 0] = 0
    return "K"


def with_args(expected: str, *more: str, camera: str | None = "orbit-right") -> Case:
    def case(clip: Clip, tmp: Path) -> tuple[list[str], str]:
        return arguments(clip, tmp / "out", *more, camera=camera), expected

    return case


def text_path(text: str, expected: str) -> Case:
    def case(clip: Clip, tmp: Path) -> tuple[list[str], str]:
        (tmp / "path.txt").write_text(text)
        more = ("--trajectory", str(tmp / "path.txt"))
        return arguments(clip, tmp / "out", *more, camera=None), expected

    return case


def json_of_another_length(clip: Clip, tmp: Path) -> tuple[list[str], str]:
    document = {"format": "trajectorycrafter", "version": 1, "frames": "many"}
    (tmp / "path.json").write_text(json.dumps(document))
    more = ("--trajectory", str(tmp / "path.json"))
    return arguments(clip, tmp / "out", *more, camera=None), "path.json"


def out_is_a_file(clip: Clip, tmp: Path) -> tuple[list[str], str]:
    (tmp / "out").write_text("mine")
    return arguments(clip, tmp / "out"), "is a file"


def out_is_taken(clip: Clip, tmp: Path) -> tuple[list[str], str]:
    (tmp / "out").mkdir()
    (tmp / "out" / "run.json").write_text("{}")
    return arguments(clip, tmp / "out"), "--overwrite"


BAD = {
    "missing": no_file,
    "empty": file_of(b""),
    "corrupt": file_of(b"not a video at all" * 100),
    "truncated": truncated,
    "audio only": audio_only,
    "1x1": tiny,
    "folder without images": empty_folder,
    "depth NaN": depth_with(all_nan),
    "depth negative": depth_with(negative),
    "depth zero": depth_with(zero),
    "depth of another size": depth_with(wrong_shape),
    "depth of another length": depth_with(wrong_count),
    "singular K": depth_with(singular),
    "no depth file": with_args("no.npz", "--depth", "file:no.npz"),
    "unknown depth": with_args("did you mean|Did you mean", "--depth", "embeded"),
    "field of view": with_args("field of view", "--fov", "200"),
    "unknown preset": with_args("orbit-right", camera="orbit-rigth"),
    "no path": with_args("--camera PRESET", camera=None),
    "two paths": with_args("--camera and --target", "--target", "0", "1", "0", "0", "0"),
    "target NaN": with_args("finite", "--target", "0", "nan", "0", "0", "0", camera=None),
    "txt with NaN": text_path("0 nan 2\n0 1 2\n0 0 0\n", "path.txt"),
    "txt with two lines": text_path("0 1 2\n0 1 2\n", "path.txt"),
    "txt with words": text_path("0 one 2\n0 1 2\n0 0 0\n", "line 1"),
    "json without sense": json_of_another_length,
    "no trajectory file": with_args("gone.txt", "--trajectory", "gone.txt", camera=None),
    "odd size": with_args("even", "--size", "63", "97"),
    "start past the end": with_args("9", "--start", "90"),
    "bad stride": with_args("stride", "--stride", "0"),
    "negative radius": with_args("radius", "--radius", "-1"),
    "moment past the end": with_args("0..8", "--mode", "bullet", "--moment", "40"),
    "unknown source": with_args("colmap", "--source", "colmab"),
    "unknown model": with_args("nowhere/no-model|no-model", "--model", "./no-model"),
    "missing weights": with_args("TrajectoryCrafter", "--model", "5b", "--weights", "/nowhere"),
    "device": with_args("device|Device", "--device", "cuda"),
    "out is a file": out_is_a_file,
    "out is taken": out_is_taken,
    "nothing to resume": with_args("nothing to resume", "--resume"),
    "unknown flag": with_args("", "--no-such-flag"),
    "not a number": with_args("", "--frames", "many"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
def test_bad_input_is_told_clearly_and_leaves_nothing(
    clip: Clip, tmp_path: Path, case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    if case is BAD["device"] and torch.cuda.is_available():
        pytest.skip("this machine has the device")
    args, expected = case(clip, tmp_path)
    assert cli.run(args) == 2
    said = capsys.readouterr().err
    assert re.search(expected, said), said
    assert "Traceback" not in said
    assert left_behind(tmp_path / "out") == []
    assert not (tmp_path / "out" / "video.mp4").exists()


def test_a_taken_folder_is_replaced_when_asked_and_strangers_stay(
    clip: Clip, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    (out / "video.mp4").write_bytes(b"old")
    assert cli.run(arguments(clip, out, "--overwrite")) == 0
    assert (out / "mine.txt").read_text() == "keep"
    assert probe(out / "video.mp4").frames == 9


def test_an_earlier_result_stays_until_the_new_one_is_whole(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert cli.run(arguments(clip, out)) == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    def stop(*args: object, **kwargs: object):
        raise KeyboardInterrupt

    def broken(*args: object, **kwargs: object):
        raise ValueError("this clip cannot be used")

    for failure in (stop, broken):
        with monkeypatch.context() as patch:
            patch.setattr("trajectorycrafter.job.generation.fill", failure)
            assert cli.run(arguments(clip, out, "--overwrite", camera="dolly-in")) in (1, 2)
        assert {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()} == before
    # A render has fewer files; what is left of the earlier run goes when it is whole.
    args = ["render", *arguments(clip, out, "--overwrite", camera="dolly-in")[1:]]
    assert cli.run(args) == 0
    assert not (out / "video.mp4").exists()
    assert sorted(p.name for p in out.iterdir()) == sorted(
        set(OUTPUTS) - {"video.mp4", "comparison.mp4"}
    )


@pytest.mark.parametrize("which", ["clip", "depth", "trajectory", "folder", "linked"])
def test_what_a_run_reads_is_never_replaced(
    clip: Clip, tmp_path: Path, which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    args = arguments(clip, out, "--overwrite", camera=None if which == "trajectory" else "dolly-in")
    if which == "clip":
        read = out / "video.mp4"
        read.write_bytes(clip.path.read_bytes())
        args[1] = str(read)
    elif which == "linked":
        read = out / "video.mp4"
        read.symlink_to(clip.path)
        args[1] = str(read)
    elif which == "folder":
        read = clip.video.write(out / "frames") / "00000.png"
        args[1] = args[args.index("--out") + 1] = str(out / "frames")
    elif which == "depth":
        read = out / "depth.npz"
        read.write_bytes(clip.depth_path.read_bytes())
        args[args.index("--depth") + 1] = f"file:{read}"
    else:
        read = out / "trajectory.json"
        write_trajectory(preset("dolly-in", 9), read)
        args += ["--trajectory", str(read)]
    held = read.read_bytes()
    assert cli.run(args) == 2
    assert "would replace" in capsys.readouterr().err
    assert read.read_bytes() == held
    assert len(list(out.rglob("*"))) == (1 if which != "folder" else 10)


def test_demo_is_the_shipped_clip_and_a_folder_of_that_name_is_spelled_out(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clip.video.write(tmp_path / "demo")
    assert clip_path("demo") == DEMO_CLIP
    assert clip_path("./demo").resolve() == clip_path(Path("demo")).resolve() == tmp_path / "demo"
    args = arguments(clip, tmp_path / "out", "--frames", "9")
    args[1] = "./demo"
    assert cli.run(args) == 0
    assert len(list((tmp_path / "demo").iterdir())) == 9


def test_a_full_disk_leaves_no_half_file(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*args: object, **kwargs: object):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trajectorycrafter.job.reshoot.write_depth", full)
    assert cli.run(arguments(clip, tmp_path / "out")) == 1
    assert "No space left" in capsys.readouterr().err
    assert left_behind(tmp_path / "out") == []


def test_an_output_that_cannot_be_written_is_told_before_long_work(
    clip: Clip, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **kwargs: object):
        raise AssertionError("began to work")

    monkeypatch.setattr("trajectorycrafter.job.pipeline.lift", never)
    assert cli.run(arguments(clip, Path("/proc/no-such-place/out"))) == 2
    assert "/proc/no-such-place" in capsys.readouterr().err


def test_a_stopped_run_resumes_at_its_stage(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    def stop(*args: object, **kwargs: object):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("trajectorycrafter.job.generation.fill", stop)
        assert cli.run(arguments(clip, out)) == 1
    assert "--resume" in capsys.readouterr().err
    assert not (out / "video.mp4").exists()
    assert json.loads((out / ".partial" / "run.json").read_text())["status"] == "running"
    assert [p.name for p in out.iterdir()] == [".partial"]
    assert cli.run(arguments(clip, out)) == 2
    assert "was stopped. Use --resume" in capsys.readouterr().err

    # Another camera is another run: it is refused, and says what differs.
    assert cli.run(arguments(clip, out, "--resume", camera="dolly-in")) == 2
    assert "camera" in capsys.readouterr().err

    assert cli.run(arguments(clip, out, "--resume")) == 0
    assert "depth: taken from the earlier run" in capsys.readouterr().out
    assert cli.run(arguments(clip, tmp_path / "whole")) == 0
    assert (out / "video.mp4").read_bytes() == (tmp_path / "whole" / "video.mp4").read_bytes()
    assert sorted(p.name for p in out.iterdir()) == sorted(OUTPUTS)
    began = (out / "run.json").read_bytes()
    assert cli.run(arguments(clip, out, "--resume")) == 0
    assert "done before" in capsys.readouterr().out
    assert (out / "run.json").read_bytes() == began


def test_an_unforeseen_failure_is_one_line_and_code_1(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: object, **kwargs: object):
        raise RuntimeError("the sky fell")

    monkeypatch.setattr("trajectorycrafter.job.pipeline.lift", broken)
    assert cli.run(arguments(clip, tmp_path / "out")) == 1
    assert "failed: RuntimeError: the sky fell" in capsys.readouterr().err


def test_python_does_what_the_command_does(clip: Clip, tmp_path: Path) -> None:
    settings = RedirectSettings(
        clip=ClipSettings(size=(64, 96)),
        camera=CameraSettings(camera="orbit-right"),
        depth=DepthSettings(depth=f"file:{clip.depth_path}"),
    )
    written = redirect(clip.path, tmp_path / "python", settings, say=lambda line: None)
    assert cli.run(arguments(clip, tmp_path / "command")) == 0
    assert written.read_bytes() == (tmp_path / "command" / "video.mp4").read_bytes()


def test_path_settings_become_trajectories() -> None:
    path = make_trajectory(CameraSettings(target=(0.0, -30.0, 0.3, 0.0, 0.0)), 49)
    assert len(path) == 49
    assert float(path.azimuth_deg[-1]) == -30
    assert len(make_trajectory(CameraSettings(camera="static"), 1)) == 49
    held = make_trajectory(CameraSettings(camera="orbit-left", mode="bullet", moment=3), 9)
    assert held.source_frame.tolist() == [3] * 9


def test_own_estimators_and_generators_plug_in(clip: Clip) -> None:
    from trajectorycrafter import Trajectory, TrajectoryCrafter

    def estimator(video: Video) -> Depth:
        return clip.depth

    def generator(shot: Shot, stages: Stages):
        return shot.view.frames * 0 + 0.25, None

    crafter = TrajectoryCrafter(generator, estimator)
    result = crafter(clip.video, Trajectory.static(9))
    assert torch.equal(result.video.frames, torch.full_like(clip.video.frames, 0.25))
    assert result.shot.view.visible.float().mean() > 0.9


def test_doctor_reports(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.run(["doctor"]) == 0
    said = capsys.readouterr().out
    for word in ("torch", "fill: ready", "5b: weights", "orbit-right", "GFLOP/s"):
        assert word in said
    assert cli.run(["doctor", "--weights", str(tmp_path / "none")]) == 2


def test_help_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["redirect", "--help"]) == 0
    assert "--camera" in capsys.readouterr().out
