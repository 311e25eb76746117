"""The main job on one screen: video and trajectory in, new video out, in five calls.

The one thing a reader would get wrong: the parts are loaded on first use and kept, so one
`TrajectoryCrafter` serves many videos.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from ..config.redirect import RedirectSettings
from ..depth.estimator import (
    DepthEstimator,
    check_depth,
    completed,
    load_depth_estimator,
    released_radius,
    scene_radius,
)
from ..depth.from_file import read_depth
from ..geometry.cameras import check_cameras
from ..geometry.trajectories import Trajectory
from ..rendering.point_cloud import lift
from ..rendering.render import render, resized
from ..rendering.shot import Shot
from ..runtime.machine import pick_device, pick_dtype
from ..runtime.stages import Stages
from ..source_cameras import SourceCameras, load_source_cameras
from ..video.clip import Depth, Video
from ..video.depth_npz import write_depth
from .generation import DiffusionGenerator, Generator, load_generator

DEPTH_FILE = "depth.npz"
"""The stage of depth as a file."""


@dataclass(frozen=True)
class Result:
    """The re-shot video and how it came about."""

    video: Video
    shot: Shot
    caption: str | None
    """The prompt that was used; None for a generator that reads none."""


class TrajectoryCrafter:
    """Re-shoots videos (paper Fig. 2): depth, point cloud, render, completion."""

    def __init__(
        self,
        model: str | Generator | None = None,
        depth: str | DepthEstimator | None = None,
        source: str | SourceCameras | None = None,
        *,
        settings: RedirectSettings | None = None,
    ):
        """
        Args:
            model: what completes the render, by name or as an object; default: the settings'.
            depth: the depth estimator, likewise.
            source: what knows the source cameras, likewise.
            settings: everything else; see `config.redirect.RedirectSettings`.

        Raises:
            ValueError: an unknown name, or a device that this machine does not have.
        """
        settings = settings or RedirectSettings()
        if isinstance(model, str):
            settings = replace(settings, generator=replace(settings.generator, model=model))
        if isinstance(depth, str):
            settings = replace(settings, depth=replace(settings.depth, depth=depth))
        if isinstance(source, str):
            settings = replace(settings, camera=replace(settings.camera, source=source))
        self.settings = settings
        self.device = pick_device(settings.machine.device)
        self.dtype = pick_dtype(settings.machine.dtype, self.device)
        self._generator = None if isinstance(model, str) else model
        self._depth = None if isinstance(depth, str) else depth
        self._source = None if isinstance(source, str) else source

    def with_settings(self, settings: RedirectSettings) -> "TrajectoryCrafter":
        """One for other settings, which keeps the loaded parts that they leave as they are.

        Raises:
            ValueError: as the constructor.
        """
        other = TrajectoryCrafter(self._generator, self._depth, self._source, settings=settings)
        ours, theirs = self.settings, settings
        machine = ours.machine == theirs.machine and ours.parity == theirs.parity
        seed = ours.generator.seed == theirs.generator.seed
        if "depth_estimator" in vars(self) and machine and seed and ours.depth == theirs.depth:
            vars(other)["depth_estimator"] = self.depth_estimator
        prompt = replace(ours.generator, prompt=theirs.generator.prompt)
        if "generator" in vars(self) and machine and prompt == theirs.generator:
            loaded = self.generator
            if isinstance(loaded, DiffusionGenerator):
                loaded = replace(loaded, settings=theirs.generator)
            vars(other)["generator"] = loaded
        return other

    @cached_property
    def depth_estimator(self) -> DepthEstimator:
        """The estimator of the settings, or the one given; its depth is checked and carries K."""
        settings = self.settings
        if self._depth is not None:
            return completed(self._depth, fov_deg=settings.depth.fov, way=settings.way)
        return load_depth_estimator(
            settings.depth.depth,
            weights=settings.machine.weights,
            device=self.device,
            dtype=self.dtype,
            fov_deg=settings.depth.fov,
            way=settings.way,
            seed=settings.generator.seed,
        )

    @cached_property
    def source_cameras(self) -> SourceCameras:
        """What says where the source camera was."""
        return self._source or load_source_cameras(self.settings.camera.source)

    @cached_property
    def generator(self) -> Generator:
        """What completes the render; loading it may take memory and a download."""
        return self._generator or load_generator(self.settings, self.device, self.dtype)

    def shoot(self, video: Video, trajectory: Trajectory, stages: Stages | None = None) -> Shot:
        """The first four calls: depth, source cameras, cloud, render. Needs no generator.

        Raises:
            ValueError: depth, cameras or trajectory that do not fit the video.
        """
        stages, way = stages or Stages(), self.settings.way
        trajectory.check_source(len(video))
        depth = stages.run(
            "depth",
            lambda: self.depth_estimator(video),
            file=DEPTH_FILE,
            save=write_depth,
            load=lambda path: check_depth(read_depth(path), video),
        )
        source = stages.run(
            "source cameras",
            lambda: check_cameras(self.source_cameras(video, depth), "source cameras"),
        )
        cloud = stages.run("point cloud", lambda: lift(video, depth, source, cull=way.cull))
        cameras = trajectory.cameras(source, self.radius(depth))
        moments = cloud[trajectory.source_frame]
        clean = way.splat == "released"
        view = stages.run("render", lambda: render(moments, cameras, mode=way.splat, clean=clean))
        if way.made_size is not None:
            view = resized(view, *way.made_size, mode=way.splat)
            cameras = cameras.resized(*way.made_size)
        # The released system takes the first frames where a path does not choose.
        first = torch.arange(min(self.settings.generator.reference, len(video)))
        reference = first if trajectory.reference_frames is None else trajectory.reference_frames
        return Shot(video, depth, source, cloud, trajectory, cameras, view, reference)

    def __call__(
        self, video: Video, trajectory: Trajectory, stages: Stages | None = None
    ) -> Result:
        """Re-shoot `video` along `trajectory`.

        Args:
            stages: times the stages and, with a folder, makes the run resumable.

        Raises:
            ValueError: input that does not fit together; said before long work begins.
            FileNotFoundError: weights that are not on this machine and cannot be downloaded.
        """
        stages = stages or Stages()
        return self.complete(self.shoot(video, trajectory, stages), stages)

    def complete(self, shot: Shot, stages: Stages | None = None) -> Result:
        """The fifth call: from the render to the finished video."""
        frames, caption = self.generator(shot, stages or Stages())
        return Result(Video(frames, shot.video.fps), shot, caption)

    def radius(self, depth: Depth) -> float:
        """Distance from the first source camera to the pivot, scene units."""
        if self.settings.camera.radius is not None:
            return self.settings.camera.radius
        center = self.settings.way.pivot == "center"
        return released_radius(depth) if center else scene_radius(depth)
