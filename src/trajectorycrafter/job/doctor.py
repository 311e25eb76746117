"""What this machine can run: devices, memory, speed, weights, optional packages.

Nothing is downloaded and nothing large is loaded.
"""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import psutil
import torch

from ..config.redirect import WINDOW, DepthSettings, GeneratorSettings, RedirectSettings
from ..geometry.presets import PRESETS
from ..runtime.machine import measured_gflops, pick_device, pick_dtype
from ..runtime.weights import RELEASED, find
from .plan import TRANSFORMER_5B, duration, planned

EXTRAS = {
    "poses": ("pycolmap", "source cameras of a moving camera (--source colmap)"),
    "exr": ("OpenEXR", "depth from EXR files"),
    "train": ("peft", "LoRA weights"),
    "studio": ("viser", "the interactive studio"),
    "ray": ("ray", "batches on several machines"),
    "eval": ("imageio_ffmpeg", "VMAF and camera error"),
    "synthetic": ("moderngl", "scenes drawn from textured meshes"),
}
REPOS_5B = ("TrajectoryCrafter", "CogVideoX-Fun-V1.1-5b-InP")


def examine(weights: Path | None = None) -> str:
    """The report, for downloaded weights in a folder or, without one, the Hugging Face cache."""
    if weights is not None and not weights.is_dir():
        raise FileNotFoundError(f"--weights {weights} is not a folder.")
    device, memory = pick_device("auto"), psutil.virtual_memory()
    dtype = pick_dtype("auto", device)
    gflops = measured_gflops(device, dtype)
    lines = [
        f"trajectorycrafter {version('trajectorycrafter')}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, {platform.system()} {platform.machine()}",
        f"processor: {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"{memory.total / 1e9:.0f} GB of memory, {memory.available / 1e9:.0f} GB free",
        f"device: {device} in {str(dtype).removeprefix('torch.')}, "
        f"{gflops:.0f} GFLOP/s in matrix products",
    ]
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        lines.append(f"graphics card: {card.name}, {card.total_memory / 1e9:.0f} GB")
    lines += _models(device, dtype, gflops, weights)
    lines.append(f"released weights in {weights or 'the Hugging Face cache'}:")
    for name, repo in RELEASED.items():
        where = find(name, weights) or "not found"
        lines.append(f"  {name}: {where} ({repo.gigabytes:.1f} GB; {repo.licence})")
    lines.append("optional packages:")
    for extra, (package, purpose) in EXTRAS.items():
        try:
            state = version(package) if find_spec(package) else None
        except PackageNotFoundError:
            state = "found"
        hint = state or f'not installed: pip install "trajectorycrafter[{extra}]"'
        lines.append(f"  {package}, {purpose}: {hint}")
    return "\n".join([*lines, "presets: " + ", ".join(PRESETS)])


def _models(
    device: torch.device, dtype: torch.dtype, gflops: float, weights: Path | None
) -> list[str]:
    """A verdict on each model for a clip of 49 frames of 384x672."""
    found = all(find(name, weights) for name in REPOS_5B)
    released = RedirectSettings(
        depth=DepthSettings("depthcrafter"), generator=GeneratorSettings("5b")
    )
    fill, full = (
        planned(settings, WINDOW, WINDOW, (384, 672), gflops=gflops)
        for settings in (RedirectSettings(), released)
    )
    needed = max(step.gigabytes for step in full)
    have = (
        torch.cuda.get_device_properties(device).total_memory
        if device.type == "cuda"
        else psutil.virtual_memory().total
    ) / 1e9
    verdict = "fits" if needed < have else f"does not fit into {have:.0f} GB at once"
    weights_gb = TRANSFORMER_5B["parameters"] * dtype.itemsize / 1e9
    return [
        "models (49 frames of 384x672, estimated):",
        f"  fill: ready; about {duration(sum(s.seconds for s in fill))}, "
        f"{max(s.gigabytes for s in fill):.1f} GB",
        f"  5b: weights {'found' if found else 'not found'}; about "
        f"{duration(sum(s.seconds for s in full))}, {needed:.0f} GB "
        f"({weights_gb:.0f} GB of them the transformer): {verdict}",
    ]
