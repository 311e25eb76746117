"""Draw the training views, with exact disparity: rooms, parks, streets, tables, people.

Needs the extra `synthetic`, EGL, and below WORK what `make.sh` puts there: `sweethome3d-furniture`
(its .sh3f files) and the `miniworld` wheel for bodies and surfaces, and in `sources` the unpacked
photographs. `python render_views.py WORK OUT --views 5000` writes shards `views_00000.npz` with
`rgb` (n, H, W, 3 uint8, clean: training degrades them) and `disparity` (n, H / 2, W / 2 float16, in
1/meter; 0 for the sky, which is part of the target).
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from pictures import cuts, prints, store

from trajectorycrafter.geometry.cameras import Cameras, focal_from_fov, intrinsics
from trajectorycrafter.lab.synthetic.meshes import layout, shapes
from trajectorycrafter.lab.synthetic.meshes.content import Stock, at
from trajectorycrafter.lab.synthetic.meshes.middle import things_on
from trajectorycrafter.lab.synthetic.meshes.motion import Matrix, Motion, moved, turned
from trajectorycrafter.lab.synthetic.meshes.renderer import Body, draw
from trajectorycrafter.lab.synthetic.meshes.shapes import Part
from trajectorycrafter.lab.synthetic.shared import Vector, triple

SIZES = ((288, 384), (288, 512), (384, 288))
"""Height and width of a shard's views."""
CAMERAS = 4
"""Views of one scene: building it costs more than drawing it."""
SKY = 250.0
"""Radius of the sky in meters; what is nearly as far counts as sky."""
SURFACES = ("wall", "floor", "street", "pattern", "bark")


@dataclass
class View:
    """A scene and one camera in it: y points up, the floor is y = 0, yaw 0 looks along -z."""

    eye: np.ndarray
    yaw: float
    pitch: float
    roll: float
    fov: float
    bodies: list[Body] = field(default_factory=list)
    lamp: Vector | None = None
    """None for the sun."""

    @property
    def to_camera(self) -> Matrix:
        """To OpenCV axes."""
        yaw, pitch, roll = np.radians([self.yaw, self.pitch, self.roll])
        turn = turned(2, roll) @ turned(0, -pitch) @ turned(1, yaw)
        return np.diag([1.0, -1, -1, 1]) @ turn @ moved(*-self.eye)


def far(s: Stock, near: float, most: float) -> float:
    """A distance, each octave as often as another."""
    return float(np.exp(s.between(np.log(near), np.log(most))))


def thing(s: Stock, use: str, z: float = 6.0) -> Body:
    """Somebody, a tree that may be large if it is far, or another model."""
    if use == "tree":
        return s.tree(s.between(2.5, 14) if z > 8 else s.between(1, 4))
    return s.walker(set())[0] if use == "people" and s.chance(0.6) else s.model(use)[0]


def scatter(s: Stock, use: str, count: int, near: float, most: float) -> list[Body]:
    """Things ahead of the camera."""
    spread, ways = 0.45 if use == "people" else 0.8, [far(s, near, most) for _ in range(count)]
    return [
        at(thing(s, use, z), s.between(-spread, spread) * z, 0.01, -z, s.between(0, 6.3))
        for z in ways
    ]


def solid(s: Stock, place: np.ndarray, size: np.ndarray) -> Body:
    """A random plain body in a box of the given size."""
    data = s.pick([
        lambda: shapes.box(s.between(0.5, 3), size), shapes.box, shapes.sphere,
        lambda: shapes.cylinder(s.between(0.1, 1)), lambda: shapes.blob(s.rng),
    ])()  # fmt: skip
    motion = Motion(triple(place), s.between(0, 6.3), triple(size))
    return s.shape("solid", data, s.pick(SURFACES), motion=motion, shine=s.pick([0.0, 0.3]))


def hand(s: Stock, view: View) -> list[Body]:
    """A forearm that comes in from the border and mostly holds something, near the camera."""
    r, z = s.rng, s.between(0.3, 1.0)
    half = np.tan(np.radians(view.fov) / 2) * z
    wrist = np.array([s.between(-0.6, 0.6) * half, s.between(-0.4, 0.5) * half, z])
    elbow = np.array([s.pick([-1.4, 1.4]) * half, s.between(-0.2, 1.4) * half, z])
    elbow[2] *= s.between(0.5, 1.2)
    back = np.linalg.inv(view.to_camera)
    wrist, elbow = (back[:3] @ [*p, 1] for p in (wrist, elbow))
    along = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    side = np.cross(along, r.normal(size=3))
    side /= np.linalg.norm(side)
    rods = [shapes.capsule(elbow, wrist, 0.045, 0.65)]
    rods.append(shapes.capsule(wrist, wrist + along * 0.09, 0.04, 0.9))
    for finger in range(-2, 3):
        root = wrist + along * 0.08 + side * finger * 0.02
        bend, tip = root + along * [[0.04], [0.07]] + r.normal(0, [[0.015], [0.025]], (2, 3))
        rods += [shapes.capsule(root, bend, 0.011), shapes.capsule(bend, tip, 0.009)]
    skin = np.array([0.85, 0.62, 0.5]) * s.between(0.35, 1.1)
    parts = [Part(np.concatenate(rods), None, triple(skin))]
    if s.chance(0.3):
        cuff = elbow + (wrist - elbow) * s.between(0.3, 0.6)
        parts.append(Part(shapes.capsule(elbow, cuff, 0.06, 0.9), *s.surface("pattern")))
    held = [solid(s, wrist + along * 0.13, r.uniform(0.06, 0.25, 3))] if s.chance(0.7) else []
    return [Body("hand", tuple(parts), casts_shadow=False), *held]


def room(s: Stock) -> View:
    w, d, h = s.between(2.5, 9), s.between(2.5, 12), s.between(2.2, 3.6)
    r = s.rng
    eye = np.array([s.between(-0.45, 0.45) * w, s.between(0.4, 2), s.between(0.1, 0.48) * d])
    view = View(eye, r.normal(0, 40), r.normal(-8, 12), r.normal(0, 2), s.between(35, 85))
    view.lamp = s.between(-0.4, 0.4) * w, h - 0.2, s.between(-0.4, 0.4) * d
    view.bodies = layout.shell(s, np.array([[-w, -d], [w, d]]) / 2, h)
    walls = [(0.0, w, d), (np.pi, w, d), (np.pi / 2, d, w), (-np.pi / 2, d, w)]

    def by_wall(body: Body, y: float, gap: float) -> Body:
        turn, length, depth = s.pick(walls)
        place = turned(1, turn) @ [s.between(-0.4, 0.4) * length, y, gap - depth / 2, 1]
        return at(body, *triple(place[:3]), turn)

    framed = [image for name, image in s.photos.items() if name.startswith("print")]
    for _ in range(r.integers(0, 8)):
        part = Part(shapes.quad(s.between(0.3, 1.5), s.between(0.3, 1.5)), s.pick(framed))
        view.bodies.append(by_wall(Body("print", (part,)), s.between(0.6, h - 0.6), 0.04))
    for _ in range(r.integers(0, 4)):
        view.bodies.append(by_wall(s.model("openings")[0], 0, 0.05))
    for _ in range(r.integers(4, 16)):
        body, size = s.model("tables" if s.chance(0.25) else "indoor")
        if s.chance(0.55):
            body = by_wall(body, 0, size[2] / 2)
        else:
            place = s.between(-0.45, 0.45) * w, 0, s.between(-0.45, 0.3) * d
            body = at(body, *place, s.between(0, 6.3))
        view.bodies.append(body)
        if 0.3 < size[1] < 1.2 and s.chance(0.5):
            view.bodies += things_on(s, body, size)
    for _ in range(s.pick([0, 0, 1, 1, 2, 3])):
        place = s.between(-0.4, 0.4) * w, 0.01, s.between(-0.45, 0.3) * d
        view.bodies.append(at(thing(s, "people"), *place, s.between(0, 6.3)))
    return view


def park(s: Stock) -> View:
    r, y = s.rng, s.pick([s.between(0.4, 2.2), s.between(1, 2), s.between(2, 8)])
    eye, pitch = np.array([0, y, 0]), r.normal(-2, 6) - y
    view = View(eye, 0, pitch, r.normal(0, 1.5), s.between(30, 80))
    view.bodies = layout.landscape(s, SKY)[1:]  # The sky comes last.
    if s.chance(0.5):
        inner = s.between(40, 100)
        land = shapes.hills(r, inner, 2.4 * inner, s.between(5, 60))
        view.bodies.append(s.shape("hills", land, "grass", casts_shadow=False))
    view.bodies += scatter(s, "tree", s.count(1, 22), 4, 80)
    view.bodies += scatter(s, "exterior", s.count(0, 7), 2.5, 40)
    view.bodies += scatter(s, "poles", s.count(0, 5), 3, 50)
    view.bodies += scatter(s, "vehicles", s.pick([0, 0, 1, 2]), 5, 50)
    view.bodies += scatter(s, "people", s.pick([0, 1, 1, 2, 4]), 1.8, 15)
    if s.chance(0.15):
        z, posts = -s.between(1.5, 10), np.arange(-12, 12, s.between(0.12, 1.5))
        ends = [([x, 0, z], [x, s.between(0.8, 1.6), z]) for x in posts]
        ends += [([-12, y, z], [12, y, z]) for y in (0.4, 1.0)]
        rods = np.concatenate([shapes.capsule(*end, 0.025) for end in ends])
        view.bodies.append(s.shape("fence", rods, s.pick(SURFACES)))
    return view


def street(s: Stock) -> View:
    r, eye = s.rng, np.array([s.between(-3, 3), s.pick([s.between(0.8, 2), s.between(2, 9)]), 0])
    pitch = r.normal(-2, 5) - eye[1]
    view = View(eye, r.normal(0, 15), pitch, r.normal(0, 1.5), s.between(35, 85))
    land, half = shapes.ground(SKY, s.between(0.1, 0.8)), s.between(4, 14)
    view.bodies = [s.shape("land", land, "street")]
    for side in (-1, 1):
        z = 15.0
        while z > -120:
            size = r.uniform([6, 3, 5], [12, 22, 18])
            x = side * (half + size[0] / 2 + s.between(0, 2))
            data = shapes.box(s.between(0.08, 0.2), size)
            motion = Motion((x, 0, z - size[2] / 2), 0.0, triple(size))
            if s.chance(0.85):
                view.bodies.append(s.shape("house", data, "facade", motion=motion))
            z -= size[2] + s.pick([0, 0, s.between(1, 6)])
    for use, count, near, most in (
        ("vehicles", 8, 4, 60), ("poles", 5, 3, 50), ("exterior", 6, 3, 50), ("tree", 5, 4, 40),
        ("people", 6, 1.5, 25),
    ):  # fmt: skip
        view.bodies += scatter(s, use, s.count(0, count), near, most)
    return view


def tabletop(s: Stock) -> View:
    r, eye = s.rng, np.array([0, s.between(0.15, 0.9), s.between(0.3, 0.9)])
    pitch = -np.degrees(np.arctan2(eye[1] - 0.05, eye[2])) + r.normal(5, 8)
    view = View(eye, r.normal(0, 8), pitch, r.normal(0, 4), s.between(35, 70))
    view.lamp, half, back = (r.normal(), 1.5, r.normal()), s.between(0.4, 1.2), s.between(0.4, 4)
    table, floor = shapes.ground(half, s.between(0.7, 4)), shapes.ground(5, s.between(0.3, 1))
    wall = s.shape("wall", shapes.quad(12, 6, (6, 3)), s.pick(SURFACES), casts_shadow=False)
    view.bodies = [
        s.shape("table", table, s.pick(SURFACES)), at(wall, 0, -0.75, -max(back, half)),
        at(s.shape("floor", floor, s.pick(SURFACES)), 0, -0.75, 0),
    ]  # fmt: skip
    for _ in range(r.integers(1, 14)):
        x, z = s.between(-0.6, 0.6), s.between(-0.6, 0.3)
        if s.chance(0.3):
            view.bodies.append(solid(s, np.array([x, 0, z]), r.uniform(0.03, 0.35, 3)))
        else:
            view.bodies.append(at(s.model("small")[0], x, 0, z, s.between(0, 6.3)))
    if s.chance(0.35):
        body, _ = s.model(s.pick(["people", "indoor"]))
        view.bodies.append(at(body, r.normal(0, 0.6), -0.75, -half - s.between(0.3, 0.3 + back)))
    return replace(view, bodies=view.bodies + (hand(s, view) if s.chance(0.4) else []))


def floating(s: Stock) -> View:
    """Bodies before a backdrop or in the sky: no ground to lean on."""
    r, most = s.rng, s.between(3, 30)
    view = View(np.zeros(3), 0, r.normal(0, 10), r.normal(0, 10), s.between(35, 75))
    if s.chance(0.7):
        repeat = float(s.pick([1, 4, 10]))
        data = shapes.quad(6 * most, 6 * most, (repeat, repeat))
        data[:, :3] += np.array([0, -3 * most, -most], np.float32)
        backdrop = s.shape("backdrop", data, s.pick(SURFACES), casts_shadow=False)
        view.bodies = [at(backdrop, 0, 0, 0, r.normal(0, 0.4))]
        view.lamp = triple(r.normal(0, 2, 3))
    spread = np.tan(np.radians(view.fov) / 2) * 1.1
    for _ in range(r.integers(2, 20)):
        z = far(s, 0.5, most)
        place = np.array([*r.uniform(-spread, spread, 2), -1]) * z
        if s.chance(0.5):
            view.bodies.append(solid(s, place, r.uniform(0.08, 0.5, 3) * z))
            continue
        body, size = s.model(s.pick(["people", "indoor", "small", "plants", "vehicles"]))
        scale = s.between(0.2, 1) * z / max(*size, 0.05)
        whole_body = (scale, scale, scale)
        motion = Motion(triple(place), s.between(0, 6.3), whole_body, phase=np.pi / 2)
        view.bodies.append(replace(body, motion=replace(motion, rock=r.normal(0, 0.26))))
    return replace(view, bodies=view.bodies + (hand(s, view) if s.chance(0.25) else []))


def portrait(s: Stock) -> View:
    """Somebody near in the middle of another scene."""
    view = s.pick([room, park, park, street])(s)
    z, a = s.between(0.7, 3.5), np.radians(view.yaw + s.rng.normal(0, view.fov / 6))
    view.eye[1], view.pitch = min(view.eye[1], 2.0), s.rng.normal(-2, 5)
    x, depth = view.eye[0] + np.sin(a) * z, view.eye[2] - np.cos(a) * z
    view.bodies.append(at(thing(s, "people"), x, 0.01, depth, s.between(0, 6.3)))
    return view


SHARES = {room: 0.22, park: 0.28, street: 0.1, tabletop: 0.12, floating: 0.1, portrait: 0.18}


def nearby(view: View, r: np.random.Generator) -> View:
    """The scene from close by, with another lens."""
    eye = view.eye + r.normal(0, 0.12 * max(view.eye[1], 0.5), 3) * [3, 1, 3]
    eye[1] = max(eye[1], 0.1) if view.eye[1] > 0.1 else eye[1]
    yaw, pitch, roll = r.normal([view.yaw, view.pitch, view.roll], [20, 6, 3])
    fov = float(np.clip(view.fov * r.uniform(0.7, 1.3), 25, 90))
    return replace(view, eye=eye, yaw=yaw, pitch=pitch, roll=roll, fov=fov)


def views(s: Stock, height: int, width: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless pictures with disparity that is neither blocked nor flat."""
    while True:
        view = list(SHARES)[s.rng.choice(len(SHARES), p=list(SHARES.values()))](s)
        shown = [view, *(nearby(view, s.rng) for _ in range(CAMERAS - 1))]
        # The level view ahead is what the brightness is measured in.
        to_world = replace(view, pitch=0.0, roll=0.0).to_camera
        ahead = triple(np.linalg.inv(to_world)[:3] @ [0, 0, 7, 1])
        light = layout.sunlight(s, ahead, 14.0)
        if view.lamp is not None:
            light = layout.lamplight(s, view.lamp, ahead)
        # Beyond a floor's or a backdrop's edge there is sky below the horizon too.
        above = layout.sky(s, SKY)
        below = replace(above, motion=Motion(scale=(1.01, -1.01, 1.01)))
        bodies = (*view.bodies, above, below)
        matrices = np.stack([v.to_camera @ np.linalg.inv(to_world) for v in shown])
        focal = torch.tensor([focal_from_fov(v.fov, width) for v in shown])
        K = intrinsics(focal, height, width, CAMERAS)
        cameras = Cameras(torch.from_numpy(matrices).float(), K, height, width)
        frames, z = draw(bodies, light, to_world, cameras, torch.zeros(CAMERAS))
        sky = (z == 0) | (z * cameras.rays().norm(dim=-1) > 0.9 * SKY)
        disparities = torch.where(sky, 0, 1 / z)[:, ::2, ::2].numpy()
        for rgb, disparity in zip(frames.permute(0, 2, 3, 1).numpy(), disparities, strict=True):
            blocked = (disparity > 0.5 * disparity.max()).mean() > 0.9
            empty = rgb.std() < 0.05 or (disparity == 0).mean() > 0.7
            if not (blocked or empty or np.percentile(disparity, 97) > 8):
                yield (rgb * 255).astype(np.uint8), disparity.astype(np.float16)


def stock(work: Path, rng: np.random.Generator) -> Stock:
    """The models and surfaces of the train split, and photographs."""
    found = Stock.open(work, "train", rng)
    # A photograph's name tells what it suits: concrete dresses walls, floors and streets.
    photos = {f"concrete {i}": cut for i, cut in enumerate(cuts(work / "sources", rng))}
    photos |= {f"print {i}": image for i, image in enumerate(prints(work / "sources"))}
    return replace(found, photos=found.photos | photos)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--views", type=int, default=5000)
    parser.add_argument("--shard", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    args = parser.parse_args()
    held = stock(args.work, np.random.default_rng(args.first))
    for shard in range(args.first, args.first + args.views // args.shard):
        rng = np.random.default_rng(shard)
        height, width = SIZES[rng.choice(3, p=[0.45, 0.4, 0.15])]
        drawn = islice(views(replace(held, rng=rng), height, width), args.shard)
        store(args.out / f"views_{shard:05d}.npz", *zip(*drawn, strict=True))
        print(shard, flush=True)


if __name__ == "__main__":
    main()
