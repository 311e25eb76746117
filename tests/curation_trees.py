"""Small data sets with the true names and formats, for the tests of curation.

The one thing a reader would get wrong: all posed sequences show one and the same room, frozen, so
that depth is known; `room_depth` finds a frame again by its looks and gives its depth in a unit and
with a shift of its own, as an estimator would.
"""

import csv
import io
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from trajectorycrafter.geometry.cameras import Cameras, intrinsics, rigid, rotation_y
from trajectorycrafter.geometry.trajectory_files import write_trajectory
from trajectorycrafter.lab.synthetic.scene import RayScene
from trajectorycrafter.video.clip import Depth, Video

SIZE = (72, 96)
FRAMES = 18
FOCAL = 80.0
FPS = 30.0
OPENVID_COLUMNS = [
    "video",
    "caption",
    "aesthetic score",
    "motion score",
    "temporal consistency score",
    "camera motion",
    "frame",
    "fps",
    "seconds",
]


@dataclass(frozen=True)
class Room:
    """A camera's way through a room in which nothing moves."""

    video: Video
    depth: Depth
    cameras: Cameras


@lru_cache(1)
def room() -> Room:
    scene = RayScene.make(11, place="room")
    right = torch.linspace(-0.6, 0.6, FRAMES)
    center = torch.stack([right, torch.zeros(FRAMES), torch.zeros(FRAMES)], dim=-1)
    turn = rotation_y(torch.linspace(4, -4, FRAMES))
    moved = rigid(turn, -(turn @ center[..., None])[..., 0])
    cameras = Cameras(moved, intrinsics(FOCAL, *SIZE, FRAMES), *SIZE)
    video, depth = scene.render(cameras, torch.full((FRAMES,), 0.5))
    return Room(Video((video.frames * 255).round() / 255, FPS), depth, cameras)


def room_depth(video: Video) -> Depth:
    """The room's depth by the looks of its frames; disparity is 0.4 times the truth plus 0.03."""
    small = F.interpolate(video.frames, (18, 24), mode="area").flatten(1)
    known = F.interpolate(room().video.frames, (18, 24), mode="area").flatten(1)
    found = torch.cdist(small, known).argmin(dim=1)
    size = (video.height, video.width)
    z = F.interpolate(room().depth.z[found], size, mode="nearest")
    return Depth.of(1 / (0.4 / z + 0.03))


def flat_depth(video: Video) -> Depth:
    """A floor that rises to a wall: enough to lift clips that show nothing in particular."""
    rows = torch.linspace(4, 1.5, video.height)[:, None].expand(video.height, video.width)
    return Depth.of(rows.expand(len(video), 1, -1, -1).contiguous())


def room_geometry(video: Video, cameras: Cameras | None) -> tuple[Cameras, Depth]:
    """A geometry network that is always right."""
    small = F.interpolate(video.frames, (18, 24), mode="area").flatten(1)
    known = F.interpolate(room().video.frames, (18, 24), mode="area").flatten(1)
    found = torch.cdist(small, known).argmin(dim=1)
    size = (video.height, video.width)
    z = F.interpolate(room().depth.z[found], size, mode="nearest")
    return room().cameras[found].resized(*size), Depth.of(z)


def moving_clip(
    frames: int, seed: int = 0, step: float = 1.0, size: tuple[int, int] = (48, 64)
) -> Video:
    """A smooth pattern that drifts."""
    rng = np.random.default_rng(seed)
    field = rng.random((3, 12, 40)).astype(np.float32)
    wide = F.interpolate(torch.from_numpy(field)[None], (size[0], size[1] * 3), mode="bicubic")
    starts = [round(i * step) % (2 * size[1]) for i in range(frames)]
    pictures = [wide[0, :, :, s : s + size[1]] for s in starts]
    return Video(torch.stack(pictures).clamp(0, 1), 24.0)


# -------------------------------------------------------------------------------------- folder


def write_folder(root: Path) -> Path:
    """Good clips of four forms, and clips that are too short, still, cut, blank or damaged."""
    root.mkdir(parents=True)
    moving_clip(12, 1).write(root / "film.mp4")
    (root / "film.txt").write_text("a drifting pattern\n", encoding="utf-8")
    _animate(moving_clip(10, 2), root / "sub" / "loop.gif")
    _animate(moving_clip(10, 3), root / "sub" / "loop.webp")
    moving_clip(10, 4).write(root / "stills")
    moving_clip(3, 5).write(root / "short.mp4")
    moving_clip(12, 6, step=0).write(root / "still.mp4")
    joined = torch.cat([moving_clip(4, s, 1.0).frames for s in (20, 21, 22)])
    Video(
        joined * torch.tensor([1.0, 0.2, 1.0]).repeat_interleave(4)[:, None, None, None], 24
    ).write(root / "cut.mp4")
    Video(torch.full((12, 3, 48, 64), 0.5), 24.0).write(root / "blank.mp4")
    (root / "damaged.mp4").write_bytes(b"no film at all")
    return root


def _animate(video: Video, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    first, *others = [Image.fromarray(frame) for frame in _bytes(video)]
    first.save(path, save_all=True, append_images=others, duration=40, loop=0)


def _bytes(video: Video) -> np.ndarray:
    return (video.frames * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


# ------------------------------------------------------------------------------------- OpenVid


def write_openvid(root: Path) -> Path:
    """Videos in a whole zip, in a zip in two parts and unzipped; one is listed only."""
    (root / "video").mkdir(parents=True)
    rows = []
    for i, name in enumerate(("whole", "parted", "flat", "gone", "ugly")):
        video = f"{name}Vid-x_{i}_{10 * i}to{10 * i + 99}.mp4"
        scores = [3.0 if name == "ugly" else 5.5, 4.2, 0.99, "pan_left", 12, 24.0, 0.5]
        rows.append([video, f'A "{name}" clip, drifting', *scores])
        moving_clip(12, 30 + i).write(root / "video" / video)
    whole, parted, _, gone, _ = (root / "video" / row[0] for row in rows)
    gone.unlink()
    with ZipFile(root / "OpenVid_part0.zip", "w") as file:
        file.write(whole, f"some/folder/{whole.name}")
    held = io.BytesIO()
    with ZipFile(held, "w") as file:
        file.write(parted, f"{parted.name}")
    data = held.getvalue()
    (root / "OpenVid_part73_partaa").write_bytes(data[: len(data) // 2])
    (root / "OpenVid_part73_partab").write_bytes(data[len(data) // 2 :])
    whole.unlink()
    parted.unlink()
    with (root / "OpenVid-1M.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([OPENVID_COLUMNS, *rows])
    return root


# ------------------------------------------------------------------------------ posed sequences


def write_realestate10k(root: Path) -> Path:
    """One clip of a long video, one of frames named by moment, one whose video is gone."""
    (root / "train").mkdir(parents=True)
    (root / "test").mkdir()
    lead = 6
    before = moving_clip(lead, 9, size=SIZE).frames
    long = Video(torch.cat([before, room().video.frames]), FPS)
    long.write(root / "videos" / "yT_ub-e12345.mp4", crf=4)
    _realestate10k_text(root / "train" / "0a1b2c3d.txt", "yT_ub-e12345", lead)
    stamps = _realestate10k_text(root / "train" / "4e5f6a7b.txt", "g0ne", 100)
    _realestate10k_text(root / "train" / "8c9d0e1f.txt", "g0ne", 0)
    _realestate10k_text(root / "test" / "77777777.txt", "yT_ub-e12345", lead)
    frames = root / "frames" / "4e5f6a7b"
    frames.mkdir(parents=True)
    for stamp, pixels in zip(stamps, _bytes(room().video)):
        Image.fromarray(pixels).save(frames / f"{stamp}.png")
    return root


def _realestate10k_text(path: Path, video: str, lead: int) -> list[int]:
    write_trajectory(room().cameras, path, "realestate10k", fps=FPS)
    _, *lines = path.read_text().splitlines()
    stamps = [round((lead + i) * 1e6 / FPS) for i in range(len(lines))]
    lines = [f"{stamp} {line.split(' ', 1)[1]}" for stamp, line in zip(stamps, lines)]
    address = f"https://www.youtube.com/watch?v={video}"
    path.write_text("\n".join([address, *lines]) + "\n")
    return stamps


def write_dl3dv(root: Path) -> Path:
    """A scene as a folder and one as a zip; pictures are a quarter of what transforms.json says."""
    names = ["0a" * 32, "1b" * 32]
    for name in names:
        scene = root / "1K" / name
        (scene / "images_4").mkdir(parents=True)
        for i, pixels in enumerate(_bytes(room().video)):
            Image.fromarray(pixels).save(scene / "images_4" / f"frame_{i + 1:05d}.png")
        _transforms(scene / "transforms.json")
    with ZipFile(root / "1K" / f"{names[1]}.zip", "w") as file:
        for path in sorted((root / "1K" / names[1]).rglob("*.*")):
            file.write(path, path.relative_to(root / "1K"))
            path.unlink()
    for folder in ("images_4", ""):
        (root / "1K" / names[1] / folder).rmdir()
    (root / "cache").mkdir()
    lines = ["hash,batch", *(f"{name},1K" for name in names)]
    (root / "cache" / "DL3DV-valid.csv").write_text("\n".join(lines) + "\n")
    return root


def _transforms(path: Path) -> None:
    cameras = room().cameras.resized(4 * SIZE[0], 4 * SIZE[1])
    write_trajectory(cameras, path, "transforms")
    document = json.loads(path.read_text())
    lens = document["frames"][0]
    for i, frame in enumerate(document["frames"]):
        frame["file_path"] = f"images/frame_{i + 1:05d}.png"
        frame["colmap_im_id"] = i + 1
        for key in ("fl_x", "fl_y", "cx", "cy"):
            document[key] = lens[key]
    for frame in document["frames"]:
        for key in ("fl_x", "fl_y", "cx", "cy"):
            del frame[key]
    # Nearly no distortion, so that the room stays what it is.
    document |= {"k1": 1e-5, "k2": 0.0, "p1": 0.0, "p2": 0.0}
    path.write_text(json.dumps(document))


def write_posed(root: Path) -> Path:
    """A folder with a COLMAP model."""
    scene = root / "flat" / "hall"
    (scene / "images").mkdir(parents=True)
    for i, pixels in enumerate(_bytes(room().video)):
        Image.fromarray(pixels).save(scene / "images" / f"{i:05d}.png")
    write_trajectory(room().cameras, scene / "sparse" / "0", "colmap")
    return root
