"""Real-4D: a person filmed by four calibrated cameras at once; re-shoot one, compare with another.

The clips are the demonstration of the package Pose2Sim (BSD-3-Clause): `Pose2Sim/Demo_SinglePerson`
with `videos/cam01..04.mp4` and `calibration/Calib.qca.txt`. Pairs 01-02 and 03-04 are 49 and 67
degrees apart; all others are farther.

The one thing a reader would get wrong: nothing here knows true depth. The estimated depth is put
into the calibration's meters by points that both cameras of a pair see, so both the error of the
depth and that of the completion count; "in holes" is where the aligned depth covers nothing.
"""

import importlib.util
import math
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ...config.evaluation import Real4D
from ...depth.alignment import fit_disparity
from ...depth.estimator import load_depth_estimator
from ...geometry.cameras import Cameras
from ...rendering.point_cloud import lift
from ...rendering.render import render
from ...runtime.engine import in_words
from ...video.clip import Depth, Video
from ...video.reading import FrameChoice
from .cases import Case, case_columns, check_names, score_methods
from .records import Entry, EntryLog, Evaluation

PAIRS = (("cam01", "cam02"), ("cam02", "cam01"), ("cam03", "cam04"), ("cam04", "cam03"))
"""Source and target."""
MATCHED_FRAMES = 5
"""Moments at which points are matched between the cameras."""
MATCHED_SCALE = 2
"""How much larger than the working size the pictures are in which they are matched."""
FEWEST_POINTS = 12
"""Matches below which the depth cannot be put to scale."""
EPIPOLAR_PX = 4.0
"""Distance from the epipolar line, in pixels of the file, up to which a match is one."""


@dataclass(frozen=True)
class Calibration:
    """One camera of a Qualisys calibration file."""

    K: np.ndarray
    """`3 3`, pixels of the file, centers at +0.5."""
    distortion: np.ndarray
    """OpenCV's k1, k2, p1, p2, k3."""
    world_to_camera: np.ndarray
    """`4 4`, OpenCV axes, meters."""


def read_calibration(path: Path) -> dict[str, Calibration]:
    """Every camera of a `.qca.txt`, by its serial.

    World to camera is diag(1, -1, -1) R (X - T), R row by row, T in millimeters; lengths of the
    lens are in 1/64 pixel, pixel centers at whole numbers.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file.
    """
    try:
        root = ElementTree.parse(path).getroot()
        return {str(c.get("serial")): _calibration(c) for c in root.iter("camera")}
    except (ElementTree.ParseError, AttributeError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: expected a Qualisys calibration (.qca.txt); {error!r}") from None


def _calibration(camera: ElementTree.Element) -> Calibration:
    pose, lens = camera.find("transform"), camera.find("intrinsic")
    if pose is None or lens is None:
        raise KeyError("transform or intrinsic")

    def numbers(element: ElementTree.Element, *names: str) -> np.ndarray:
        return np.array([float(element.attrib[name]) for name in names])

    rotation = numbers(pose, *(f"r{i}{j}" for i in (1, 2, 3) for j in (1, 2, 3))).reshape(3, 3)
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ rotation
    world_to_camera[:3, 3] = -world_to_camera[:3, :3] @ (numbers(pose, *"xyz") / 1000)
    fx, fy = numbers(lens, "focalLengthU", "focalLengthV") / 64
    cx, cy = numbers(lens, "centerPointU", "centerPointV") / 64 + 0.5
    bent = numbers(lens, "radialDistortion1", "radialDistortion2", "tangentalDistortion1",
                   "tangentalDistortion2", "radialDistortion3")  # fmt: skip
    return Calibration(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), bent, world_to_camera)


def find_clips(data: Path | None) -> Path:
    """The folder `Demo_SinglePerson`, given or that of the installed package.

    Raises:
        FileNotFoundError: it is not there.
    """
    spec = importlib.util.find_spec("Pose2Sim") if data is None else None
    roots = [data] if data is not None else []
    roots += [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    for root in roots:
        for folder in (root, root / "Demo_SinglePerson", root / "Pose2Sim" / "Demo_SinglePerson"):
            if (folder / "videos" / "cam01.mp4").is_file():
                return folder
    raise FileNotFoundError(
        f"No Demo_SinglePerson/videos/cam01.mp4 in {data or 'an installed Pose2Sim'}. Get the "
        "clips with: pip download --no-deps pose2sim && unzip pose2sim-*.whl 'Pose2Sim/Demo_S*', "
        "then give that folder as --data."
    )


def evaluate_real4d(out: Path, settings: Real4D) -> Evaluation:
    """Run the benchmark; entries that an earlier run of the same folder made are kept.

    Raises:
        FileNotFoundError: the clips are not there.
        ValueError: an unknown depth estimator, or a calibration that cannot be read.
    """
    folder = find_clips(settings.data)
    log = EntryLog(out / "entries.jsonl")
    done = log.done
    check_names(settings.methods, [settings.depth])
    for source, target in tqdm(PAIRS, "Real-4D", delay=1, leave=False):
        try:
            case, depth, seconds = make_case(folder, source, target, settings)
        except ValueError as error:
            log.add(Entry("all", f"{source} to {target}", {}, error=in_words(error)))
            continue
        options = {"depth_seconds": seconds, "media": out}
        for entry in score_methods(case, depth, settings.methods, done, **options):
            log.add(entry)
    return Evaluation("real-4d", case_columns(cameras=False), log.entries)


def make_case(
    folder: Path, source: str, target: str, settings: Real4D
) -> tuple[Case, Depth, float]:
    """One pair: the case, the source's depth in meters, and the seconds the depth took.

    Raises:
        ValueError: too few points to put the depth to scale.
    """
    calibrations = read_calibration(folder / "calibration" / "Calib.qca.txt")
    for name in (source, target):
        if name not in calibrations:
            raise ValueError(f"The calibration has no {name}; it has {', '.join(calibrations)}.")
    video, here = _undistorted(folder, source, calibrations[source], settings)
    truth, there = _undistorted(folder, target, calibrations[target], settings)
    start = time.perf_counter()
    estimated = load_depth_estimator(settings.depth)(video)
    seconds = time.perf_counter() - start
    fine = [
        _undistorted(folder, n, calibrations[n], settings, MATCHED_SCALE) for n in (source, target)
    ]
    places, z = triangulated(*fine[0], *fine[1])
    places[:, 1:] /= MATCHED_SCALE
    depth = to_scale(Depth(estimated.z, estimated.valid, here.K), places, z)
    seen = render(lift(video, depth, here), there).visible
    # Between the two directions of view.
    cosine = float((here.world_to_camera[0, 2, :3] @ there.world_to_camera[0, 2, :3]).clamp(-1, 1))
    group = {"angle": f"{math.degrees(math.acos(cosine)):.0f}"}
    case = Case(f"{source} to {target}", group, video, here, there, truth, seen)
    return case, depth, seconds


def _undistorted(
    folder: Path, name: str, calibration: Calibration, settings: Real4D, factor: int = 1
) -> tuple[Video, Cameras]:
    """A camera's clip without lens distortion at `factor` times the working size, its camera."""
    choice = FrameChoice(stride=settings.stride, count=settings.frames, shorter_ok=True)
    clip = Video.read(folder / "videos" / f"{name}.mp4", choice)
    height, width = (side * factor for side in settings.size)
    # Pixels stay square: the wider side is cut evenly.
    scale = max(height / clip.height, width / clip.width)
    K = calibration.K.copy()
    K[:2] *= scale
    K[0, 2] += (width - clip.width * scale) / 2
    K[1, 2] += (height - clip.height * scale) / 2
    # OpenCV's pixel centers lie at whole numbers.
    shift = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]])
    bent, straight, size = shift @ calibration.K, shift @ K, (width, height)
    lens = calibration.distortion
    maps = cv2.initUndistortRectifyMap(bent, lens, None, straight, size, cv2.CV_32FC1)
    # Averaged before it is sampled, since the working size is several times smaller.
    frames = []
    for frame in clip.frames:
        picture = cv2.GaussianBlur(frame.permute(1, 2, 0).numpy(), (0, 0), max(0.35 / scale, 0.01))
        frames.append(torch.from_numpy(cv2.remap(picture, *maps, cv2.INTER_LINEAR)))
    made = torch.stack(frames).permute(0, 3, 1, 2).contiguous().clamp(0, 1)
    world_to_camera = torch.from_numpy(calibration.world_to_camera).float().expand(len(clip), 4, 4)
    intrinsics = torch.from_numpy(K).float().expand(len(clip), 3, 3)
    return Video(made, clip.fps), Cameras(world_to_camera, intrinsics, height, width)


def triangulated(
    video: Video, cameras: Cameras, other: Video, there: Cameras
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, " N"]]:
    """Frame, column and row (pixels) in `video` of points that both cameras see, and their depth.

    They are SIFT matches of the same moments that keep to the calibrated epipolar lines.
    """
    # Lines in the other camera of pixels in the first: x_b F x_a = 0.
    move = (there.world_to_camera[0] @ cameras.camera_to_world[0]).double().numpy()
    x, y, z = move[:3, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ move[:3, :3]
    K_a, K_b = cameras.K[0].double().numpy(), there.K[0].double().numpy()
    fundamental = np.linalg.inv(K_b).T @ essential @ np.linalg.inv(K_a)
    both = (cameras, there)
    projections = [(c.K[0] @ c.world_to_camera[0, :3]).double().numpy() for c in both]
    places, depths = [], []
    for frame in np.linspace(0, len(video) - 1, MATCHED_FRAMES).round().astype(int):
        a, b = _matches(video.frames[frame], other.frames[frame])
        line = np.c_[a, np.ones(len(a))] @ fundamental.T
        distance = np.abs((line * np.c_[b, np.ones(len(b))]).sum(1))
        distance /= np.linalg.norm(line[:, :2], axis=1)
        good = distance < EPIPOLAR_PX * max(video.height, video.width) / 1920 + 0.5
        a, b = a[good], b[good]
        z = np.zeros(0)
        if len(a):
            points = cv2.triangulatePoints(projections[0], projections[1], a.T, b.T)
            points = points / np.where(np.abs(points[3]) < 1e-12, np.nan, points[3])
            z = (cameras.world_to_camera[0].double().numpy() @ points)[2]
        front = np.isfinite(z) & (z > 0)
        places.append(np.c_[np.full(front.sum(), frame), a[front]])
        depths.append(z[front])
    return (
        torch.from_numpy(np.concatenate(places)).float().reshape(-1, 3),
        torch.from_numpy(np.concatenate(depths)).float(),
    )


def _matches(a: Float[Tensor, "3 H W"], b: Float[Tensor, "3 h w"]) -> tuple[np.ndarray, np.ndarray]:
    """Pixel places of mutual SIFT matches, centers at +0.5."""
    # OpenCV's type stub does not know that there may be no words.
    sift: Any = cv2.SIFT.create(nfeatures=8000, contrastThreshold=0.01)
    grays = ((picture.mean(0) * 255).round().byte().numpy() for picture in (a, b))
    (keys_a, words_a), (keys_b, words_b) = (sift.detectAndCompute(gray, None) for gray in grays)
    if words_a is None or words_b is None:
        return np.zeros((0, 2)), np.zeros((0, 2))
    pairs = cv2.BFMatcher(crossCheck=True).match(words_a, words_b)
    pairs = sorted(pairs, key=lambda pair: pair.distance)[:1500]
    # OpenCV keeps pixel centers at whole numbers.
    here = np.array([keys_a[p.queryIdx].pt for p in pairs]).reshape(-1, 2) + 0.5
    return here, np.array([keys_b[p.trainIdx].pt for p in pairs]).reshape(-1, 2) + 0.5


def to_scale(depth: Depth, places: Float[Tensor, "N 3"], z: Float[Tensor, " N"]) -> Depth:
    """Depth whose disparity agrees with that of known points up to a scale and a shift.

    Least absolute differences, since some matches are wrong.

    Args:
        places: frame, column and row (pixels) of the points, whose depth is `z`.

    Raises:
        ValueError: too few points.
    """
    if len(z) < FEWEST_POINTS:
        raise ValueError(
            f"Only {len(z)} points are seen by both cameras; {FEWEST_POINTS} are needed to put the "
            "depth to scale. Use a larger --size."
        )
    frame, column, row = places.floor().long().unbind(1)
    height, width = depth.z.shape[2:]
    found = depth.z[frame, 0, row.clamp(0, height - 1), column.clamp(0, width - 1)]
    scale, shift = fit_disparity(1 / found, 1 / z, "differences")
    if scale <= 0:  # the points tell near from far the other way round: trust their middle only
        scale, shift = float((found / z).median()), 0.0
    # Nothing is believed to be much farther than what was matched.
    disparity = (scale / depth.z + shift).clamp(min=0.5 * float((1 / z).quantile(0.02)))
    return Depth(1 / disparity, depth.valid, depth.K)
