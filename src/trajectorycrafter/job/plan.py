"""What a run will take, told before it begins.

The one thing a reader would get wrong: these are estimates from operation counts and the matrix
speed measured on this machine a moment ago; they are meant to tell minutes from hours.
"""

from dataclasses import dataclass

from ..config.redirect import EMBEDDED_SHORT_SIDE, WINDOW, RedirectSettings
from ..runtime.machine import measured_gflops, pick_device, pick_dtype
from .generation import windows

# Operations (multiply and add) per pixel and frame, from counting layers of each network, in 1e9.
_CODEC_ENCODE, _CODEC_DECODE = 5e-3, 14e-3  # CogVideoX autoencoder
_DEPTHCRAFTER = 5 * 9e-3 + 6e-3  # five steps of the SVD network, and its autoencoder
_DEPTHCRAFTER_PARAMETERS = 2.3e9
_EMBEDDED_DEPTH = 80.0  # a frame, at the fixed working size of the embedded network
_EMBEDDED_VIDEO = 1e-3  # a pixel at the embedded video model's working size, all parts
_RENDER_SECONDS, _FILL_SECONDS = 0.06e-6, 0.9e-6  # a pixel and frame, measured on two cores

TEXT_TOKENS = 226
TRANSFORMER_5B = {"parameters": 6.1e9, "layers": 42, "width": 3072, "reference_width": 2048}


@dataclass(frozen=True)
class Estimate:
    """Seconds and memory of one stage."""

    stage: str
    seconds: float
    gigabytes: float
    """Main or graphics memory at the stage's peak, weights included."""


def transformer_gflop(frames: int, height: int, width: int, reference: int) -> float:
    """Operations of one pass of the released transformer over one guidance branch, in 1e9."""
    p = TRANSFORMER_5B
    grid = (height // 16) * (width // 16)
    tokens = TEXT_TOKENS + ((frames - 1) // 4 + 1) * grid
    reference_tokens = ((reference - 1) // 4 + 1) * grid
    linear = 2 * p["parameters"] * tokens
    joint = 4 * p["layers"] * tokens**2 * p["width"]
    cross = 4 * (p["layers"] // 2) * tokens * reference_tokens * p["reference_width"]
    return (linear + joint + cross) / 1e9


def planned(
    settings: RedirectSettings,
    source_frames: int,
    frames: int,
    size: tuple[int, int],
    *,
    render_only: bool = False,
    gflops: float | None = None,
) -> list[Estimate]:
    """Seconds and memory of a run's long stages on this machine.

    Args:
        source_frames: frames of the clip that are read.
        frames: frames that are made.
        size: height and width.
        render_only: stop before the generator.
        gflops: matrix speed, 1e9 operations a second; default: measured now, in a fraction of a
            second.

    Raises:
        ValueError: a device that this machine does not have.
    """
    device = pick_device(settings.machine.device)
    dtype = pick_dtype(settings.machine.dtype, device)
    gflops, bytes_per_number = gflops or measured_gflops(device, dtype), dtype.itemsize
    depth, steps = settings.depth.depth, settings.generator.denoising_steps
    generator = None if render_only else settings.generator.family
    height, width = size
    pixels, seen = frames * height * width, source_frames * height * width
    video_gb = (pixels + seen) * 3 * 4 / 1e9
    stages = []
    if depth == "embedded":
        stages.append(Estimate("depth", source_frames * _EMBEDDED_DEPTH / gflops, 1.0 + video_gb))
    elif depth == "depthcrafter":
        weights = _DEPTHCRAFTER_PARAMETERS * bytes_per_number / 1e9
        stages.append(Estimate("depth", seen * _DEPTHCRAFTER / gflops, weights + 4 * video_gb))
    stages.append(Estimate("render", pixels * _RENDER_SECONDS, 0.5 + 4 * video_gb))
    if generator in ("fill", "embedded"):
        name = "generate" if generator == "fill" else "fill"
        stages.append(Estimate(name, pixels * _FILL_SECONDS, 0.7 + 5 * video_gb))
    if generator == "embedded":
        work = frames * min(1.0, (EMBEDDED_SHORT_SIDE / min(height, width)) ** 2) * height * width
        seconds = work * _EMBEDDED_VIDEO * steps / gflops
        stages.append(Estimate("generate", seconds, 1.0 + 6 * video_gb))
    elif generator == "released":
        window, branches = min(frames, WINDOW), 2 if settings.generator.guidance > 1 else 1
        one_pass = transformer_gflop(window, height, width, settings.generator.reference)
        passes = steps * branches * len(windows(frames))
        codec = pixels * (_CODEC_ENCODE + _CODEC_DECODE)
        weights = TRANSFORMER_5B["parameters"] * bytes_per_number / 1e9
        tokens = ((window - 1) // 4 + 1) * (height // 16) * (width // 16)
        # About twelve maps of the model's width are alive at once inside a block.
        activations = tokens * 3072 * 12 * branches * bytes_per_number / 1e9
        seconds = (passes * one_pass + codec) / gflops
        stages.append(Estimate("generate", seconds, weights + activations + video_gb))
    return stages


def duration(seconds: float) -> str:
    """Seconds as people say them: 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 90:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


_BARS = " ▁▂▃▄▅▆▇█"


def hole_bar(holes: list[float], width: int = 49) -> str:
    """The share of holes over time as one line of block characters."""
    if not holes:
        return ""
    count = min(width, len(holes))
    picks = (holes[round(i * (len(holes) - 1) / max(count - 1, 1))] for i in range(count))
    # Full at half of the pixels: a render with more holes than that is beyond telling apart.
    return "".join(_BARS[min(8, round(share * 16))] for share in picks)
