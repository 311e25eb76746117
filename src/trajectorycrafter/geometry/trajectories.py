"""Camera paths: how the new camera moves and which moment of the clip it shows.

The one thing a reader would get wrong: a moment is an index. `source_frame` says which source
frame an output frame shows, so the released modes (gradual, direct, bullet, zoom) differ only in
that array and in the lens. Angles and shifts are those of the *camera*: azimuth > 0 moves it right
(it looks left, at the pivot), elevation > 0 up, dolly > 0 forward, although y points down.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .cameras import (
    Cameras,
    check_cameras,
    rigid,
    rigid_inverse,
    rotation_x,
    rotation_y,
    rotation_z,
)
from .frames import Timed
from .interpolation import Interpolation, check_frames, interpolate, resample_cameras
from .keyframes import Keyframe, key_source_frames, key_times

PanUnit = Literal["radius", "scene"]
RelativeTo = Literal["shown_frame", "first_frame", "world"]
Scale = Literal["scene", "radius"]
Lens = Literal["source", "absolute"]

_CHOICES = {"pan_unit": PanUnit, "relative_to": RelativeTo, "scale": Scale, "lens": Lens}
MOTION_FIELDS = ("elevation_deg", "azimuth_deg", "dolly", "pan", "zoom", "roll_deg")


@dataclass(frozen=True)
class Trajectory(Timed):
    """A camera path, one entry per output frame; `cameras` makes it concrete for a scene.

    The six motion fields describe a camera relative to a base. The base is the source camera chosen
    by `relative_to`, followed by `absolute` if that is given.
    """

    elevation_deg: Float[Tensor, " T"]
    azimuth_deg: Float[Tensor, " T"]
    dolly: Float[Tensor, " T"]
    """Way forward as a fraction of the scene radius."""
    pan: Float[Tensor, "T 2"]
    """Shift of the camera to the right and up, in `pan_unit`."""
    zoom: Float[Tensor, " T"]
    """Factor on the focal length."""
    roll_deg: Float[Tensor, " T"]
    source_frame: Int[Tensor, " T"]
    """Which source frame each output frame shows."""
    reference_frames: Int[Tensor, " R"] | None = None
    """Source frames for the model's reference stream; None = chosen from the clip."""
    pan_unit: PanUnit = "radius"
    """"radius": pan is a fraction of the scene radius; "scene": depth units (released x and y)."""
    relative_to: RelativeTo = "shown_frame"
    """Where the path starts when the source camera moves: "shown_frame" = each output frame at the
    source camera of the frame it shows (released; the source's own motion stays in the picture),
    "first_frame" = at the first source camera (the source's motion is removed), "world" = at the
    origin of the source cameras' world."""
    anchor: int | None = None
    """Output frame in which the new camera meets its base; None = the pose with all motion zero."""
    absolute: Cameras | None = None
    """Cameras given as matrices; their world is the camera that `relative_to` names."""
    scale: Scale = "scene"
    """Unit of the shifts in `absolute`: scene units, or 1 = the scene radius."""
    lens: Lens = "source"
    """Whose K the output has: the shown source frame's, or that of `absolute`."""

    def __post_init__(self) -> None:
        """Raises ValueError unless the fields are as long as each other and can be meant."""
        frames = self.elevation_deg.shape[0]
        if frames == 0:
            raise ValueError("A trajectory needs at least 1 frame; got 0.")
        for name in (*MOTION_FIELDS, "source_frame"):
            value = getattr(self, name)
            if value.shape[0] != frames:
                raise ValueError(
                    f"Trajectory: {name} has {value.shape[0]} entries but elevation_deg has "
                    f"{frames}; give one entry per output frame."
                )
            bad = (~torch.isfinite(value)).reshape(frames, -1).any(dim=1).nonzero()
            if len(bad):
                frame = int(bad[0])
                raise ValueError(
                    f"Trajectory: {name} of frame {frame} is not finite (got "
                    f"{value[frame].tolist()}); give a number."
                )
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"Trajectory: {name} is one of {', '.join(get_args(choices))}; got "
                    f"{getattr(self, name)!r}."
                )
        if (self.zoom <= 0).any():
            raise ValueError(f"Trajectory: zoom must be > 0; got {float(self.zoom.min()):g}.")
        for name, index in (
            ("source_frame", self.source_frame),
            ("reference_frames", self.reference_frames),
        ):
            if index is not None and index.numel() and int(index.min()) < 0:
                raise ValueError(f"Trajectory: {name} must be >= 0; got {int(index.min())}.")
        if self.anchor is not None and not 0 <= self.anchor < frames:
            raise ValueError(f"Trajectory: anchor must be 0..{frames - 1}; got {self.anchor}.")
        if self.absolute is None:
            if self.lens == "absolute":
                raise ValueError(
                    'Trajectory: lens="absolute" needs absolute cameras; use lens="source".'
                )
            return
        if len(self.absolute) != frames:
            raise ValueError(
                f"Trajectory: absolute has {len(self.absolute)} cameras but there are {frames} "
                "frames; use Trajectory.from_cameras(...).retimed(frames)."
            )
        check_cameras(self.absolute, "Trajectory: absolute")

    def motion(self, radius: float) -> Float[Tensor, "T 4 4"]:
        """The rigid motion from base camera coordinates to those of the new camera.

        X' = Rz(-roll) (Ry(azimuth) Rx(elevation) (X - p + (-right, up, -dolly radius)) + p), pivot
        p = (0, 0, radius): the released poses relative to their anchor, with a roll added. Float32.

        Args:
            radius: distance of the pivot on the optical axis, scene units, > 0.
        """
        if not (math.isfinite(radius) and radius > 0):
            raise ValueError(
                f"The scene radius must be finite and > 0; got {radius}. Take scene_radius(depth) "
                "or give the distance to the subject."
            )
        # Computed in float64 and rounded once, so that the difference to the released float32
        # matrices is their rounding alone.
        elevation, azimuth, dolly, pan, roll = (
            getattr(self, name).double()
            for name in ("elevation_deg", "azimuth_deg", "dolly", "pan", "roll_deg")
        )
        pan = pan * (radius if self.pan_unit == "radius" else 1.0)
        rotation = rotation_y(azimuth) @ rotation_x(elevation)
        offset = torch.stack([-pan[:, 0], pan[:, 1], -dolly * radius - radius], dim=-1)
        pivot = offset.new_tensor([0.0, 0.0, radius])
        motion = rigid(rotation, (rotation @ offset[..., None])[..., 0] + pivot)
        motion = rigid(rotation_z(-roll), torch.zeros_like(offset)) @ motion
        if self.anchor is not None:
            motion = motion @ rigid_inverse(motion[self.anchor])
        return motion.float()

    def cameras(self, source: Cameras, radius: float) -> Cameras:
        """The cameras of the output, in the source cameras' world and at the source's size.

        Args:
            source: one camera per source frame.
            radius: distance of the pivot, scene units; see `scene_radius`, `released_radius`.

        Raises:
            ValueError: radius <= 0 or a `source_frame` that the source does not have.
        """
        self.check_source(len(source))
        motion, device = self.motion(radius), source.K.device
        shown = source[self.source_frame.to(device)]
        if self.relative_to == "shown_frame":
            base = shown.world_to_camera
        elif self.relative_to == "first_frame":
            base = source.world_to_camera[:1].expand(len(self), 4, 4)
        else:
            base = torch.eye(4, device=device).expand(len(self), 4, 4)
        lens = shown.K
        if self.absolute is not None:
            absolute = self.absolute.world_to_camera.clone()
            if self.scale == "radius":
                absolute[:, :3, 3] *= radius
            base = absolute.to(base) @ base
            if self.lens == "absolute":
                # The same lens on the source's picture: widths match, height is cropped or padded.
                height = round(self.absolute.height * source.width / self.absolute.width)
                fitted = self.absolute.resized(height, source.width)
                spare = (height - source.height) / 2
                lens = fitted.cropped(spare, 0.0, source.height, source.width).K.to(lens)
        K = lens.clone()
        K[:, 0, 0] *= self.zoom.to(K)
        K[:, 1, 1] *= self.zoom.to(K)
        return Cameras(motion.to(base) @ base, K, source.height, source.width)

    def check_source(self, source_frames: int) -> None:
        """Raises ValueError unless a clip of `source_frames` frames has all that this shows."""
        index = self.source_frame
        if self.reference_frames is not None:
            index = torch.cat([index, self.reference_frames.to(index)])
        if int(index.max()) >= source_frames:
            raise ValueError(
                f"The trajectory needs source frame {int(index.max())}, but the source has "
                f"{source_frames} frames (0..{source_frames - 1}); read more frames, make the "
                "trajectory shorter, or hold a moment with mode bullet."
            )

    def retimed(self, frames: int) -> "Trajectory":
        """The same path in another number of frames; moments are resampled to the nearest frame.

        Motion is interpolated linearly, absolute cameras by `resample_cameras`.
        """
        if frames == len(self):
            return self
        at = np.linspace(0, len(self) - 1, check_frames(frames))
        nearest = torch.from_numpy(np.floor(at + 0.5).astype(np.int64))
        changes: dict[str, object] = {
            name: _resampled(getattr(self, name), at) for name in MOTION_FIELDS
        }
        changes["source_frame"] = self.source_frame[nearest]
        if self.anchor is not None:
            changes["anchor"] = round(self.anchor * (frames - 1) / max(len(self) - 1, 1))
        if self.absolute is not None:
            changes["absolute"] = resample_cameras(self.absolute, frames)
        return replace(self, **changes)

    @classmethod
    def static(cls, frames: int) -> "Trajectory":
        """The source camera itself, frame by frame."""
        if frames < 1:
            raise ValueError(f"Expected at least 1 output frame; got {frames}.")
        zeros = torch.zeros(frames)
        pan, zoom = torch.zeros(frames, 2), torch.ones(frames)
        return cls(zeros, zeros, zeros, pan, zoom, zeros, torch.arange(frames))

    @classmethod
    def from_target(
        cls,
        theta: float,
        phi: float,
        r: float,
        x: float,
        y: float,
        frames: int,
        *,
        pan_unit: PanUnit = "scene",
        ease: bool = False,
    ) -> "Trajectory":
        """The released five numbers: a straight move from the source camera to this pose.

        Args:
            theta, phi: elevation and azimuth at the end, degrees.
            r: dolly at the end, fraction of the scene radius.
            x, y: shift to the right and up at the end; depth units as released, or see `pan_unit`.
            ease: start and stop smoothly instead of at full speed.

        Raises:
            ValueError: numbers that are not finite, frames < 1.
        """
        end = Keyframe(elevation_deg=theta, azimuth_deg=phi, dolly=r, right=x, up=y)
        interpolation: Interpolation = "spline" if ease else "linear"
        return cls.from_keyframes(
            [Keyframe(), end], frames, interpolation=interpolation, pan_unit=pan_unit, ease=ease
        )

    @classmethod
    def from_keyframes(
        cls,
        keyframes: Sequence[Keyframe],
        frames: int,
        *,
        interpolation: Interpolation = "spline",
        pan_unit: PanUnit = "radius",
        relative_to: RelativeTo = "shown_frame",
        ease: bool = False,
    ) -> "Trajectory":
        """A path through keyframes; before the first and after the last key it holds still.

        Args:
            interpolation: "spline" passes through every key and never overshoots (a parameter that
                is equal in two neighboring keys stays constant between them); "linear";
                "smoothing" = the released smoothing spline, which misses keys.
            ease: the spline starts and stops with zero speed.

        Raises:
            ValueError: no keyframes, times out of range or not increasing, numbers not finite.
        """
        frames = check_frames(frames)
        times = key_times(keyframes, frames)

        def along(name: str) -> Float[Tensor, " T"]:
            return interpolate(
                times, [getattr(k, name) for k in keyframes], frames, interpolation, ease
            )

        return cls(
            elevation_deg=along("elevation_deg"),
            azimuth_deg=along("azimuth_deg"),
            dolly=along("dolly"),
            pan=torch.stack([along("right"), along("up")], dim=-1),
            zoom=along("zoom"),
            roll_deg=along("roll_deg"),
            source_frame=key_source_frames(keyframes, times, frames),
            pan_unit=pan_unit,
            relative_to=relative_to,
        )

    @classmethod
    def from_curves(
        cls,
        theta: Sequence[float],
        phi: Sequence[float],
        r: Sequence[float],
        frames: int,
        *,
        interpolation: Interpolation = "spline",
        ease: bool = False,
    ) -> "Trajectory":
        """Elevation, azimuth, dolly through evenly spaced numbers, each list of its own length.

        The released system's `interpolation` is "smoothing"; see `from_keyframes`.
        """
        curves = [
            interpolate(np.linspace(0, 1, len(line)), line, frames, interpolation, ease)
            for line in (theta, phi, r)
        ]
        static = cls.static(frames)
        return replace(static, elevation_deg=curves[0], azimuth_deg=curves[1], dolly=curves[2])

    @classmethod
    def from_txt(
        cls,
        path: str | Path,
        frames: int,
        *,
        interpolation: Interpolation = "spline",
        ease: bool = False,
    ) -> "Trajectory":
        """The released text file, see `parse_released_text`, as in `from_curves`.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not three lines of numbers; the message names line and field.
        """
        path = Path(path).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"No trajectory file at {path}.")
        curves = parse_released_text(path.read_text(), str(path))
        return cls.from_curves(*curves, frames, interpolation=interpolation, ease=ease)

    @classmethod
    def from_cameras(
        cls,
        cameras: Cameras,
        *,
        relative_to: RelativeTo = "first_frame",
        scale: Scale = "scene",
        lens: Lens = "absolute",
    ) -> "Trajectory":
        """A path given by matrices; their world is the first source camera unless said."""
        static = cls.static(len(cameras))
        return replace(static, absolute=cameras, relative_to=relative_to, scale=scale, lens=lens)


def _resampled(value: Tensor, at: np.ndarray) -> Tensor:
    """One number or row per frame, linearly interpolated at the frame positions `at`."""
    columns = value.reshape(value.shape[0], -1).double().numpy().T
    knots = np.arange(value.shape[0])
    rows = np.stack([np.interp(at, knots, column) for column in columns], axis=-1)
    return torch.from_numpy(rows).to(value.dtype).reshape(len(at), *value.shape[1:])


def parse_released_text(text: str, name: str) -> tuple[list[float], list[float], list[float]]:
    """The released three-line text of a move: theta, phi (degrees), r (fraction of the radius).

    The lines may differ in length: each is a curve of its own over the whole clip, so the numbers
    of one column belong to no common moment.

    Args:
        name: what to call the text in an error, usually its path.

    Raises:
        ValueError: not three lines of finite numbers; names the line and the field.
    """
    lines = text.rstrip().split("\n") if text.strip() else []
    if len(lines) != 3:
        raise ValueError(
            f"{name}: expected 3 lines of numbers (theta, phi, r); got {len(lines)} line(s)."
        )
    curves: list[list[float]] = [[], [], []]
    for i, line in enumerate(lines):
        where = f"{name}, line {i + 1}"
        words = line.replace(",", " ").split()
        if not words:
            raise ValueError(f"{where}: expected at least one number; the line is empty.")
        for column, word in enumerate(words):
            try:
                number = float(word)
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                raise ValueError(
                    f"{where}, field {column + 1}: expected a finite number; got {word!r}."
                )
            curves[i].append(number)
    return curves[0], curves[1], curves[2]


def check_ranges(trajectory: Trajectory) -> list[str]:
    """Warnings, a sentence each, where a path leaves the ranges the released system documents.

    Angles under 60 degrees, dolly under 0.6 of the radius, pan under 4 depth units (0.8 of the
    radius). Absolute cameras are not judged.
    """
    scene = trajectory.pan_unit == "scene"
    limits = [
        ("elevation", trajectory.elevation_deg, 60.0, "degrees"),
        ("azimuth", trajectory.azimuth_deg, 60.0, "degrees"),
        ("dolly", trajectory.dolly, 0.6, "of the radius"),
        ("pan", trajectory.pan, *((4.0, "depth units") if scene else (0.8, "of the radius"))),
    ]
    warnings = []
    for name, value, limit, unit in limits:
        largest = float(value.abs().max())
        if largest > limit * (1 + 1e-6):
            warnings.append(
                f"{name} reaches {largest:.3g} {unit}; beyond {limit:g} much of the view is "
                "invented."
            )
    return warnings
