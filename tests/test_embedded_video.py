"""The embedded model on small random weights, and the generator that brings shots into its form."""

import copy
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_generation import shot

from trajectorycrafter.config.redirect import GeneratorSettings, RedirectSettings
from trajectorycrafter.job.generation import EmbeddedGenerator, check_model, load_generator
from trajectorycrafter.model import embedded
from trajectorycrafter.model.codec import Pictures, RenderDecoder, SpaceToDepthCodec
from trajectorycrafter.model.embedded import EmbeddedModel
from trajectorycrafter.model.transformer import DualStreamTransformer
from trajectorycrafter.rendering.completion import fill
from trajectorycrafter.runtime.stages import Stages

CHANNELS = 8
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> EmbeddedModel:
    torch.manual_seed(0)
    transformer = DualStreamTransformer(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=CHANNELS + 2 * (CHANNELS + 1),
        out_channels=CHANNELS,
        time_embed_dim=16,
        text_embed_dim=8,
        num_layers=2,
        max_text_seq_length=1,
        use_rotary_positional_embeddings=True,
        cross_attn_in_channels=CHANNELS,
        cross_attn_dim_head=16,
        cross_attn_num_heads=2,
    )
    decoder = RenderDecoder(CHANNELS, widths=(8, 8), depth=(1, 1))
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return EmbeddedModel(transformer.eval(), SpaceToDepthCodec(CHANNELS), decoder.eval())


def pictures(frames: int = 9, height: int = 32, width: int = 48) -> Pictures:
    g = torch.Generator().manual_seed(2)
    parts = [torch.rand(1, frames, 3, height, width, generator=g) * 2 - 1 for _ in range(3)]
    masks = [torch.rand(1, frames, 1, height, width, generator=g) > 0.4 for _ in range(2)]
    return Pictures(parts[0], parts[1], masks[0], parts[2], masks[1])


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def test_frames_are_made_from_every_condition(model: EmbeddedModel) -> None:
    given = pictures()
    reference = torch.rand(1, 5, 3, 32, 48) * 2 - 1
    made = model(given, reference, generator=seeded())
    assert made.shape == given.filled.shape
    assert made.abs().max() <= 1
    torch.testing.assert_close(model(given, reference, generator=seeded()), made)
    others = {
        "reference": model(given, -reference, generator=seeded()),
        "no reference": model(given, None, generator=seeded()),
        "steps": model(given, reference, steps=3, generator=seeded()),
        "noise": model(given, reference, generator=torch.Generator().manual_seed(6)),
    }
    for field in fields(Pictures):
        value = getattr(given, field.name)
        changed = replace(given, **{field.name: ~value if value.dtype == torch.bool else -value})
        others[field.name] = model(changed, reference, generator=seeded())
    same = [name for name, other in others.items() if torch.allclose(other, made, atol=1e-6)]
    assert not same


def test_weights_come_back_from_half_precision(model: EmbeddedModel, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="transformer"):
        EmbeddedModel.load(tmp_path)
    model.transformer.save_pretrained(tmp_path / "transformer")
    model.codec.save_pretrained(tmp_path / "codec")
    plain = EmbeddedModel.load(tmp_path)(pictures(), None, generator=seeded())
    assert model.decoder is not None
    copy.deepcopy(model.decoder).half().save_pretrained(tmp_path / "decoder")
    made = EmbeddedModel.load(tmp_path)(pictures(), None, generator=seeded())
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, model(pictures(), None, generator=seeded()), atol=2e-3, rtol=0)
    assert (plain - made).abs().max() > 0.01
    assert GeneratorSettings(model=str(tmp_path)).family == "embedded"
    load = RedirectSettings(generator=GeneratorSettings(model=str(tmp_path)))
    check_model(load)
    assert isinstance(load_generator(load, CPU, torch.float32), EmbeddedGenerator)


class Recorder:
    """Adds a tenth to the fill, and keeps what it was given."""

    def __init__(self) -> None:
        self.calls = []

    def __call__(self, pictures: Pictures, reference: torch.Tensor, **call: Any) -> torch.Tensor:
        self.calls.append(SimpleNamespace(pictures=pictures, reference=reference, **call))
        return pictures.filled + 0.2


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    yield Recorder()


def test_long_clips_are_made_in_windows(recorder: Recorder) -> None:
    given = shot(30, 32, 48)
    settings = GeneratorSettings(model="embedded", blend="off", steps=2, seed=7)
    frames, prompt = EmbeddedGenerator(recorder, settings)(given, Stages())
    assert prompt is None
    assert [call.pictures.filled.shape[1] for call in recorder.calls] == [13, 13, 13]
    assert all(call.steps == 2 for call in recorder.calls)
    filled = fill(given)
    torch.testing.assert_close(frames, (filled + 0.1).clamp(0, 1), atol=1e-5, rtol=0)


def test_true_pixels_stay_unless_told_otherwise(recorder: Recorder) -> None:
    given = shot(5, 32, 48)
    visible = torch.ones_like(given.view.visible)
    visible[..., 30:] = False
    given = replace(given, view=replace(given.view, frames=given.video.frames, visible=visible))
    kept, _ = EmbeddedGenerator(recorder, GeneratorSettings(model="embedded"))(given, Stages())
    inside = (..., slice(None), slice(0, 26))
    torch.testing.assert_close(kept[inside], given.video.frames[inside], atol=1e-3, rtol=0)
    bare = GeneratorSettings(model="embedded", blend="off")
    frames, _ = EmbeddedGenerator(recorder, bare)(given, Stages())
    assert (frames[inside] - given.video.frames[inside]).mean() > 0.05


def test_large_frames_are_worked_on_small(recorder: Recorder) -> None:
    given = shot(4, 64, 100)
    settings = GeneratorSettings(model="embedded")
    frames, _ = EmbeddedGenerator(recorder, settings, short_side=32)(given, Stages())
    assert frames.shape == given.view.frames.shape
    (call,) = recorder.calls
    assert call.pictures.filled.shape == (1, 4, 3, 32, 48)
    assert call.pictures.memory.shape == (1, 4, 3, 32, 48)
    assert call.reference.shape == (1, 4, 3, 32, 48)
    assert call.pictures.memory_visible.any()


def test_a_single_picture_has_no_other_moments(recorder: Recorder) -> None:
    EmbeddedGenerator(recorder, GeneratorSettings(model="embedded"))(shot(1, 32, 48), Stages())
    assert not recorder.calls[0].pictures.memory_visible.any()


def test_missing_weights_are_told_before_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = RedirectSettings(generator=GeneratorSettings(model="embedded"))
    monkeypatch.setattr(embedded, "WEIGHTS", tmp_path)
    with pytest.raises(FileNotFoundError, match="scripts/embedded_video"):
        check_model(settings)


def test_the_shipped_model_completes_a_shot() -> None:
    settings = RedirectSettings(generator=GeneratorSettings(model="embedded"))
    check_model(settings)
    made, _ = load_generator(settings, CPU, torch.float32)(shot(5, 32, 48), Stages())
    assert made.shape == (5, 3, 32, 48)
    assert made.isfinite().all()
    assert made.min() >= 0 and made.max() <= 1
