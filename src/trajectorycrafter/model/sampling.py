"""The pipeline: a render, a reference and a text in, the re-shot video out.

The one thing a reader would get wrong: one generator seeds everything, and the order of its draws
is part of the result: reference posterior, noise on the render, start noise, then whatever the
sampler draws. Latents stay float32 between steps, whatever the weights' type.
"""

import copy
import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
)
from diffusers.loaders.lora_pipeline import CogVideoXLoraLoaderMixin
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils import BaseOutput
from jaxtyping import Bool, Float
from torch import Tensor

from ..config.redirect import NEGATIVE_PROMPT
from ..rendering.render import Render
from ..runtime.files import whole
from .conditions import (
    Conditions,
    check_clip,
    draw_noise,
    reference_latents,
    render_latents,
    text_embeddings,
)

SAMPLERS = {
    "DDIM_Origin": DDIMScheduler,
    "DDIM_Cog": CogVideoXDDIMScheduler,
    "CogDPM": CogVideoXDPMScheduler,
    "DPM++": DPMSolverMultistepScheduler,
    "Euler": EulerDiscreteScheduler,
    "Euler A": EulerAncestralDiscreteScheduler,
    "PNDM": PNDMScheduler,
}
"""Samplers by the released names; the first is the released default."""


def load_sampler(name: str, config: Any) -> Any:
    """The named sampler with the noise schedule of `config`, a scheduler's configuration.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in SAMPLERS:
        raise ValueError(f"Expected a sampler of {', '.join(SAMPLERS)}, got {name!r}.")
    config, sampler = dict(config), SAMPLERS[name]
    known = inspect.signature(sampler.__init__).parameters
    if "snr_shift_scale" not in known and config.get("snr_shift_scale") == 1:
        # One means no shift; samplers that do not know the word would warn of it.
        del config["snr_shift_scale"]
    return sampler.from_config(config)


@dataclass(frozen=True)
class DenoisingState:
    """All that a killed run needs to go on exactly where it was after a step.

    The conditions are not part of it: give the same inputs and a generator of the same seed.
    """

    step: int
    """Model calls done."""
    latents: Float[Tensor, "1 f c h w"]
    """Latents after that step."""
    seed: int
    """The generator's initial seed."""
    generator_state: Tensor
    """The generator's state after that step."""
    scheduler: dict[str, Any]
    """What the sampler remembers of earlier steps."""
    clean_estimate: Float[Tensor, "1 f c h w"] | None
    """The last estimate of the noise-free latents, which CogDPM alone is handed back."""

    def save(self, path: str | Path) -> Path:
        """Write the state; the file appears under its name only when it is complete."""
        with whole(Path(path)) as partial:
            torch.save(asdict(self), partial)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> "DenoisingState":
        """Read a state that `save` wrote; runs no code of the file.

        Raises:
            FileNotFoundError: If there is no such file.
        """
        return cls(**torch.load(path, map_location="cpu", weights_only=True))


@dataclass
class TrajectoryCrafterOutput(BaseOutput):
    """What the pipeline gives back."""

    frames: Any
    """`T 3 H W` in [0, 1], float32 on the CPU ("pt"), the same as an array with channels last
    ("np"), or the scaled latents `1 f c h w` ("latent")."""


class TrajectoryCrafterPipeline(DiffusionPipeline, CogVideoXLoraLoaderMixin):
    """Encodes the conditions, denoises, decodes.

    Args:
        tokenizer: T5 tokenizer; None if embeddings are always given.
        text_encoder: T5 encoder; None likewise.
        vae: diffusers' CogVideoX autoencoder, or one with its interface.
        transformer: A `DualStreamTransformer`.
        scheduler: Any of `SAMPLERS`.
        encode_batch_frames: Frames that the autoencoder encodes at once. The released system takes
            4, diffusers 8, and since the normalization spans the batch the latents differ.
    """

    model_cpu_offload_seq = "text_encoder->transformer->vae"
    _optional_components = ["tokenizer", "text_encoder"]  # noqa: RUF012  # diffusers' API
    _callback_tensor_inputs = ["latents"]  # noqa: RUF012

    def __init__(
        self,
        tokenizer: Any,
        text_encoder: Any,
        vae: Any,
        transformer: Any,
        scheduler: Any,
        encode_batch_frames: int = 4,
    ) -> None:
        super().__init__()
        self.register_modules(
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            vae=vae,
            transformer=transformer,
            scheduler=scheduler,
        )
        self.register_to_config(encode_batch_frames=encode_batch_frames)
        vae.num_sample_frames_batch_size = encode_batch_frames
        self.set_progress_bar_config(desc="denoising", leave=False)
        self._current_timestep = None

    @property
    def current_timestep(self) -> Tensor | None:
        """The timestep being denoised, which some step caches ask for."""
        return self._current_timestep

    @torch.no_grad()
    def __call__(
        self,
        render: Render | Float[Tensor, "T 3 H W"],
        visible: Bool[Tensor, "_ 1 _ _"] | None = None,
        reference: Float[Tensor, "R 3 h w"] | None = None,
        prompt: str | None = None,
        negative_prompt: str = NEGATIVE_PROMPT,
        prompt_embeds: Float[Tensor, "1 _ _"] | None = None,
        negative_prompt_embeds: Float[Tensor, "1 _ _"] | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float = 6.0,
        generator: torch.Generator | None = None,
        latents: Float[Tensor, "1 f c lh lw"] | None = None,
        reference_posterior: str = "sample",
        resume: DenoisingState | None = None,
        on_step: Callable[[DenoisingState], object] | None = None,
        callback_on_step_end: Callable[..., dict[str, Any]] | None = None,
        output_type: str = "pt",
    ) -> TrajectoryCrafterOutput:
        """The video that the new camera would have seen.

        Args:
            render: What the new camera sees of the point cloud, [0, 1]; a `Render` brings its own
                `visible`.
            visible: True where a point landed.
            reference: Frames of the source video, [0, 1]; None leaves the reference out.
            prompt: What the video shows, quality words included (`config.redirect.PROMPT_SUFFIX`).
            guidance_scale: At 1 or below there is no second, negative pass.
            generator: Seeds everything; None draws a new seed.
            latents: Start noise instead of the generator's.
            resume: Go on after this state; inputs and generator seed must be those of its run.
            on_step: Called after every step with what `resume` takes.
            reference_posterior: "sample" as released, or "mode".
            callback_on_step_end: diffusers' own: called with pipeline, step, timestep and
                `{"latents": ...}`, may return other latents.
            output_type: "pt", "np" or "latent", see `TrajectoryCrafterOutput`.

        Raises:
            ValueError: If an input does not fit the model, or `resume` another run.
        """
        if isinstance(render, Render):
            render, visible = render.frames, render.visible
        if visible is None:
            raise ValueError("Expected visible beside render frames; or pass a Render.")
        generator = _seeded(generator)
        _check_choice("reference_posterior", reference_posterior, ("sample", "mode"))
        _check_choice("output_type", output_type, ("pt", "np", "latent"))
        given = {"prompt_embeds": prompt_embeds, "negative_prompt_embeds": negative_prompt_embeds}
        self._check(render, visible, reference, prompt, given, resume, generator)
        guided = guidance_scale > 1
        text = self._text(prompt, prompt_embeds, negative_prompt, negative_prompt_embeds, guided)
        conditions = self.encode(render, visible, reference, text, generator, reference_posterior)
        latents = self._start(conditions, latents, generator)
        latents = self.denoise(
            conditions,
            latents,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=generator,
            resume=resume,
            on_step=on_step,
            callback_on_step_end=callback_on_step_end,
        )
        frames = latents.cpu() if output_type == "latent" else self.decode(latents)
        self.maybe_free_model_hooks()
        if output_type == "np":
            return TrajectoryCrafterOutput(frames=frames.permute(0, 2, 3, 1).numpy())
        return TrajectoryCrafterOutput(frames=frames)

    @torch.no_grad()
    def encode(
        self,
        render: Float[Tensor, "T 3 H W"],
        visible: Bool[Tensor, "T 1 H W"],
        reference: Float[Tensor, "R 3 h w"] | None,
        text: Float[Tensor, "branches L e"],
        generator: torch.Generator | None,
        reference_posterior: str = "sample",
    ) -> Conditions:
        """Latents of render, visibility and reference, beside the text embeddings."""
        # An offloaded autoencoder says it is on the CPU, but comes to this device to encode.
        device = self._execution_device
        referred = noise = None
        if reference is not None and self.transformer.reference_kind != "none":
            reference = reference.to(device)
            referred = reference_latents(self.vae, reference, generator, reference_posterior)
        if self.transformer.config.add_noise_in_inpaint_model:
            noise = draw_noise(tuple(render.shape), generator, device)
        condition = render_latents(self.vae, render.to(device), visible.to(device), noise)
        return Conditions(text, condition, referred)

    @torch.no_grad()
    def denoise(
        self,
        conditions: Conditions,
        latents: Float[Tensor, "1 f c h w"],
        *,
        num_inference_steps: int = 50,
        guidance_scale: float = 6.0,
        generator: torch.Generator | None = None,
        resume: DenoisingState | None = None,
        on_step: Callable[[DenoisingState], object] | None = None,
        callback_on_step_end: Callable[..., dict[str, Any]] | None = None,
    ) -> Float[Tensor, "1 f c h w"]:
        """Denoise start noise of unit variance into clean, scaled latents.

        Guidance is on when the conditions hold a negative text beside the positive one. The
        reference is projected once, here.
        """
        device, dtype = self._execution_device, self.transformer.dtype
        generator = _seeded(generator)
        text = conditions.text.to(device, dtype)
        condition = conditions.condition_latents.to(device, dtype).expand(len(text), -1, -1, -1, -1)
        referred = conditions.reference_latents
        reference = (
            None
            if referred is None
            else self.transformer.project_reference(referred.to(device, dtype))
        )
        self.scheduler.set_timesteps(num_inference_steps, device=device)
        timesteps = self.scheduler.timesteps
        latents = latents.to(device, torch.float32) * self.scheduler.init_noise_sigma
        step, clean = 0, None
        if resume is not None:
            step, latents, clean = self._restore(resume, generator, device)
        bar: Any = self.progress_bar
        with bar(total=len(timesteps)) as progress:
            progress.update(step)
            for i in range(step, len(timesteps)):
                t = self._current_timestep = timesteps[i]
                scaled = self.scheduler.scale_model_input(latents, t).to(dtype)
                with self.transformer.cache_context("cond_uncond"):
                    velocity = self.transformer(
                        hidden_states=scaled.expand(len(text), -1, -1, -1, -1),
                        encoder_hidden_states=text,
                        timestep=t.expand(len(text)),
                        condition_latents=condition,
                        reference=reference,
                        return_dict=False,
                    )[0].float()
                if len(text) == 2:
                    negative, positive = velocity.chunk(2)
                    velocity = negative + guidance_scale * (positive - negative)
                latents, clean = self._scheduler_step(velocity, i, latents, clean, generator)
                if callback_on_step_end is not None:
                    changed = callback_on_step_end(self, i, t, {"latents": latents})
                    latents = (changed or {}).get("latents", latents)
                if on_step is not None:
                    on_step(self._state(i + 1, latents, clean, generator))
                progress.update()
        self._current_timestep = None
        return latents

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "1 f c h w"]) -> Float[Tensor, "T 3 H W"]:
        """Frames in [0, 1], float32 on the CPU, of scaled latents."""
        z = (latents / self.vae.config.scaling_factor).transpose(1, 2).to(self.vae.dtype)
        decoded = self.vae.decode(z).sample[0].transpose(0, 1)
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        # Tiles whose stride is no multiple of the autoencoder's factor come back too wide.
        assert decoded.shape[-1] == factor * z.shape[-1], decoded.shape
        return (decoded.float() / 2 + 0.5).clamp(0, 1).cpu()

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> Float[Tensor, "prompts L e"]:
        """Text embeddings of prompts, as many tokens as the transformer was trained with.

        Raises:
            ValueError: If the pipeline has no text encoder.
        """
        if self.text_encoder is None or self.tokenizer is None:
            raise ValueError(
                "Expected prompt_embeds, since this pipeline was loaded without a text encoder; "
                "load one or pass the embeddings."
            )
        tokens = self.transformer.config.max_text_seq_length
        return text_embeddings(
            self.tokenizer, self.text_encoder, prompts, tokens, self._execution_device
        )

    def _text(
        self,
        prompt: str | None,
        prompt_embeds: Tensor | None,
        negative_prompt: str,
        negative_prompt_embeds: Tensor | None,
        guided: bool,
    ) -> Float[Tensor, "branches L e"]:
        positive = self.embed([prompt or ""]) if prompt_embeds is None else prompt_embeds
        if not guided:
            return positive
        negative = (
            self.embed([negative_prompt])
            if negative_prompt_embeds is None
            else negative_prompt_embeds
        )
        return torch.cat([negative.to(positive), positive])

    def _start(
        self, conditions: Conditions, latents: Tensor | None, generator: torch.Generator
    ) -> Float[Tensor, "1 f c h w"]:
        _, f, _, h, w = conditions.condition_latents.shape
        shape = (1, f, self.transformer.config.out_channels, h, w)
        if latents is None:
            return draw_noise(shape, generator, self._execution_device)
        if tuple(latents.shape) != shape:
            raise ValueError(f"Expected start latents {list(shape)}, got {list(latents.shape)}.")
        return latents

    def _scheduler_step(
        self,
        velocity: Tensor,
        i: int,
        latents: Tensor,
        clean: Tensor | None,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor | None]:
        scheduler: Any = self.scheduler
        t, drawing = scheduler.timesteps[i], {"generator": generator}
        if isinstance(self.scheduler, CogVideoXDPMScheduler):
            before = scheduler.timesteps[i - 1] if i else None
            latents, clean = scheduler.step(
                velocity, clean, t, before, latents, **drawing, return_dict=False
            )
            return latents.float(), clean
        if "generator" not in inspect.signature(scheduler.step).parameters:
            drawing = {}
        return scheduler.step(velocity, t, latents, **drawing, return_dict=False)[0].float(), None

    def _state(
        self, step: int, latents: Tensor, clean: Tensor | None, generator: torch.Generator
    ) -> DenoisingState:
        kept = {k: v for k, v in vars(self.scheduler).items() if _storable(v)}
        return DenoisingState(
            step=step,
            latents=latents.clone(),
            seed=generator.initial_seed(),
            generator_state=generator.get_state(),
            scheduler=copy.deepcopy(kept),
            clean_estimate=None if clean is None else clean.clone(),
        )

    def _restore(
        self, state: DenoisingState, generator: torch.Generator, device: torch.device
    ) -> tuple[int, Tensor, Tensor | None]:
        if len(self.scheduler.timesteps) < state.step:
            raise ValueError(
                f"Expected a state of at most {len(self.scheduler.timesteps)} steps, got one after "
                f"step {state.step}; resume with the sampler and steps of its run."
            )
        generator.set_state(state.generator_state.cpu())
        rank = state.latents.ndim
        vars(self.scheduler).update(
            {k: _latents_to(device, v, rank) for k, v in copy.deepcopy(state.scheduler).items()}
        )
        clean = state.clean_estimate
        return state.step, state.latents.to(device), None if clean is None else clean.to(device)

    def _check(
        self,
        render: Tensor,
        visible: Tensor,
        reference: Tensor | None,
        prompt: str | None,
        given: dict[str, Tensor | None],
        resume: DenoisingState | None,
        generator: torch.Generator,
    ) -> None:
        if (prompt is None) == (given["prompt_embeds"] is None):
            raise ValueError("Expected either prompt or prompt_embeds, got both or neither.")
        vae, config = self.vae.config, self.transformer.config
        check_clip(
            render,
            visible,
            reference,
            multiple=2 ** (len(vae.block_out_channels) - 1) * config.patch_size,
            frame_period=2 * vae.temporal_compression_ratio,
        )
        if not config.use_rotary_positional_embeddings and len(render) > config.sample_frames:
            raise ValueError(
                f"Expected at most {config.sample_frames} frames, which is all that this model has "
                f"positions for, got {len(render)}; re-shoot longer clips in windows."
            )
        for name, embeds in given.items():
            if embeds is not None and embeds.shape[2] != config.text_embed_dim:
                raise ValueError(
                    f"Expected {name} of {config.text_embed_dim} channels, got {embeds.shape[2]}."
                )
        if resume is not None and resume.seed != generator.initial_seed():
            raise ValueError(
                f"Expected a generator of seed {resume.seed}, the run's own, to resume it exactly, "
                f"got seed {generator.initial_seed()}."
            )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"Expected {name} to be one of {', '.join(choices)}, got {value!r}.")


def _seeded(generator: torch.Generator | None) -> torch.Generator:
    if generator is None:
        generator = torch.Generator()
        generator.seed()
    return generator


def _storable(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_storable(item) for item in value)
    return value is None or isinstance(value, Tensor | bool | int | float)


def _latents_to(device: torch.device, value: Any, rank: int) -> Any:
    # Only latents belong on the device; samplers keep their schedules where they made them.
    if isinstance(value, list | tuple):
        return type(value)(_latents_to(device, item, rank) for item in value)
    return value.to(device) if isinstance(value, Tensor) and value.ndim == rank else value
