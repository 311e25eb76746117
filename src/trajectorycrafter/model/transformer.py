"""The dual-stream transformer: CogVideoX with a render branch in its input and a reference branch.

The one thing a reader would get wrong: the three inputs take different ways. Noise (16 channels),
mask (1) and render (16) are concatenated along channels into the view tokens; text tokens join the
self-attention; the reference enters only through its own cross-attentions, without any position,
and since its keys and values depend neither on the step nor on the text they are made once a clip:
`reference = model.project_reference(latents)`, then `model(..., reference=reference)`.
"""

import os
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.embeddings import (
    CogVideoXPatchEmbed,
    TimestepEmbedding,
    Timesteps,
    get_3d_sincos_pos_embed,
)
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.normalization import AdaLayerNorm
from diffusers.utils.accelerate_utils import apply_forward_hook
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import KeysValues, RefBlock, ReferenceAttention, rotary_table
from .weight_files import check_weights, model_folder

Reference = tuple[KeysValues, ...] | Float[Tensor, "b R D"]
"""A projected reference: keys and values an attention, or plain tokens if concatenated."""

REFERENCE_KINDS = ("cross_attention", "concatenate", "none")


class ReferencePatchEmbed(nn.Module):
    """Tokens of the reference latents: one convolution on every frame, no position."""

    def __init__(self, patch_size: int, in_channels: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, patch_size, stride=patch_size)

    def forward(self, latents: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b R D"]:
        patches = self.proj(latents.flatten(0, 1))
        return rearrange(patches, "(b f) d y x -> b (f y x) d", b=latents.shape[0])


class DualStreamTransformer(ModelMixin, ConfigMixin, CacheMixin, PeftAdapterMixin):
    """Predicts the velocity of noisy view latents, given render, text and reference.

    Parameter names and configuration keys are those of the released checkpoint, whose class is
    called CrossTransformer3DModel. Sizes are in latents: 8 pixels, 4 frames.

    Args:
        in_channels: Noise, mask and render channels together (33 = 16 + 1 + 16 as released).
        sample_width, sample_height, sample_frames: Latent width and height, and the number of
            video frames, of the sine-cosine table.
        use_rotary_positional_embeddings: False adds a sine-cosine table at the input (2B style).
        add_noise_in_inpaint_model: Whether the render is slightly noised before it is encoded.
        is_train_cross: The released name of "has a reference branch"; False overrules `reference`.
        cross_attn_interval: Reference attention stands after blocks 0, interval, 2*interval, ...
        reference: How the reference enters: "cross_attention", or as ablations of the paper
            "concatenate" (its tokens join the self-attention) and "none".
        rotary: Spacing of rotary positions, "current" or "legacy", see `rotary_table`.

    Raises:
        ValueError: If `reference` or `rotary` is none of the known names.
    """

    _skip_layerwise_casting_patterns = ["patch_embed", "norm"]  # noqa: RUF012  # diffusers' API
    _supports_gradient_checkpointing = True
    _no_split_modules = ["RefBlock", "ReferenceAttention", "CogVideoXPatchEmbed"]  # noqa: RUF012
    _repeated_blocks = ["RefBlock"]  # noqa: RUF012
    # The reference is projected outside `forward`, so its embedding must come on-device by itself.
    _group_offload_block_modules = ["ref_patch_embed"]  # noqa: RUF012

    @register_to_config
    def __init__(
        self,
        num_attention_heads: int = 30,
        attention_head_dim: int = 64,
        in_channels: int = 16,
        out_channels: int = 16,
        flip_sin_to_cos: bool = True,
        freq_shift: int = 0,
        time_embed_dim: int = 512,
        text_embed_dim: int = 4096,
        num_layers: int = 30,
        dropout: float = 0.0,
        attention_bias: bool = True,
        sample_width: int = 90,
        sample_height: int = 60,
        sample_frames: int = 49,
        patch_size: int = 2,
        temporal_compression_ratio: int = 4,
        max_text_seq_length: int = 226,
        activation_fn: str = "gelu-approximate",
        timestep_activation_fn: str = "silu",
        norm_elementwise_affine: bool = True,
        norm_eps: float = 1e-5,
        spatial_interpolation_scale: float = 1.875,
        temporal_interpolation_scale: float = 1.0,
        use_rotary_positional_embeddings: bool = False,
        add_noise_in_inpaint_model: bool = False,
        is_train_cross: bool = True,
        cross_attn_in_channels: int = 16,
        cross_attn_interval: int = 2,
        cross_attn_dim_head: int = 128,
        cross_attn_num_heads: int = 16,
        reference: str = "cross_attention",
        rotary: str = "current",
    ) -> None:
        super().__init__()
        _check_names(reference, rotary)
        dim = num_attention_heads * attention_head_dim
        self.reference_kind = reference if is_train_cross else "none"
        self.patch_embed = CogVideoXPatchEmbed(
            patch_size=patch_size,
            in_channels=in_channels,
            embed_dim=dim,
            text_embed_dim=text_embed_dim,
            # The model adds the table itself: diffusers would make a new one for another size,
            # where the released model resizes the one it was trained with.
            use_positional_embeddings=False,
            use_learned_positional_embeddings=False,
        )
        self.embedding_dropout = nn.Dropout(dropout)
        self.time_proj = Timesteps(dim, flip_sin_to_cos, freq_shift)
        self.time_embedding = TimestepEmbedding(dim, time_embed_dim, timestep_activation_fn)
        if self.reference_kind != "none":
            self.ref_patch_embed = ReferencePatchEmbed(patch_size, cross_attn_in_channels, dim)
        attending = range(0, num_layers, cross_attn_interval)
        if self.reference_kind == "cross_attention":
            self.perceiver_cross_attention = nn.ModuleList(
                ReferenceAttention(dim, cross_attn_num_heads, cross_attn_dim_head)
                for _ in attending
            )
        self.transformer_blocks = nn.ModuleList(
            RefBlock(
                self._attention_after(i),
                dim=dim,
                num_attention_heads=num_attention_heads,
                attention_head_dim=attention_head_dim,
                time_embed_dim=time_embed_dim,
                dropout=dropout,
                activation_fn=activation_fn,
                attention_bias=attention_bias,
                norm_elementwise_affine=norm_elementwise_affine,
                norm_eps=norm_eps,
            )
            for i in range(num_layers)
        )
        self.norm_final = nn.LayerNorm(dim, norm_eps, norm_elementwise_affine)
        self.norm_out = AdaLayerNorm(
            time_embed_dim,
            output_dim=2 * dim,
            norm_elementwise_affine=norm_elementwise_affine,
            norm_eps=norm_eps,
            chunk_dim=1,
        )
        self.proj_out = nn.Linear(dim, patch_size**2 * out_channels)
        if not use_rotary_positional_embeddings:
            self.register_buffer("position", self._sincos_table(), persistent=False)
        self.gradient_checkpointing = False

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, **kwargs: Any
    ) -> "DualStreamTransformer":
        """Load strictly from a (sharded) safetensors folder or hub id, as diffusers does otherwise.

        Raises:
            FileNotFoundError: If there are no weights.
            ValueError: If the weights are pickles, or if a tensor is missing, unexpected or of
                another shape; every such tensor is named.
        """
        if pretrained_model_name_or_path is None:
            raise ValueError("Expected a folder or hub id of weights.")
        folder = model_folder(pretrained_model_name_or_path, kwargs.pop("subfolder", None))
        overrides = {k: v for k, v in kwargs.items() if k in cls._get_init_keys(cls)}
        settings: Any = cls.load_config(folder)
        with torch.device("meta"):
            model: Any = cls.from_config(settings, **overrides)
        expected = model.state_dict()
        check_weights(folder, {name: tuple(tensor.shape) for name, tensor in expected.items()})
        return super().from_pretrained(folder, **{**kwargs, "use_safetensors": True})

    def forward(
        self,
        hidden_states: Float[Tensor, "B f noise h w"],
        encoder_hidden_states: Float[Tensor, "B text e"],
        timestep: Int[Tensor, " B"] | Float[Tensor, " B"],
        condition_latents: Float[Tensor, "B f condition h w"],
        reference: Reference | None = None,
        reference_latents: Float[Tensor, "b rf c rh rw"] | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """The velocity at one noise level.

        Args:
            hidden_states: Noisy latents.
            encoder_hidden_states: Text embeddings, padding included.
            timestep: One a sample, 0 to 999.
            condition_latents: Mask channel first, then the render's latents.
            reference: What `project_reference` returned; a batch of 1 serves every sample. None
                leaves the reference out.
            reference_latents: Projected here, as training wants it, if `reference` is None.

        Raises:
            ValueError: If the latents do not fit the patch size or the position table.
        """
        if reference is None and reference_latents is not None:
            project: Any = self.project_reference
            reference = project(reference_latents)
        _, frames, _, height, width = hidden_states.shape
        p = self._settings.patch_size
        self._check_size(frames, height, width)
        temb = self.time_embedding(self.time_proj(timestep).to(hidden_states.dtype))
        latents = torch.cat([hidden_states, condition_latents], dim=2)
        tokens = self.patch_embed(encoder_hidden_states, latents)
        grid = (frames, height // p, width // p)
        rotary = self._rotary(grid, hidden_states.device)
        if rotary is None:
            tokens = tokens + self.position_table(tokens.shape[1], grid[1:]).to(tokens)
        tokens = self.embedding_dropout(tokens)
        text_length = encoder_hidden_states.shape[1]
        text, view = tokens[:, :text_length], tokens[:, text_length:]
        text, view = self._run_blocks(text, view, temb, rotary, reference)
        tokens = self.norm_final(torch.cat([text, view], dim=1))
        view = self.proj_out(self.norm_out(tokens[:, text_length:], temb=temb))
        f, y, x = grid
        sample = rearrange(
            view, "b (f y x) (c py px) -> b f c (y py) (x px)", f=f, y=y, x=x, py=p, px=p
        )
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    @apply_forward_hook
    def project_reference(self, latents: Float[Tensor, "b f c h w"]) -> Reference | None:
        """Everything the blocks need of the reference, made once for all steps and branches.

        Args:
            latents: Any number of frames and any size that the patch size divides; it need not be
                that of the view.

        Returns:
            Keys and values for every reference attention, the tokens themselves if they are
            concatenated, None if the model has no reference branch.

        Raises:
            ValueError: If the patch size does not divide the latents.
        """
        if self.reference_kind == "none":
            return None
        height, width = latents.shape[-2:]
        _check_patches("reference latents", height, width, self._settings.patch_size)
        tokens = self.ref_patch_embed(latents)
        if self.reference_kind == "concatenate":
            return tokens
        return tuple(attention(tokens) for attention in self._attentions)

    def zero_init_reference(self) -> None:
        """Make the reference attentions add nothing, so that training starts from stage 1 as is."""
        if self.reference_kind == "cross_attention":
            for attention in self._attentions:
                nn.init.zeros_(attention.to_out.weight)

    @property
    def _settings(self) -> Any:
        # diffusers declares its configuration as a dictionary but reads it by attribute.
        return self.config

    @property
    def _attentions(self) -> Any:
        return self.perceiver_cross_attention

    def _run_blocks(
        self,
        text: Tensor,
        view: Tensor,
        temb: Tensor,
        rotary: tuple[Tensor, Tensor] | None,
        reference: Reference | None,
    ) -> tuple[Tensor, Tensor]:
        view_length = view.shape[1]
        if isinstance(reference, Tensor):
            view = torch.cat([view, reference.expand(view.shape[0], -1, -1)], dim=1)
            rotary = _without_rotation(rotary, reference.shape[1])
            reference = None
        pairs = iter(reference or ())
        checkpointed: Any = self._gradient_checkpointing_func
        checkpointing = torch.is_grad_enabled() and self.gradient_checkpointing
        for i, block in enumerate(self.transformer_blocks):
            attends = i % self._settings.cross_attn_interval == 0
            inputs = (view, text, temb, rotary, next(pairs, None) if attends else None)
            view, text = checkpointed(block, *inputs) if checkpointing else block(*inputs)
        return text, view[:, :view_length]

    def _attention_after(self, block: int) -> ReferenceAttention | None:
        if self.reference_kind != "cross_attention" or block % self._settings.cross_attn_interval:
            return None
        return self._attentions[block // self._settings.cross_attn_interval]

    def _rotary(
        self, grid: tuple[int, int, int], device: torch.device
    ) -> tuple[Tensor, Tensor] | None:
        config = self._settings
        if not config.use_rotary_positional_embeddings:
            return None
        # The released model fits every grid into that of 480x720, whatever its configured size.
        base = (60 // config.patch_size, 90 // config.patch_size)
        return rotary_table(config.attention_head_dim, grid, base, config.rotary, device)

    def _sincos_table(self) -> Float[Tensor, "f y x D"]:
        config = self._settings
        p, dim = config.patch_size, config.num_attention_heads * config.attention_head_dim
        frames = (config.sample_frames - 1) // config.temporal_compression_ratio + 1
        size = (config.sample_width // p, config.sample_height // p)
        scales = (config.spatial_interpolation_scale, config.temporal_interpolation_scale)
        cpu = torch.device("cpu")
        table = get_3d_sincos_pos_embed(dim, size, frames, *scales, output_type="pt", device=cpu)
        return table.reshape(frames, size[1], size[0], dim).to(torch.float32)

    def position_table(self, length: int, grid: tuple[int, int]) -> Float[Tensor, "1 length D"]:
        # Resized within each frame, never in time; text tokens get zeros.
        table = rearrange(self.position, "f y x d -> 1 d f y x")
        if table.shape[-2:] != grid:
            table = F.interpolate(table, (table.shape[2], *grid), mode="trilinear")
        table = rearrange(table, "1 d f y x -> 1 (f y x) d")
        return F.pad(table, (0, 0, self._settings.max_text_seq_length, 0))[:, :length]

    def _check_size(self, frames: int, height: int, width: int) -> None:
        _check_patches("latents", height, width, self._settings.patch_size)
        if not self._settings.use_rotary_positional_embeddings and frames > len(self.position):
            raise ValueError(
                f"Expected at most {len(self.position)} latent frames, which is what this model's "
                f"position table holds, got {frames}; use at most {self._settings.sample_frames} "
                "video frames."
            )


def _check_names(reference: str, rotary: str) -> None:
    if reference not in REFERENCE_KINDS:
        raise ValueError(f"Expected reference to be one of {REFERENCE_KINDS}, got {reference!r}.")
    if rotary not in ("current", "legacy"):
        raise ValueError(f"Expected rotary to be 'current' or 'legacy', got {rotary!r}.")


def _check_patches(name: str, height: int, width: int, patch_size: int) -> None:
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"Expected {name} whose height and width are multiples of {patch_size}, got "
            f"{height}x{width}; use pixels that are multiples of {8 * patch_size}."
        )


def _without_rotation(
    rotary: tuple[Tensor, Tensor] | None, tokens: int
) -> tuple[Tensor, Tensor] | None:
    if rotary is None:
        return None
    cos, sin = rotary
    return F.pad(cos, (0, 0, 0, tokens), value=1.0), F.pad(sin, (0, 0, 0, tokens))
