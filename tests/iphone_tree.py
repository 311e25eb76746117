"""Small folders in the three layouts of the iPhone benchmark, with true names and formats.

The one thing a reader would get wrong: all three show the same procedural scene, but each has a
world of its own: DyCheck's is turned and shifted, COLMAP's is besides that smaller by `SCALE`.
"""

import json
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from trajectorycrafter.geometry.cameras import Cameras, intrinsics, rigid, rigid_inverse, rotation_y
from trajectorycrafter.lab.synthetic.scene import RayScene
from trajectorycrafter.video.clip import Depth, Video

HEIGHT, WIDTH = 48, 36
FPS = 30.0
SCALE = 2.5
"""Metres for one unit of the made-up COLMAP model."""
MOMENTS = {1: (0, 1, 2, 4, 5), 2: (3, 4, 5)}
"""Held-out cameras with a gap and a late start, as in the data set."""
FRAMES = 6


@dataclass(frozen=True)
class World:
    """What was filmed: exact pictures, depth and cameras, scene units being metres."""

    source: Video
    depth: Depth
    cameras: Cameras
    targets: dict[int, tuple[Video, Cameras]]


@lru_cache(maxsize=1)
def world() -> World:
    """The one scene of all trees."""
    scene, times = RayScene.make(3, place="room"), torch.arange(FRAMES) / FPS
    moving = _cameras(torch.linspace(0.0, 0.4, FRAMES), torch.linspace(0.0, 4.0, FRAMES))
    video, depth = scene.render(moving, times)
    targets = {}
    for camera, (right, turn) in {1: (0.5, -4.0), 2: (-0.5, 5.0)}.items():
        count = len(MOMENTS[camera])
        still = _cameras(torch.full((count,), right), torch.full((count,), turn))
        seen, _ = scene.render(still, times[list(MOMENTS[camera])])
        targets[camera] = (_eight_bits(seen), still)
    return World(_eight_bits(video), depth, moving, targets)


def _cameras(right: torch.Tensor, turn_deg: torch.Tensor) -> Cameras:
    center = torch.stack([right, torch.zeros_like(right), torch.zeros_like(right)], dim=-1)
    K = intrinsics(36.0, HEIGHT, WIDTH, len(right))
    K[:, 0, 2] += 0.7
    K[:, 1, 2] -= 1.2
    return Cameras(rigid_inverse(rigid(rotation_y(turn_deg), center)), K, HEIGHT, WIDTH)


def _eight_bits(video: Video) -> Video:
    return Video((video.frames * 255).round() / 255, FPS)


# -------------------------------------------------------------------------------- the layouts


def write_dycheck(scene: Path) -> Path:
    """The data set as published, at 1x and 2x."""
    _pictures_and_lists(scene)
    filmed = _moved(world(), 1.0)
    for camera, moments, cameras in _cameras_of(filmed):
        for i, moment in enumerate(moments):
            _write_json(_camera_json(cameras[[i]]), scene / f"camera/{camera}_{moment:05d}.json")
    _write_masks(scene / "covisible")
    return scene


def write_som(scene: Path, binary: bool = True) -> Path:
    """As processed by Shape of Motion, beside the data set's pictures and lists."""
    _pictures_and_lists(scene)
    som = scene / "flow3d_preprocessed"
    filmed = _moved(world(), 1 / SCALE)
    sparse = som / "colmap" / "sparse"
    sparse.mkdir(parents=True)
    np.save(som / "colmap" / "scale.npy", np.array(SCALE))
    entries = [
        (f"{camera}_{moment:05d}.png", cameras[[i]])
        for camera, moments, cameras in _cameras_of(filmed)
        for i, moment in enumerate(moments)
    ]
    # COLMAP's order says nothing about time.
    (_write_binary if binary else _write_text)(sparse, entries[::-1])
    for factor in (1, 2):
        for i in range(FRAMES):
            inverse = SCALE / _smaller(world().depth.z[i, 0].numpy(), factor)
            inverse[0, 0] = 0.0
            _write_npy(inverse, som / f"aligned_depth_anything_colmap/{factor}x/0_{i:05d}.npy")
    _write_masks(som / "covisible")
    return scene


def write_camdirector(scene: Path) -> Path:
    """As processed by CamDirector; the target has every frame, as theirs."""
    filmed = _moved(world(), 1.0)
    target, cameras = filmed.targets[1]
    index = [min(i, len(cameras) - 1) for i in range(FRAMES)]
    for name, video, cams in (
        ("source", filmed.source, filmed.cameras),
        ("target", target[index], cameras[index]),
    ):
        (scene / "camera_poses").mkdir(parents=True, exist_ok=True)
        torch.save(cams.camera_to_world, scene / "camera_poses" / f"{name}_c2ws.pt")
        torch.save(cams.K, scene / "camera_poses" / f"{name}_Ks.pt")
        for i, frame in enumerate(video.frames):
            write_png(frame, scene / f"{name}_imgs/frame_{i:05d}.png")
    (scene / "depth_maps").mkdir()
    for i in range(FRAMES):
        half = filmed.depth.z[i, 0].numpy().astype(np.float16).view(np.uint16)
        assert cv2.imwrite(str(scene / "depth_maps" / f"frame_{i:05d}_depth.png"), half)
    return scene


# ----------------------------------------------------------------------------------- the parts


def _moved(filmed: World, scale: float) -> World:
    """The same films in a world that is turned, shifted and scaled."""
    turn = rigid(rotation_y(torch.tensor(33.0)), torch.tensor([0.3, -1.0, 2.0]))

    def moved(cameras: Cameras) -> Cameras:
        world_to_camera = cameras.world_to_camera @ turn
        world_to_camera[:, :3, 3] *= scale
        return Cameras(world_to_camera, cameras.K, cameras.height, cameras.width)

    targets = {camera: (video, moved(c)) for camera, (video, c) in filmed.targets.items()}
    return World(filmed.source, filmed.depth, moved(filmed.cameras), targets)


def _cameras_of(filmed: World) -> list[tuple[int, tuple[int, ...], Cameras]]:
    held_out = [(camera, MOMENTS[camera], c) for camera, (_, c) in filmed.targets.items()]
    return [(0, tuple(range(FRAMES)), filmed.cameras), *held_out]


def _pictures_and_lists(scene: Path) -> None:
    films = {0: (tuple(range(FRAMES)), world().source)}
    films |= {c: (MOMENTS[c], video) for c, (video, _) in world().targets.items()}
    names = {"train": [f"0_{i:05d}" for i in range(FRAMES)]}
    names["val"] = [f"{c}_{m:05d}" for c in MOMENTS for m in MOMENTS[c]]
    for camera, (moments, video) in films.items():
        for moment, frame in zip(moments, video.frames):
            for factor in (1, 2):
                small = torch.nn.functional.avg_pool2d(frame, factor)
                path = scene / f"rgb/{factor}x/{camera}_{moment:05d}.png"
                write_png(torch.cat([small, torch.ones_like(small[:1])]), path)
    for i, z in enumerate(world().depth.z):
        for factor in (1, 2):
            lidar = _smaller(z[0].numpy(), factor)[..., None].copy()
            lidar[0, 0] = 0
            _write_npy(lidar, scene / f"depth/{factor}x/0_{i:05d}.npy")
    for split, ids in names.items():
        cameras, moments = zip(*(map(int, name.split("_")) for name in ids))
        value = {"frame_names": ids, "camera_ids": cameras, "time_ids": moments}
        _write_json(value, scene / "splits" / f"{split}.json")
    every = names["train"] + names["val"]
    counts = {"count": len(every), "num_exemplars": FRAMES, "ids": every}
    lists = counts | {"train_ids": names["train"], "val_ids": names["val"]}
    _write_json(lists, scene / "dataset.json")
    _write_json(
        {
            name: {
                "warp_id": int(name[2:]),
                "appearance_id": int(name[2:]),
                "camera_id": int(name[0]),
            }
            for name in every
        },
        scene / "metadata.json",
    )
    _write_json({"scale": 0.27, "center": [0, 0, 0], "near": 0.1, "far": 2}, scene / "scene.json")
    box = {"bbox": [[-1, -1, -1], [1, 1, 1]], "lookat": [0, 0, 1], "up": [0, -1, 0]}
    _write_json({"factor": 2, "fps": FPS} | box, scene / "extra.json")


def _write_masks(folder: Path) -> None:
    """Co-visible is the left half."""
    for factor in (1, 2):
        mask = np.zeros((HEIGHT // factor, WIDTH // factor), dtype=np.uint8)
        mask[:, : WIDTH // factor // 2] = 255
        for camera, moments in MOMENTS.items():
            for moment in moments:
                path = folder / f"{factor}x/val/{camera}_{moment:05d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(path)


def _camera_json(camera: Cameras) -> dict[str, Any]:
    matrix, K = camera.world_to_camera[0].double(), camera.K[0].double()
    return {
        "focal_length": K[0, 0].item(),
        "image_size": [camera.width, camera.height],
        "orientation": matrix[:3, :3].tolist(),
        "pixel_aspect_ratio": 1.0,
        "position": (-matrix[:3, :3].T @ matrix[:3, 3]).tolist(),
        "principal_point": K[:2, 2].tolist(),
        "radial_distortion": [0.0, 0.0, 0.0],
        "skew": 0.0,
        "tangential_distortion": [0.0, 0.0],
    }


def _pose(camera: Cameras) -> tuple[list[float], list[float]]:
    matrix = camera.world_to_camera[0].double().numpy()
    x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat()
    return [w, x, y, z], matrix[:3, 3].tolist()


def _pinhole(camera: Cameras) -> list[float]:
    K = camera.K[0].double()
    return [K[0, 0].item(), K[1, 1].item(), K[0, 2].item(), K[1, 2].item()]


def _write_binary(folder: Path, entries: list[tuple[str, Cameras]]) -> None:
    lens = struct.pack("<iiQQ4d", 1, 1, WIDTH, HEIGHT, *_pinhole(entries[0][1]))
    (folder / "cameras.bin").write_bytes(struct.pack("<Q", 1) + lens)
    data = struct.pack("<Q", len(entries))
    for i, (name, camera) in enumerate(entries, start=1):
        quaternion, shift = _pose(camera)
        data += struct.pack("<i7di", i, *quaternion, *shift, 1) + name.encode() + b"\0"
        data += struct.pack("<Qddq", 1, 3.5, 4.5, -1)
    (folder / "images.bin").write_bytes(data)


def _write_text(folder: Path, entries: list[tuple[str, Cameras]]) -> None:
    lens = " ".join(map(str, _pinhole(entries[0][1])))
    (folder / "cameras.txt").write_text(f"1 PINHOLE {WIDTH} {HEIGHT} {lens}\n")
    lines = []
    for i, (name, camera) in enumerate(entries, start=1):
        quaternion, shift = _pose(camera)
        lines += [" ".join(map(str, [i, *quaternion, *shift, 1, name])), "3.5 4.5 -1"]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")


def _smaller(z: np.ndarray, factor: int) -> np.ndarray:
    return z[::factor, ::factor].copy()


def _write_npy(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def _write_json(value: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=4))


def write_png(frame: torch.Tensor, path: Path) -> None:
    """`C H W` in [0, 1] as eight bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (frame.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(path)
