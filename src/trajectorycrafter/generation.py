"""From a shot to finished frames: the classical fill, or the diffusion model in windows.

The one thing a reader would get wrong: the model makes at most 49 frames at once. A longer clip is
made window after window; each takes over the last frames of the one before as known pixels, so that
what was invented once stays.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from .config import OVERLAP, PROMPT_SUFFIX, WINDOW, GeneratorSettings, RedirectSettings
from .released import locate
from .rendering.filling import fill
from .shot import Shot
from .stages import Stages

if TYPE_CHECKING:
    from .model.sampling import DenoisingState


_NO_EMBEDDED = (
    "This version ships no embedded video model; use --model fill, which needs no weights, or "
    "--model 5b, which loads the released ones."
)


@runtime_checkable
class Generator(Protocol):
    """Completes a render."""

    def __call__(self, shot: Shot, stages: Stages) -> tuple[Float[Tensor, "T 3 H W"], str | None]:
        """Finished frames in [0, 1], and the prompt that was used (None if none was)."""
        ...


def load_generator(
    settings: RedirectSettings, device: torch.device, dtype: torch.dtype
) -> Generator:
    """The generator of `settings.generator.model`: fill, embedded, 5b, a folder or a hub id.

    Raises:
        ValueError: a model that this version has not got.
        FileNotFoundError: weights that cannot be found or downloaded.
    """
    model = settings.generator.model
    if model == "fill":
        return fill_shot
    if model == "embedded":
        raise ValueError(_NO_EMBEDDED)
    return DiffusionGenerator.load(settings, device, dtype)


def check_model(settings: RedirectSettings) -> None:
    """Say before long work begins if the model's weights are not to be had.

    Raises:
        ValueError, FileNotFoundError: as `load_generator`.
    """
    model, weights = settings.generator.model, settings.machine.weights
    if model == "embedded":
        raise ValueError(_NO_EMBEDDED)
    if model == "5b" and weights is not None:
        for name in ("TrajectoryCrafter", "CogVideoX-Fun-V1.1-5b-InP"):
            locate(name, weights)
        if settings.generator.prompt is None and settings.generator.captioner == "blip2":
            locate("blip2-opt-2.7b", weights)
    looks_like_path = model.startswith((".", "/", "~")) or model.count("/") > 1
    if looks_like_path and not Path(model).expanduser().is_dir():
        raise FileNotFoundError(f"--model {model}: no such folder.")


def fill_shot(shot: Shot, stages: Stages) -> tuple[Tensor, None]:
    """Classical completion: points of other frames, then a smooth fill."""
    frames = stages.run(
        "generate",
        lambda: fill(shot.view, shot.cloud, shot.source, shot.cameras, shot.source_frame),
    )
    return frames, None


def windows(frames: int, size: int = WINDOW, overlap: int = OVERLAP) -> list[range]:
    """Overlapping pieces of at most `size` frames that cover the clip; the last ends with it.

    Raises:
        ValueError: unless 0 <= overlap < size.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"Expected 0 <= overlap < size; got overlap {overlap} and size {size}.")
    if frames <= size:
        return [range(frames)]
    starts = [*range(0, frames - size, size - overlap), frames - size]
    return [range(start, start + size) for start in starts]


def padded_length(frames: int) -> int:
    """The next length 8k+1, at least 9: its latent count is odd, so that it decodes whole."""
    return max(9, (frames - 1 + 7) // 8 * 8 + 1)


def pad_to(x: Float[Tensor, "T C H W"], frames: int, multiple: int) -> Float[Tensor, "t C h w"]:
    """Repeat the last frame up to `frames` and the borders up to a multiple, at the end each."""
    _, _, height, width = x.shape
    pad = (0, -width % multiple, 0, -height % multiple, 0, frames - len(x))
    flat = F.pad(x.transpose(0, 1)[None], pad, mode="replicate")
    return flat[0].transpose(0, 1)


@dataclass
class DiffusionGenerator:
    """The dual-stream diffusion model (paper Sec. 3.3), text and reference included."""

    pipeline: Callable
    """A `TrajectoryCrafterPipeline`, or anything with its signature."""
    captioner: Callable[[], Callable]
    """Makes the captioner; called only when no prompt is given."""
    settings: GeneratorSettings
    multiple: int = 16
    """Sides must be multiples of this: autoencoder factor times patch size."""

    @classmethod
    def load(
        cls, settings: RedirectSettings, device: torch.device, dtype: torch.dtype
    ) -> "DiffusionGenerator":
        """The released assembly by name `5b`, or a folder or hub id in diffusers' layout."""
        from .captioning import load_captioner
        from .model.checkpoints import load_pipeline

        machine, generator = settings.machine, settings.generator
        offload = "none" if device.type == "cpu" else machine.offload
        pipeline = load_pipeline(
            generator.model,
            weights_dir=machine.weights,
            sampler=generator.sampler,
            dtype=dtype,
            device="cpu" if offload == "group" else device,
            offload=offload == "model",
            rotary=generator.rotary,
        )
        if offload == "group":
            pipeline.enable_group_offload(device, offload_type="leaf_level")
        if machine.tiling:
            pipeline.vae.enable_tiling()
            pipeline.vae.enable_slicing()

        def captioner() -> Callable:
            return load_captioner(
                generator.captioner, weights_dir=machine.weights, dtype=dtype, device=device
            )

        return cls(pipeline, captioner, generator)

    def __call__(self, shot: Shot, stages: Stages) -> tuple[Tensor, str]:
        prompt = self.settings.prompt
        if prompt is None:
            prompt = stages.run(
                "caption",
                lambda: self.captioner()(shot.video),
                file="caption.txt",
                save=lambda words, path: path.write_text(words),
                load=lambda path: path.read_text(),
            )
        finished = None
        for number, window in enumerate(windows(len(shot.view))):
            finished = stages.run(
                "generate" if number == 0 else f"generate, window {number + 1}",
                lambda: self._window(shot, window, number, prompt, finished, stages.folder),  # noqa: B023
                file=f"window_{number:03d}.safetensors",
                save=lambda frames, path: save_file({"frames": frames.contiguous()}, path),
                load=lambda path: load_file(path)["frames"],
            )
        assert finished is not None
        return finished, prompt

    def _window(
        self,
        shot: Shot,
        window: range,
        number: int,
        prompt: str,
        before: Tensor | None,
        folder: Path | None,
    ) -> Float[Tensor, "T 3 H W"]:
        """All frames up to the end of this window, `before` being those up to the last one's."""
        part = shot.view[window.start : window.stop]
        known = 0 if before is None else len(before) - window.start
        if before is not None:
            part = replace(
                part,
                frames=torch.cat([before[window.start :], part.frames[known:]]),
                visible=torch.cat([torch.ones_like(part.visible[:known]), part.visible[known:]]),
            )
        reference = shot.reference_frames
        if number > 0:
            # A later window looks at the source frames it shows; the first ones may be long gone.
            shown = shot.source_frame[window.start : window.stop].unique()
            reference = shown[: len(reference)]
        if len(reference) in (2, 3):  # the released autoencoder cannot encode 2 or 3 frames
            reference = reference[:1]
        seen = shot.video.frames[reference]
        if seen.shape[2:] != part.frames.shape[2:]:  # parity mode works at two sizes
            seen = F.interpolate(seen, part.frames.shape[2:], mode="bilinear")
        made = self._generate(part.frames, part.visible, seen, prompt, number, folder)
        if before is None:
            return made
        ramp = torch.linspace(0, 1, known + 2)[1:-1, None, None, None]
        seam = before[window.start :] * (1 - ramp) + made[:known] * ramp
        return torch.cat([before[: window.start], seam, made[known:]])

    def _generate(
        self,
        frames: Float[Tensor, "T 3 H W"],
        visible: Bool[Tensor, "T 1 H W"],
        reference: Float[Tensor, "R 3 h w"],
        prompt: str,
        number: int,
        folder: Path | None,
    ) -> Float[Tensor, "T 3 H W"]:
        """One window through the model, padded to a size it takes and cut back."""
        (count, _, height, width), long = frames.shape, padded_length(len(frames))
        settings = self.settings
        state = None if folder is None else folder / f"denoising_{number:03d}.pt"
        result = self.pipeline(
            render=pad_to(frames, long, self.multiple),
            visible=pad_to(visible.float(), long, self.multiple) > 0.5,
            reference=pad_to(reference, len(reference), self.multiple),
            prompt=prompt + PROMPT_SUFFIX,
            negative_prompt=settings.negative_prompt,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            generator=torch.Generator().manual_seed(settings.seed + number),
            resume=_earlier(state),
            on_step=None if state is None else lambda reached: reached.save(state),
        )
        return result.frames[:count, :, :height, :width]


def _earlier(path: Path | None) -> "DenoisingState | None":
    """Where a stopped run's denoising stood, if it had begun."""
    if path is None or not path.exists():
        return None
    from .model.sampling import DenoisingState

    return DenoisingState.load(path)


def parity_size() -> tuple[int, int]:
    """Height and width at which the released system generates."""
    return 384, 672
