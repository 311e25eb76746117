"""Loading and saving models and whole pipelines.

The one thing a reader would get wrong: the released system is scattered. Its transformer lies at
the root of one repository, its autoencoder, text encoder, tokenizer and noise schedule in
subfolders of another; a pipeline that `save` wrote holds everything in one folder.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, DDIMScheduler
from transformers import AutoTokenizer, T5EncoderModel

from ..runtime import weights as released
from ..runtime.files import whole
from .sampling import TrajectoryCrafterPipeline, load_sampler
from .transformer import DualStreamTransformer

TRANSFORMER = "TrajectoryCrafter"
BASE = "CogVideoX-Fun-V1.1-5b-InP"


def load_transformer(
    path_or_repo: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    **config: Any,
) -> DualStreamTransformer:
    """Load a transformer strictly from safetensors, ready for inference.

    Args:
        path_or_repo: Folder with config.json and weights, or hub id.
        config: Settings that overrule the folder's, such as `rotary="legacy"`.

    Raises:
        FileNotFoundError: If there are no weights.
        ValueError: If they are pickles or do not fit; names every tensor that does not.
    """
    model: Any = DualStreamTransformer.from_pretrained(path_or_repo, torch_dtype=dtype, **config)
    return model.to(device).eval()


def load_pipeline(
    source: str | Path = "5b",
    *,
    weights_dir: str | Path | None = None,
    sampler: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    offload: bool = False,
    **config: Any,
) -> TrajectoryCrafterPipeline:
    """Load a pipeline: the released assembly, one that `save` wrote, or another transformer.

    Args:
        source: "5b" for the released assembly; a folder with model_index.json; or folder or hub id
            of a transformer that shares the released autoencoder and text encoder.
        weights_dir: Folder with the released repositories (see `runtime.weights.locate`); None
            takes them from the hub cache, downloading what is missing after stating size and
            licence.
        sampler: One of `SAMPLERS`; None takes the pipeline's own, DDIM_Origin for the released one.
        offload: Keep every part on the device only while it runs.
        config: Settings of the transformer that overrule its own, such as `rotary="legacy"`.

    Raises:
        FileNotFoundError: If weights are missing; says where they were looked for and how to get
            them.
        ValueError: If weights are pickles or do not fit, or the sampler is unknown.
    """
    if (Path(source) / "model_index.json").is_file():
        transformer = load_transformer(Path(source) / "transformer", dtype=dtype, **config)
        pipeline = TrajectoryCrafterPipeline.from_pretrained(
            source, transformer=transformer, torch_dtype=dtype, use_safetensors=True
        )
    else:
        pipeline = _load_released(source, weights_dir, dtype, config)
        sampler = sampler or "DDIM_Origin"
    if sampler is not None:
        pipeline.scheduler = load_sampler(sampler, pipeline.scheduler.config)
    if offload:
        pipeline.enable_model_cpu_offload(device=device)
        return pipeline
    return pipeline.to(device)


def save(
    model: DualStreamTransformer | TrajectoryCrafterPipeline,
    folder: str | Path,
    *,
    overwrite: bool = False,
    max_shard_size: str = "5GB",
) -> Path:
    """Save as safetensors; the folder appears under its name only when it is complete.

    Raises:
        FileExistsError: If the folder exists and may not be overwritten.
    """
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder} exists; choose another folder or allow overwriting.")
    with whole(folder) as partial:
        model.save_pretrained(partial, safe_serialization=True, max_shard_size=max_shard_size)
    return folder


def _load_released(
    source: str | Path, weights_dir: str | Path | None, dtype: torch.dtype, config: dict[str, Any]
) -> TrajectoryCrafterPipeline:
    # All are located before any is loaded, so that a missing one is known within a second.
    weights = released.fetch(TRANSFORMER, weights_dir) if source == "5b" else source
    base = released.fetch(BASE, weights_dir)
    for part in ("vae", "text_encoder", "tokenizer", "scheduler"):
        if not (base / part).is_dir():
            raise FileNotFoundError(f"Expected {base / part}; repeat the download of {base.name}.")
    transformer = load_transformer(weights, dtype=dtype, **config)
    safe = {"torch_dtype": dtype, "use_safetensors": True}
    return TrajectoryCrafterPipeline(
        tokenizer=AutoTokenizer.from_pretrained(base / "tokenizer"),
        text_encoder=T5EncoderModel.from_pretrained(
            base / "text_encoder", dtype=dtype, use_safetensors=True
        ).eval(),
        vae=AutoencoderKLCogVideoX.from_pretrained(base / "vae", **safe).eval(),
        transformer=transformer,
        scheduler=DDIMScheduler.from_pretrained(base / "scheduler"),
    )
