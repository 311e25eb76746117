"""One visitor's work on one clip: everything the page does, without a widget.

What changes the path is in `editor`, which belongs to the clip; a session that opens another clip
has another editor.
"""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ..config.redirect import CameraSettings, RedirectSettings
from ..config.studio import SPEEDS
from ..geometry.cameras import Cameras
from ..geometry.trajectories import Trajectory
from ..job.plan import Estimate, planned
from .advice import path_warnings
from .editing import Design
from .editor import Editor
from .job_records import JobSpec
from .preparing import PreparedClip, Preparer, Tell, measured_speed
from .preview import FrameShares, Preview

FULL = next(iter(SPEEDS))


class Session:
    """A clip, the design of a camera path for it, and the choices for the full run."""

    def __init__(self, preparer: Preparer, settings: RedirectSettings | None = None):
        """
        Args:
            preparer: shared by all sessions.
            settings: of the full run; the camera path in them is replaced by the design's.
        """
        self._preparer = preparer
        self.settings = settings or RedirectSettings()
        self._lock = threading.RLock()
        self._opened: tuple[Editor, Preview] | None = None
        self._shares: tuple[Trajectory, FrameShares] | None = None
        self.name, self.speed = "", FULL

    def open(self, clip: Path, name: str, tell: Tell = lambda stage, share: None) -> None:
        """Make a clip ready and start a new design for it.

        Raises:
            ValueError, FileNotFoundError: a clip that cannot be used; the earlier one stays open.
        """
        prepared = self._preparer(clip, self.settings, tell)
        with self._lock:
            self._opened = Editor(prepared), Preview(prepared)
            self._shares, self.name = None, name

    def change_source(self, source: str, tell: Tell = lambda stage, share: None) -> None:
        """Find the cameras another way: static, colmap, file:PATH; if that raises, these stay."""
        camera = replace(self.settings.camera, source=source)
        settings = replace(self.settings, camera=camera)
        prepared = self._preparer(self.clip.path, settings, tell)
        with self._lock:
            self._opened = Editor(prepared, self.editor.history), Preview(prepared)
            self.settings, self._shares = settings, None

    def copy_camera(self, clip: Path, name: str, tell: Tell = lambda stage, share: None) -> None:
        """Move as the camera of another video moved, in proportion to the scene."""
        camera = replace(self.settings.camera, source="colmap")
        other = self._preparer(clip, replace(self.settings, camera=camera), tell)
        matrices = other.source.world_to_camera.clone()
        matrices[:, :3, 3] /= other.radius
        cameras = replace(other.source, world_to_camera=matrices)
        path = Trajectory.from_cameras(cameras, scale="radius", lens="source")
        self.editor.follow(path.retimed(self.design.frames), f"camera of {name}")

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    @property
    def _parts(self) -> tuple[Editor, Preview]:
        if self._opened is None:
            raise ValueError("Open a clip first.")
        return self._opened

    @property
    def editor(self) -> Editor:
        """All that changes the path; raises ValueError while no clip is open, as do these:"""
        return self._parts[0]

    @property
    def clip(self) -> PreparedClip:
        return self.editor.clip

    @property
    def design(self) -> Design:
        return self.editor.design

    @property
    def path(self) -> Trajectory:
        return self.editor.path

    @property
    def cameras(self) -> Cameras:
        return self.editor.cameras

    def picture(self, frame: int, *, marked: bool = True) -> UInt8[np.ndarray, "h w 3"]:
        """What the new camera sees in an output frame, as `Preview.picture`."""
        current = self.editor.current
        moment = int(current.path.source_frame[frame])
        return self._parts[1].picture(current.cameras[[frame]], moment, marked=marked)

    def source_picture(self, frame: int) -> UInt8[np.ndarray, "h w 3"]:
        """The source frame that an output frame shows."""
        return self.clip.pictures[int(self.path.source_frame[frame])].numpy()

    def shares(self) -> FrameShares:
        """How much of every output frame is known."""
        current = self.editor.current
        if self._shares is None or self._shares[0] is not current.path:
            found = self._parts[1].shares(current.cameras, current.path.source_frame)
            self._shares = current.path, found
        return self._shares[1]

    def warnings(self) -> list[str]:
        """A sentence for each way in which the path asks for more than can be expected."""
        return path_warnings(self.path, self.clip, self.shares())

    def estimates(self) -> list[Estimate]:
        """Seconds and memory of the full run's stages on this machine."""
        settings, frames = self.run_settings, (len(self.clip), self.design.frames)
        speed = measured_speed(settings.machine)
        steps = planned(settings, *frames, self.result_size, gflops=speed)
        if self._preparer.known_depth(self.clip.path, settings) is None:
            return steps
        return [step for step in steps if step.stage != "depth"]

    def choose_run(self, **changes: Any) -> None:
        """Change fields of `GeneratorSettings`."""
        generator = replace(self.settings.generator, **changes)
        self.settings = replace(self.settings, generator=generator)

    def choose_speed(self, name: str) -> None:
        """How much of the quality is given for time, one of `SPEEDS`."""
        self.speed = name
        self.choose_run(steps=SPEEDS[name].steps if self._released else None)

    @property
    def _released(self) -> bool:
        return self.settings.generator.family == "released"

    @property
    def result_size(self) -> tuple[int, int]:
        """Height and width of the full run's video."""
        source, smaller = self.clip.source, SPEEDS[self.speed].smaller
        if smaller == 1 or self._released:
            return source.height, source.width
        height, width = (
            max(2, round(n / smaller / 16)) * 16 for n in (source.height, source.width)
        )
        return height, width

    @property
    def run_settings(self) -> RedirectSettings:
        """All settings of the full run but its path, which comes with the job."""
        camera = CameraSettings(source=self.settings.camera.source)
        settings = replace(self.settings, camera=camera)
        if self.speed == FULL:
            return settings
        return replace(settings, clip=replace(settings.clip, size=self.result_size))

    def job(self, user: str, name: str) -> JobSpec:
        """The full run of this design, for the queue."""
        _, path = self.editor.export("json")
        clip, settings = self.clip.path, self.run_settings
        known = self._preparer.known_depth(clip, settings)
        return JobSpec(clip, json.loads(path), settings, user, name, known_depth=known)
