"""From a clip to what the studio shows of it: depth, source cameras, a thinned point cloud.

Depth and cameras are those of the full run, at its size, so that a path means the same in both;
only the cloud and the pictures are thinned.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ..config.redirect import WINDOW, MachineSettings, RedirectSettings
from ..depth.from_file import read_depth
from ..geometry.cameras import Cameras, check_cameras
from ..job.pipeline import TrajectoryCrafter
from ..job.plan import planned
from ..job.reshoot import frame_choice
from ..rendering.point_cloud import DynamicPointCloud, lift
from ..runtime.machine import measured_gflops, pick_device, pick_dtype
from ..source_cameras import load_source_cameras
from ..video.clip import Depth, Video
from ..video.depth_npz import write_depth
from ..video.reading import probe

THINNING = 2
"""Every second point of every second row is kept."""
KEPT_IN_MEMORY, KEPT_ON_DISK = 2, 12
"""Clips whose clouds, and whose depth, are kept for the next visit."""

Tell = Callable[[str, float], None]
"""Called with a stage and the share of it that is done, 0 to 1."""


@dataclass(frozen=True)
class PreparedClip:
    """A clip that can be looked at from anywhere."""

    path: Path
    fps: float
    pictures: UInt8[Tensor, "T h w 3"]
    """The frames at preview size."""
    source: Cameras
    """One per source frame, at the size of the full run."""
    radius: float
    """Distance of the default pivot, scene units."""
    cloud: DynamicPointCloud
    """Thinned, one moment per source frame."""
    places: Float[Tensor, "N 2"]
    """Where in its source frame each point was seen, 0 to 1 from the left and from the top."""

    def __len__(self) -> int:
        return len(self.source)

    @property
    def output_frames(self) -> int:
        """How many frames a run makes of it; a still picture is shown for a while."""
        return len(self) if len(self) > 1 else WINDOW

    @property
    def preview_size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pictures.shape[1], self.pictures.shape[2]


@cache
def measured_speed(machine: MachineSettings) -> float:
    """Matrix speed of the chosen device, 1e9 operations a second, measured once per process."""
    device = pick_device(machine.device)
    return measured_gflops(device, pick_dtype(machine.dtype, device))


def prepare(
    clip: Path,
    settings: RedirectSettings,
    store: Path | None = None,
    tell: Tell = lambda stage, share: None,
) -> PreparedClip:
    """Read a clip, find its depth and cameras, lift it.

    Args:
        settings: those of the full run.
        store: folder that keeps depth and cameras for the next time.
        tell: the share of depth is taken from its expected time.

    Raises:
        ValueError, FileNotFoundError: a clip that cannot be used, as `redirect` says it.
    """
    tell("Reading the clip", 0.0)
    video = Video.read(clip, frame_choice(probe(clip, settings.clip.fps), settings))
    crafter = TrajectoryCrafter(settings=settings)
    depth, source = _depth_and_cameras(crafter, video, _file_in(store, clip, settings), tell)
    tell("Lifting the points", 0.0)
    cloud, places = thinned(video, depth, source)
    height, width = video.height // THINNING, video.width // THINNING
    small = torch.nn.functional.interpolate(
        video.frames, (height, width), mode="bilinear", antialias=True
    )
    pictures = (small.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous()
    radius = crafter.radius(depth)
    tell("Ready", 1.0)
    return PreparedClip(clip, video.fps, pictures, source, radius, cloud, places)


def _depth_and_cameras(
    crafter: TrajectoryCrafter, video: Video, file: Path | None, tell: Tell
) -> tuple[Depth, Cameras]:
    """Read from the store, else estimated and put there."""
    from ..source_cameras.from_file import CameraFile

    if file is not None and file.exists():
        file.touch()
        depth = read_depth(file)
        return depth, CameraFile(file)(video, depth)
    settings, frames, size = crafter.settings, len(video), (video.height, video.width)
    speed = measured_speed(settings.machine)
    steps = planned(settings, frames, frames, size, render_only=True, gflops=speed)
    seconds = next((step.seconds for step in steps if step.stage == "depth"), 0.0)
    with _expected("Depth", seconds, tell):
        depth = crafter.depth_estimator(video)
    tell("Source cameras", 0.0)
    find = load_source_cameras(settings.camera.source)
    source = check_cameras(find(video, depth), "source cameras")
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_depth(depth, file, source)
        files = sorted(file.parent.glob("*.npz"), key=lambda file: file.stat().st_mtime_ns)
        for oldest in files[:-KEPT_ON_DISK]:
            oldest.unlink(missing_ok=True)
    return depth, source


@contextmanager
def _expected(stage: str, seconds: float, tell: Tell) -> Generator[None, None, None]:
    """Tell twice a second which share of its expected time a stage has taken."""
    done = threading.Event()

    def watch() -> None:
        waited = 0.0
        tell(stage, 0.0)
        while not done.wait(0.5):
            waited += 0.5
            # From 90% on the share slows down, so that a late stage never claims to be done.
            share = waited / seconds if seconds > 0 else 0.0
            tell(stage, share if share < 0.9 else 1 - 0.1 * 0.9 / max(share, 0.9))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def thinned(
    video: Video, depth: Depth, source: Cameras
) -> tuple[DynamicPointCloud, Float[Tensor, "N 2"]]:
    """The cloud of the full run with fewer points, and where in the frame they were seen."""
    height, width, step = video.height, video.width, THINNING
    chosen = torch.arange(height * width).view(height, width)[::step, ::step].flatten()
    moments = []
    # One moment at a time: the whole cloud of a clip would take a gigabyte.
    for i in range(len(video)):
        cloud = lift(video[[i]], depth[[i]], source[[i]])
        moments.append(
            [part[:, chosen] for part in (cloud.points, cloud.colors, cloud.valid, cloud.spacing)]
        )
    points, colors, valid, spacing = (torch.cat(parts) for parts in zip(*moments, strict=True))
    # Neighbors are farther apart now; the spacing is what closes the surface.
    cloud = DynamicPointCloud(points, colors, valid, spacing * step)
    rows, columns = chosen // width, chosen % width
    places = torch.stack([(columns + 0.5) / width, (rows + 0.5) / height], dim=1)
    return cloud, places


def _file_in(store: Path | None, clip: Path, settings: RedirectSettings) -> Path | None:
    """Where depth and cameras of this clip and these settings are kept."""
    if store is None:
        return None
    stat = clip.stat()
    known = (
        str(clip.absolute()),
        stat.st_size,
        stat.st_mtime_ns,
        settings.clip,
        settings.depth,
        settings.camera.source,
        settings.machine.dtype,
    )
    return store / f"{hashlib.sha256(repr(known).encode()).hexdigest()[:32]}.npz"


class Preparer:
    """Prepares clips for all visitors, one at a time, and remembers the last ones."""

    def __init__(self, store: Path | None):
        """Depth and cameras are kept in the folder `store`; None keeps them in memory alone."""
        self._store = store
        self._one_at_a_time = threading.Lock()
        self._kept: OrderedDict[tuple[Path, RedirectSettings], PreparedClip] = OrderedDict()

    def known_depth(self, clip: Path, settings: RedirectSettings) -> Path | None:
        """The depth that a run with these settings would find, if it was found already."""
        file = _file_in(self._store, clip, settings)
        return file if file is not None and file.exists() else None

    def __call__(self, clip: Path, settings: RedirectSettings, tell: Tell) -> PreparedClip:
        """As `prepare`, or what is remembered."""
        if self._one_at_a_time.locked():
            tell("Waiting for another clip", 0.0)
        with self._one_at_a_time:
            key = (clip, settings)
            found = self._kept.pop(key, None) or prepare(clip, settings, self._store, tell)
            self._kept[key] = found
            while len(self._kept) > KEPT_IN_MEMORY:
                self._kept.popitem(last=False)
            return found
