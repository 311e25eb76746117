"""Captioners by name, and what BLIP-2 is shown."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from trajectorycrafter.model.captioning import Blip2Captioner, FixedCaption, load_captioner
from trajectorycrafter.video.clip import Video


def ramp(frames: int) -> Video:
    """Frame i is grey i/10 plus almost one 8-bit step."""
    grey = torch.arange(frames).float() / 10 + 0.9 / 255
    return Video(grey[:, None, None, None].expand(-1, 3, 4, 6).contiguous(), fps=8.0)


class Spy:
    """Stands where BLIP-2's three parts would, and keeps what it is given."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self) -> None:
        self.image = np.zeros(0)
        self.options: dict[str, Any] = {}

    def __call__(self, images: np.ndarray, return_tensors: str) -> SimpleNamespace:
        self.image = images
        return SimpleNamespace(pixel_values=torch.zeros(1, 3, 2, 2))

    def generate(self, **options: Any) -> torch.Tensor:
        self.options = options
        return torch.zeros(1, 3, dtype=torch.long)

    def batch_decode(self, ids: torch.Tensor, skip_special_tokens: bool) -> list[str]:
        assert skip_special_tokens
        return [" a dog \n"]


@pytest.mark.parametrize(("frames", "middle"), [(9, 4), (8, 4), (1, 0), (2, 1)])
def test_blip2_sees_the_middle_frame_truncated_to_8_bits(frames: int, middle: int) -> None:
    spy = Spy()
    assert Blip2Captioner(spy, spy, spy)(ramp(frames)) == "a dog"
    assert spy.image.shape == (3, 4, 6)
    assert spy.image.dtype == "uint8"
    assert (spy.image == int(middle / 10 * 255 + 0.9)).all()
    assert spy.options["max_new_tokens"] == 20
    assert spy.options["do_sample"] is False


def test_fixed_caption_by_name() -> None:
    assert load_captioner("fixed:a dog: running") == FixedCaption("a dog: running")
    assert load_captioner("fixed:")(ramp(3)) == ""


def test_a_captioner_of_ones_own_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("my_captions")
    vars(module)["frames"] = lambda video: f"{len(video)} frames"
    monkeypatch.setitem(sys.modules, "my_captions", module)
    assert load_captioner("my_captions:frames")(ramp(3)) == "3 frames"


def test_unknown_names_say_what_is_expected() -> None:
    with pytest.raises(ValueError, match=r"Unknown captioner 'blip'. Did you mean blip2"):
        load_captioner("blip")
    with pytest.raises(ValueError, match=r"'math' has no 'caption'; expected a captioner"):
        load_captioner("math:caption")
    with pytest.raises(ValueError, match=r"captioner 'no_such:x'.*No module 'no_such'"):
        load_captioner("no_such:x")


def test_missing_weights_say_where_and_how(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"hf download Salesforce/blip2-opt-2.7b"):
        load_captioner("blip2", weights_dir=tmp_path)
