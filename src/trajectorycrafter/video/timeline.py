"""When the frames of a clip are shown, and which ones a constant rate shows."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

IMAGE_FPS = 24.0
"""Rate given to images, which carry none."""
MOST_EVEN_FPS = 120.0
"""Fastest rate that a clip of varying rate is made constant at; cameras that vary stay below it."""
MOST_REPEATS = 500
"""Frames at 24 per second that one frame stands for on average: a picture every 20 seconds."""


@dataclass(frozen=True)
class Timeline:
    """When the frames of a file are shown."""

    stamps: list[int]
    """In ticks, ascending; empty if the file does not say."""
    tick: float
    """Seconds."""
    count: int
    """Frames, as far as can be known without decoding."""
    rates: list[Fraction]
    """Frames per second that the file names: on average, and as FFmpeg guesses."""

    @property
    def fps(self) -> float:
        """Frames per second, measured; as the file names it where that agrees."""
        named = [float(rate) for rate in self.rates] or [IMAGE_FPS]
        if len(self.stamps) < 2 or self.stamps[-1] <= self.stamps[0]:
            return named[0]
        measured = (len(self.stamps) - 1) / ((self.stamps[-1] - self.stamps[0]) * self.tick)
        # Where a name agrees it is exact, while the times are rounded. The average is wrong where
        # the last frame says nothing of its duration.
        nearest = min(named, key=lambda rate: abs(measured / rate - 1))
        return nearest if abs(measured / nearest - 1) < 0.01 else measured

    @property
    def even_fps(self) -> float:
        """A constant rate at which no frame is lost where many follow each other closely."""
        steps = np.diff(np.asarray(self.stamps, float)) * self.tick
        # One step in ten may be shorter: single frames that stand too close.
        fastest = 1 / float(np.quantile(steps, 0.1))
        named = [float(rate) for rate in self.rates]
        found = next((rate for rate in named if abs(rate / fastest - 1) < 0.05), fastest)
        # Bursts of a few milliseconds are no frame rate.
        return min(found, max(MOST_EVEN_FPS, self.fps))

    @property
    def jumps(self) -> bool:
        """Whether its times cannot be meant: a clock that was set, or a damaged stamp."""
        span = (self.stamps[-1] - self.stamps[0]) * self.tick if self.stamps else 0
        return span * IMAGE_FPS > MOST_REPEATS * len(self.stamps)

    @property
    def varies(self) -> bool:
        """Whether frames stand by more than half a frame beside a constant rate."""
        if len(self.stamps) < 3:
            return False
        times = np.asarray(self.stamps, float)
        even = np.linspace(times[0], times[-1], len(times))
        return bool(np.abs(times - even).max() > 0.5 * (even[1] - even[0]))

    def retimed(self, fps: float) -> list[tuple[int, int]]:
        """Index and stamp of the frame shown at each moment of a constant rate.

        Args:
            fps: moments per second.
        """
        times = (np.asarray(self.stamps) - self.stamps[0]) * self.tick
        # The last frame is shown as long as the one before it.
        last = times[-1] - times[-2] if len(times) > 1 else 1 / fps
        count = max(1, round((times[-1] + last) * fps))
        # A quarter of a frame of grace, for times that were rounded.
        grace = 0.25 * min(1 / fps, float(np.median(np.diff(times))) if len(times) > 1 else 1 / fps)
        shown = np.searchsorted(times, np.arange(count) / fps + grace, side="right") - 1
        return [(int(index), self.stamps[index]) for index in shown]
