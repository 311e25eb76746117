"""Synthetic scenes are what they say: deterministic, split, moving, and exact between views."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from trajectorycrafter.geometry.cameras import Cameras
from trajectorycrafter.lab.synthetic.layout import CLIP_S
from trajectorycrafter.lab.synthetic.materials import CATALOGUE, draw_number, material, split_of
from trajectorycrafter.lab.synthetic.posing import balls_around, pose, thing_to_world
from trajectorycrafter.lab.synthetic.raycast import BALL, BOX
from trajectorycrafter.lab.synthetic.scene import RayScene
from trajectorycrafter.lab.synthetic.shared import SPLITS, Place, Split
from trajectorycrafter.lab.synthetic.takes import around, steady, swung
from trajectorycrafter.lab.synthetic.things import DESIGNS, Kit, Thing, ThingMotion

SIZE = (54, 96)
PLACES_OF: tuple[Place, Place] = ("room", "ground")
PLACES = pytest.mark.parametrize("place", PLACES_OF)
MATERIAL = material(17, "hard")
MOMENTS = np.linspace(0, CLIP_S, 9)


@lru_cache(64)
def scene_of(seed: int, place: Place, split: Split = "train") -> RayScene:
    return RayScene.make(seed, split=split, place=place)


# The scene ----------------------------------------------------------------------------------------


@PLACES
def test_the_seed_decides(place: Place) -> None:
    """The same bits again, whatever was drawn and rendered in between; another seed, another."""
    times = torch.tensor([0.3])

    def rendered(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        scene = RayScene.make(seed, place=place)
        video, depth = scene.render(steady(scene.pivot, 1, SIZE), times)
        return video.frames, depth.z

    first, other, again = rendered(3), rendered(4), rendered(3)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


RECORDED: dict[tuple[Place, Split], tuple[float, float, float]] = {
    ("room", "train"): (0.38449, 0.19656, 0.24468),
    ("room", "test"): (0.40894, 0.18875, 0.27530),
    ("ground", "train"): (0.34678, 0.22073, 0.16196),
    ("ground", "test"): (0.45019, 0.19682, 0.15199),
}


@pytest.mark.parametrize("place, split", RECORDED)
@pytest.mark.usefixtures("two_threads")
def test_pictures_are_the_same_on_every_machine(place: Place, split: Split) -> None:
    """Mean colour, its spread and mean disparity as recorded; scores count on these pictures."""
    scene = scene_of(5, place, split)
    cameras = swung(scene.pivot, 4, SIZE, 30.0, 4.0)
    video, depth = scene.render(cameras, torch.linspace(0, 1, 4))
    found = (float(video.frames.mean()), float(video.frames.std()), float((1 / depth.z).mean()))
    assert found == pytest.approx(RECORDED[place, split], abs=2e-4)


def test_half_of_the_places_are_rooms() -> None:
    places = [RayScene.make(seed).place for seed in range(24)]
    assert 5 < places.count("room") < 19


@given(st.integers(0, 2**32), st.sampled_from(SPLITS))
@settings(deadline=None)
def test_numbers_are_of_their_split(seed: int, split: Split) -> None:
    number = draw_number(np.random.default_rng(seed), split)
    assert 0 <= number < CATALOGUE and split_of(number) == split


def test_every_number_is_of_one_split() -> None:
    owners = [split_of(number) for number in range(CATALOGUE)]
    assert [owners.count(split) / CATALOGUE for split in SPLITS] == [0.6, 0.2, 0.2]


def test_splits_share_no_material_and_no_design() -> None:
    """A material's place in its pattern and a thing's measures tell its number."""

    def contents(split: Split) -> tuple[set[Any], set[Any]]:
        scenes = [scene_of(seed, place, split) for seed in range(8) for place in PLACES_OF]
        things = [thing for scene in scenes for thing in scene.things]
        worn = [part.material for thing in things for part in thing.parts]
        worn += [wall for scene in scenes for wall in scene.surroundings]
        drawn = [thing for thing in things if thing.name in DESIGNS]
        shapes = {(t.name, *(p.half_size for p in t.parts)) for t in drawn}
        return {m.offset for m in worn}, shapes

    found = {split: contents(split) for split in SPLITS}
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        for mine, others in zip(found[one], found[other]):
            assert min(len(mine), len(others)) > 60 and not mine & others


@PLACES
@pytest.mark.parametrize("seed", range(4))
def test_some_things_move_and_some_do_not(place: Place, seed: int) -> None:
    scene = scene_of(seed, place)
    cameras = steady(scene.pivot, 2, SIZE)
    video, depth = scene.render(cameras, torch.tensor([0.0, 0.5]))
    moved = float(((depth.z[1] - depth.z[0]).abs() > 1e-4).float().mean())
    assert 0.02 < moved < 0.5
    assert any(thing.name == "person" for thing in scene.things)
    assert video.fps == 2.0
    assert depth.valid.all() and video.frames.min() >= 0 and video.frames.max() <= 1


@PLACES
def test_depth_and_color_agree_between_two_views(place: Place) -> None:
    """Points of one view, looked up in another, have that view's depth unless they are hidden."""
    scene, time, size = scene_of(1, place), torch.tensor([0.2]), (144, 256)
    source, other = steady(scene.pivot, 1, size), steady(scene.pivot, 1, size, 5.0, 2.0, 0.95)
    video, depth = scene.render(source, time)
    there, depth_there = scene.render(other, time)
    pixels, z = other.project(source.unproject(depth.z))
    grid = pixels / torch.tensor([size[1] / 2, size[0] / 2]) - 1
    inside = (grid.abs() < 0.95).all(-1)[0]

    def look_up(image: torch.Tensor) -> torch.Tensor:
        return F.grid_sample(image, grid[:, None], align_corners=False)[0, :, 0]

    # Disparity, unlike depth, is linear over a plane's picture, even one seen as flat as a floor.
    ratio = 1 / (look_up(1 / depth_there.z)[0] * z[0])
    same = inside & ((ratio - 1).abs() < 0.01)
    # What is not the same is hidden there (nearer), apart from silhouettes, which blend.
    assert same.sum() > 0.75 * inside.sum()
    assert (ratio[inside] > 1.01).float().mean() < 0.06
    error = (look_up(there.frames) - video.frames[0].flatten(1)).abs().mean(0)
    assert error[same].mean() < 0.02


@PLACES
def test_more_rays_change_colour_and_not_depth(place: Place) -> None:
    scene, time = scene_of(2, place), torch.tensor([0.2])
    cameras = steady(scene.pivot, 1, SIZE)
    (one, z), (four, same) = (scene.render(cameras, time, samples=n) for n in (1, 3))
    assert torch.equal(z.z, same.z)
    assert 1e-3 < (one.frames - four.frames).abs().mean() < 0.05


def test_wrong_cameras_are_told() -> None:
    scene = scene_of(0, "room")
    cameras = steady(scene.pivot, 2, SIZE)
    outside = Cameras(cameras.world_to_camera.clone(), cameras.K, *SIZE)
    outside.world_to_camera[1, 2, 3] = 50
    with pytest.raises(ValueError, match="Camera 1 at .* is outside the room"):
        scene.render(outside, torch.zeros(2))
    with pytest.raises(ValueError, match="one time per camera; got 3 and 2"):
        scene.render(cameras, torch.zeros(3))
    ground = scene_of(0, "ground")
    below = steady(ground.pivot, 1, SIZE, 0.0, -40.0)
    with pytest.raises(ValueError, match="outside"):
        ground.render(below, torch.zeros(1))


# The layout ---------------------------------------------------------------------------------------


@PLACES
@pytest.mark.parametrize("split", SPLITS)
def test_cameras_on_the_arc_have_free_sight(place: Place, split: Split) -> None:
    """70 degrees to either side, 0.9 to 1.05 of the distance: inside, with nothing in the way."""
    azimuth = torch.tensor([-70.0, -50, -25, 0, 25, 50, 70]).repeat(2)
    distance = torch.tensor([0.9, 1.05]).repeat_interleave(7)
    elevation = (6.0 if place == "room" else 12.0) * torch.linspace(0, 1, 7).repeat(2)
    for seed in range(100, 108):
        scene = scene_of(seed, place, split)
        cameras = around(scene.pivot, azimuth, elevation, distance, (12, 20))
        for time in (0.0, 0.5 * CLIP_S, CLIP_S):
            _, depth = scene.render(cameras, torch.full((14,), time), samples=1)
            assert depth.z.min() > 0.3
            assert depth.z[:, :, 4:8, 7:13].min() > 0.5


def reach(matrices: np.ndarray, kind: int, axis: int) -> np.ndarray:
    """How far a part `T 4 4` goes from its middle along a world axis."""
    row = matrices[:, axis, :3]
    if kind == BOX:
        return np.abs(row).sum(-1)
    if kind == BALL:
        return np.linalg.norm(row, axis=-1)
    return np.abs(row[:, 1]) + np.hypot(row[:, 0], row[:, 2])


def extent(thing: Thing, times: np.ndarray) -> np.ndarray:
    """`2 T 3`: lowest and highest corner of a box around a thing."""
    matrices, parts = pose((thing,), times), range(len(thing.parts))
    far = np.stack(
        [
            np.stack([reach(matrices[:, i], thing.parts[i].kind, axis) for i in parts], 1)
            for axis in range(3)
        ],
        -1,
    )
    middle = matrices[..., :3, 3]
    return np.stack([(middle - far).min(1), (middle + far).max(1)])


@PLACES
def test_all_stand_on_the_floor_and_within_the_walls(place: Place) -> None:
    for seed in range(6):
        scene = scene_of(seed, place)
        for thing in scene.things:
            low, high = extent(thing, np.linspace(0, CLIP_S, 81))
            if thing.name not in ("picture", "house"):
                # Whatever jumps, lands; a step lifts or lowers people by a little.
                assert abs(scene.room[1, 1] - high[:, 1].max()) < 0.06, thing.name
            if place == "room":
                assert (low > scene.room[0] - 0.01).all(), thing.name
                assert (high[:, [0, 2]] < scene.room[1, [0, 2]] + 0.01).all(), thing.name


@PLACES
def test_nothing_walks_through_anything(place: Place) -> None:
    """Middles keep further apart than the smaller of two radii, people further than both."""
    for seed in range(8):
        near = [t for t in scene_of(seed, place).things if t.name not in ("picture", "rug")]
        places = [thing_to_world(thing.motion, MOMENTS)[:, [0, 2], 3] for thing in near]
        for i, one in enumerate(near):
            for j in range(i):
                gap = np.linalg.norm(places[i] - places[j], axis=1).min()
                people = "person" in (one.name, near[j].name)
                radii = one.radius, near[j].radius
                assert gap > (sum(radii) if people else min(radii)) - 1e-6, (one.name, near[j].name)


@given(st.sampled_from(sorted(DESIGNS)), st.integers(0, CATALOGUE - 1))
@settings(max_examples=40, deadline=None)
def test_the_ground_a_design_takes_is_its_radius(name: str, number: int) -> None:
    thing = DESIGNS[name](Kit(np.random.default_rng([2, 0, number]), "train"))
    # A long stride and leaves in the wind go further.
    slack = {"person": 0.13, "tree": 0.06}.get(name, 1e-6)
    for turn in (0.0, 0.4, 0.8, 1.2):
        low, high = extent(replace(thing, motion=ThingMotion(turn=turn)), MOMENTS)[..., [0, 2]]
        assert max(-low.min(), high.max()) < thing.radius + slack


# Posing -------------------------------------------------------------------------------------------


@given(st.floats(0, 0.4), st.floats(-0.4, 0.4), st.floats(0, 5), st.floats(0, 6.3))
@settings(deadline=None)
def test_what_is_squashed_keeps_its_volume(squash: float, sway: float, rate: float, phase: float):
    motion = ThingMotion(
        squash=squash, sway=sway, bend_rate=rate, phase=phase, turn=0.3, bounce=0.2
    )
    volume = np.linalg.det(thing_to_world(motion, MOMENTS)[:, :3, :3])
    np.testing.assert_allclose(volume, 1, atol=1e-9)


@PLACES
def test_people_face_the_way_they_go(place: Place) -> None:
    people = [t for seed in range(12) for t in scene_of(seed, place).things if t.name == "person"]
    circles = [person.motion.rate for person in people if person.motion.circle]
    assert min(circles) < 0 < max(circles) and len(circles) < len(people)
    for person in people:
        before, after = (thing_to_world(person.motion, MOMENTS + step) for step in (-1e-4, 1e-4))
        way = (after - before)[:, :3, 3] / 2e-4
        np.testing.assert_allclose(np.linalg.norm(way, axis=1), 1.25, atol=0.04)
        facing = thing_to_world(person.motion, MOMENTS)[:, :3, 2]
        assert ((way * facing).sum(1) / np.linalg.norm(way, axis=1) > 0.999).all()


def test_balls_contain_what_they_are_around() -> None:
    rng = np.random.default_rng(0)
    for place in PLACES_OF:
        things = scene_of(6, place).things
        parts = [part for thing in things for part in thing.parts]
        ends = np.cumsum([0] + [len(thing.parts) for thing in things])
        matrices = pose(things, MOMENTS)
        part_balls, thing_balls = balls_around(matrices, np.stack([ends[:-1], ends[1:]], 1))
        corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T
        round_ = rng.normal(size=(60, 3))
        round_ /= np.linalg.norm(round_, axis=1, keepdims=True)
        for i, part in enumerate(parts):
            points = (corners if part.kind != BALL else round_) @ np.eye(3)
            world = points @ matrices[:, i, :3, :3].swapaxes(1, 2) + matrices[:, i, None, :3, 3]
            owner = int(np.searchsorted(ends, i, side="right")) - 1
            for ball in (part_balls[:, i], thing_balls[:, owner]):
                away = np.linalg.norm(world - ball[:, None, :3], axis=-1)
                assert (away <= ball[:, 3:] + 1e-9).all()
