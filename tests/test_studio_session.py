"""The studio without its widgets: designs, undo, pivots, time, files, previews, jobs."""

import io
import json
import math
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Clip

from trajectorycrafter.config.redirect import (
    CameraSettings,
    ClipSettings,
    DepthSettings,
    GeneratorSettings,
    RedirectSettings,
)
from trajectorycrafter.geometry.cameras import look_at
from trajectorycrafter.geometry.keyframes import Keyframe
from trajectorycrafter.geometry.trajectory_files import TrajectoryFormat, read_trajectory
from trajectorycrafter.job.reshoot import make_trajectory
from trajectorycrafter.studio.editing import Design, History, TimePlan
from trajectorycrafter.studio.preparing import Preparer
from trajectorycrafter.studio.preview import HOLE_COLOR, Latest, source_density
from trajectorycrafter.studio.resolving import FORMAT_SUFFIX
from trajectorycrafter.studio.session import Session


def settings_of(clip: Clip) -> RedirectSettings:
    return RedirectSettings(
        clip=ClipSettings(size=(64, 96)), depth=DepthSettings(depth=f"file:{clip.depth_path}")
    )


@pytest.fixture(scope="module")
def preparer(tmp_path_factory: pytest.TempPathFactory) -> Preparer:
    return Preparer(tmp_path_factory.mktemp("depth"))


@pytest.fixture
def session(clip: Clip, preparer: Preparer) -> Session:
    found = Session(preparer, settings_of(clip))
    found.open(clip.path, "room")
    return found


def pose(x: float = 0.5, y: float = -0.2, z: float = 0.1) -> torch.Tensor:
    return look_at(torch.tensor([x, y, z]), torch.tensor([0.0, 0.0, 3.0]))


# Opening -----------------------------------------------------------------------------------------


def test_nothing_can_be_done_without_a_clip(preparer: Preparer) -> None:
    session = Session(preparer)
    assert not session.is_open
    with pytest.raises(ValueError, match="Open a clip first"):
        session.editor.choose_preset("arc")


def test_opening_tells_how_far_it_is_and_is_quick_the_second_time(clip: Clip, tmp_path: Path):
    told: list[tuple[str, float]] = []
    Session(Preparer(tmp_path), settings_of(clip)).open(
        clip.path, "room", lambda stage, share: told.append((stage, share))
    )
    assert [stage for stage, _ in told if stage != "Depth"] == [
        "Reading the clip",
        "Source cameras",
        "Lifting the points",
        "Ready",
    ]
    assert all(0 <= share <= 1 for _, share in told)
    assert len(list(tmp_path.glob("*.npz"))) == 1
    told.clear()
    # Another process finds depth and cameras on disk.
    again = Session(Preparer(tmp_path), settings_of(clip))
    again.open(clip.path, "room", lambda stage, share: told.append((stage, share)))
    assert "Source cameras" not in [stage for stage, _ in told]
    assert len(again.clip) == 9
    assert again.clip.preview_size == (32, 48)


def test_the_cloud_is_that_of_the_full_run_thinned(session: Session, clip: Clip) -> None:
    torch.testing.assert_close(
        session.clip.cloud.points[3].view(32, 48, 3),
        clip.cameras.unproject(clip.depth.z)[3].view(64, 96, 3)[::2, ::2],
    )


def test_a_broken_clip_leaves_the_open_one(session: Session, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no clip at all")
    with pytest.raises(ValueError):
        session.open(broken, "broken")
    assert session.name == "room"
    assert len(session.clip) == 9


def test_a_still_picture_is_shown_for_a_while(preparer: Preparer, clip: Clip, tmp_path: Path):
    from PIL import Image

    file = tmp_path / "still.png"
    frame = (clip.video.frames[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    Image.fromarray(frame).save(file)
    settings = replace(settings_of(clip), depth=DepthSettings())
    session = Session(preparer, settings)
    session.open(file, "still")
    assert session.design.frames == 49
    assert session.path.source_frame.tolist() == [0] * 49
    session.editor.capture(10, pose())
    assert session.picture(10).shape == (32, 48, 3)


# Editing -----------------------------------------------------------------------------------------


def test_presets_are_those_of_the_command_line(session: Session) -> None:
    session.editor.choose_preset("arc", 14.0)
    wanted = make_trajectory(CameraSettings(camera="arc", amount=14.0, ease=True), 9)
    torch.testing.assert_close(session.path.azimuth_deg, wanted.azimuth_deg, rtol=0, atol=0)
    session.editor.choose_preset("bullet")
    assert session.path.source_frame.tolist() == [0] * 9
    session.editor.set_time("clip", moment=5)
    assert session.path.source_frame.tolist() == [5] * 9


def test_an_edit_that_makes_no_path_is_refused(session: Session) -> None:
    before = session.design
    with pytest.raises(ValueError, match="did you mean 'spiral'"):
        session.editor.choose_preset("spiralling")
    with pytest.raises(ValueError, match="finite amount"):
        session.editor.edit(amount=math.inf)
    assert session.design is before
    assert not session.editor.history.undo()


def test_a_dragged_slider_is_one_step_of_undo(session: Session) -> None:
    session.editor.choose_preset("dolly-in")
    for amount in (0.1, 0.2, 0.3):
        session.editor.edit("amount", amount=amount)
    session.editor.history.release()
    session.editor.edit("amount", amount=0.4)
    assert session.editor.history.undo() and session.design.amount == 0.3
    assert session.editor.history.undo() and session.design.amount == 0.25
    assert session.editor.history.redo() and session.design.amount == 0.3
    session.editor.choose_preset("arc")
    assert not session.editor.history.redo()
    assert all(session.editor.history.undo() for _ in range(3))
    assert session.design == Design(9)
    assert not session.editor.history.undo()


def test_history_forgets_the_oldest() -> None:
    history = History(Design(5))
    for amount in range(History.LONGEST + 5):
        history.put(Design(5, amount=float(amount)))
    steps = 0
    while history.undo():
        steps += 1
    assert steps == History.LONGEST - 1


def test_a_captured_key_is_met_by_the_path(session: Session) -> None:
    session.editor.capture(0, torch.eye(4))
    session.editor.capture(8, pose(), fov_deg=40.0)
    assert session.design.kind == "keys"
    torch.testing.assert_close(session.cameras.world_to_camera[8], pose(), rtol=0, atol=1e-5)
    focal = float(session.cameras.K[8, 1, 1])
    assert focal == pytest.approx(32 / math.tan(math.radians(20)), rel=1e-4)
    torch.testing.assert_close(session.cameras.world_to_camera[0], torch.eye(4), rtol=0, atol=1e-5)


def test_keys_are_moved_reordered_and_deleted(session: Session) -> None:
    for frame, x in ((0, 0.0), (4, 0.3), (8, 0.6)):
        session.editor.capture(frame, pose(x))
    session.editor.change(lambda d: d.with_key_moved(4, 6))
    assert [key.frame for key in session.design.keys] == [0, 6, 8]
    with pytest.raises(ValueError, match="Frame 8 has a key already"):
        session.editor.change(lambda d: d.with_key_moved(6, 8))
    session.editor.change(lambda d: d.with_key_reordered(8, -1))
    torch.testing.assert_close(session.cameras.centers[6][0].item(), 0.6, rtol=0, atol=1e-4)
    session.editor.change(lambda d: d.without_key(6))
    assert [key.frame for key in session.design.keys] == [0, 8]
    with pytest.raises(ValueError, match="no key in frame 6; there is: 0, 8"):
        session.editor.change(lambda d: d.without_key(6))
    with pytest.raises(ValueError, match="0 to 8; got 9"):
        session.editor.capture(9, pose())


def test_a_key_keeps_its_lens_and_moment_when_it_is_dragged(session: Session) -> None:
    session.editor.capture(4, pose(), fov_deg=30.0, moment=2)
    zoom = session.design.keys[0].zoom
    for x in (0.5, 0.6, 0.7):
        session.editor.capture(4, pose(x), gesture="gizmo")
    key = session.design.keys[0]
    assert (key.zoom, key.source_frame) == (zoom, 2)
    assert session.editor.history.undo()
    torch.testing.assert_close(session.cameras.centers[4][0].item(), 0.5, rtol=0, atol=1e-4)


def test_fields_of_a_key(session: Session) -> None:
    session.editor.capture(4, torch.eye(4))
    session.editor.change(lambda d: d.with_key_changed(4, azimuth_deg=20.0, roll_deg=5.0))
    assert float(session.path.azimuth_deg[0]) == pytest.approx(20)
    with pytest.raises(ValueError, match="zoom must be > 0"):
        session.editor.change(lambda d: d.with_key_changed(4, zoom=0.0))
    with pytest.raises(ValueError, match="no key in frame 5"):
        session.editor.change(lambda d: d.with_key_changed(5, zoom=1.0))
    with pytest.raises(ValueError, match="between 0 and 180 degrees; got 180"):
        session.editor.capture(4, torch.eye(4), fov_deg=180.0)


def test_any_path_becomes_keys(session: Session) -> None:
    session.editor.choose_preset("arc", 20.0)
    before = session.cameras
    session.editor.make_keys(5)
    assert len(session.design.keys) == 5
    for key in session.design.keys:
        torch.testing.assert_close(
            session.cameras.world_to_camera[key.frame],
            before.world_to_camera[key.frame],
            rtol=0,
            atol=1e-4,
        )
    with pytest.raises(ValueError, match="2 to 9 keys; got 10"):
        session.editor.make_keys(10)


# Pivot and time ----------------------------------------------------------------------------------


def test_a_click_on_a_thing_makes_it_the_pivot(session: Session, clip: Clip) -> None:
    target = session.clip.cloud.points[0].view(32, 48, 3)[20, 10]
    session.editor.pivot_at(torch.zeros(3), target, 0)
    pivot = torch.tensor(session.design.pivot)
    assert float((pivot - target).norm()) < 0.05 * float(target.norm())
    session.editor.choose_preset("orbit-right", 30.0)
    distance = (session.cameras.centers - pivot).norm(dim=1)
    torch.testing.assert_close(distance, distance[:1].expand(9), rtol=1e-4, atol=0)
    with pytest.raises(ValueError, match="nothing under the click"):
        session.editor.pivot_at(torch.zeros(3), torch.tensor([0.0, 0.0, -1.0]), 0)


def test_another_pivot_leaves_the_keys_where_they_are(session: Session) -> None:
    session.editor.capture(0, torch.eye(4))
    session.editor.capture(8, pose(1.0), moment=3)
    before = session.cameras
    session.editor.set_pivot((0.4, 0.1, 2.0))
    for frame in (0, 8):
        torch.testing.assert_close(
            session.cameras.world_to_camera[frame],
            before.world_to_camera[frame],
            rtol=0,
            atol=1e-4,
        )
    assert session.design.keys[1].source_frame == 3
    middle = (session.cameras.centers[4] - before.centers[4]).norm()
    assert float(middle) > 1e-3


def test_time_can_be_frozen_follow_keys_or_a_curve(session: Session) -> None:
    session.editor.set_time("freeze", moment=4)
    assert session.path.source_frame.tolist() == [4] * 9
    assert session.path.reference_frames is not None
    session.editor.capture(0, torch.eye(4), moment=8)
    session.editor.capture(8, pose(), moment=0)
    session.editor.set_time("keys")
    assert session.path.source_frame.tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    session.editor.set_key_moment(8, 4)
    assert session.path.source_frame[-1] == 4
    session.editor.set_time("curve", smooth=False)
    assert session.path.source_frame.tolist() == list(range(9))
    session.editor.change(lambda d: d.with_point(4, 0))
    assert session.path.source_frame.tolist() == [0, 0, 0, 0, 0, 2, 4, 6, 8]
    session.editor.change(lambda d: d.without_point(4))
    with pytest.raises(ValueError, match="keeps two points"):
        session.editor.change(lambda d: d.without_point(0))
    with pytest.raises(ValueError, match="no point in frame 3"):
        session.editor.change(lambda d: d.without_point(3))
    with pytest.raises(ValueError, match="frames 0 to 8; got 9"):
        session.editor.set_time("freeze", moment=9)
    with pytest.raises(ValueError, match="source frame 0 to 8"):
        session.editor.set_key_moment(8, 9)


def test_a_smooth_curve_never_leaves_the_clip(session: Session) -> None:
    session.editor.set_time("curve", smooth=True, points=((0, 0), (2, 8), (4, 8), (8, 1)))
    shown = session.path.source_frame
    assert int(shown.min()) >= 0 and int(shown.max()) <= 8
    assert [int(shown[i]) for i in (0, 2, 4, 8)] == [0, 8, 8, 1]


# Files -------------------------------------------------------------------------------------------


def designs(session: Session) -> Iterator[str]:
    """Leaves the session with one design after the other."""
    session.editor.choose_preset("spiral")
    yield "preset"
    session.editor.choose_preset("bullet")
    yield "bullet"
    session.editor.set_time("curve", points=((0, 0), (3, 3), (8, 3)))
    yield "curve"
    session.editor.set_time("clip")
    session.editor.capture(0, torch.eye(4))
    session.editor.capture(5, pose(0.4), fov_deg=35.0)
    session.editor.capture(8, pose(0.9))
    yield "keys"
    session.editor.edit(ease=False, interpolation="linear")
    session.editor.set_key_moment(8, 2)
    yield "keys with moments"
    session.editor.set_pivot((0.3, 0.2, 2.0))
    yield "pivot"
    session.editor.set_time("freeze", moment=4)
    yield "frozen"


def test_the_exported_json_is_the_very_path(session: Session, tmp_path: Path) -> None:
    for name in designs(session):
        file_name, data = session.editor.export("json")
        file = tmp_path / file_name
        file.write_bytes(data)
        read = make_trajectory(CameraSettings(trajectory=file), 9)
        cameras = read.cameras(session.clip.source, session.clip.radius)
        assert torch.equal(cameras.world_to_camera, session.cameras.world_to_camera), name
        assert torch.equal(cameras.K, session.cameras.K), name
        assert torch.equal(read.source_frame, session.path.source_frame), name
        ours, theirs = session.path.reference_frames, read.reference_frames
        if ours is None or theirs is None:
            assert ours is theirs, name
        else:
            assert torch.equal(ours, theirs), name


def test_keys_stay_editable_through_a_file(session: Session) -> None:
    session.editor.capture(0, torch.eye(4))
    session.editor.capture(5, pose(0.4))
    session.editor.set_key_moment(5, 3)
    keys = session.design.keys
    name, data = session.editor.export("json")
    session.editor.choose_preset("arc")
    session.editor.import_path(name, data)
    assert session.design.kind == "keys"
    assert session.design.time.kind == "keys"
    for found, wanted in zip(session.design.keys, keys, strict=True):
        assert found.frame == wanted.frame
        assert found.azimuth_deg == pytest.approx(wanted.azimuth_deg)


@pytest.mark.parametrize("format", [f for f in FORMAT_SUFFIX if f != "released"])
def test_every_format_goes_out_and_comes_back(session: Session, format: TrajectoryFormat) -> None:
    session.editor.choose_preset("orbit-up", 12.0)
    before = session.cameras
    name, data = session.editor.export(format)
    assert name.endswith(FORMAT_SUFFIX[format])
    session.editor.choose_preset("static")
    session.editor.import_path(name, data)
    # ReCamMaster writes centimetres with two decimals, COLMAP's quaternions six.
    torch.testing.assert_close(session.cameras.centers, before.centers, rtol=0, atol=2e-3)


def test_the_released_text_holds_what_it_can(session: Session) -> None:
    session.editor.edit(ease=False)
    session.editor.choose_preset("orbit-right", 12.0)
    name, data = session.editor.export("released")
    assert name.endswith(".txt") and len(data.decode().strip().splitlines()) == 3
    session.editor.choose_preset("bullet")
    with pytest.raises(ValueError):
        session.editor.export("released")


def test_bad_files_are_told_by_the_visitors_name(session: Session) -> None:
    before = session.design
    bad = json.dumps({"format": "trajectorycrafter-trajectory", "version": 1, "frames": 9, "x": 1})
    for name, data, message in (
        ("mine.json", bad.encode(), "mine.json"),
        ("mine.json", b"{", "mine.json"),
        ("empty.txt", b"", "empty.txt has 0.0 MB"),
        ("large.txt", b"1" * 20_000_001, "up to 20 MB"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            session.editor.import_path(name, data)
        assert tempfile.gettempdir() not in str(caught.value)
    assert session.design is before


def test_a_packed_folder_cannot_climb_out(session: Session, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../../climbed.txt", "here")
    with pytest.raises(ValueError):
        session.editor.import_path("colmap.zip", packed.getvalue())
    assert not list(tmp_path.parent.rglob("climbed.txt"))


def test_a_zip_bomb_is_refused(session: Session) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.txt", b"0" * 21_000_000)
    with pytest.raises(ValueError, match="holds more than 20 MB"):
        session.editor.import_path("colmap.zip", packed.getvalue())


# The source's own camera -------------------------------------------------------------------------


@pytest.fixture
def moving(clip: Clip, preparer: Preparer, tmp_path: Path) -> Session:
    """The clip, said to have been filmed by a camera that moves and trembles."""
    shake = torch.randn(9, 3, generator=torch.Generator().manual_seed(2)) * 0.05
    eye = torch.stack([torch.linspace(0, 0.8, 9), torch.zeros(9), torch.zeros(9)], 1) + shake
    matrices = look_at(eye, eye + torch.tensor([0.0, 0.0, 3.0]))
    file = tmp_path / "cameras.npz"
    np.savez(file, world_to_camera=matrices.numpy(), K=clip.cameras.K.numpy())
    session = Session(preparer, settings_of(clip))
    session.open(clip.path, "room")
    session.change_source(f"file:{file}")
    return session


def test_stabilising_takes_the_tremble_away(moving: Session) -> None:
    moving.editor.stabilize(3.0)

    def rough(centers: torch.Tensor) -> float:
        return float(centers.diff(n=2, dim=0).norm(dim=1).mean())

    assert rough(moving.cameras.centers) < 0.2 * rough(moving.clip.source.centers)
    assert moving.design.path_name == "stabilised over 3 frames"


def test_a_standing_camera_has_nothing_to_stabilise(session: Session) -> None:
    with pytest.raises(ValueError, match="find its motion first"):
        session.editor.stabilize(3.0)


def test_keys_stand_in_the_world_though_the_source_moves(moving: Session) -> None:
    moving.editor.capture(2, pose())
    moving.editor.capture(8, pose(0.9))
    torch.testing.assert_close(moving.cameras.world_to_camera[2], pose(), rtol=0, atol=1e-5)
    moving.editor.choose_preset("orbit-right", 0.0)
    torch.testing.assert_close(
        moving.cameras.world_to_camera, moving.clip.source.world_to_camera, rtol=0, atol=1e-5
    )


def test_the_camera_of_another_video_is_followed(
    session: Session, clip: Clip, moving: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Found:
        """Gives the moving session's clip for whatever is asked."""

        def __call__(self, path: Path, settings: RedirectSettings, tell: object):
            assert settings.camera.source == "colmap"
            return moving.clip

    monkeypatch.setattr(session, "_preparer", Found())
    session.copy_camera(clip.path, "other")
    scale = session.clip.radius / moving.clip.radius
    torch.testing.assert_close(
        session.cameras.centers, moving.clip.source.centers * scale, rtol=1e-4, atol=1e-5
    )
    assert session.design.path_name == "camera of other"


# What is seen ------------------------------------------------------------------------------------


def test_the_source_camera_sees_all_and_a_turned_one_holes(session: Session) -> None:
    session.editor.choose_preset("static")
    shares = session.shares()
    assert float(shares.holes.max()) < 0.02
    assert float(shares.stretched.max()) < 0.1
    picture, source = session.picture(3, marked=False), session.source_picture(3)
    assert np.abs(picture.astype(int) - source.astype(int)).mean() < 12
    session.editor.choose_preset("orbit-right", 40.0)
    shares = session.shares()
    assert float(shares.holes[-1]) > 0.2 > float(shares.holes[0])
    torch.testing.assert_close(shares.seen + shares.stretched + shares.holes, torch.ones(9))
    marked = session.picture(8)
    share = (marked == np.array(HOLE_COLOR)).all(axis=2).mean()
    assert share == pytest.approx(float(shares.holes[-1]), abs=0.05)


def test_a_closer_look_is_stretched(session: Session) -> None:
    session.editor.choose_preset("zoom-in", 2.0)
    shares = session.shares()
    assert float(shares.stretched[-1]) > 0.8
    assert float(shares.stretched[0]) < 0.1
    assert any("soft" in line for line in session.warnings())


def test_source_density_is_an_area() -> None:
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(10.0), indexing="ij")
    place = torch.stack([0.5 * x + 0.1 * y, 0.25 * y])[None]
    visible = torch.ones(1, 1, 8, 10, dtype=torch.bool)
    density = source_density(place, visible)
    torch.testing.assert_close(density[0, 0, :-1, :-1], torch.full((7, 9), 0.125))
    visible[0, 0, 3, 3] = False
    assert source_density(place, visible)[0, 0, 3, 2] == 1


def test_paths_beyond_the_trained_range_are_warned_of(session: Session) -> None:
    session.editor.choose_preset("orbit-right", 10.0)
    assert session.warnings() == []
    session.editor.choose_preset("orbit-right", 70.0)
    told = session.warnings()
    assert any(line.startswith("azimuth reaches 70 degrees") for line in told)
    name, data = session.editor.export("tum")
    session.editor.choose_preset("static")
    session.editor.import_path(name, data)
    assert any(line.startswith("azimuth reaches 70") for line in session.warnings())
    session.editor.choose_preset("dolly-out", 1.5)
    assert any("never seen" in line for line in session.warnings())


def test_the_estimate_names_the_stages(session: Session) -> None:
    session.settings = replace(session.settings, depth=DepthSettings())
    assert [step.stage for step in session.estimates()] == ["depth", "render", "generate"]
    session.choose_run(model="embedded")
    assert [step.stage for step in session.estimates()] == ["depth", "render", "fill", "generate"]
    assert all(step.seconds > 0 and step.gigabytes > 0 for step in session.estimates())


def test_depth_that_is_known_costs_nothing_more(session: Session) -> None:
    session.settings = replace(session.settings, depth=DepthSettings())
    session.open(session.clip.path, "room")
    assert [step.stage for step in session.estimates()] == ["render", "generate"]
    assert session.job("somebody", "full").known_depth is not None
    session.choose_speed("draft")
    assert session.result_size == (32, 48)
    assert [step.stage for step in session.estimates()] == ["depth", "render", "generate"]
    draft = session.job("somebody", "draft")
    assert draft.settings.clip.size == (32, 48)
    assert draft.known_depth is None


def test_only_the_newest_wish_is_fulfilled() -> None:
    done: list[int] = []
    gate = threading.Event()

    def work(number: int) -> None:
        gate.wait(5)
        done.append(number)

    latest = Latest(work)
    latest(0)
    time.sleep(0.1)
    for number in range(1, 50):
        latest(number)
    gate.set()
    assert latest.settle(5)
    assert done == [0, 49]
    latest.stop()


# The full run ------------------------------------------------------------------------------------


def test_a_job_holds_the_path_and_the_choices(session: Session, tmp_path: Path) -> None:
    session.editor.capture(0, torch.eye(4))
    session.editor.capture(8, pose())
    session.choose_run(model="embedded", prompt="a room", seed=7)
    spec = session.job("somebody", "first try")
    assert spec.settings.generator == GeneratorSettings(model="embedded", prompt="a room", seed=7)
    assert spec.settings.camera == CameraSettings()
    assert (spec.user, spec.name, spec.clip) == ("somebody", "first try", session.clip.path)
    file = tmp_path / "path.json"
    file.write_text(json.dumps(spec.trajectory))
    read = read_trajectory(file, 9)
    assert torch.equal(read.azimuth_deg, session.path.azimuth_deg)


def test_designs_are_values() -> None:
    design = Design(9).with_key(Keyframe(frame=3))
    assert design == Design(9, kind="keys", keys=(Keyframe(frame=3),))
    assert design.with_point(4, 2).time == TimePlan("curve", points=((4, 2),))
    with pytest.raises(ValueError, match="0 to 8; got 9"):
        design.with_point(9, 0)
