"""What a visitor edits: a design, which is a value, and the history of designs for undo.

A design never changes. Every edit makes another one, so undo is an index into a list, and a slider
that is dragged replaces the newest entry instead of adding fifty a second.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..geometry.interpolation import Interpolation
from ..geometry.keyframes import Keyframe
from ..geometry.presets import PRESETS
from ..geometry.trajectories import Trajectory

Kind = Literal["preset", "keys", "path"]
TimeKind = Literal["clip", "keys", "freeze", "curve"]
Point = tuple[int, int]
"""An output frame, and the source frame that it shows."""


@dataclass(frozen=True)
class TimePlan:
    """Which moment of the clip each output frame shows."""

    kind: TimeKind = "clip"
    """clip: as filmed; keys: the moments that were captured with the keys, linear between them;
    freeze: one moment; curve: through points."""
    moment: int = 0
    """The source frame that freeze shows."""
    points: tuple[Point, ...] = ()
    """The curve's, by output frame."""
    smooth: bool = True
    """The curve is a spline that never overshoots, instead of straight lines."""


@dataclass(frozen=True)
class Design:
    """A camera path as it is being made."""

    frames: int
    """Output frames."""
    kind: Kind = "preset"
    preset: str = "orbit-right"
    amount: float = PRESETS["orbit-right"].amount
    ease: bool = True
    keys: tuple[Keyframe, ...] = ()
    """By output frame; relative to the source cameras."""
    interpolation: Interpolation = "spline"
    path: Trajectory | None = field(default=None, compare=False)
    """An imported, copied or stabilized path."""
    path_name: str = ""
    """Shown to the visitor; designs with different paths differ in it."""
    pivot: tuple[float, float, float] | None = None
    """What presets and keys turn about: world, scene units; None: the default pivot."""
    time: TimePlan = TimePlan()

    def key_at(self, frame: int) -> Keyframe | None:
        return next((key for key in self.keys if key.frame == frame), None)

    def with_key(self, key: Keyframe) -> "Design":
        """With this key instead of any other in its frame, which must be one of the path's."""
        if key.frame is None or not 0 <= key.frame < self.frames:
            raise ValueError(f"A key stands in frame 0 to {self.frames - 1}; got {key.frame}.")
        others = [other for other in self.keys if other.frame != key.frame]
        return self._keyed([*others, key])

    def without_key(self, frame: int) -> "Design":
        """Without the key of that frame; raises ValueError unless there is one."""
        self._existing(frame)
        return self._keyed([key for key in self.keys if key.frame != frame])

    def with_key_changed(self, frame: int, **changes: Any) -> "Design":
        """With other fields of that frame's key; raises ValueError unless there is one."""
        return self.with_key(replace(self._existing(frame), **changes))

    def with_key_moved(self, frame: int, to: int) -> "Design":
        """With the key of one frame in another of the path, which must be free, or ValueError."""
        key = self._existing(frame)
        if to != frame and self.key_at(to) is not None:
            raise ValueError(f"Frame {to} has a key already; move that one first.")
        return self.without_key(frame).with_key(replace(key, frame=to))

    def with_key_reordered(self, frame: int, steps: int) -> "Design":
        """With the key's camera `steps` places later (earlier if < 0); the frames stay in place."""
        index = self.keys.index(self._existing(frame))
        order = list(self.keys)
        order.insert(max(0, min(index + steps, len(order) - 1)), order.pop(index))
        frames = [key.frame for key in self.keys]
        return self._keyed([replace(k, frame=f) for k, f in zip(order, frames, strict=True)])

    def with_point(self, frame: int, source: int) -> "Design":
        """The time curve with a point at this output frame, which must be one of the path's."""
        if not 0 <= frame < self.frames:
            raise ValueError(f"A point stands in frame 0 to {self.frames - 1}; got {frame}.")
        others = [point for point in self.time.points if point[0] != frame]
        points = tuple(sorted([*others, (frame, source)]))
        return replace(self, time=replace(self.time, kind="curve", points=points))

    def without_point(self, frame: int) -> "Design":
        """The time curve without its point at this output frame; two points must remain."""
        points = tuple(point for point in self.time.points if point[0] != frame)
        if len(points) == len(self.time.points):
            raise ValueError(f"The time curve has no point in frame {frame}.")
        if len(points) < 2:
            raise ValueError("A time curve keeps two points; choose another way of time instead.")
        return replace(self, time=replace(self.time, points=points))

    def _existing(self, frame: int) -> Keyframe:
        key = self.key_at(frame)
        if key is None:
            there = ", ".join(str(key.frame) for key in self.keys) or "none"
            raise ValueError(f"There is no key in frame {frame}; there is: {there}.")
        return key

    def _keyed(self, keys: list[Keyframe]) -> "Design":
        keys.sort(key=lambda key: key.frame or 0)
        return replace(self, kind="keys", keys=tuple(keys))


class History:
    """Designs in the order they were made, and which of them is current."""

    LONGEST = 200
    """Designs; an imported path in each can take some memory."""

    def __init__(self, design: Design):
        self._designs, self._at = [design], 0
        self._gesture: str | None = None

    @property
    def design(self) -> Design:
        return self._designs[self._at]

    def put(self, design: Design, gesture: str | None = None) -> None:
        """Add the next design; what could be redone is forgotten.

        Args:
            gesture: name of what the visitor is holding, such as a slider; as long as it stays the
                same, all its designs are one step. None always makes a step.
        """
        if design == self.design and design.path is self.design.path:
            return
        held = gesture is not None and gesture == self._gesture
        del self._designs[self._at + (0 if held else 1) :]
        self._designs.append(design)
        del self._designs[: -self.LONGEST]
        self._at, self._gesture = len(self._designs) - 1, gesture

    def release(self) -> None:
        """End the gesture: the next one makes a step of its own."""
        self._gesture = None

    def undo(self) -> bool:
        """Go one step back; False if there is none."""
        return self._move(-1)

    def redo(self) -> bool:
        """Go one step forward; False if there is none."""
        return self._move(1)

    def _move(self, step: int) -> bool:
        self.release()
        possible = 0 <= self._at + step < len(self._designs)
        self._at += step if possible else 0
        return possible
