"""What a visitor edits: a design, which is a value, and the history of designs for undo.

The one thing a reader would get wrong: a design never changes. Every edit makes another one, so
undo is an index into a list, and what a slider does fifty times a second is one step of it.
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
    """Of the curve, by output frame."""
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
    """An imported, copied or stabilised path."""
    path_name: str = ""
    """What it is, for people; designs with different paths differ in it."""
    pivot: tuple[float, float, float] | None = None
    """What presets and keys turn about, in the world, scene units; None = the default pivot."""
    time: TimePlan = TimePlan()

    def key_at(self, frame: int) -> Keyframe | None:
        """The key of that output frame."""
        return next((key for key in self.keys if key.frame == frame), None)

    def with_key(self, key: Keyframe) -> "Design":
        """With this key in the place of any other of its frame.

        Raises:
            ValueError: a key outside of the path.
        """
        if key.frame is None or not 0 <= key.frame < self.frames:
            raise ValueError(f"A key stands in frame 0 to {self.frames - 1}; got {key.frame}.")
        others = [other for other in self.keys if other.frame != key.frame]
        return self._keyed([*others, key])

    def without_key(self, frame: int) -> "Design":
        """Without the key of that frame.

        Raises:
            ValueError: there is none.
        """
        self._existing(frame)
        return self._keyed([key for key in self.keys if key.frame != frame])

    def with_key_changed(self, frame: int, **changes: Any) -> "Design":
        """With other fields of the key of that frame.

        Raises:
            ValueError: there is none.
        """
        return self.with_key(replace(self._existing(frame), **changes))

    def with_key_moved(self, frame: int, to: int) -> "Design":
        """The key of one frame in another, which must be free.

        Raises:
            ValueError: no such key, or a place that is taken or outside of the path.
        """
        key = self._existing(frame)
        if to != frame and self.key_at(to) is not None:
            raise ValueError(f"Frame {to} has a key already; move that one first.")
        return self.without_key(frame).with_key(replace(key, frame=to))

    def with_key_reordered(self, frame: int, steps: int) -> "Design":
        """The key's camera `steps` places later (or earlier, < 0); the moments stay in place.

        Raises:
            ValueError: no such key.
        """
        index = self.keys.index(self._existing(frame))
        order = list(self.keys)
        order.insert(max(0, min(index + steps, len(order) - 1)), order.pop(index))
        moments = [key.frame for key in self.keys]
        return self._keyed([replace(k, frame=f) for k, f in zip(order, moments, strict=True)])

    def with_point(self, frame: int, source: int) -> "Design":
        """The time curve with a point at this output frame.

        Raises:
            ValueError: a frame outside of the path.
        """
        if not 0 <= frame < self.frames:
            raise ValueError(f"A point stands in frame 0 to {self.frames - 1}; got {frame}.")
        others = [point for point in self.time.points if point[0] != frame]
        points = tuple(sorted([*others, (frame, source)]))
        return replace(self, time=replace(self.time, kind="curve", points=points))

    def without_point(self, frame: int) -> "Design":
        """The time curve without its point at this output frame.

        Raises:
            ValueError: there is none, or it is one of the last two.
        """
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
    """Designs in the order of their making, and where we are among them."""

    LONGEST = 200

    def __init__(self, design: Design):
        self._designs, self._at, self._gesture = [design], 0, None

    @property
    def design(self) -> Design:
        return self._designs[self._at]

    def put(self, design: Design, gesture: str | None = None) -> None:
        """The next design; what could be redone is forgotten.

        Args:
            gesture: name of what the visitor is holding, such as a slider; as long as it stays the
                same, all that it makes is one step. None always makes a step.
        """
        if design == self.design and design.path is self.design.path:
            return
        held = gesture is not None and gesture == self._gesture
        del self._designs[self._at + (0 if held else 1) :]
        self._designs.append(design)
        del self._designs[: -self.LONGEST]
        self._at, self._gesture = len(self._designs) - 1, gesture

    def release(self) -> None:
        """The gesture is over: the next one makes a step of its own."""
        self._gesture = None

    def undo(self) -> bool:
        """One step back; whether there was one."""
        return self._move(-1)

    def redo(self) -> bool:
        """One step forward; whether there was one."""
        return self._move(1)

    def _move(self, step: int) -> bool:
        self.release()
        possible = 0 <= self._at + step < len(self._designs)
        self._at += step if possible else 0
        return possible
