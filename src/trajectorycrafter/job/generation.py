"""From a shot to finished frames: the classical fill, or a diffusion model in windows.

The one thing a reader would get wrong: the released model makes at most 49 frames at once. A longer
clip is made window after window; each takes over the last frames of the one before as known pixels,
so that what was invented once stays. The embedded model starts from the fill, which is the same in
every window, and its windows are cross-faded.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..config.redirect import (
    EMBEDDED_SHORT_SIDE,
    OVERLAP,
    PROMPT_SUFFIX,
    WINDOW,
    GeneratorSettings,
    RedirectSettings,
)
from ..rendering.blending import blend
from ..rendering.completion import fill
from ..rendering.memory import other_moments
from ..rendering.render import Render
from ..rendering.shot import Shot
from ..runtime.stages import Stages
from ..runtime.weights import locate
from ..video.clip import Video

if TYPE_CHECKING:
    from ..model.sampling import DenoisingState


EMBEDDED_WINDOW, EMBEDDED_OVERLAP = 13, 4
"""Frames of a window of the embedded model, as in its training, and those that two share."""
EMBEDDED_MOMENTS = 6
"""Other moments whose points it is shown."""
EMBEDDED_REFERENCE = 9
"""Source frames that it looks at in a window."""


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
        ValueError: a model that this version does not have.
        FileNotFoundError: weights that cannot be found or downloaded.
    """
    generator = settings.generator
    if generator.family == "fill":
        return fill_shot
    if generator.family == "embedded":
        from ..model.embedded import WEIGHTS, load_cached

        folder = WEIGHTS if generator.model == "embedded" else Path(generator.model)
        return EmbeddedGenerator(load_cached(folder, device), generator)
    return DiffusionGenerator.load(settings, device, dtype)


def check_model(settings: RedirectSettings) -> None:
    """Checks before long work that the weights of the model can be found.

    Raises:
        ValueError, FileNotFoundError: as `load_generator`.
    """
    model, weights = settings.generator.model, settings.machine.weights
    if settings.generator.family == "embedded":
        from ..model.embedded import WEIGHTS, check_weights

        check_weights(WEIGHTS if model == "embedded" else Path(model))
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
    return stages.run("generate", lambda: fill(shot)), None


@dataclass
class EmbeddedGenerator:
    """The small model inside the package: the fill, and what a network adds to it."""

    model: Callable[..., Tensor]
    """An `EmbeddedModel`, or anything with its signature."""
    settings: GeneratorSettings
    short_side: int = EMBEDDED_SHORT_SIDE

    def __call__(self, shot: Shot, stages: Stages) -> tuple[Tensor, None]:
        filled = stages.run("fill", lambda: fill(shot))
        frames = stages.run("generate", lambda: self._complete(shot, filled))
        return frames, None

    def _complete(self, shot: Shot, filled: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "T 3 H W"]:
        view, size = shot.view, self._working_size(*filled.shape[2:])
        memory = _memory(shot, size)
        seen = view.visible.to(filled)
        share = _resized(seen, size)
        small = {
            "filled": _resized(filled, size),
            "render": _resized(view.frames * seen, size) / share.clamp(min=1e-3),
            "memory": memory.frames,
        }
        small = {name: frames.clamp(0, 1) * 2 - 1 for name, frames in small.items()}
        masks = {"visible": share > 0.5, "memory_visible": memory.visible}
        change = torch.zeros_like(small["filled"])
        before = 0
        for number, window in enumerate(windows(len(filled), EMBEDDED_WINDOW, EMBEDDED_OVERLAP)):
            part = slice(window.start, window.stop)
            made = self._window(
                {name: x[part][None] for name, x in (small | masks).items()}, shot, window, number
            )
            added = made - small["filled"][part]
            shared = before - window.start if number else 0
            ramp = torch.linspace(0, 1, shared + 2)[1:-1, None, None, None].to(added)
            change[part][:shared] = torch.lerp(change[part][:shared], added[:shared], ramp)
            change[part][shared:] = added[shared:]
            before = window.stop
        full = F.interpolate(change / 2, filled.shape[2:], mode="bicubic")
        made = (filled + full).clamp(0, 1)
        return blend(made, view.frames, view.visible) if self.settings.blends else made

    def _window(
        self, parts: dict[str, Tensor], shot: Shot, window: range, number: int
    ) -> Float[Tensor, "T 3 h w"]:
        from ..model.codec import Pictures

        height, width = parts["filled"].shape[3:]
        shown = shot.trajectory.source_frame[window.start : window.stop].unique()
        shown = shown[:EMBEDDED_REFERENCE]
        reference = _resized(shot.video.frames[shown.to(shot.video.frames.device)], (height, width))
        return self.model(
            Pictures(**parts),
            reference.clamp(0, 1)[None] * 2 - 1,
            steps=self.settings.denoising_steps,
            generator=torch.Generator().manual_seed(self.settings.seed + number),
        )[0]

    def _working_size(self, height: int, width: int) -> tuple[int, int]:
        from ..model.embedded import MULTIPLE

        scale = min(1.0, self.short_side / min(height, width))
        sides = [max(MULTIPLE, round(n * scale / MULTIPLE) * MULTIPLE) for n in (height, width)]
        return sides[0], sides[1]


def _memory(shot: Shot, size: tuple[int, int]) -> Render:
    """What the source saw at other moments, in the size asked for; all holes if there are none."""
    if len(shot.cloud) > 1:
        cameras = shot.cameras.resized(*size)
        return other_moments(shot.cloud, cameras, EMBEDDED_MOMENTS, shot.trajectory.source_frame)
    nothing = torch.zeros(len(shot.view), 1, *size, device=shot.view.frames.device)
    return Render(nothing.expand(-1, 3, -1, -1), nothing, nothing > 0)


def _resized(x: Float[Tensor, "T C H W"], size: tuple[int, int]) -> Float[Tensor, "T C h w"]:
    return F.interpolate(x, size, mode="bilinear", antialias=True)


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

    pipeline: Callable[..., Any]
    """A `TrajectoryCrafterPipeline`, or anything with its signature."""
    captioner: Callable[[], Callable[[Video], str]]
    """Makes the captioner; called only when no prompt is given."""
    settings: GeneratorSettings
    multiple: int = 16
    """Sides must be multiples of this: autoencoder factor times patch size."""

    @classmethod
    def load(
        cls, settings: RedirectSettings, device: torch.device, dtype: torch.dtype
    ) -> "DiffusionGenerator":
        """The released assembly by name `5b`, or a folder or hub id in diffusers' layout."""
        from ..model.captioning import load_captioner
        from ..model.checkpoints import load_pipeline

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

        def captioner() -> Callable[[Video], str]:
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
                "generate",
                lambda: self._window(shot, window, number, prompt, finished, stages.folder),  # noqa: B023
                window=number,
                file=f"window_{number:03d}.safetensors",
                save=lambda frames, path: save_file({"frames": frames.contiguous()}, path),
                load=lambda path: load_file(path)["frames"],
            )
        assert finished is not None
        if self.settings.blends:
            finished = blend(finished, shot.view.frames, shot.view.visible)
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
            shown = shot.trajectory.source_frame[window.start : window.stop].unique()
            reference = shown[: len(reference)]
        if len(reference) in (2, 3):  # the released autoencoder cannot encode 2 or 3 frames
            reference = reference[:1]
        seen = shot.video.frames[reference]
        if seen.shape[2:] != part.frames.shape[2:]:  # the released way has two sizes
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
            num_inference_steps=settings.denoising_steps,
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
    from ..model.sampling import DenoisingState

    return DenoisingState.load(path)
