"""Windows, padding, resume of the diffusion generator; the pipeline here records its calls."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NoReturn

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trajectorycrafter.config.redirect import PROMPT_SUFFIX, GeneratorSettings
from trajectorycrafter.geometry.cameras import intrinsics, static_cameras
from trajectorycrafter.geometry.trajectories import Trajectory
from trajectorycrafter.job.generation import (
    DiffusionGenerator,
    pad_to,
    padded_length,
    windows,
)
from trajectorycrafter.rendering.point_cloud import lift
from trajectorycrafter.rendering.render import Render
from trajectorycrafter.rendering.shot import Shot
from trajectorycrafter.runtime.stages import Stages
from trajectorycrafter.video.clip import Depth, Video


def shot(frames: int, height: int = 20, width: int = 36, references: int = 5) -> Shot:
    generator = torch.Generator().manual_seed(frames)
    video = Video(torch.rand(frames, 3, height, width, generator=generator), 10.0)
    depth = Depth.of(torch.full((frames, 1, height, width), 2.0))
    source = static_cameras(intrinsics(30.0, height, width, frames), height, width)
    visible = torch.rand(frames, 1, height, width, generator=generator) > 0.3
    return Shot(
        video=video,
        depth=depth,
        source=source,
        cloud=lift(video, depth, source),
        trajectory=Trajectory.static(frames),
        cameras=source,
        view=Render(video.frames * visible, depth.z * visible, visible),
        reference_frames=torch.arange(references),
    )


class Recorder:
    """Returns the render with 0.5 in the holes, and keeps what it was asked."""

    def __init__(self) -> None:
        self.calls = []

    def __call__(self, **call: Any) -> SimpleNamespace:
        self.calls.append(SimpleNamespace(**call))
        frames = torch.where(call["visible"], call["render"], torch.tensor(0.5))
        return SimpleNamespace(frames=frames)


def generator(pipeline: Recorder, **settings: Any) -> DiffusionGenerator:
    return DiffusionGenerator(
        pipeline, lambda: lambda video: "a cat", GeneratorSettings(**settings)
    )


@given(st.integers(1, 400), st.integers(2, 60), st.data())
def test_windows_cover_the_clip_and_overlap(frames: int, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    pieces = windows(frames, size, overlap)
    assert pieces[0].start == 0
    assert pieces[-1].stop == frames
    assert all(len(piece) == min(size, frames) for piece in pieces)
    for before, after in zip(pieces, pieces[1:]):
        assert before.start < after.start <= before.stop - overlap


def test_windows_refuse_an_overlap_that_never_advances() -> None:
    with pytest.raises(ValueError, match="overlap < size"):
        windows(100, 10, 10)


@given(st.integers(1, 500))
def test_padded_lengths_have_an_odd_latent_count(frames: int) -> None:
    length = padded_length(frames)
    assert length >= frames
    assert length - frames < 9
    assert ((length - 1) // 4 + 1) % 2 == 1


def test_padding_repeats_the_end() -> None:
    x = torch.rand(3, 2, 5, 6)
    padded = pad_to(x, 9, 4)
    assert padded.shape == (9, 2, 8, 8)
    assert torch.equal(padded[:3, :, :5, :6], x)
    assert torch.equal(padded[8, :, 7, 7], x[2, :, 4, 5])


def test_any_size_and_length_reaches_the_model_in_a_form_it_takes() -> None:
    pipeline, one = Recorder(), shot(12)
    frames, prompt = generator(pipeline)(one, Stages())
    call = pipeline.calls[0]
    assert call.render.shape == (17, 3, 32, 48)
    assert call.visible.shape == (17, 1, 32, 48)
    assert call.reference.shape == (5, 3, 32, 48)
    assert call.prompt == "a cat" + PROMPT_SUFFIX
    assert prompt == "a cat"
    assert torch.equal(frames, torch.where(one.view.visible, one.view.frames, torch.tensor(0.5)))


def test_a_given_prompt_calls_no_captioner() -> None:
    def never() -> NoReturn:
        raise AssertionError("captioner was loaded")

    maker = DiffusionGenerator(Recorder(), never, GeneratorSettings(prompt="a dog"))
    assert maker(shot(9), Stages())[1] == "a dog"


def test_a_long_clip_keeps_what_the_window_before_invented() -> None:
    pipeline, long = Recorder(), shot(100)
    frames, _ = generator(pipeline)(long, Stages())
    assert frames.shape == (100, 3, 20, 36)
    assert len(pipeline.calls) == 3
    second = pipeline.calls[1]
    assert second.visible[:9, :, :20, :36].all()
    # The seam is a cross-fade of equal frames, which rounds.
    assert torch.allclose(second.render[:9, :, :20, :36], frames[40:49], atol=1e-6)
    assert not second.visible[9:, :, :20, :36].all()
    # Its reference shows the frames of its own part of the clip, not the first of the clip.
    assert torch.equal(second.reference[0, :, :20, :36], long.video.frames[40])


def test_a_killed_run_takes_up_after_the_last_window(tmp_path: Path) -> None:
    long, whole = shot(100), Recorder()
    expected, _ = generator(whole)(long, Stages())

    class Killed(Recorder):
        def __call__(self, **call: Any) -> SimpleNamespace:
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().__call__(**call)

    with pytest.raises(KeyboardInterrupt):
        generator(Killed())(long, Stages(tmp_path))
    rest = Recorder()
    frames, _ = generator(rest)(long, Stages(tmp_path))
    assert len(rest.calls) == 1
    assert torch.equal(frames, expected)


def test_true_pixels_are_kept_where_that_is_asked_for() -> None:
    one = shot(9)
    visible = torch.ones_like(one.view.visible)
    visible[..., 20:] = False
    one = replace(one, view=Render(one.video.frames, one.depth.z, visible))

    def invert(**call: Any) -> SimpleNamespace:
        return SimpleNamespace(frames=1 - call["render"])

    def made(blend: Literal["auto", "on", "off"]) -> torch.Tensor:
        how = DiffusionGenerator(invert, lambda: lambda v: "", GeneratorSettings(blend=blend))
        return how(one, Stages())[0]

    inside = (..., slice(None), slice(0, 16))
    torch.testing.assert_close(made("on")[inside], one.video.frames[inside], atol=1e-3, rtol=0)
    torch.testing.assert_close(made("auto"), 1 - one.video.frames)
    assert torch.equal(made("off"), made("auto"))


def test_a_very_short_clip_gives_one_reference_frame() -> None:
    pipeline = Recorder()
    generator(pipeline)(replace(shot(9), reference_frames=torch.arange(3)), Stages())
    assert len(pipeline.calls[0].reference) == 1


def test_the_reference_comes_at_the_size_of_the_render() -> None:
    pipeline, one = Recorder(), shot(9)
    larger = Video(torch.rand(9, 3, 40, 72), 10.0)
    generator(pipeline)(replace(one, video=larger), Stages())
    assert pipeline.calls[0].reference.shape == (5, 3, 32, 48)
