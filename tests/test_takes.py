"""Cameras around a scene go where they say, and what they see is what rays see."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.slow_raycast import slow_nearest

from trajectorycrafter.lab.synthetic.posing import pose
from trajectorycrafter.lab.synthetic.scene import RayScene
from trajectorycrafter.lab.synthetic.shared import Place
from trajectorycrafter.lab.synthetic.takes import handheld, seen_from, steady, swung
from trajectorycrafter.video.clip import Depth

SIZE = (54, 96)
PLACES = pytest.mark.parametrize("place", ["room", "ground"])

PIVOTS = st.tuples(st.just(0.0), st.floats(0.1, 1.1), st.floats(3.0, 6.0))


@given(PIVOTS, st.floats(-80, 80), st.floats(-5, 20), st.floats(0.8, 1.2))
@settings(deadline=None)
def test_cameras_around_the_pivot(
    pivot: tuple[float, float, float], azimuth: float, elevation: float, distance: float
) -> None:
    cameras = steady(pivot, 2, SIZE, azimuth, elevation, distance)
    middle = torch.tensor(pivot)
    pixel, depth = cameras.project(middle.expand(2, 1, 3))
    far = float(middle.norm())
    torch.testing.assert_close(
        pixel[0, 0], torch.tensor([SIZE[1] / 2, SIZE[0] / 2]), atol=1e-3, rtol=0
    )
    assert float(depth[0, 0]) == pytest.approx(distance * far, rel=1e-5)
    center = cameras.centers[0]
    level = math.radians(math.degrees(math.asin(pivot[1] / far)) + elevation)
    assert float(middle[1] - center[1]) == pytest.approx(distance * far * math.sin(level), abs=1e-4)
    right = distance * far * math.cos(level) * math.sin(math.radians(azimuth))
    assert float(center[0]) == pytest.approx(right, abs=1e-4)
    # Upright: the picture's x axis is level.
    assert float(cameras.world_to_camera[0, 0, 1].abs()) < 1e-6


def test_the_source_place_is_the_origin() -> None:
    pivot = (0.0, 0.7, 4.0)
    torch.testing.assert_close(steady(pivot, 1, SIZE).centers, torch.zeros(1, 3), atol=1e-6, rtol=0)
    first, second = (handheld(pivot, 5, SIZE, torch.Generator().manual_seed(s)) for s in (0, 1))
    torch.testing.assert_close(first.centers[0], torch.zeros(3), atol=1e-6, rtol=0)
    swept = torch.rad2deg(torch.atan2(first.centers[-1, 0], 4 - first.centers[-1, 2]))
    assert 6 < abs(float(swept)) < 10
    assert not torch.equal(first.world_to_camera, second.world_to_camera)


def test_a_swung_camera_has_gone_one_step_in_its_first_frame() -> None:
    pivot = (0.0, 0.7, 4.0)
    path = swung(pivot, 5, SIZE, 20.0, 5.0, 0.9)
    for frame, share in ((0, 0.2), (4, 1.0)):
        there = steady(pivot, 1, SIZE, 20 * share, 5 * share, 1 - 0.1 * share)
        torch.testing.assert_close(path.world_to_camera[frame], there.world_to_camera[0])


@PLACES
def test_a_camera_sees_all_that_it_sees(place: Place) -> None:
    scene = RayScene.make(3, place=place)
    cameras, times = steady(scene.pivot, 2, SIZE, 10.0), torch.tensor([0.0, 0.4])
    _, depth = scene.render(cameras, times, samples=1)
    assert seen_from(depth, cameras, depth, cameras).all()


@PLACES
def test_what_is_seen_is_what_no_part_hides(place: Place) -> None:
    """Against rays from the source camera to points that the target sees."""
    scene, size, time = RayScene.make(4, place=place), (270, 480), torch.tensor([0.3])
    target, source = steady(scene.pivot, 1, size, 25.0, 2.0), steady(scene.pivot, 1, size)
    (_, depth), (_, other) = (scene.render(c, time, samples=1) for c in (target, source))
    chosen = torch.randperm(270 * 480, generator=torch.Generator().manual_seed(0))[:1500]
    seen = seen_from(depth, target, other, source).flatten()[chosen].numpy()
    points = target.unproject(depth.z)[:, chosen]
    pixels, z = source.project(points)
    inside = ((pixels[0] > 0) & (pixels[0] < torch.tensor([480, 270]))).all(1) & (z[0] > 0)
    origin = source.centers[0].double().numpy()
    kinds = [part.kind for thing in scene.things for part in thing.parts]
    to_points = points[0].double().numpy() - origin
    near, _ = slow_nearest(kinds, pose(scene.things, np.array([0.3]))[0], origin, to_points)
    wanted = inside.numpy() & (near > 0.999)
    assert 0.2 < wanted.mean() < 0.9
    # Measured: 0.98 (0.95 at a third of the size), as silhouettes are sharp for the rays but a
    # pixel wide in the maps, where the nearest of four counts.
    assert (seen == wanted).mean() > 0.97 and seen[wanted].mean() > 0.99


def test_seeing_needs_clips_of_one_length() -> None:
    cameras = steady((0.0, 0.5, 4.0), 2, (4, 6))
    depth = Depth.of(torch.ones(2, 1, 4, 6))
    with pytest.raises(ValueError, match="one length; got 2 and 2 maps, 2 and 1 cameras"):
        seen_from(depth, cameras, depth, cameras[[0]])
