"""The recipes: double reprojection, segments that overlap, scenes, and the geometry beneath."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from curation_trees import room, room_depth, room_geometry

from trajectorycrafter.config.curation import (
    Curation,
    HoleSettings,
    PathSettings,
    SceneSettings,
    TripletSettings,
    WindowSettings,
)
from trajectorycrafter.geometry.cameras import static_cameras
from trajectorycrafter.lab.curation.dynamic import reproject
from trajectorycrafter.lab.curation.geometry import fit_to_cameras, load_geometry, triangulated
from trajectorycrafter.lab.curation.rejected import RejectedError
from trajectorycrafter.lab.curation.static import PosedVideo, split, visible_points
from trajectorycrafter.lab.curation.synthetic import RECIPES, aligned_to, disturbed, film
from trajectorycrafter.lab.synthetic.takes import seen_from
from trajectorycrafter.rendering.memory import other_moments
from trajectorycrafter.rendering.point_cloud import lift
from trajectorycrafter.rendering.render import Render, hole_share, render
from trajectorycrafter.video.clip import Depth, Video

SMALL = Curation(
    "synthetic",
    window=WindowSettings(frames=5, size=(48, 64)),
    scene=SceneSettings(rays=1, scene_depth="exact"),
    hole=HoleSettings((0.02, 0.8), tries=10),
    memory=3,
    filled=True,
)


@pytest.fixture(scope="module")
def posed() -> PosedVideo:
    return PosedVideo(room().video, room().depth, room().cameras)


def error_where_seen(view: Render, video: Video) -> float:
    return float((view.frames - video.frames).abs().mean(dim=1, keepdim=True)[view.visible].mean())


# ---------------------------------------------------------------------------------- dynamic


def test_double_reprojection_lacks_what_the_path_did_not_see(posed: PosedVideo) -> None:
    clip = posed[torch.arange(6)]
    made = reproject(clip.video, clip.depth, clip.cameras, SMALL, np.random.default_rng(3))
    assert made.info["hole_share"] == pytest.approx(float(hole_share(made.render).mean()), abs=1e-4)
    assert 0.02 <= made.info["hole_share"] <= 0.8
    assert error_where_seen(made.render, clip.video) < 0.05
    assert made.memory is not None
    assert error_where_seen(made.memory, clip.video) < 0.06
    assert made.filled is not None
    seen = made.render.visible.expand_as(made.filled.frames)
    assert torch.equal(made.filled.frames[seen], made.render.frames[seen])
    assert float((made.filled.frames - clip.video.frames)[~seen].abs().mean()) < 0.15
    # In a room that stands still the other moments know more than one does.
    assert float((made.memory.visible & ~made.render.visible).float().mean()) > 0.005


def test_the_histogram_of_holes_steers_the_path(posed: PosedVideo) -> None:
    clip = posed[torch.arange(4)]
    shares = []
    for seed in range(8):
        few = replace(
            SMALL, memory=0, filled=False, hole=HoleSettings((0.1, 0.5), (0, 1, 0, 0), tries=12)
        )
        made = reproject(clip.video, clip.depth, clip.cameras, few, np.random.default_rng(seed))
        shares.append(made.info["hole_share"])
        assert made.memory is None
        assert made.filled is None
    assert all(0.2 <= share <= 0.3 for share in shares)


def test_a_path_that_goes_nowhere_is_turned_away(posed: PosedVideo) -> None:
    nowhere = PathSettings((0, 0), (0, 0), (0, 0), (0, 0), (0, 0))
    clip = posed[torch.arange(2)]
    with pytest.raises(RejectedError, match="holes too small"):
        reproject(
            clip.video,
            clip.depth,
            clip.cameras,
            replace(SMALL, path=nowhere, hole=HoleSettings((0.3, 0.8))),
            np.random.default_rng(0),
        )


# ----------------------------------------------------------------------------------- memory


def test_memory_is_what_other_moments_show(posed: PosedVideo) -> None:
    """Frame i has no point of moment i: a moment of another colour tells."""
    clip = posed[torch.arange(4)]
    frames = torch.zeros_like(clip.video.frames)
    frames[2] = 1.0
    cloud = lift(Video(frames, 24.0), clip.depth, clip.cameras)
    seen = other_moments(cloud, clip.cameras, 3)
    bright = (seen.frames.mean(dim=(1, 2, 3)) > 0.1).tolist()
    assert bright == [True, True, False, True]
    nearest = other_moments(cloud, clip.cameras, 1)
    assert (nearest.frames.mean(dim=(1, 2, 3)) > 0.1).tolist()[0] is False
    with pytest.raises(ValueError, match="two at least"):
        other_moments(cloud[[0]], clip.cameras[[0]], 3)


# ----------------------------------------------------------------------------------- static


def test_visible_points_agree_with_exact_geometry(posed: PosedVideo) -> None:
    a, b = posed[torch.tensor([0])], posed[torch.tensor([12])]
    points = a.cameras.unproject(a.depth.z)[0]
    ours = visible_points(points, b.depth, b.cameras)[0]
    exact = seen_from(a.depth, a.cameras, b.depth, b.cameras)[0, 0].flatten()
    assert float((ours == exact).float().mean()) > 0.97


def test_segments_overlap_as_wanted_and_are_consistent(posed: PosedVideo) -> None:
    settings = replace(SMALL, triplet=TripletSettings(overlap=(0.5, 0.97)))
    found = [split(posed, settings, np.random.default_rng(seed)) for seed in range(4)]
    assert len({tuple(t.seen.info["segments"]) for t in found}) > 1
    for triplet in found:
        source, target = triplet.seen.info["segments"]
        assert torch.equal(triplet.target.frames, posed.video.frames[target : target + 5])
        assert torch.equal(triplet.source.frames, posed.video.frames[source : source + 5])
        assert 0.5 <= triplet.seen.info["overlap"] <= 0.97
        assert error_where_seen(triplet.seen.render, triplet.target) < 0.06


def test_overlap_is_geometry_and_not_index(posed: PosedVideo) -> None:
    """A camera that comes back has much overlap far away in time, and little half way."""
    there_and_back = torch.tensor([*range(0, 18, 2), *range(16, -1, -2)])
    there = posed[there_and_back]
    settings = replace(
        SMALL,
        window=WindowSettings(frames=3, size=(48, 64)),
        triplet=TripletSettings(overlap=(0.985, 1.0)),
        hole=HoleSettings((0.0, 0.9)),
    )
    for seed in range(4):
        first, second = split(there, settings, np.random.default_rng(seed)).seen.info["segments"]
        place = posed.cameras.centers[there_and_back, 0]
        gap = abs(float(place[first + 1] - place[second + 1]))
        assert gap < 0.5
        if abs(first - second) > 8:
            break
    else:
        pytest.fail("never a pair from the way there and the way back")


def test_segments_without_the_wanted_overlap_are_turned_away(posed: PosedVideo) -> None:
    settings = replace(SMALL, triplet=TripletSettings(overlap=(0.0, 0.01)))
    with pytest.raises(RejectedError, match="overlap"):
        split(posed, settings, np.random.default_rng(0))


# --------------------------------------------------------------------------------- geometry


def test_triangulated_points_have_their_true_depth(posed: PosedVideo) -> None:
    frame, pixel, depth = triangulated(posed.video, posed.cameras)
    x, y = pixel.floor().long().unbind(-1)
    # Corners lie on outlines, where a pixel shows one surface and its neighbour another.
    around = torch.nn.functional.unfold(posed.depth.z, 5, padding=2).unflatten(-1, (72, 96))
    true = around[frame, :, y, x]
    assert len(depth) > 100
    error = (depth[:, None] / true.clamp(min=0.1) - 1).abs().amin(dim=1)
    assert float(error.median()) < 0.04  # half a pixel of the few that a point moves
    assert float(error.quantile(0.75)) < 0.15


def test_estimated_depth_is_brought_into_the_cameras_unit(posed: PosedVideo) -> None:
    guess = room_depth(posed.video)
    assert float((guess.z / posed.depth.z - 1).abs().median()) > 0.4
    fitted = fit_to_cameras(guess, posed.video, posed.cameras)
    assert float((fitted.z / posed.depth.z - 1).abs().median()) < 0.03
    assert fitted.K is not None and torch.equal(fitted.K, posed.cameras.K)


def test_a_camera_that_only_turns_tells_no_unit(posed: PosedVideo) -> None:
    still = static_cameras(posed.cameras.K, 72, 96)
    with pytest.raises(RejectedError, match="could be triangulated"):
        fit_to_cameras(room_depth(posed.video), posed.video, still)
    inside_out = Depth.of(1.5 * posed.depth.z.max() - posed.depth.z)
    with pytest.raises(RejectedError, match="misses triangulated points"):
        fit_to_cameras(inside_out, posed.video, posed.cameras)


def test_geometry_by_name(posed: PosedVideo) -> None:
    found = load_geometry("files", room_depth)(posed.video, posed.cameras)
    assert float((found.depth.z / posed.depth.z - 1).abs().median()) < 0.05
    with pytest.raises(RejectedError, match="no file with cameras"):
        load_geometry("files", room_depth)(posed.video, None)
    own = load_geometry("curation_trees:room_geometry", room_depth)(posed.video, None)
    assert torch.equal(own.depth.z, posed.depth.z)
    with pytest.raises(ValueError, match="Unknown geometry 'file'"):
        load_geometry("file", room_depth)
    with pytest.raises(ValueError, match="Expected 18 cameras from geometry; got 9"):
        load_geometry("test_curation_recipes:half_of_it", room_depth)(posed.video, None)


def half_of_it(video: Video, cameras: object) -> object:
    found, depth = room_geometry(video, None)
    return found[:9], depth


def test_geometry_by_colmap(posed: PosedVideo) -> None:
    """COLMAP over the larger picture finds the way, in the unit of the depth it is given."""
    wide = torch.nn.functional.interpolate(posed.video.frames, (216, 288), mode="bicubic")
    video = Video(wide.clamp(0, 1), 24.0)
    z = torch.nn.functional.interpolate(posed.depth.z, (216, 288), mode="nearest")
    cameras = posed.cameras.resized(216, 288)

    def estimator(video: Video) -> Depth:
        return Depth.of(z, cameras.K)

    found = load_geometry("colmap", estimator)(video, cameras)
    way = (found.cameras.centers[-1] - found.cameras.centers[0]).norm()
    assert float(way) == pytest.approx(1.2, rel=0.15)
    plain = Video(torch.full_like(wide, 0.5), 24.0)
    with pytest.raises(RejectedError, match="geometry"):
        load_geometry("colmap", estimator)(plain, cameras)


# -------------------------------------------------------------------------------- synthetic


@pytest.mark.parametrize("recipe", RECIPES)
def test_scenes_give_what_the_recipe_says(recipe: str) -> None:
    chosen = tuple(float(name == recipe) for name in RECIPES)
    settings = replace(SMALL, scene=replace(SMALL.scene, recipes=chosen))
    take = film(4, settings, np.random.default_rng(1))
    assert take.recipe == recipe
    assert take.kind == ("static" if recipe == "segments" else "dynamic")
    assert error_where_seen(take.seen.render, take.target) < 0.08
    assert (take.source is take.target) == (recipe == "double_reprojection")
    assert 0.02 <= take.seen.info["hole_share"] <= 0.8
    again = film(4, settings, np.random.default_rng(1))
    assert torch.equal(again.target.frames, take.target.frames)
    assert torch.equal(again.seen.render.frames, take.seen.render.frames)


def test_disturbed_depth_is_wrong_as_much_as_asked(posed: PosedVideo) -> None:
    def draw(amount: float) -> Depth:
        return disturbed(posed.depth, amount, torch.Generator().manual_seed(0))

    errors = {a: (draw(a).z / posed.depth.z).log().abs().median().item() for a in (0.02, 0.06)}
    assert 0.005 < errors[0.02] < 0.03
    assert 2 < errors[0.06] / errors[0.02] < 4
    still = posed.depth[[0] * 18]
    wrong = (disturbed(still, 0.05, torch.Generator().manual_seed(0)).z / still.z).log()
    assert wrong.diff(dim=0).std() < 0.8 * wrong.mean(dim=0).std()  # it lasts more than it flickers
    cloud = lift(posed.video, draw(0.03), posed.cameras)
    assert torch.isfinite(render(cloud[[0]], posed.cameras[[0]]).depth).all()


def test_estimated_depth_is_aligned_to_the_scene(posed: PosedVideo) -> None:
    aligned = aligned_to(room_depth(posed.video), posed.depth)
    torch.testing.assert_close(aligned.z, posed.depth.z, rtol=1e-2, atol=1e-3)
