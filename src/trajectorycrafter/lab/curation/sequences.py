"""Reading a window of a posed sequence: pictures at the sample's size, and their cameras.

Pictures are cut and scaled, so the cameras are too; and a lens' distortion is taken out of the
pictures here, after which the cameras are the pinhole ones of the rest of the package.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...config.curation import Curation
from ...geometry.cameras import Cameras, check_cameras
from ...geometry.trajectory_files import read_cameras
from ...video.clip import Video
from ...video.reading import IMAGE_SUFFIXES, FrameChoice, probe
from .opening import SourceClip
from .rejected import RejectedError

DISTORTION = ("k1", "k2", "p1", "p2", "k3")
"""In OpenCV's order."""


@dataclass(frozen=True)
class PosedFrames:
    """What a posed sequence has, before a window is read."""

    cameras: Cameras
    """Those of every picture, at the pictures' own size."""
    files: list[Path]
    """A picture per camera; empty for a video."""
    video: Path | None = None
    indices: tuple[int, ...] = ()
    """The video's frame of every camera."""
    fps: float = 24.0
    distortion: tuple[float, ...] = ()
    """As `DISTORTION`; empty for none."""


def read_window(
    clip: SourceClip, path: Path, settings: Curation, rng: np.random.Generator
) -> tuple[Video, Cameras]:
    """Some of an opened sequence, as long as the settings say, begun at random.

    Raises:
        RejectedError: unreadable, too short, or pictures and cameras that do not belong together.
    """
    window = settings.window
    try:
        sequence = _sequence(clip, path)
        count = len(sequence.cameras)
        most = round(window.frames * settings.triplet.sequence)
        length = min(most, (count - 1) // window.stride + 1)
        if length <= window.frames:
            raise RejectedError("short", f"{count} frames; two segments need more")
        span = (length - 1) * window.stride + 1
        start = int(rng.integers(count - span + 1))
        return _fitted(sequence, range(start, start + span, window.stride), window.size)
    except (ValueError, OSError, KeyError) as error:
        raise RejectedError("unreadable", str(error)) from error


def _sequence(clip: SourceClip, path: Path) -> PosedFrames:
    if clip.cameras == "realestate10k":
        assert clip.camera_file is not None
        return _realestate10k(clip.camera_file, path)
    # The one with the largest pictures.
    names = ("images", "images_2", "images_4", "images_8")
    pictures = next((path / name for name in names if (path / name).is_dir()), None)
    if pictures is None:
        raise RejectedError("missing", f"no folder {', '.join(names[:3])} or {names[3]} in {path}")
    if clip.cameras == "transforms":
        return _transforms(path / "transforms.json", pictures)
    files = sorted(file for file in pictures.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    cameras = read_cameras(path, format="colmap")
    if len(files) != len(cameras):
        raise RejectedError("geometry", f"{len(files)} pictures but {len(cameras)} cameras")
    return PosedFrames(cameras, files)


def _by_stem(folder: Path) -> dict[str, Path]:
    return {f.stem: f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES}


def _transforms(path: Path, pictures: Path) -> PosedFrames:
    document = json.loads(path.read_text(encoding="utf-8"))
    frames = sorted(document["frames"], key=lambda frame: frame["file_path"])
    by_stem = _by_stem(pictures)
    stems = [Path(frame["file_path"]).stem for frame in frames]
    there = [i for i, stem in enumerate(stems) if stem in by_stem]
    if not there:
        raise RejectedError("missing", f"no picture of {path} is in {pictures}")
    distortion = tuple(float(document.pop(name, None) or 0) for name in DISTORTION)
    with TemporaryDirectory(prefix="trajectorycrafter-") as folder:
        # The reader would warn of the distortion, which is taken out here.
        plain = Path(folder) / "transforms.json"
        plain.write_text(json.dumps(document), encoding="utf-8")
        cameras = read_cameras(plain, format="transforms")[there]
    files = [by_stem[stems[i]] for i in there]
    return PosedFrames(cameras, files, distortion=distortion if any(distortion) else ())


def _realestate10k(text: Path, path: Path) -> PosedFrames:
    lines = [line.split() for line in text.read_text(encoding="utf-8").splitlines()[1:] if line]
    stamps = [int(line[0]) for line in lines]
    if path.is_dir():  # frames named by their moments, microseconds
        by_stem = _by_stem(path)
        there = [i for i, stamp in enumerate(stamps) if str(stamp) in by_stem]
        if not there:
            raise RejectedError("missing", f"no frame of {text.name} is in {path}")
        files = [by_stem[str(stamps[i])] for i in there]
        info = probe(files[0])
        cameras = read_cameras(text, format="realestate10k", size=(info.height, info.width))
        return PosedFrames(cameras[there], files)
    info = probe(path)
    cameras = read_cameras(text, format="realestate10k", size=(info.height, info.width))
    # A video of the clip's own name was cut out of the one that the moments count in.
    first = stamps[0] if path.stem == text.stem else 0
    indices = [round((stamp - first) * info.fps / 1e6) for stamp in stamps]
    there = [i for i, index in enumerate(indices) if index < info.frames]
    if not there:
        raise RejectedError("short", f"{path.name} ends before the clip begins")
    return PosedFrames(cameras[there], [], path, tuple(indices[i] for i in there), info.fps)


# -------------------------------------------------------------------------------------- pictures


def _pictures(sequence: PosedFrames, chosen: Sequence[int], size: tuple[int, int]) -> Video:
    if sequence.video is None:
        read = [Video.read(sequence.files[i], FrameChoice(size=size)).frames for i in chosen]
        return Video(torch.cat(read), 24.0)
    wanted = [sequence.indices[i] for i in chosen]
    step = math.gcd(*(b - a for a, b in zip(wanted, wanted[1:]))) or 1
    count = (wanted[-1] - wanted[0]) // step + 1
    choice = FrameChoice(start=wanted[0], stride=step, count=count, size=size)
    video = Video.read(sequence.video, choice)
    places = [(index - wanted[0]) // step for index in wanted]
    return Video(video.frames[places], sequence.fps / max(1, (wanted[1] - wanted[0])))


def _fitted(
    sequence: PosedFrames, chosen: Sequence[int], size: tuple[int, int]
) -> tuple[Video, Cameras]:
    """The pictures, cut and scaled, and the cameras that belong to them, without distortion."""
    video, cameras = _pictures(sequence, chosen, size), sequence.cameras[list(chosen)]
    shown = probe(sequence.video or sequence.files[0])
    scaled = FrameChoice(size=size).scaled_size(shown.height, shown.width, size)
    spare = (scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2
    cameras = cameras.resized(*scaled).cropped(*spare, *size)
    if sequence.distortion:
        frames, K = undistorted(video.frames, cameras.K[0], sequence.distortion)
        video = replace(video, frames=frames)
        cameras = replace(cameras, K=K.expand_as(cameras.K).clone())
    return video, check_cameras(cameras, "the sequence")


def undistorted(
    frames: Float[Tensor, "T 3 H W"], K: Float[Tensor, "3 3"], distortion: tuple[float, ...]
) -> tuple[Float[Tensor, "T 3 H W"], Float[Tensor, "3 3"]]:
    """Pictures as a pinhole camera would have taken them, without unknown borders, and its K.

    Args:
        distortion: OpenCV's k1, k2, p1, p2, k3.
    """
    height, width = frames.shape[2:]
    # OpenCV has pixel centers at integers.
    shift = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    old, numbers = K.double().numpy() - shift, np.array(distortion)
    new, _ = cv2.getOptimalNewCameraMatrix(old, numbers, (width, height), 0)
    x, y = cv2.initUndistortRectifyMap(old, numbers, np.eye(3), new, (width, height), cv2.CV_32FC1)
    pictures, edge = frames.permute(0, 2, 3, 1).contiguous().numpy(), cv2.BORDER_REPLICATE
    straight = [cv2.remap(p, x, y, cv2.INTER_LINEAR, borderMode=edge) for p in pictures]
    made = torch.from_numpy(np.stack(straight)).permute(0, 3, 1, 2).contiguous()
    return made, torch.from_numpy(new + shift).to(K)
