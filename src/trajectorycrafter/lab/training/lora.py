"""LoRA fine-tuning of a transformer, in the files that diffusers' pipelines load.

Adapters begin as nothing (B is zero), so an untrained one changes no number.
"""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ...config.training import LoraSettings
from ...model.sampling import TrajectoryCrafterPipeline

VIEW = r"transformer_blocks\.\d+\.attn1\.(to_q|to_k|to_v|to_out\.0)"
REFERENCE_ATTENTION = r"perceiver_cross_attention\.\d+\.(to_q|to_kv|to_out)"
FILE = "pytorch_lora_weights.safetensors"


def add_lora(model: Any, settings: LoraSettings) -> dict[str, nn.Parameter]:
    """Freeze the model and add adapters to its attentions; returns their parameters by name.

    Raises:
        ValueError: If the package peft is missing.
    """
    model.requires_grad_(False)
    targets = f"({VIEW}|{REFERENCE_ATTENTION})" if settings.reference else VIEW
    config = _peft().LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, init_lora_weights=True, target_modules=targets
    )
    model.add_adapter(config)
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def save_lora(model: Any, folder: Path, state: dict[str, Tensor] | None = None) -> Path:
    """Write the adapters; `pipeline.load_lora_weights(folder)` reads them.

    Args:
        state: The whole model's state, if its own is sharded.
    """
    layers = _peft().get_peft_model_state_dict(model, state_dict=state)
    layers = {name: tensor.contiguous().cpu() for name, tensor in layers.items()}
    config = model.peft_config["default"].to_dict()
    metadata = {k: v for k, v in config.items() if k in ("r", "lora_alpha", "target_modules")}
    TrajectoryCrafterPipeline.save_lora_weights(
        folder, transformer_lora_layers=layers, transformer_lora_adapter_metadata=metadata
    )
    return folder / FILE


def load_lora(model: Any, folder: Path) -> None:
    """Put adapters that `save_lora` wrote onto a model; `model.fuse_lora()` makes them part of it.

    Raises:
        FileNotFoundError: If there are none in the folder.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise FileNotFoundError(f"Expected {FILE} in {folder}; a LoRA run leaves it in `model`.")
    # From the file, since the scale (alpha) lies in its header.
    model.load_lora_adapter(folder, weight_name=FILE, prefix="transformer", use_safetensors=True)


def _peft() -> Any:
    try:
        import peft
    except ModuleNotFoundError as error:
        raise ValueError(
            "LoRA needs the package peft: pip install 'trajectorycrafter[train]'."
        ) from error
    return peft
