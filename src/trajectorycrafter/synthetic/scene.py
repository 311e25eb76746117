"""A procedural dynamic scene, seen exactly: the ground truth of the renderer's tests.

The one thing a reader would get wrong: depth is sampled at the pixel centre and never blended,
while colour is averaged over the pixel as a lens does. A pixel on a silhouette has one surface's
depth and a mixture of both colours, as in filmed material with perfect depth.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..geometry.cameras import Cameras
from ..video import Depth, Video

NOISE_CELLS = 32


@dataclass(frozen=True)
class Materials:
    """Solid textures: two colours mixed by noise and soft checks, one row per surface."""

    colors: Float[Tensor, "M 2 3"]
    """The two colours, RGB in [0, 1]."""
    grain: Float[Tensor, " M"]
    """Noise cells per scene unit of the coarsest octave."""
    check: Float[Tensor, " M"]
    """Half periods of the checks per scene unit; 0 for none."""


@dataclass(frozen=True)
class Scene:
    """A textured room with boxes and spheres, some of which swing to and fro.

    World axes are OpenCV's (y down); the source camera stands at the origin and looks along z.
    Row 0 of `materials` dresses the room, row 1 + i dresses object i.
    """

    room: Float[Tensor, "2 3"]
    """Lowest and highest corner; every camera must stay inside."""
    center: Float[Tensor, "M 3"]
    """Middle of each object at rest."""
    half_size: Float[Tensor, "M 3"]
    """Half edge lengths of a box; a sphere's radius three times."""
    is_box: Bool[Tensor, " M"]
    """True for boxes, False for spheres."""
    yaw: Float[Tensor, " M"]
    """Turn about the vertical axis at time 0, radians."""
    spin: Float[Tensor, " M"]
    """Radians per second."""
    swing: Float[Tensor, "M 3"]
    """Furthest displacement from `center`; 0 for what stands still."""
    period: Float[Tensor, " M"]
    """Seconds for one swing to and fro."""
    phase: Float[Tensor, " M"]
    """Radians."""
    materials: Materials
    noise: Float[Tensor, "3 D D D"]
    """Periodic noise volume in [0, 1], the first layer repeated at the end of each axis."""

    @classmethod
    def make(cls, seed: int, *, objects: int = 6) -> "Scene":
        """A scene drawn from `seed`, the same on every machine.

        Args:
            objects: boxes and spheres in turn; every other pair moves.
        """
        generator = torch.Generator().manual_seed(seed)

        def draw(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(*shape, generator=generator)

        room = torch.stack([draw(-1.0, 1.0, 3), draw(-1.0, 1.0, 3)])
        room = room * torch.tensor([0.8, 0.2, 0.8]) + torch.tensor([[-5.0, -2.6, -4], [5, 1.5, 9]])
        index = torch.arange(objects)
        is_box = index % 2 == 0
        half_size = torch.where(
            is_box[:, None], draw(0.3, 0.9, objects, 3), draw(0.35, 0.7, objects, 1)
        )
        # Objects take their places from left to right, so that they seldom run into each other.
        place = torch.linspace(-1, 1, objects)[torch.randperm(objects, generator=generator)]
        z = draw(3.0, 6.5, objects)
        x = place * 0.55 * z + draw(-0.3, 0.3, objects)
        moves = (index // 2) % 2 == 1
        swing = draw(-1.0, 1.0, objects, 3) * torch.tensor([1.4, 0.0, 0.5]) * moves[:, None]
        return cls(
            room=room,
            center=torch.stack([x, room[1, 1] - half_size[:, 1], z], dim=1),
            half_size=half_size,
            is_box=is_box,
            yaw=draw(0.0, math.pi, objects),
            spin=draw(-0.6, 0.6, objects) * moves,
            swing=swing,
            period=draw(2.0, 4.0, objects),
            phase=draw(0.0, 2 * math.pi, objects),
            materials=_make_materials(objects + 1, draw),
            noise=_make_noise(generator),
        )


def render_scene(
    scene: Scene, cameras: Cameras, times: Float[Tensor, " T"], *, samples: int = 2
) -> tuple[Video, Depth]:
    """What `cameras` see of the scene at `times`, and its exact depth.

    Args:
        times: seconds, one per camera; their step sets the clip's frame rate.
        samples: rays per pixel and axis for colour.

    Raises:
        ValueError: if a camera stands outside the room or the counts differ.
    """
    if len(times) != len(cameras):
        raise ValueError(f"Expected one time per camera; got {len(times)} and {len(cameras)}.")
    inside = (cameras.centers > scene.room[0]) & (cameras.centers < scene.room[1])
    if not inside.all():
        frame = int((~inside.all(dim=1)).nonzero()[0])
        raise ValueError(
            f"Camera {frame} at {cameras.centers[frame].tolist()} is outside the room "
            f"{scene.room.tolist()}; move it inside."
        )
    fine = cameras.resized(cameras.height * samples, cameras.width * samples)
    frames, z = [], []
    for i, time in enumerate(times.tolist()):
        color, _ = _trace(scene, fine[[i]], time)
        frames.append(F.avg_pool2d(color[None], samples)[0])
        z.append(_trace(scene, cameras[[i]], time)[1])
    fps = 1 / float(times[1] - times[0]) if len(times) > 1 and times[1] > times[0] else 24.0
    return Video(torch.stack(frames), fps), Depth.of(torch.stack(z)[:, None], cameras.K)


def _trace(scene: Scene, camera: Cameras, time: float) -> tuple[Tensor, Tensor]:
    """Colour `3 H W` and depth `H W` of one frame; distances count in units of depth."""
    to_world = camera.camera_to_world[0]
    direction = camera.rays()[0].reshape(-1, 3) @ to_world[:3, :3].T
    # A ray along an axis would divide by zero in the slab test.
    direction = torch.where(direction.abs() < 1e-9, torch.full_like(direction, 1e-9), direction)
    origin = to_world[:3, 3]
    nearest, axis = torch.maximum(
        (scene.room[0] - origin) / direction, (scene.room[1] - origin) / direction
    ).min(dim=1)
    where = origin + direction * nearest[:, None]
    normal = F.one_hot(axis, 3).to(where.dtype)
    owner = torch.zeros_like(axis)
    for i in range(len(scene.center)):
        hit, local, local_normal = _hit(scene, i, time, origin, direction)
        closer = hit < nearest
        nearest = torch.where(closer, hit, nearest)
        where = torch.where(closer[:, None], local, where)
        normal = torch.where(closer[:, None], local_normal, normal)
        owner = torch.where(closer, i + 1, owner)
    color = _shade(scene, owner, where, normal)
    size = (camera.height, camera.width)
    return color.T.reshape(3, *size), nearest.reshape(size)


def _hit(
    scene: Scene, i: int, time: float, origin: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Distance along each ray to object i (inf for a miss), and the point and normal on it."""
    angle = float(scene.yaw[i] + scene.spin[i] * time)
    turn = 2 * math.pi * time / float(scene.period[i]) + float(scene.phase[i])
    c, s = math.cos(angle), math.sin(angle)
    to_local = torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    o = to_local @ (origin - scene.center[i] - scene.swing[i] * math.sin(turn))
    d = direction @ to_local.T
    t = (
        _box_distance(o, d, scene.half_size[i])
        if scene.is_box[i]
        else _ball_distance(o, d, float(scene.half_size[i, 0]))
    )
    where = o + d * torch.where(t.isinf(), torch.zeros_like(t), t)[:, None]
    scaled = where / scene.half_size[i]
    if scene.is_box[i]:
        return t, where, F.one_hot(scaled.abs().argmax(dim=1), 3).to(where.dtype)
    return t, where, scaled


def _box_distance(o: Tensor, d: Tensor, half_size: Tensor) -> Tensor:
    a, b = (-half_size - o) / d, (half_size - o) / d
    enter, leave = torch.minimum(a, b).amax(dim=1), torch.maximum(a, b).amin(dim=1)
    return torch.where((enter < leave) & (enter > 1e-3), enter, torch.inf)


def _ball_distance(o: Tensor, d: Tensor, radius: float) -> Tensor:
    a, half_b, c = (d * d).sum(1), d @ o, o @ o - radius**2
    root = half_b**2 - a * c
    t = (-half_b - root.clamp(min=0).sqrt()) / a
    return torch.where((root > 0) & (t > 1e-3), t, torch.inf)


def _shade(scene: Scene, owner: Int[Tensor, " N"], where: Tensor, normal: Tensor) -> Tensor:
    """RGB of surface points: solid texture times a light that knows neither camera nor time."""
    m = scene.materials
    grain, check = m.grain[owner, None], m.check[owner, None]
    noise = sum(_noise_at(scene.noise, where * grain * 2**k) * 0.5 ** (k + 1) for k in range(4))
    assert isinstance(noise, Tensor)
    waves = torch.sin(where * check * math.pi + 0.7).prod(dim=1, keepdim=True)
    checks = torch.where(check > 0, torch.sigmoid(waves * 12), 0.5)
    mix = (0.55 * checks + 0.45 * torch.sigmoid((noise[:, :1] - 0.47) * 14)).clamp(0, 1)
    color = torch.lerp(m.colors[owner, 0], m.colors[owner, 1], mix) + (noise - 0.47) * 0.5
    light = 0.72 + 0.28 * (normal.abs() @ torch.tensor([0.35, 1.0, 0.65])).clamp(max=1)
    return (color * light[:, None]).clamp(0, 1)


def _noise_at(noise: Tensor, where: Tensor) -> Tensor:
    """Trilinear, periodic lookup: `N 3` noise values at `N 3` cell coordinates."""
    place = where.remainder(NOISE_CELLS) * (2 / NOISE_CELLS) - 1
    grid = place[None, None, None]
    return F.grid_sample(noise[None], grid, align_corners=True)[0, :, 0, 0].T


def _make_noise(generator: torch.Generator) -> Float[Tensor, "3 D D D"]:
    noise = torch.rand(3, NOISE_CELLS, NOISE_CELLS, NOISE_CELLS, generator=generator)
    for axis in (1, 2, 3):
        noise = torch.cat([noise, noise.narrow(axis, 0, 1)], dim=axis)
    return noise


def _make_materials(count: int, draw) -> Materials:
    grain = draw(1.5, 4.0, count)
    check = draw(1.0, 4.0, count) * (draw(0.0, 1.0, count) < 0.6)
    # The room is large: coarser grain, and always checks to show motion.
    grain[0], check[0] = 1.3, 1.1
    return Materials(draw(0.1, 0.95, count, 2, 3), grain, check)
