"""The ray caster against a search along each ray, and its shadows."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.slow_raycast import slow_ground, slow_hits, slow_nearest, slow_room

from trajectorycrafter.geometry.cameras import Cameras
from trajectorycrafter.lab.synthetic.layout import RayLight
from trajectorycrafter.lab.synthetic.materials import material
from trajectorycrafter.lab.synthetic.posing import pose
from trajectorycrafter.lab.synthetic.raycast import BALL, BOX, CYLINDER, SKY
from trajectorycrafter.lab.synthetic.scene import RayScene
from trajectorycrafter.lab.synthetic.shared import Place
from trajectorycrafter.lab.synthetic.takes import steady
from trajectorycrafter.lab.synthetic.things import Solid, Thing, ThingMotion

PLACES = pytest.mark.parametrize("place", ["room", "ground"])
MATERIAL = material(17, "hard")


def small_scene(*parts: Solid, at: tuple[float, float, float] = (0.0, 0.0, 4.0)) -> RayScene:
    """Parts in one thing on a wide ground, under a sun straight above."""
    room = np.array([[-9.0, -9, -9], [9, 1.2, 9]])
    thing = Thing("test", parts, 1.0, ThingMotion(at))
    light = RayLight((0.0, -1.0, 0.0), (1.0, 1.0, 1.0), 0.4)
    return RayScene("ground", room, (MATERIAL,) * 3, (thing,), light, at)


def expected_depth(scene: RayScene, cameras: Cameras, time: float) -> tuple[np.ndarray, np.ndarray]:
    """`H W` depth by search, and True where a ray only just meets or misses something."""
    to_world = cameras.camera_to_world[0].double().numpy()
    K = cameras.K.double().inverse()[0].numpy()
    column, row = np.meshgrid(np.arange(cameras.width) + 0.5, np.arange(cameras.height) + 0.5)
    pixels = np.stack([column, row, np.ones_like(row)], -1).reshape(-1, 3)
    origin, directions = to_world[:3, 3], pixels @ K.T @ to_world[:3, :3].T
    kinds = [part.kind for thing in scene.things for part in thing.parts]
    matrices = pose(scene.things, np.array([time]))[0]
    near, grazing = slow_nearest(kinds, matrices, origin, directions)
    around_it = (
        slow_room(scene.room[0], scene.room[1], origin, directions)
        if scene.place == "room"
        else slow_ground(scene.room[1, 1], SKY, origin, directions)
    )
    shape = (cameras.height, cameras.width)
    return np.minimum(near, around_it).reshape(shape), grazing.reshape(shape)


def check_depth(scene: RayScene, cameras: Cameras, time: float) -> None:
    _, depth = scene.render(cameras, torch.tensor([time]), samples=1)
    wanted, grazing = expected_depth(scene, cameras, time)
    assert grazing.mean() < 0.02
    found = depth.z[0, 0].numpy()
    np.testing.assert_allclose(found[~grazing], wanted[~grazing], rtol=1e-6)


SIZES = st.tuples(*[st.floats(0.1, 1.2)] * 3)
TURNS = st.tuples(*[st.floats(-3.1, 3.1)] * 3)


@given(st.sampled_from([BOX, BALL, CYLINDER]), SIZES, TURNS, st.floats(-40, 40))
@settings(max_examples=60, deadline=None)
def test_rays_meet_parts_where_a_search_finds_them(
    kind: int, size: tuple[float, float, float], turn: tuple[float, float, float], azimuth: float
) -> None:
    part = Solid(kind, (0.1, -0.2, 0.1), size, MATERIAL, turn)
    scene = small_scene(part)
    check_depth(scene, steady(scene.pivot, 1, (14, 22), azimuth, 5.0), 0.0)


@PLACES
@pytest.mark.parametrize("seed", [8, 9])
def test_the_depth_of_whole_scenes_is_what_a_search_finds(place: Place, seed: int) -> None:
    scene = RayScene.make(seed, place=place)
    check_depth(scene, steady(scene.pivot, 1, (18, 32), 25.0, 3.0), 0.7)


def test_shadows_fall_where_the_sun_is_hidden() -> None:
    ball, away = (Solid(BALL, c, (0.5, 0.5, 0.5), MATERIAL) for c in ((0, 0, 0), (0, 0, 60)))
    with_it, without = small_scene(ball), small_scene(away)
    camera = steady(with_it.pivot, 1, (54, 96), 0.0, 20.0)
    a, depth = with_it.render(camera, torch.zeros(1), samples=1)
    b, _ = without.render(camera, torch.zeros(1), samples=1)
    points = camera.unproject(depth.z)[0]
    floor = points[:, 1] > 1.199
    under = floor & ((points - torch.tensor(with_it.pivot))[:, [0, 2]].norm(dim=1) < 0.48)
    lit = floor & ((points - torch.tensor(with_it.pivot))[:, [0, 2]].norm(dim=1) > 0.52)
    with_ball, bare = a.frames[0].flatten(1), b.frames[0].flatten(1)
    assert under.sum() > 20 and lit.sum() > 500
    assert (with_ball[:, under] < 0.75 * bare[:, under]).all()
    assert torch.equal(with_ball[:, lit], bare[:, lit])


def test_the_reference_itself_on_a_case_by_hand() -> None:
    forward = np.array([[0.0, 0, 1], [0, 0.2, 1]])
    scaled = np.diag([1.0, 1, 2, 1])
    scaled[2, 3] = 10
    for kind in (BOX, BALL, CYLINDER):
        found, _ = slow_hits(kind, scaled, np.zeros(3), forward)
        assert found[0] == pytest.approx(8, abs=1e-9) and found[1] == math.inf
