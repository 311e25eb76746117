"""The iPhone benchmark: layouts, protocols, what counts, and our own videos of its scenes."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from iphone_tree import (
    FPS,
    FRAMES,
    HEIGHT,
    MOMENTS,
    SCALE,
    WIDTH,
    world,
    write_camdirector,
    write_dycheck,
    write_png,
    write_som,
)

from trajectorycrafter.geometry.cameras import Cameras, intrinsics, rigid, rotation_y
from trajectorycrafter.lab.evaluation.iphone.benchmark import (
    compared,
    evaluate_iphone,
    redirect_iphone,
)
from trajectorycrafter.lab.evaluation.iphone.files import DepthKind
from trajectorycrafter.lab.evaluation.iphone.layouts import BenchmarkScene, find_scenes, load_scene
from trajectorycrafter.lab.evaluation.iphone.placement import Orientation, Placement
from trajectorycrafter.lab.evaluation.iphone.protocols import (
    PROTOCOLS,
    QUOTED,
    Protocol,
    quoted_for,
    varied,
)
from trajectorycrafter.lab.evaluation.iphone.results import find_result, partners
from trajectorycrafter.lab.evaluation.pixels import HIGHEST_DB
from trajectorycrafter.lab.evaluation.records import Entry, Evaluation
from trajectorycrafter.video.clip import Depth, Video

WRITERS = {
    "dycheck": write_dycheck,
    "som": write_som,
    "som-text": lambda folder: write_som(folder, binary=False),
    "camdirector": write_camdirector,
}
DEPTH: dict[str, DepthKind] = {
    "dycheck": "lidar",
    "som": "som",
    "som-text": "som",
    "camdirector": "camdirector",
}
SIMPLE = Protocol("simple", "test", resolution="native", scenes=("apple",), metrics=("psnr",))


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder `apple` of each layout; tests that change files write their own."""
    return {k: w(tmp_path_factory.mktemp(k) / "apple") for k, w in WRITERS.items()}


@pytest.fixture
def scene(trees: dict[str, Path]) -> BenchmarkScene:
    return load_scene(trees["som"])


def truth(camera: int = 1) -> torch.Tensor:
    return world().targets[camera][0].frames


def write_frames(frames: torch.Tensor, folder: Path) -> None:
    for i, frame in enumerate(frames):
        write_png(frame, folder / f"{i:05d}.png")


def only(evaluation: Evaluation, row: str | None = None) -> Entry:
    (entry,) = [e for e in evaluation.entries if row in (None, e.row)]
    assert entry.error is None, entry.error
    return entry


# -------------------------------------------------------------------------------------- layouts


@pytest.mark.parametrize("layout", WRITERS)
def test_a_layout_gives_pictures_moments_and_rate(trees: dict[str, Path], layout: str) -> None:
    scene = load_scene(trees[layout])
    assert scene.name == "apple"
    assert scene.layout == layout.removesuffix("-text")
    assert scene.pictures.fps == FPS
    assert torch.equal(scene.pictures.read([4, 1]).frames, world().source.frames[[4, 1]])
    if layout == "camdirector":
        (view,) = scene.targets
        assert view.moments == tuple(range(FRAMES))
        assert view.covisible is None
        return
    assert [view.camera for view in scene.targets] == ["1", "2"]
    for view in scene.targets:
        camera = int(view.camera)
        assert view.moments == MOMENTS[camera]
        assert torch.equal(view.pictures.read().frames, truth(camera))
        assert view.covisible is not None
        masks = view.covisible.read()
        assert masks.shape == (len(view.moments), 1, HEIGHT, WIDTH)
        assert masks[..., : WIDTH // 2].all() and not masks[..., WIDTH // 2 :].any()


@pytest.mark.parametrize("layout", WRITERS)
def test_points_of_the_source_project_where_the_held_out_camera_saw_them(
    trees: dict[str, Path], layout: str
) -> None:
    scene, filmed = load_scene(trees[layout]), world()
    moment = 2
    depth = scene.depths[DEPTH[layout]].read([moment])
    points = scene.cameras[[moment]].unproject(depth.z)
    exact = filmed.cameras[[moment]].unproject(filmed.depth.z[[moment]])
    for view in scene.targets:
        pixels, z = view.cameras[[0]].project(points)
        expected, expected_z = filmed.targets[int(view.camera)][1][[0]].project(exact)
        seen = depth.valid.flatten()[None] & (expected_z > 0.5)
        # CamDirector keeps distances in half precision: 1 in 2048.
        assert torch.allclose(z[seen], expected_z[seen], rtol=1e-3)
        assert (pixels[seen] - expected[seen]).abs().max() < 0.05


@pytest.mark.parametrize("layout", ["dycheck", "som"])
def test_pixels_without_depth_are_not_valid(trees: dict[str, Path], layout: str) -> None:
    valid = load_scene(trees[layout]).depths[DEPTH[layout]].read().valid
    assert not valid[:, 0, 0, 0].any()
    assert valid.sum() == valid.numel() - FRAMES


def test_lidar_and_aligned_depth_are_metres_in_one_scene(scene: BenchmarkScene) -> None:
    lidar, aligned = scene.depths["lidar"].read(), scene.depths["som"].read()
    both = lidar.valid & aligned.valid
    assert torch.allclose(lidar.z[both], aligned.z[both], rtol=1e-5)
    assert scene.depths["som"].scale == SCALE


def test_lidar_in_millimetres_is_taken_at_the_documents_word(tmp_path: Path) -> None:
    folder = write_dycheck(tmp_path / "apple")
    metres = load_scene(folder).depths["lidar"].read().z
    for path in (folder / "depth" / "1x").iterdir():
        np.save(path, np.load(path) * 1000)
    assert torch.allclose(load_scene(folder).depths["lidar"].read().z, metres, rtol=1e-6)


def test_the_stored_half_size_has_cameras_to_match(trees: dict[str, Path]) -> None:
    full, half = load_scene(trees["dycheck"]), load_scene(trees["dycheck"], factor=2)
    assert half.pictures.size == (HEIGHT // 2, WIDTH // 2)
    assert torch.allclose(half.cameras.K[:, :2], full.cameras.K[:, :2] / 2)


def test_splits_that_are_not_there_come_from_the_data_sets_list(tmp_path: Path) -> None:
    folder = write_dycheck(tmp_path / "apple")
    expected = [view.moments for view in load_scene(folder).targets]
    for path in (folder / "splits").iterdir():
        path.unlink()
    assert [view.moments for view in load_scene(folder).targets] == expected


def test_a_folder_with_two_layouts_gives_the_one_asked_for(tmp_path: Path) -> None:
    folder = write_som(write_dycheck(tmp_path / "apple"))
    assert load_scene(folder).layout == "som"
    original = load_scene(folder, layout="dycheck")
    assert original.layout == "dycheck"
    assert "som" not in original.depths


@pytest.mark.parametrize(
    ("layout", "gone", "message"),
    [
        ("dycheck", "extra.json", "extra.json"),
        ("dycheck", "camera/1_00002.json", "1_00002.json"),
        ("som", "flow3d_preprocessed/colmap/scale.npy", "scale.npy"),
        ("camdirector", "camera_poses/target_Ks.pt", "target_Ks.pt"),
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, layout: str, gone: str, message: str) -> None:
    folder = WRITERS[layout](tmp_path / "apple")
    (folder / gone).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        load_scene(folder)


def test_a_missing_frame_is_named_when_it_is_read(tmp_path: Path) -> None:
    folder = write_som(tmp_path / "apple")
    (folder / "rgb/1x/1_00004.png").unlink()
    view = load_scene(folder).targets[0]
    view.pictures.read([0])
    with pytest.raises(FileNotFoundError, match=r"1_00004\.png"):
        view.pictures.read()


def test_a_frame_without_a_colmap_camera_is_named(tmp_path: Path) -> None:
    folder = write_som(tmp_path / "apple", binary=False)
    path = folder / "flow3d_preprocessed/colmap/sparse/images.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[2:]) + "\n")
    with pytest.raises(ValueError, match=r"no camera for 2_00005\.png"):
        load_scene(folder)


def test_distorted_lenses_and_pictures_of_another_size_are_refused(tmp_path: Path) -> None:
    folder = write_dycheck(tmp_path / "apple")
    path = folder / "camera/0_00003.json"
    value = json.loads(path.read_text())
    path.write_text(json.dumps(value | {"radial_distortion": [0.1, 0, 0]}))
    with pytest.raises(ValueError, match=r"0_00003\.json: expected no lens distortion"):
        load_scene(folder)
    path.write_text(json.dumps(value))
    write_png(torch.zeros(3, 20, 20), folder / "rgb/1x/0_00000.png")
    with pytest.raises(ValueError, match="expected pictures of 48x36 at 1x"):
        load_scene(folder)


def test_what_is_no_scene_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No folder"):
        find_scenes(tmp_path / "nowhere")
    (tmp_path / "holiday").mkdir()
    with pytest.raises(ValueError, match=r"flow3d_preprocessed"):
        find_scenes(tmp_path)
    with pytest.raises(ValueError, match="expected layout som; found none"):
        load_scene(tmp_path / "holiday", layout="som")


# ------------------------------------------------------------------------------------ placement

SIDES = st.integers(24, 90)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["stretch", "rotate", "pad", "crop"]),
    st.tuples(SIDES, SIDES),
    st.tuples(SIDES, SIDES),
    st.floats(-0.3, 0.3),
    st.floats(-0.3, 0.3),
)
def test_placed_cameras_see_what_the_placed_picture_shows(
    orientation: Orientation, picture: tuple[int, int], frame: tuple[int, int], x: float, y: float
) -> None:
    height, width = picture
    # Colours that say where in the picture they are; a straight slope survives any resizing.
    u = (torch.arange(width) + 0.5) / width
    v = (torch.arange(height) + 0.5) / height
    slope = torch.stack([u.expand(height, width), v[:, None].expand(height, width)])
    colours = torch.cat([slope, torch.ones(1, height, width)])[None]
    turn = rigid(rotation_y(torch.tensor([8.0])), torch.tensor([[0.1, 0.2, 0.3]]))
    cameras = Cameras(turn, intrinsics(60.0, height, width), height, width)
    point = torch.tensor([[[x, y, 1.5]]])
    pixel, z = cameras.project(point)
    placement = Placement(orientation, picture, frame)
    placed, placed_z = placement.place_cameras(cameras).project(point)
    assert torch.allclose(placed_z, z, atol=1e-5)
    column, row = (int(value) for value in placed[0, 0].floor())
    assume(2 <= column < frame[1] - 2 and 2 <= row < frame[0] - 2)
    assume(2 < float(pixel[0, 0, 0]) < width - 2 and 2 < float(pixel[0, 0, 1]) < height - 2)
    found = placement.place(colours)[0, :, row, column]
    expected = pixel[0, 0] / torch.tensor([width, height])
    # Half a placed pixel, which is up to four source pixels here, and the filter at the borders.
    assert (found[:2] - expected).abs().max() < 4.5 / min(*picture, *frame)


@pytest.mark.parametrize("orientation", ["stretch", "rotate", "pad"])
def test_what_was_placed_comes_back(orientation: Orientation) -> None:
    picture = truth()
    placement = Placement(orientation, (HEIGHT, WIDTH), (4 * HEIGHT, 4 * WIDTH))
    # Measured: 0.023, what the filters blur; a shift by one pixel would cost 0.05.
    assert (placement.undo(placement.place(picture)) - picture).abs().mean() < 0.025


def test_a_turned_picture_has_its_top_on_the_right() -> None:
    picture = torch.zeros(1, 3, HEIGHT, WIDTH)
    picture[:, :, 0] = 1
    turned = Placement("rotate", (HEIGHT, WIDTH), (WIDTH, HEIGHT)).place(picture)
    assert (turned[..., -1] == 1).all() and (turned[..., :-1] == 0).all()


def test_crop_brings_back_only_what_it_kept() -> None:
    placement = Placement("crop", (48, 36), (24, 36))
    seen = placement.undo(torch.ones(1, 1, 24, 36, dtype=torch.bool))
    assert seen[0, 0, :, 0].tolist() == [False] * 12 + [True] * 24 + [False] * 12


@pytest.mark.parametrize("orientation", ["stretch", "rotate", "pad", "crop"])
def test_placed_depth_holds_distances_of_the_map_and_nothing_outside(
    orientation: Orientation,
) -> None:
    filmed = world()
    placement = Placement(orientation, (HEIGHT, WIDTH), (40, 70))
    source = placement.place_cameras(filmed.cameras)
    depth = placement.place_depth(filmed.depth, source)
    assert torch.isin(depth.z[depth.valid], filmed.depth.z).all()
    assert bool(depth.valid.all()) == (orientation != "pad")
    assert depth.K is not None and torch.equal(depth.K, source.K)


# ------------------------------------------------------------------------------------ protocols


SMALL = {"1x": (48, 36), "half": (24, 18), "native": None, "model": (32, 56), "square": (36, 36)}
"""The sizes of the protocols for pictures of 48x36 instead of 960x720."""


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_named_protocol_tells_truth_from_source(
    trees: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("trajectorycrafter.lab.evaluation.iphone.benchmark.SIZES", SMALL)
    quick = tuple(m for m in PROTOCOLS[name].metrics if m != "dino")
    protocol = replace(PROTOCOLS[name], scenes=("apple",), metrics=quick)
    layout = "camdirector" if protocol.depth == "camdirector" else protocol.layout or "som"
    scene = load_scene(trees[layout])
    made = SMALL[protocol.resolution] if protocol.resolution in ("model", "square") else None
    placement = Placement(protocol.orientation, (HEIGHT, WIDTH), made or (HEIGHT, WIDTH))
    for view in scene.targets:
        films = {"truth": view.pictures, "source": scene.pictures}
        for row, pictures in films.items():
            which = None if row == "truth" else view.moments
            placed = placement.place(pictures.read(which).frames)
            write_frames(placed, tmp_path / "r" / row / "apple" / view.camera)
    found = evaluate_iphone(
        trees[layout], tmp_path / "r", protocol, tmp_path / "out", weights=tmp_path
    )
    clips = {"apple"} if protocol.cameras == "first" else {"apple/1", "apple/2"}
    assert {e.clip for e in found.entries} == clips
    for clip in clips:
        psnr = {e.row: e.values[protocol.metrics[0]] for e in found.entries if e.clip == clip}
        assert psnr["truth"] > max(27, psnr["source"] + 10)
    lpips = [m for m in protocol.metrics if m.startswith("lpips")]
    assert [note.split()[0] for note in found.about["notes"]] == lpips
    assert not {c.name for c in found.columns} & set(lpips)


def test_masked_and_unmasked_numbers_are_those_worked_out_by_hand(
    trees: dict[str, Path], tmp_path: Path
) -> None:
    # 13/255 off in the co-visible left half, 26/255 off in the right half.
    step = torch.full((WIDTH,), 26 / 255)
    step[: WIDTH // 2] = 13 / 255
    made = torch.where(truth() > 0.5, truth() - step, truth() + step)
    write_frames(made, tmp_path / "half/apple/1")
    full = only(evaluate_iphone(trees["som"], tmp_path, SIMPLE, tmp_path / "a"))
    masked = varied(SIMPLE, mask="covisible")
    covisible = only(evaluate_iphone(trees["som"], tmp_path, masked, tmp_path / "b"))
    assert full.values["psnr"] == pytest.approx(20 * math.log10(255) - 10 * math.log10(422.5))
    assert covisible.values["psnr"] == pytest.approx(20 * math.log10(255 / 13))
    assert covisible.group == {"protocol": "simple, mask=covisible"}


def test_a_turned_result_is_turned_back(trees: dict[str, Path], tmp_path: Path) -> None:
    write_frames(truth().rot90(-1, (2, 3)), tmp_path / "right/apple/1")
    write_frames(truth().rot90(1, (2, 3)), tmp_path / "left/apple/1")
    protocol = varied(SIMPLE, orientation="rotate")
    found = evaluate_iphone(trees["som"], tmp_path, protocol, tmp_path / "out")
    assert only(found, "right").values["psnr"] == HIGHEST_DB
    assert only(found, "left").values["psnr"] < 20


def test_pixels_that_crop_has_cut_do_not_count(trees: dict[str, Path]) -> None:
    view = load_scene(trees["som"]).targets[0]
    cut = truth()[:, :, 12:36]
    made, true, mask = compared(cut, view, list(range(5)), varied(SIMPLE, orientation="crop"))
    assert mask is not None
    assert torch.equal(made * mask, true * mask)
    assert mask.float().mean() == 0.5


def test_bars_of_a_padded_result_do_not_count(trees: dict[str, Path], tmp_path: Path) -> None:
    bars = torch.ones(5, 3, HEIGHT, 2 * WIDTH)
    bars[..., WIDTH // 2 : WIDTH // 2 + WIDTH] = truth()
    write_frames(bars, tmp_path / "m/apple/1")
    protocol = varied(SIMPLE, orientation="pad")
    found = evaluate_iphone(trees["som"], tmp_path, protocol, tmp_path / "out")
    assert only(found).values["psnr"] == HIGHEST_DB


def test_the_default_columns_have_dino_and_the_quoted_rows(
    trees: dict[str, Path], tmp_path: Path
) -> None:
    write_frames(truth()[:2], tmp_path / "m/apple/1")
    protocol = varied(PROTOCOLS["tc-paper"], scenes=("apple",), resolution="native", frames=2)
    found = evaluate_iphone(trees["som"], tmp_path, protocol, tmp_path / "out", weights=tmp_path)
    assert only(found).values["dino"] == pytest.approx(0, abs=1e-5)
    assert {"psnr", "ssim", "dino", "lpips", "frames"} == {c.name for c in found.columns}
    paper = [q for q in found.quoted if q.row == "TrajectoryCrafter" and "Tab. 1" in q.quoted_from]
    assert paper[0].values == {"psnr": 14.24, "ssim": 0.417, "lpips": 0.519}
    assert found.about["protocol"]["source"] == protocol.origin
    assert list(found.about["protocol"])[:3] == ["name", "source", "mask"]


def test_quoted_rows_have_sources_and_never_cross_the_mask() -> None:
    assert all(row.quoted_from and row.values for row in QUOTED)
    full, masked = quoted_for(PROTOCOLS["cognvs"]), quoted_for(PROTOCOLS["som-masked"])
    assert len(full) + len(masked) == len(QUOTED)
    assert {13.06} == {r.values["psnr"] for r in full if r.row == "TrajectoryCrafter"
                       and "Vista4D" in r.quoted_from}  # fmt: skip
    assert any(r.values.get("psnr_som") == 16.96 for r in masked)
    assert "ssim_uniform7" in full[0].values


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"metrics": ("psnr_pooled",)}, "psnr_pooled"),
        ({"metrics": ("beauty",)}, "'beauty' is none of psnr"),
        ({"frames": 0}, "at least 1"),
        ({"step": 0}, "at least 1"),
    ],
)
def test_axes_that_cannot_be_meant_are_refused(axes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        varied(SIMPLE, **axes)


def test_a_varied_protocol_is_named_by_what_differs() -> None:
    assert varied(SIMPLE, frames=49).name == "simple"
    changed = varied(SIMPLE, frames=None, depth="own")
    assert changed.name == "simple, frames=None, depth=own"
    assert changed.frames is None


# ------------------------------------------------------------------------------ finished videos


@pytest.mark.parametrize(
    ("place", "camera", "first"),
    [
        ("apple/1/{}.png", "1", True),
        ("apple_2/{}.png", "2", False),
        ("apple/frame_{}.png", "1", True),
        ("apple/1_{}.png", "1", True),
        ("apple/results/rgb/2_{}.png", "2", False),
        ("apple/1.mp4", "1", True),
        ("apple_2.mp4", "2", False),
        ("apple.mp4", "1", True),
        ("dycheck_apple_trajcrafter_cam2.mp4", "2", False),
    ],
)
def test_results_are_found_where_methods_leave_them(
    tmp_path: Path, place: str, camera: str, first: bool
) -> None:
    for number in ("00009", "00010"):
        path = tmp_path / place.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = find_result(tmp_path, "apple", camera, first)
    assert [path.name for path in found] == sorted({Path(place.format(n)).name for n in
                                                    ("00009", "00010")})  # fmt: skip
    with pytest.raises(FileNotFoundError, match="No result for apple, camera 3"):
        find_result(tmp_path, "apple", "3", False)


def test_frames_of_another_camera_are_no_result(tmp_path: Path) -> None:
    write_png(torch.zeros(3, 8, 8), tmp_path / "apple/2_00003.png")
    with pytest.raises(FileNotFoundError):
        find_result(tmp_path, "apple", "1", True)
    assert find_result(tmp_path, "apple", "2", False)


def test_made_frames_meet_their_moments() -> None:
    clip, wanted = [0, 2, 4, 6], [2, 6]
    named = [Path(f"frame_{i:05d}.png") for i in range(8)]
    assert partners(named, 8, clip, wanted) == [2, 6]
    every_second = [Path(f"frame_{i:05d}.png") for i in (0, 2, 4, 6)]
    assert partners(every_second, 4, clip, wanted) == [1, 3]
    assert partners([Path("a.mp4")], 2, clip, wanted) == [0, 1]
    assert partners([Path("a.mp4")], 4, clip, wanted) == [1, 3]
    with pytest.raises(ValueError, match=r"a\.mp4 has 5 frames; expected 2, .* or 4, "):
        partners([Path("a.mp4")], 5, clip, wanted)


def test_a_video_of_the_whole_clip_is_scored_at_the_held_out_moments(
    trees: dict[str, Path], tmp_path: Path
) -> None:
    frames = torch.zeros(FRAMES, 3, HEIGHT, WIDTH)
    frames[list(MOMENTS[1])] = truth()
    Video(frames, FPS).write(tmp_path / "m/apple/1.mp4", crf=1)
    found = only(evaluate_iphone(trees["som"], tmp_path, SIMPLE, tmp_path / "out"))
    assert found.values["psnr"] > 25
    assert found.values["frames"] == 5


def test_failures_are_recorded_and_the_rest_goes_on(trees: dict[str, Path], tmp_path: Path) -> None:
    write_frames(truth(), tmp_path / "good/apple/1")
    write_frames(truth()[:3], tmp_path / "short/apple/1")
    (tmp_path / "empty/apple").mkdir(parents=True)
    protocol = varied(SIMPLE, scenes=("apple", "spin"))
    found = evaluate_iphone(trees["som"], tmp_path, protocol, tmp_path / "out")
    errors = {(e.row, e.clip): e.error for e in found.entries}
    assert errors[("good", "apple")] is None
    assert "has 3 frames; expected 5" in str(errors[("short", "apple")])
    assert "No result for apple, camera 1" in str(errors[("empty", "apple")])
    assert "No scene spin in the data; found apple" in str(errors[("good", "spin")])


def test_a_camera_that_starts_after_the_clip_is_said(
    trees: dict[str, Path], tmp_path: Path
) -> None:
    for camera in MOMENTS:
        write_frames(truth(camera), tmp_path / "m/apple" / str(camera))
    protocol = varied(SIMPLE, cameras="both", frames=3)
    found = evaluate_iphone(trees["som"], tmp_path, protocol, tmp_path / "out")
    error = {e.clip: e.error for e in found.entries}["apple/2"]
    assert error is not None and "camera 2 has no frame at the moments 0 to 2" in error


def test_a_protocol_with_masks_needs_masks(trees: dict[str, Path], tmp_path: Path) -> None:
    write_frames(world().source.frames, tmp_path / "m/apple/1")
    protocol = varied(SIMPLE, mask="covisible")
    (entry,) = evaluate_iphone(trees["camdirector"], tmp_path, protocol, tmp_path / "out").entries
    assert entry.error is not None and "needs co-visible masks" in entry.error


def test_a_run_goes_on_and_failed_entries_are_tried_again(
    trees: dict[str, Path], tmp_path: Path
) -> None:
    write_frames(truth(), tmp_path / "r/done/apple/1")
    (tmp_path / "r/late/apple").mkdir(parents=True)
    out = tmp_path / "out"
    before = evaluate_iphone(trees["som"], tmp_path / "r", SIMPLE, out)
    assert [e.error is None for e in before.entries] == [True, False]
    # What is done is not looked at again, so its frames may go.
    for path in (tmp_path / "r/done/apple/1").iterdir():
        path.unlink()
    write_frames(truth(), tmp_path / "r/late/apple/1")
    after = evaluate_iphone(trees["som"], tmp_path / "r", SIMPLE, out)
    assert [e.values["psnr"] for e in after.entries] == [HIGHEST_DB, HIGHEST_DB]


def test_entries_that_lack_a_column_are_made_again(trees: dict[str, Path], tmp_path: Path) -> None:
    write_frames(truth() * 0.9, tmp_path / "m/apple/1")
    out = tmp_path / "out"
    before = only(evaluate_iphone(trees["som"], tmp_path, SIMPLE, out))
    both = replace(SIMPLE, metrics=("psnr", "ssim"))
    after = only(evaluate_iphone(trees["som"], tmp_path, both, out))
    assert "ssim" not in before.values
    assert after.values["psnr"] == before.values["psnr"]
    assert 0.5 < after.values["ssim"] < 1


def test_results_may_be_one_method_or_several_folders(
    trees: dict[str, Path], tmp_path: Path
) -> None:
    write_frames(truth(), tmp_path / "x/GCD/apple/1")
    write_frames(truth(), tmp_path / "y/ours/apple/1")
    folders = [tmp_path / "x/GCD", tmp_path / "y"]
    found = evaluate_iphone(trees["som"], folders, SIMPLE, tmp_path / "out")
    assert [e.row for e in found.entries] == ["GCD", "ours"]
    write_frames(truth(), tmp_path / "y/GCD/apple/1")
    with pytest.raises(ValueError, match="Two results are called GCD"):
        evaluate_iphone(trees["som"], folders, SIMPLE, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="No folder of results"):
        evaluate_iphone(trees["som"], tmp_path / "z", SIMPLE, tmp_path / "out")
    (tmp_path / "z").mkdir()
    with pytest.raises(ValueError, match="No results in"):
        evaluate_iphone(trees["som"], tmp_path / "z", SIMPLE, tmp_path / "out")


def off_by(frames: torch.Tensor, levels: int) -> torch.Tensor:
    return torch.where(frames > 0.5, frames - levels / 255, frames + levels / 255)


def test_means_over_frames_are_those_of_the_papers(trees: dict[str, Path], tmp_path: Path) -> None:
    for scene, levels in (("apple", (10, 40)), ("spin", (20, 20))):
        write_som(tmp_path / "data" / scene)
        for camera, off in zip((1, 2), levels):
            write_frames(off_by(truth(camera), off), tmp_path / f"m/{scene}/{camera}")
    protocol = varied(SIMPLE, cameras="both", scenes=("apple", "spin"))
    found = evaluate_iphone(tmp_path / "data", tmp_path / "m", protocol, tmp_path / "out")
    db = {off: 20 * math.log10(255 / off) for off in (10, 20, 40)}
    apple = (5 * db[10] + 3 * db[40]) / 8
    assert found.about["mean over scenes"]["m"]["psnr"] == pytest.approx((apple + db[20]) / 2)
    assert found.about["mean over frames"]["m"]["psnr"] == pytest.approx((apple + db[20]) / 2)
    # With one camera less the scenes differ in length, and so do the two means.
    for path in (tmp_path / "m/spin/2").iterdir():
        path.unlink()
    again = evaluate_iphone(tmp_path / "data", tmp_path / "m", protocol, tmp_path / "out2")
    assert again.about["mean over scenes"]["m"]["psnr"] == pytest.approx((apple + db[20]) / 2)
    weighted = (5 * db[10] + 3 * db[40] + 5 * db[20]) / 13
    assert again.about["mean over frames"]["m"]["psnr"] == pytest.approx(weighted)


def test_media_show_what_was_compared(trees: dict[str, Path], tmp_path: Path) -> None:
    write_frames(truth(), tmp_path / "m/apple/1")
    out = tmp_path / "out"
    entry = only(evaluate_iphone(trees["som"], tmp_path, SIMPLE, out, media=True))
    assert Video.read(out / entry.media["truth"]).frames.shape == truth().shape
    assert (out / entry.media["result"]).exists()


# ------------------------------------------------------------------------------- our own videos


def mean_psnr(data: Path, results: Path, protocol: Protocol, out: Path) -> float:
    return only(evaluate_iphone(data, results, protocol, out)).values["psnr"]


@pytest.mark.parametrize("orientation", ["stretch", "rotate", "pad"])
@pytest.mark.parametrize("layout", ["som", "camdirector"])
def test_our_own_video_is_nearer_to_the_truth_than_the_source(
    trees: dict[str, Path], tmp_path: Path, layout: str, orientation: str
) -> None:
    protocol = varied(SIMPLE, orientation=orientation, depth=DEPTH[layout])
    size = {"stretch": None, "rotate": (WIDTH, HEIGHT), "pad": (HEIGHT, 2 * WIDTH)}[orientation]
    (path,) = redirect_iphone(trees[layout], tmp_path, protocol, model="fill", size=size)
    assert path == tmp_path / "trajectorycrafter/apple/1.mp4"
    made = Video.read(path)
    assert len(made) == FRAMES
    assert made.fps == pytest.approx(FPS)
    assert (made.height, made.width) == (size or (HEIGHT, WIDTH))
    ours = mean_psnr(trees[layout], tmp_path, protocol, tmp_path / "a")
    write_frames(world().source.frames, tmp_path / "s/source/apple/1")
    upright = varied(protocol, orientation="stretch")
    source = mean_psnr(trees[layout], tmp_path / "s", upright, tmp_path / "b")
    assert ours > source + 3


def test_videos_that_are_there_are_kept(trees: dict[str, Path], tmp_path: Path) -> None:
    protocol = varied(SIMPLE, cameras="both", frames=2, depth="lidar")
    made = redirect_iphone(trees["som"], tmp_path, protocol, method="ours", model="fill")
    assert [path.name for path in made] == ["1.mp4", "2.mp4"]
    made[1].unlink()
    again = redirect_iphone(trees["som"], tmp_path, protocol, method="ours", model="fill")
    assert again == made[1:]


def test_our_own_depth_is_brought_to_the_scale_of_the_data(
    trees: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seven_times_too_far(video: Video) -> Depth:
        return Depth(world().depth.z[: len(video)] * 7, world().depth.valid[: len(video)])

    monkeypatch.setattr(
        "trajectorycrafter.job.pipeline.load_depth_estimator", lambda *_, **__: seven_times_too_far
    )
    own, known = varied(SIMPLE, depth="own", frames=3), varied(SIMPLE, depth="som", frames=3)
    (ours,) = redirect_iphone(trees["som"], tmp_path / "own", own, model="fill")
    (theirs,) = redirect_iphone(trees["som"], tmp_path / "som", known, model="fill")
    assert (Video.read(ours).frames - Video.read(theirs).frames).abs().mean() < 0.01


def test_depth_that_the_data_has_not_got_is_said(trees: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"wants depth 'som'; the data \(dycheck\) has lidar"):
        redirect_iphone(trees["dycheck"], tmp_path, SIMPLE, model="fill")
    with pytest.raises(ValueError, match="none of the scenes teddy"):
        redirect_iphone(trees["dycheck"], tmp_path, varied(SIMPLE, scenes=("teddy",)))


# ---------------------------------------------------------------------------------- the document


def test_the_document_has_every_protocol_as_it_is() -> None:
    text = (Path(__file__).parents[1] / "docs" / "reference" / "iphone.md").read_text()
    for p in PROTOCOLS.values():
        clip = "all" if p.frames is None else f"first {p.frames}"
        clip += "" if p.step == 1 else ", every second"
        cells = (f"`{p.name}`", p.mask, p.resolution, p.cameras, p.depth, p.orientation, clip)
        assert f"| {' | '.join(cells)} | " in text, p.name
