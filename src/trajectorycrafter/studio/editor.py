"""The edits of a camera path for one clip, each a step that can be undone.

An edit that makes no path is refused before it enters the history, so the current design can always
be drawn, exported and run.
"""

import math
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..geometry.cameras import Cameras
from ..geometry.interpolation import smoothed
from ..geometry.presets import PRESETS
from ..geometry.trajectories import Scale, Trajectory
from ..geometry.trajectory_files import TrajectoryFormat, read_trajectory
from .editing import Design, History, TimeKind
from .imports import editable_keys, unpacked
from .preparing import PreparedClip
from .resolving import as_keys, exported, key_for, resolved

CLICK_TOLERANCE = 0.02
"""How far a point may lie from a click's ray, as a share of its distance: wide enough to hit the
thinned cloud, narrow enough not to hit a neighboring thing."""


@dataclass(frozen=True)
class Resolved:
    """A design with its path and its new cameras."""

    design: Design
    path: Trajectory
    cameras: Cameras


class Editor:
    """A design for a clip, and what can be done to it."""

    def __init__(self, clip: PreparedClip, history: History | None = None):
        self.clip = clip
        self.history = history or History(Design(clip.output_frames))
        self._lock = threading.RLock()
        self._resolved: Resolved | None = None

    @property
    def design(self) -> Design:
        return self.history.design

    @property
    def path(self) -> Trajectory:
        return self.current.path

    @property
    def cameras(self) -> Cameras:
        return self.current.cameras

    @property
    def current(self) -> Resolved:
        """The design with the path and the cameras, one per output frame, that follow from it."""
        with self._lock:
            design = self.design
            if self._resolved is None or self._resolved.design is not design:
                self._resolved = self._resolve(design)
            return self._resolved

    def _resolve(self, design: Design) -> Resolved:
        path = resolved(design, self.clip)
        return Resolved(design, path, path.cameras(self.clip.source, self.clip.radius))

    @property
    def source_stands(self) -> bool:
        """Whether the source camera is assumed to stand still."""
        matrices = self.clip.source.world_to_camera
        return float((matrices - matrices[:1]).abs().max()) < 1e-6

    def change(self, change: Callable[[Design], Design], gesture: str | None = None) -> None:
        """Put the changed design into the history, as `History.put` does.

        Raises:
            ValueError: a change that the design refuses, or a design that makes no path.
        """
        with self._lock:
            found = self._resolve(change(self.design))
            self.history.put(found.design, gesture)
            self._resolved = found if self.design is found.design else None

    def edit(self, gesture: str | None = None, **changes: Any) -> None:
        """Change fields of the design; gesture and errors as `change`."""
        self.change(lambda design: replace(design, **changes), gesture)

    def choose_preset(self, name: str, amount: float | None = None) -> None:
        """A named move, of its usual size unless an amount is given; errors as `change`."""
        usual = PRESETS[name].amount if name in PRESETS else 0.0
        self.edit(kind="preset", preset=name, amount=usual if amount is None else amount)

    def capture(
        self,
        frame: int,
        world_to_camera: Float[Tensor, "4 4"],
        fov_deg: float | None = None,
        moment: int | None = None,
        gesture: str | None = None,
    ) -> None:
        """Put a key into an output frame, with the camera where the visitor stands.

        Args:
            fov_deg: vertical field of view; None: that of the key already there, else the source's.
            moment: source frame to show; None: that of the key already there, else the path's.

        Raises:
            ValueError: a frame outside the path, a field of view not between 0 and 180 degrees.
        """
        with self._lock:
            clip, old = self.clip, self.design.key_at(frame)
            shown = int(self.path.source_frame[frame]) if 0 <= frame < len(self.path) else 0
            if moment is None:
                moment = shown if old is None or old.source_frame is None else old.source_frame
            zoom = old.zoom if old is not None else 1.0
            if fov_deg is not None:
                if not 0 < fov_deg < 180:
                    raise ValueError(
                        f"A field of view lies between 0 and 180 degrees; got {fov_deg:g}."
                    )
                focal = clip.source.height / 2 / math.tan(math.radians(fov_deg / 2))
                zoom = focal / float(clip.source.K[shown, 1, 1])
            key = key_for(clip, self.design, frame, world_to_camera, zoom, moment)
            self.change(lambda design: design.with_key(key), gesture)

    def set_key_moment(self, frame: int, moment: int, gesture: str | None = None) -> None:
        """Show a source frame of the clip at an existing key; time then goes by the keys."""
        with self._lock:
            key = self.design.key_at(frame)
            if key is None or not 0 <= moment < len(self.clip):
                raise ValueError(
                    f"Expected a key in frame {frame} and a source frame 0 to "
                    f"{len(self.clip) - 1}; got {key} and {moment}."
                )
            time = replace(self.design.time, kind="keys")
            key = replace(key, source_frame=moment)
            self.change(lambda design: replace(design.with_key(key), time=time), gesture)

    def make_keys(self, count: int) -> None:
        """Turn any path into keys that can be edited; raises as `as_keys`."""
        self.change(lambda design: as_keys(design, count, self.clip))

    def pivot_at(
        self, origin: Float[Tensor, "3"], direction: Float[Tensor, "3"], moment: int
    ) -> None:
        """Turn about the nearest point of a source frame on a click's ray; ValueError if none."""
        cloud = self.clip.cloud
        points = cloud.points[moment][cloud.valid[moment]]
        ray = (direction / direction.norm()).to(points)
        offset = points - origin.to(points)
        along = offset @ ray
        apart = (offset - along[:, None] * ray).norm(dim=1)
        on_ray = (along > 0) & (apart < CLICK_TOLERANCE * along)
        if not on_ray.any():
            raise ValueError("There is nothing under the click; click on a point of the scene.")
        x, y, z = points[torch.where(on_ray, along, torch.inf).argmin()].tolist()
        self.set_pivot((x, y, z))

    def set_pivot(self, pivot: tuple[float, float, float] | None) -> None:
        """Turn about another point of the world, or the default; keys stay where they are."""
        with self._lock:
            design = self.design
            cameras = self._resolve(replace(design, kind="keys")).cameras
            posed = replace(design, pivot=pivot, keys=())
            for key in design.keys:
                frame = key.frame or 0
                pose = cameras.world_to_camera[frame]
                new = key_for(self.clip, posed, frame, pose, key.zoom, 0)
                posed = posed.with_key(replace(new, source_frame=key.source_frame))
            posed = replace(posed, kind=design.kind)
            self.change(lambda _: posed)

    def set_time(self, kind: TimeKind, gesture: str | None = None, **changes: Any) -> None:
        """Choose which of the clip's source frames are shown; see `TimePlan`."""
        time = replace(self.design.time, kind=kind, **changes)
        if time.kind == "curve" and len(time.points) < 2:
            last = self.design.frames - 1, len(self.clip) - 1
            time = replace(time, points=((0, 0), last))
        if not 0 <= time.moment < len(self.clip):
            raise ValueError(f"The clip has frames 0 to {len(self.clip) - 1}; got {time.moment}.")
        self.edit(gesture, time=time)

    def import_path(self, name: str, data: bytes, scale: Scale = "scene") -> None:
        """Take a path from a file of any known format; a zip is a packed folder.

        Args:
            scale: unit of the positions, for formats that do not say it.

        Raises:
            ValueError: a file that is no path; the message says what was expected.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = unpacked(name, data, Path(folder))
            try:
                keyed = editable_keys(file, self.design, still=self.source_stands)
                path = read_trajectory(file, self.design.frames, scale=scale)
            except ValueError as error:
                raise ValueError(str(error).replace(str(file), name)) from error
        if keyed is not None:
            self.change(lambda design: keyed)
        else:
            self.follow(path, name)

    def stabilize(self, sigma: float) -> None:
        """Follow the source camera, which must move, smoothed over `sigma` frames."""
        if self.source_stands:
            raise ValueError(
                "The source camera is taken to stand still, so there is nothing to stabilise; find "
                "its motion first (source camera: colmap)."
            )
        cameras = smoothed(self.clip.source, sigma)
        path = Trajectory.from_cameras(cameras, relative_to="world", lens="source")
        self.follow(path, f"stabilised over {sigma:g} frames")

    def follow(self, path: Trajectory, name: str) -> None:
        """Use a path that comes from elsewhere; `name` is shown."""
        self.edit(kind="path", path=path, path_name=name)

    def export(self, format: TrajectoryFormat = "json") -> tuple[str, bytes]:
        """Name and content of a file with the path, as `exported`."""
        return exported(self.design, self.clip, format)
