"""Named training runs: the paper's two stages, their small likenesses, and Table 3's ablations.

An ablation is a change of values, of the transformer's field `reference` or of the data mix; the
code that trains is the same.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..runtime.files import from_json
from .training import (
    DataSettings,
    LogSettings,
    LoraSettings,
    ModelSettings,
    ObjectiveSettings,
    OptimizerSettings,
    TrainOptions,
    TrainSettings,
    changed,
)

REFERENCE = ("perceiver_cross_attention", "ref_patch_embed")
"""What the second stage trains."""

_TINY_TRANSFORMER = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": 9,
    "out_channels": 4,
    "time_embed_dim": 32,
    "text_embed_dim": 16,
    "num_layers": 2,
    "sample_width": 6,
    "sample_height": 4,
    "sample_frames": 9,
    "max_text_seq_length": 4,
    "use_rotary_positional_embeddings": True,
    "add_noise_in_inpaint_model": True,
    "cross_attn_in_channels": 4,
    "cross_attn_dim_head": 16,
    "cross_attn_num_heads": 2,
}

_EMBEDDED_TRANSFORMER = {
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "in_channels": 64 + 2 * 65,
    "out_channels": 64,
    "time_embed_dim": 64,
    "text_embed_dim": 16,
    "num_layers": 8,
    "sample_width": 20,
    "sample_height": 12,
    "sample_frames": 13,
    "max_text_seq_length": 1,
    "use_rotary_positional_embeddings": True,
    "cross_attn_in_channels": 64,
    "cross_attn_dim_head": 64,
    "cross_attn_num_heads": 4,
}

# Paper, sections 3.4 and 4.1, for rates, steps and batch (8 on 8 GPUs); the rest as CogVideoX-Fun
# trains its inpainting model, to which the authors refer (their issue 1).
_STAGE1_5B = TrainSettings(
    model=ModelSettings(
        start="alibaba-pai/CogVideoX-Fun-V1.1-5b-InP",
        subfolder="transformer",
        gradient_checkpointing=True,
    ),
    optimizer=OptimizerSettings(steps=10_000, lr=1e-5),
    log=LogSettings(sample_every=500),
    reference=False,
)
_STAGE2_5B = replace(
    changed(_STAGE1_5B, "optimizer", steps=5_000, lr=2e-6),
    data=DataSettings(dynamic=0.0, static=1.0),
    trains=REFERENCE,
    reference=True,
)
# From new weights, since the blocks alone cannot learn with a patch embedding that never was.
_STAGE1_TINY = TrainSettings(
    model=ModelSettings(transformer=_TINY_TRANSFORMER, autoencoder="tiny", text="empty"),
    data=DataSettings(batch=2),
    optimizer=OptimizerSettings(steps=20, lr=1e-3, warmup=2, clip=1.0, eps=1e-8, ema=0.99),
    log=LogSettings(checkpoint_every=10),
    trains=("",),
    reference=False,
)
_STAGE2_TINY = replace(
    changed(_STAGE1_TINY, "data", dynamic=0.0, static=1.0), trains=REFERENCE, reference=True
)
# The model inside the package: it adds to the classical completion, in few steps.
_STAGE1_EMBEDDED = TrainSettings(
    model=ModelSettings(
        transformer=_EMBEDDED_TRANSFORMER,
        autoencoder="embedded",
        text="empty",
        memory=True,
        filled=True,
    ),
    data=DataSettings(batch=16),
    objective=ObjectiveSettings(
        prediction="x0", timesteps="high", posterior="mode", drop_text=0.0, hole_weight=8.0
    ),
    optimizer=OptimizerSettings(
        steps=2000,
        name="muon",
        lr=1e-3,
        muon_lr=4e-3,
        warmup=50,
        cooldown=800,
        weight_decay=1e-2,
        eps=1e-8,
        clip=1.0,
        ema=0.995,
    ),
    log=LogSettings(checkpoint_every=100, sample_every=500, sample_steps=1),
    trains=("",),
    reference=False,
)
_STAGE2_EMBEDDED = replace(
    changed(
        changed(_STAGE1_EMBEDDED, "data", dynamic=0.0, static=1.0),
        "optimizer",
        steps=600,
        cooldown=300,
    ),
    trains=REFERENCE,
    reference=True,
)
# The learning rate and dropouts of the one sound fork that fine-tunes from cached latents.
_LORA_5B = replace(
    _STAGE1_5B,
    model=ModelSettings(start="TrajectoryCrafter/TrajectoryCrafter", gradient_checkpointing=True),
    objective=ObjectiveSettings(drop_reference=0.1, drop_condition=0.1),
    optimizer=OptimizerSettings(steps=2_000, lr=1e-4),
    reference=True,
    lora=LoraSettings(),
)

PRESETS = {
    "5b-stage1": _STAGE1_5B,
    "5b-stage2": _STAGE2_5B,
    "5b-lora": _LORA_5B,
    "tiny-stage1": _STAGE1_TINY,
    "tiny-stage2": _STAGE2_TINY,
    "tiny-joint": replace(_STAGE1_TINY, reference=True),
    "embedded-stage1": _STAGE1_EMBEDDED,
    "embedded-stage2": _STAGE2_EMBEDDED,
}
"""One stage each; a second stage wants the first one's weights as its start."""

ABLATIONS = {
    "none": "the method as it is",
    "no-reference": "without Ref-DiT: no reference branch; a second stage goes on with the blocks",
    "concatenate": "reference tokens join the self-attention; a second stage trains blocks, too",
    "no-dynamic": "without dynamic data: static triplets only",
    "no-static": "without multi-view data: double-reprojection pairs only, in both stages",
}
"""Table 3 of the paper."""


def preset(name: str, ablation: str = "none") -> TrainSettings:
    """The settings of a preset, changed as an ablation says.

    Raises:
        ValueError: If either name is unknown.
    """
    for given, known in ((name, PRESETS), (ablation, ABLATIONS)):
        if given not in known:
            raise ValueError(f"Expected one of {', '.join(known)}, got {given!r}.")
    settings = PRESETS[name]
    if ablation == "no-dynamic":
        return changed(settings, "data", dynamic=0.0, static=1.0)
    if ablation == "no-static":
        return changed(settings, "data", dynamic=1.0, static=0.0)
    if ablation == "none":
        return settings
    kind = "none" if ablation == "no-reference" else "concatenate"
    settings = changed(
        settings, "model", transformer={**settings.model.transformer, "reference": kind}
    )
    # Neither variant has reference attentions to train, and concatenated tokens reach the view
    # through the blocks alone.
    if settings.trains != REFERENCE:
        return settings
    if kind == "none":
        settings = changed(settings, "data", dynamic=None, static=None)
        return replace(settings, trains=("transformer_blocks",), reference=False)
    return replace(settings, trains=("transformer_blocks", "ref_patch_embed"))


def chosen(options: TrainOptions) -> TrainSettings:
    """The settings that the command line asks for.

    Raises:
        FileNotFoundError: If the preset is a settings.json that is not there.
        ValueError: If preset or ablation is unknown.
    """
    if options.preset.endswith(".json"):
        if options.ablation != "none":
            raise ValueError("An ablation changes a preset; a settings.json has its own already.")
        document = json.loads(Path(options.preset).read_text(encoding="utf-8"))
        settings = from_json(TrainSettings, document)
    else:
        settings = preset(options.preset, options.ablation)
    if options.start is not None:
        settings = changed(settings, "model", start=options.start, subfolder=None)
    if options.samples or options.latents:
        settings = changed(settings, "data", samples=options.samples, latents=options.latents)
    parts = {
        "model": ("weights",),
        "data": ("batch", "accumulation", "workers", "variants"),
        "optimizer": ("steps", "lr"),
        "log": ("checkpoint_every", "sample_every"),
    }
    for part, names in parts.items():
        settings = changed(settings, part, **_given(options, names))
    return replace(settings, **_given(options, ("seed", "device")))


def _given(options: TrainOptions, names: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}
