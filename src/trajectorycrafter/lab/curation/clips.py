"""What a clip is like, and which of its windows are worth a sample: no cuts, motion, contrast.

The one thing a reader would get wrong: motion is that of the twentieth of the picture that moves
most, since a camera that stands still films people well; it is from frame to frame of the *window*
(its stride counts) and in percent of the picture's diagonal, so that one limit serves all sizes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from ...config.curation import WindowSettings
from ...video.clip import Video
from ...video.flow import optical_flow, to_gray
from ...video.reading import FrameChoice
from .rejected import RejectedError

PIXELS = 72 * 128
"""Size at which a clip is looked at."""
BINS = 8
"""Bins of a color histogram, per channel."""
NEIGHBORHOOD = 5
"""A cut stands out among so many transitions before and after it."""
STANDS_OUT = 3.0
"""By this factor over their median."""
MOVING = 95.0
"""Percentile of the flow's lengths that counts as the picture's motion."""
LEAST_CHANGE = 0.04
"""Mean absolute difference of RGB below which nothing is a cut."""


@dataclass(frozen=True)
class Measures:
    """What a clip's windows are chosen by."""

    grays: list[UInt8[np.ndarray, "h w"]]
    """Small pictures."""
    change: Float[np.ndarray, " P"]
    """Mean absolute difference of neighboring frames, 0 to 1; P = T - 1."""
    histogram: Float[np.ndarray, " P"]
    """Half the absolute difference of their color histograms, 0 to 1."""

    def __len__(self) -> int:
        return len(self.grays)


@dataclass(frozen=True)
class Window:
    """Frames of a clip that become a sample."""

    start: int
    motion: float
    """As `flow_percent`."""


def look(path: Path, look_at: int) -> Measures:
    """The clip in small, at most its first `look_at` frames.

    Raises:
        RejectedError: unreadable.
    """
    choice = FrameChoice(count=look_at, shorter_ok=True, pixels=PIXELS)
    try:
        return measure(Video.read(path, choice))
    except (ValueError, OSError) as error:
        raise RejectedError("unreadable", str(error)) from error


def measure(video: Video) -> Measures:
    """Differences between neighboring frames."""
    frames = (video.frames * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    smooth = np.stack([cv2.blur(frame, (3, 3)) for frame in frames]).astype(np.int16)
    change = np.abs(np.diff(smooth, axis=0)).mean(axis=(1, 2, 3)) / 255
    count: Any = cv2.calcHist
    counts = [count([f], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3).ravel() for f in frames]
    shares = np.stack(counts) / (frames.shape[1] * frames.shape[2])
    histogram = np.abs(np.diff(shares, axis=0)).sum(axis=1) / 2
    return Measures(to_gray(video.frames), change, histogram)


def cuts(measures: Measures, least: float = 0.3) -> list[int]:
    """Indices of frames that begin a new shot; histograms differ there by `least`.

    A cut changes the colors, and changes the picture far more than its neighborhood does; so a
    flash or a fast pan is none, nor is a fade.
    """
    found = []
    for i, change in enumerate(measures.change):
        low, high = max(0, i - NEIGHBORHOOD), i + NEIGHBORHOOD + 1
        around = np.concatenate([measures.change[low:i], measures.change[i + 1 : high]])
        usual = float(np.median(around)) if len(around) else 0.0
        if measures.histogram[i] > least and change > LEAST_CHANGE and change > STANDS_OUT * usual:
            found.append(i + 1)
    return found


def choose_windows(
    measures: Measures, settings: WindowSettings, rng: np.random.Generator, span: int | None = None
) -> tuple[list[Window], list[str]]:
    """Windows that lie inside one shot and move as wanted, and why others were rejected.

    Args:
        span: frames of the clip that a window covers; default: the settings' frames and stride.

    Raises:
        RejectedError: short, or cut: there is no window at all.
    """
    span = span or (settings.frames - 1) * settings.stride + 1
    if len(measures) < span:
        raise RejectedError("short", f"{len(measures)} frames; a sample needs {span}")
    edges = [0, *cuts(measures, settings.cut), len(measures)]
    starts: list[int] = []
    for begin, end in zip(edges, edges[1:]):
        slots = (end - begin) // span
        slack = (end - begin) - slots * span
        first = begin + int(rng.integers(slack + 1))
        starts += [first + slot * span for slot in range(slots)]
    if not starts:
        raise RejectedError("cut", f"{len(edges) - 2} cuts leave no shot of {span} frames")
    windows, rejected = [], []
    for start in rng.permutation(starts):
        if len(windows) == settings.per_clip:
            break
        try:
            windows.append(_judged(measures.grays[start : start + span], int(start), settings))
        except RejectedError as error:
            rejected.append(error.reason)
    return windows, rejected


def _judged(grays: list[UInt8[np.ndarray, "h w"]], start: int, settings: WindowSettings) -> Window:
    grays = grays[:: settings.stride]
    contrast = float(np.mean([gray.std() for gray in grays])) / 255
    if contrast < settings.least_contrast:
        raise RejectedError("blank", f"contrast {contrast:.3f}")
    motion = flow_percent(grays)
    if motion < settings.least_motion:
        raise RejectedError("still", f"motion {motion:.2f} %")
    if motion > settings.most_motion:
        raise RejectedError("fast", f"motion {motion:.2f} %")
    return Window(start, round(motion, 4))


def flow_percent(grays: list[UInt8[np.ndarray, "h w"]], most_pairs: int = 12) -> float:
    """Optical flow between neighboring frames, percent of the diagonal.

    The mean over the pairs of the 95th percentile of its lengths in a picture.
    """
    if len(grays) < 2:
        return 0.0
    chosen = np.unique(np.linspace(0, len(grays) - 2, most_pairs).round().astype(int))
    flows = (optical_flow(grays[i : i + 2], "ULTRAFAST")[0].numpy() for i in chosen)
    lengths = [float(np.percentile(np.linalg.norm(flow, axis=0), MOVING)) for flow in flows]
    return 100 * float(np.mean(lengths)) / float(np.hypot(*grays[0].shape))


def video_motion(video: Video) -> float:
    """`Window.motion` of a clip in memory."""
    share = min(1.0, (PIXELS / (video.height * video.width)) ** 0.5)
    size = max(16, round(video.height * share)), max(16, round(video.width * share))
    small = torch.nn.functional.interpolate(video.frames, size, mode="area")
    return round(flow_percent(to_gray(small)), 4)
