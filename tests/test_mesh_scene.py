"""Mesh scenes without a graphics driver: models, splits, motion, layout and camera matrices.

What OpenGL draws is checked by `scripts/check_mesh_scenes.py` where EGL is there.
"""

import io
import math
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trajectorycrafter.geometry.cameras import Cameras, intrinsics, static_cameras
from trajectorycrafter.lab.synthetic.meshes import shapes, textures
from trajectorycrafter.lab.synthetic.meshes.catalogue import (
    catalogue,
    kinds,
    load_mesh,
    photographs,
    split_of,
)
from trajectorycrafter.lab.synthetic.meshes.motion import Flutter, Gait, Motion, Sway
from trajectorycrafter.lab.synthetic.meshes.plot import ARC_DEG, ELEVATION_DEG, SLACK, Plot
from trajectorycrafter.lab.synthetic.meshes.renderer import Body, camera_matrix
from trajectorycrafter.lab.synthetic.meshes.scene import MeshScene
from trajectorycrafter.lab.synthetic.shared import Place, Split

SHELL = {"floor", "ceiling", "wall", "land", "path", "sky", "treeline"}
MADE = {*SHELL, "house", "ball", "tree", "cloth", "pole", "figure", "box"}
"""Names of bodies that no catalogue holds."""
ITEMS = [
    ("chair", "Living room", (50, 60, 90)),
    ("table", "Kitchen", (140, 80, 75)),
    ("cupboard", "Bedroom", (90, 50, 190)),
    ("female", "Characters", (50, 35, 170)),
    ("dog", "Characters", (30, 80, 60)),
    ("tree", "Exterior", (200, 200, 400)),
    ("bench", "Exterior", (150, 60, 80)),
    ("car", "Vehicles", (180, 420, 150)),
    ("cup", "Kitchen", (8, 8, 10)),
]
"""Name, category, and width, depth and height in centimetres."""
CORNERS = "".join(f"v {x} {y} {z}\n" for x in (0, 2) for y in (0, 2) for z in (0, 2))
CUBE = f"{CORNERS}vt 0 0\nvt 1 0\nvt 1 1\n"
FACES = ["1 2 4", "1 4 3", "5 7 8", "5 8 6", "1 5 6", "1 6 2", "3 4 8", "3 8 7", "1 3 7", "1 7 5"]


def obj(material: str) -> str:
    corners = [" ".join(f"{v}/{i + 1}" for i, v in enumerate(face.split())) for face in FACES]
    return f"mtllib cube.mtl\n{CUBE}usemtl {material}\n" + "".join(f"f {c}\n" for c in corners)


def png(size: tuple[int, int] = (48, 40)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 60, 30)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small furniture catalogue and a wheel with photographs, as the packages lay them out."""
    folder = tmp_path_factory.mktemp("assets")
    (folder / "usr").mkdir()
    listing = []
    with ZipFile(folder / "usr" / "made.sh3f", "w") as zipped:
        for i in range(8 * len(ITEMS)):
            name, category, (width, depth, height) = ITEMS[i % len(ITEMS)]
            listing += [
                f"name#{i}={name.capitalize()}", f"category#{i}={category}",
                f"model#{i}=/made/{name}{i}/{name}{i}.obj", f"width#{i}={width}",
                f"depth#{i}={depth}", f"height#{i}={height}",
            ]  # fmt: skip
            zipped.writestr(f"made/{name}{i}/{name}{i}.obj", obj("photo" if i % 2 else "plain"))
            zipped.writestr(
                f"made/{name}{i}/cube.mtl",
                "newmtl photo\nmap_Kd skin.png\nnewmtl plain\nKd 0.2 0.4 0.6\n",
            )
            zipped.writestr(f"made/{name}{i}/skin.png", png())
        listing += ["name#999=Turned", "model#999=/made/chair0/chair0.obj", "width#999=1"]
        listing += ["depth#999=1", "height#999=1", "modelRotation#999=1 0 0 0 1 0 0 0 1"]
        zipped.writestr("PluginFurnitureCatalog.properties", "\n".join(listing))
    with ZipFile(folder / "miniworld-2.1.0-py3-none-any.whl", "w") as zipped:
        for i in range(20):
            zipped.writestr(f"miniworld/textures/brick_wall_{i}.png", png())
            zipped.writestr(f"miniworld/textures/wood_{i}.png", png())
        zipped.writestr("miniworld/textures/portraits/face.png", png())
    return folder


@cache
def made(assets: Path, seed: int, split: Split, place: Place) -> MeshScene:
    """A scene that several tests look at."""
    return MeshScene.make(seed, split=split, place=place, assets=assets)


def test_the_catalogue_has_sizes_in_metres_and_skips_what_is_rotated(assets: Path) -> None:
    entries = catalogue(assets)
    assert len(entries) == 8 * len(ITEMS)
    assert entries[0].key == "chair0"
    assert entries[0].size == pytest.approx((0.5, 0.9, 0.6))


def test_models_are_sorted_by_use(assets: Path) -> None:
    pools = {use: {e.name for e in entries} for use, entries in kinds(catalogue(assets)).items()}
    assert pools["standing"] == {"Female"}
    assert pools["animals"] == {"Dog"}
    assert pools["plants"] == {"Tree"}
    assert pools["furniture"] == {"Chair", "Table", "Cupboard"}
    assert pools["tables"] == {"Table"}
    assert pools["small"] == {"Cup"}


@pytest.mark.parametrize("index", [0, 1])
def test_a_model_stands_at_its_true_size(assets: Path, index: int) -> None:
    entry = catalogue(assets)[index]
    mesh = load_mesh(entry)
    assert mesh is not None
    points = np.concatenate([part.vertices[:, :3] for part in mesh.parts])
    assert np.ptp(points, axis=0) == pytest.approx(entry.size, rel=1e-5)
    assert points.min(axis=0) == pytest.approx((-entry.size[0] / 2, 0, -entry.size[2] / 2))
    assert not mesh.parts[0].vertices.flags.writeable  # Shared between scenes.


def test_a_model_has_its_picture_or_its_colour(assets: Path) -> None:
    plain, photo = (load_mesh(entry) for entry in catalogue(assets)[:2])
    assert plain is not None and photo is not None
    assert plain.parts[0].image is None
    assert plain.parts[0].tint == pytest.approx((0.2, 0.4, 0.6), abs=0.01)
    assert photo.parts[0].image is not None
    assert photo.parts[0].image.shape == (32, 64, 4)
    assert photo.parts[0].image[0, 0].tolist() == [200, 60, 30, 255]


def test_a_heavy_model_is_left_out(assets: Path) -> None:
    assert load_mesh(catalogue(assets)[0], max_triangles=9) is None


def test_splits_have_their_shares_and_never_change() -> None:
    splits = [split_of(f"model{i}") for i in range(2000)]
    assert splits.count("test") / 2000 == pytest.approx(0.2, abs=0.03)
    assert splits.count("dev") / 2000 == pytest.approx(0.1, abs=0.03)
    # Fixed for ever, or old results lose their meaning.
    known = [split_of(name) for name in ("male01", "female01", "female03")]
    assert known == ["train", "dev", "test"]


@pytest.mark.parametrize("place", ["room", "ground"])
def test_scenes_of_different_splits_share_no_model_and_no_picture(
    assets: Path, place: Place
) -> None:
    names, pictures = {}, {}
    for split in get_args(Split):
        scenes = [made(assets, s, split, place) for s in range(2)]
        bodies = [body for scene in scenes for body in scene.bodies]
        names[split] = {body.name for body in bodies} - MADE
        assert {split_of(name) for name in names[split]} <= {split}
        pictures[split] = {
            part.image.tobytes()
            for body in bodies if body.name not in names[split]
            for part in body.parts if part.image is not None
        }  # fmt: skip
    # The photographs of the fixture are all alike.
    alike = {image.tobytes() for image in photographs(assets).values()}
    assert len(names["train"]) > 5
    assert len(pictures["train"] - alike) > 5
    assert not (pictures["train"] & (pictures["test"] | pictures["dev"])) - alike
    assert not (pictures["test"] & pictures["dev"]) - alike


def test_only_surfaces_of_the_wheel_are_used(assets: Path) -> None:
    assert len(photographs(assets)) == 40
    assert "face" not in photographs(assets)


def test_missing_catalogues_say_what_to_get(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"\.sh3f.*sweethome3d-furniture"):
        MeshScene.make(0, split="train", place="room", assets=tmp_path)
    with pytest.raises(FileNotFoundError, match="miniworld==2.1.0"):
        photographs(tmp_path)


@pytest.mark.parametrize(("split", "place"), [("all", "room"), ("train", "sea")])
def test_unknown_choices_are_refused(assets: Path, split: Any, place: Any) -> None:
    with pytest.raises(Exception, match=r"Expected one of|Expected type"):
        MeshScene.make(0, split=split, place=place, assets=assets)


def test_a_missing_trimesh_names_the_extra(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(ImportError, match=r"trajectorycrafter\[synthetic\]"):
        load_mesh(catalogue(assets)[3], max_triangles=12345)


def test_a_missing_moderngl_names_the_extra(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = made(assets, 0, "train", "room")
    monkeypatch.setitem(sys.modules, "moderngl", None)
    with pytest.raises(ImportError, match=r"trajectorycrafter\[synthetic\]"):
        scene.render(static_cameras(intrinsics(20.0, 8, 8), 8, 8), torch.zeros(1))


def test_a_missing_egl_names_the_packages(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_):
        raise Exception("libEGL.so.1: cannot open")

    scene = made(assets, 0, "train", "room")
    monkeypatch.setitem(sys.modules, "moderngl", SimpleNamespace(create_context=fail))
    with pytest.raises(RuntimeError, match=r"libegl1 libgl1-mesa-dri.*cannot open"):
        scene.render(static_cameras(intrinsics(20.0, 8, 8), 8, 8), torch.zeros(1))


def test_wrong_counts_are_refused_before_drawing(assets: Path) -> None:
    scene = made(assets, 0, "train", "room")
    cameras = static_cameras(intrinsics(20.0, 8, 8, 2), 8, 8)
    with pytest.raises(ValueError, match="one time per camera; got 3 and 2"):
        scene.render(cameras, torch.zeros(3))
    with pytest.raises(ValueError, match="got 0"):
        scene.render(cameras, torch.zeros(2), samples=0)


def test_a_scene_follows_from_its_seed_alone(assets: Path) -> None:
    first = made(assets, 3, "train", "ground")
    other = made(assets, 2, "train", "ground")
    again = MeshScene.make(3, split="train", place="ground", assets=assets)
    assert not torch.equal(first.pivot, other.pivot)
    assert torch.equal(first.pivot, again.pivot) and first.light == again.light
    assert [b.name for b in first.bodies] == [b.name for b in again.bodies]
    for a, b in zip(first.bodies, again.bodies, strict=True):
        assert np.array_equal(a.motion.matrix(1.3), b.motion.matrix(1.3))
        for p, q in zip(a.parts, b.parts, strict=True):
            assert np.array_equal(p.vertices, q.vertices) and p.tint == q.tint
            if p.image is None or q.image is None:
                assert p.image is q.image
            else:
                assert np.array_equal(p.image, q.image)


@pytest.mark.parametrize("place", ["room", "ground"])
@pytest.mark.parametrize("seed", range(4))
def test_things_move_and_people_walk(assets: Path, place: Place, seed: int) -> None:
    scene = made(assets, seed, "train", place)
    objects = [b for b in scene.bodies if b.name not in SHELL and b.name != "house"]
    assert 5 <= len(objects) <= 50
    assert sum(body.moves for body in objects) >= 2
    assert any(isinstance(body.bend, Gait) and any(body.motion.path) for body in objects)
    assert 3 <= float(scene.pivot.norm()) <= 7 and 1.2 <= scene.eye <= 1.7


def arc(scene: MeshScene, rng: np.random.Generator, count: int) -> np.ndarray:
    """Places of cameras anywhere in the region that must be free; `N 3`, OpenCV axes."""
    distance = float(scene.pivot.norm())
    base = math.asin(float(scene.pivot[1]) / distance)
    azimuth = np.radians(rng.uniform(-ARC_DEG, ARC_DEG, count))
    elevation = base + np.radians(rng.uniform(*ELEVATION_DEG, count))
    off = rng.normal(size=(count, 3))
    off *= SLACK * rng.uniform(0, 1, (count, 1)) / np.linalg.norm(off, axis=1, keepdims=True)
    away = [np.sin(azimuth) * np.cos(elevation), -np.sin(elevation)]
    away.append(-np.cos(azimuth) * np.cos(elevation))
    return scene.pivot.numpy() + distance * np.stack(away, 1) + off


def inside_box(body: Body, places: np.ndarray, time: float, margin: float) -> np.ndarray:
    """True for the places within the body's bounds, in its own axes; `places` has y up."""
    vertices = [
        p.vertices if body.bend is None else body.bend(p.vertices, time) for p in body.parts
    ]
    points = np.concatenate(vertices)[:, :3]
    matrix = body.motion.matrix(time)
    local = (places - matrix[:3, 3]) @ np.linalg.inv(matrix[:3, :3]).T
    slack = margin / np.linalg.norm(matrix[:3, :3], axis=0)
    within = (local > points.min(0) - slack) & (local < points.max(0) + slack)
    return within.all(axis=1)


@pytest.mark.parametrize("place", ["room", "ground"])
@pytest.mark.parametrize("seed", range(4))
def test_the_cameras_arc_is_free(assets: Path, place: Place, seed: int) -> None:
    scene = made(assets, seed, "train", place)
    cameras = arc(scene, np.random.default_rng(seed), 400) * [1, -1, -1] + [0, scene.eye, 0]
    assert (cameras[:, 1] > 0.1).all()
    for body in scene.bodies:
        if body.name not in SHELL:
            for time in (0.0, 1.1, 2.7, 60.3):
                assert not inside_box(body, cameras, time, 0.05).any(), (body.name, time)
    shell = {b.name: b for b in scene.bodies if b.name in SHELL}
    if place == "room":
        floor = shell["floor"].parts[0].vertices[:, :3] + shell["floor"].motion.at
        low, high = floor.min(0), floor.max(0)
        assert (
            (cameras[:, [0, 2]] > low[[0, 2]] + 0.1) & (cameras[:, [0, 2]] < high[[0, 2]] - 0.1)
        ).all()
        assert (cameras[:, 1] < shell["ceiling"].motion.at[1] - 0.1).all()
    else:
        assert (np.linalg.norm(cameras, axis=1) < 20).all()


@settings(deadline=None, max_examples=200)
@given(
    x=st.floats(-8, 8), z=st.floats(-10, 4), radius=st.floats(0.05, 1.5),
    azimuth=st.floats(-ARC_DEG, ARC_DEG), elevation=st.floats(0, 30), off=st.floats(-SLACK, SLACK),
    distance=st.floats(3, 7),
)  # fmt: skip
def test_what_a_plot_allows_never_meets_a_camera(
    x: float, z: float, radius: float, azimuth: float, elevation: float, off: float, distance: float
) -> None:
    plot = Plot(1.6, (0.0, 1.6, -distance), np.array([[-20.0, -20.0], [20.0, 20.0]]))
    a, e = math.radians(azimuth), math.radians(elevation)
    # `off` is along the way to the pivot, the direction that matters.
    reach = distance * math.cos(e) + off
    camera = np.array([reach * math.sin(a), -distance + reach * math.cos(a)])
    if plot.free(np.array([[x, z, radius]])):
        assert math.hypot(camera[0] - x, camera[1] - z) > radius


def test_a_plot_keeps_ways_apart() -> None:
    plot = Plot(1.6, (0.0, 1.6, -4.0), np.array([[-6.0, -9.0], [6.0, 2.0]]))
    cube = Body("box", ())
    assert plot.add(replace(cube, motion=Motion(at=(0, 0, -4), path=(1.2, 1.2))), 0.3)
    assert not plot.add(replace(cube, motion=Motion(at=(1.2, 0, -4))), 0.2)
    assert plot.add(replace(cube, motion=Motion(at=(0, 0, -4))), 0.5)
    # On the arc itself.
    assert not plot.add(replace(cube, motion=Motion(at=(0, 0, 0))), 0.2)
    assert len(plot.bodies) == 2


@settings(deadline=None, max_examples=60)
@given(
    angles=st.tuples(*[st.floats(-1, 1)] * 3), shift=st.tuples(*[st.floats(-2, 2)] * 3),
    points=st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(5, 60)), min_size=1),
    focal=st.tuples(st.floats(50, 300), st.floats(50, 300)),
    center=st.tuples(st.floats(20, 140), st.floats(20, 76)),
)  # fmt: skip
def test_the_camera_matrix_agrees_with_cameras(
    angles: tuple[float, ...],
    shift: tuple[float, ...],
    points: list[tuple[float, ...]],
    focal: tuple[float, float],
    center: tuple[float, float],
) -> None:
    x, y, z = (torch.tensor(a, dtype=torch.float64) for a in angles)
    skew = torch.zeros(3, 3, dtype=torch.float64)
    skew[2, 1], skew[0, 2], skew[1, 0] = x, y, z
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = torch.linalg.matrix_exp(skew - skew.T)
    matrix[:3, 3] = torch.tensor(shift)
    K = torch.eye(3, dtype=torch.float64)
    K[0, 0], K[1, 1] = focal
    K[0, 1] = 0.7
    K[0, 2], K[1, 2] = center
    cameras = Cameras(matrix[None], K[None], 96, 160)
    world = torch.tensor(points, dtype=torch.float64)
    pixels, depth = cameras.project(world[None])
    clip = np.column_stack([world.numpy(), np.ones(len(points))]) @ camera_matrix(cameras, 0).T
    ahead = depth[0].numpy() > 0.1
    # Clip w is the depth; the first row of pixels is the lowest y of OpenGL's window.
    np.testing.assert_allclose(clip[:, 3], depth[0].numpy(), atol=1e-9)
    window = (clip[ahead, :2] / clip[ahead, 3:] + 1) / 2 * [160, 96]
    np.testing.assert_allclose(window, pixels[0].numpy()[ahead], atol=1e-6)


@settings(deadline=None)
@given(a=st.floats(0.5, 3), b=st.floats(0.5, 3), speed=st.floats(0.3, 2), time=st.floats(0, 50))
def test_people_walk_ahead_at_an_even_speed(a: float, b: float, speed: float, time: float) -> None:
    motion = Motion(path=(a, b), speed=speed)
    step = motion.matrix(time + 0.01)[:3, 3] - motion.matrix(time)[:3, 3]
    assert np.linalg.norm(step) / 0.01 == pytest.approx(speed, rel=0.03)
    ahead = motion.matrix(time + 0.005)[:3, 2]
    assert ahead @ step / np.linalg.norm(step) > 0.99


def test_a_rolling_ball_does_not_slip() -> None:
    motion = Motion(scale=(0.4, 0.4, 0.4), swing=(0.6, 0, 0.8), roll_radius=0.2, period=4.0)
    for time in (0.0, 0.3, 1.7):
        before, after = motion.matrix(time), motion.matrix(time + 1e-5)
        # The material point that touches the floor now.
        contact = np.array(motion.swing) * math.sin(2 * math.pi * time / motion.period)
        touching = np.linalg.inv(before) @ [*contact, 1.0]
        velocity = (after @ touching - before @ touching)[:3] / 1e-5
        assert np.abs(velocity).max() < 1e-3


def test_a_bouncing_ball_lands_flat_and_keeps_its_volume() -> None:
    motion = Motion(bounce=0.8, squash=0.3, period=0.8, phase=0.0)
    landed, top = motion.matrix(0.0), motion.matrix(0.4)
    assert landed[1, 3] == 0 and top[1, 3] == pytest.approx(0.8)
    assert landed[1, 1] == pytest.approx(0.7) and top[1, 1] == pytest.approx(1.0)
    assert np.linalg.det(landed[:3, :3]) == pytest.approx(1.0)


def upright(height: float = 1.8) -> np.ndarray:
    """Two legs, a body and two arms as thin rods, by the proportions of an adult."""
    rods = [shapes.capsule([0, 0.55, 0], [0, 0.9, 0], 0.05)]
    for side in (-1, 1):
        rods += [shapes.capsule([0.05 * side, y, 0], [0.05 * side, y + 0.1, 0], 0.02)
                 for y in (0.02, 0.12, 0.22, 0.32, 0.42)]  # fmt: skip
        rods.append(shapes.capsule([0.16 * side, 0.45, 0], [0.16 * side, 0.75, 0], 0.015))
    data = np.concatenate(rods)
    data[:, :3] *= height
    return data


def test_walking_feet_stay_on_the_ground_and_do_not_slide() -> None:
    data, gait = upright(), Gait(1.8, 1.2, 0.4)
    feet = {s: (s * data[:, 0] > 0) & (data[:, 1] < 0.1) for s in (1, -1)}
    times = np.linspace(0, 3, 181)
    walked = [gait(data, float(t)) for t in times]
    low = np.array([[w[feet[s], 1].min() for s in (1, -1)] for w in walked])
    ahead = np.array([[w[feet[s], 2].mean() for s in (1, -1)] for w in walked])
    assert np.abs(low.min(axis=1)).max() < 0.03
    assert low.max() > 0.06  # The other foot is lifted.
    assert np.corrcoef(ahead.T)[0, 1] < -0.7  # One leg is ahead while the other is behind.
    # The lower foot goes back as fast as the body goes on: it rests on the ground.
    speed = np.gradient(ahead, times, axis=0)
    support = speed[np.arange(len(times)), low.argmin(axis=1)]
    assert -np.median(support) == pytest.approx(1.2, rel=0.05)
    assert all(np.isfinite(w).all() for w in walked)


def test_arms_swing_against_the_legs() -> None:
    data, gait = upright(), Gait(1.8, 1.2, 0.0)
    hand = (data[:, 0] > 0.2) & (data[:, 1] < 0.95)
    foot = (data[:, 0] > 0) & (data[:, 1] < 0.1)
    both = np.array([
        [gait(data, float(t))[chosen, 2].mean() for chosen in (hand, foot)]
        for t in np.linspace(0, 2, 41)
    ])  # fmt: skip
    assert np.corrcoef(both.T)[0, 1] < -0.5


def test_a_tree_sways_at_the_top_and_stands_at_the_foot() -> None:
    data = shapes.cylinder()
    sway = Sway(1.0, 0.1, 2.0, 0.0, 0.5)
    moved = np.stack([sway(data, t)[:, :3] - data[:, :3] for t in (0.0, 0.4, 0.9)])
    assert np.abs(moved[:, data[:, 1] == 0]).max() == 0
    assert 0.02 < np.abs(moved[:, data[:, 1] == 1]).max() < 0.2


@pytest.mark.parametrize("flag", [True, False])
def test_a_cloth_waves_from_its_fixed_edge(flag: bool) -> None:
    data = shapes.quad(1.0, 1.0)
    waved = Flutter(1.0, 1.0, 0.1, 1.5, 0.3, flag)(data, 0.7)
    fixed = data[:, 0] == -0.5 if flag else data[:, 1] == 1.0
    assert np.abs((waved - data)[fixed, 2]).max() == 0
    assert np.abs((waved - data)[~fixed, 2]).max() > 0.001
    np.testing.assert_allclose(np.linalg.norm(waved[:, 3:6], axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "data",
    [shapes.sphere(), shapes.cylinder(0.5), shapes.box(), shapes.capsule([0, 0, 0], [0, 1, 1], 1)],
)
def test_normals_of_closed_bodies_point_outwards(data: np.ndarray) -> None:
    middle = (data[:, :3].max(0) + data[:, :3].min(0)) / 2
    outwards = ((data[:, :3] - middle) * data[:, 3:6]).sum(axis=1)
    lengths = np.linalg.norm(data[:, 3:6], axis=1)
    # Poles of a surface of revolution have empty triangles, whose normals do not matter.
    assert (outwards[lengths > 0.5] > 0).all()
    np.testing.assert_allclose(lengths[lengths > 0.5], 1, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in dir(textures) if n.endswith("_texture")])
def test_drawn_pictures_are_opaque_or_cut_out_and_follow_the_generator(name: str) -> None:
    if name == "as_texture":
        image = textures.as_texture(np.zeros((100, 40, 4), np.uint8))
        assert image.shape == (128, 32, 4)
        return
    first, again, other = (getattr(textures, name)(np.random.default_rng(s)) for s in (1, 1, 2))
    assert first.shape == (256, 256, 4) and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert set(np.unique(first[:, :, 3])) <= {0, 255}
