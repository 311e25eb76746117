"""What the video shows, in words.

The one thing a reader would get wrong: a caption is what is seen and nothing more. The quality
words that the released system joins to it are added where the prompt is built, in the model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from ..runtime import weights
from ..runtime.plugins import load_plugin, unknown_name
from ..video.clip import Video

NAMES = {
    "blip2": "BLIP-2 looks at the middle frame",
    "fixed:WORDS": "always these words",
    "module:attribute": "a callable of your own that takes a Video and returns words",
}
"""What `load_captioner` understands."""


@runtime_checkable
class Captioner(Protocol):
    """Anything that says what a video shows."""

    def __call__(self, video: Video) -> str: ...


@dataclass(frozen=True)
class FixedCaption:
    """Says the same of every video."""

    text: str

    def __call__(self, video: Video) -> str:
        return self.text


@dataclass(frozen=True)
class Blip2Captioner:
    """BLIP-2 on the middle frame, greedy, at most 20 tokens, as released."""

    image_processor: Any
    tokenizer: Any
    model: Any

    @classmethod
    def load(
        cls,
        place: str | Path,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "Blip2Captioner":
        """Load from a folder or hub id.

        Raises:
            OSError: If a file is missing there.
        """
        # The PIL class by name, since the automatic choice wants torchvision.
        from transformers import AutoTokenizer, Blip2ForConditionalGeneration, BlipImageProcessorPil

        model: Any = Blip2ForConditionalGeneration.from_pretrained(
            place, dtype=dtype, use_safetensors=True
        )
        return cls(
            image_processor=BlipImageProcessorPil.from_pretrained(place),
            tokenizer=AutoTokenizer.from_pretrained(place),
            model=model.to(device).eval(),
        )

    @torch.no_grad()
    def __call__(self, video: Video) -> str:
        """The caption of the frame at half the clip's length."""
        # Truncated, not rounded, as the released system turns frames into images.
        image = (video.frames[len(video) // 2] * 255).to(torch.uint8)
        pixels = self.image_processor(images=image.numpy(), return_tensors="pt").pixel_values
        pixels = pixels.to(self.model.device, self.model.dtype)
        ids = self.model.generate(pixel_values=pixels, max_new_tokens=20, do_sample=False)
        return self.tokenizer.batch_decode(ids, skip_special_tokens=True)[0].strip()


def load_captioner(
    name: str,
    *,
    weights_dir: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Captioner:
    """The captioner of that name.

    Args:
        name: "blip2"; "fixed:" and a caption; or "module:attribute" for one of your own, which is
            taken as it is.
        weights_dir: Folder with the released repositories; None takes them from the hub cache.

    Raises:
        ValueError: If nothing is called so.
        FileNotFoundError: If the weights are missing; says where and how to get them.
    """
    if name == "blip2":
        return Blip2Captioner.load(
            weights.fetch("blip2-opt-2.7b", weights_dir), dtype=dtype, device=device
        )
    kind, _, rest = name.partition(":")
    if kind == "fixed":
        return FixedCaption(rest)
    if not rest:
        raise ValueError(unknown_name(name, "captioner", NAMES))
    return load_plugin(name, "captioner", NAMES)
