"""Errors of recovered cameras: formulas by hand, invariances, and cameras from rendered clips."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from trajectorycrafter import preset
from trajectorycrafter.depth.alignment import STRAIGHT, Similarity, align_cameras, umeyama
from trajectorycrafter.geometry.cameras import (
    Cameras,
    focal_from_fov,
    intrinsics,
    rigid,
    rigid_inverse,
    rotation_y,
    static_cameras,
)
from trajectorycrafter.lab.evaluation.cameras import (
    CAMERA_COLUMNS,
    CameraRecovery,
    Recovered,
    StructureFromMotion,
    camera_errors,
    load_recovery,
)
from trajectorycrafter.lab.synthetic.scene import RayScene
from trajectorycrafter.video.clip import Video

ROTATION = {"rot_err_sum_rad", "rot_err_mean_deg", "rot_pairs_deg", "rpe_rot_deg"}
TRANSLATION = {column.name for column in CAMERA_COLUMNS} - ROTATION - {"cameras_found"}


def _cameras(rotation: torch.Tensor, centers: torch.Tensor) -> Cameras:
    """Cameras from camera-to-world rotations and positions, in double."""
    matrices = rigid_inverse(rigid(rotation.double(), centers.double()))
    return Cameras(matrices, intrinsics(50.0, 40, 60, len(matrices)).double(), 40, 60)


def _random(seed: int, frames: int = 9) -> Cameras:
    """A random walk that turns as it goes."""
    numbers = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(np.cumsum(numbers.normal(size=(frames, 3)) * 0.2, axis=0))
    places = np.cumsum(numbers.normal(size=(frames, 3)), axis=0)
    return _cameras(torch.from_numpy(turns.as_matrix()), torch.from_numpy(places))


def _all(cameras: Cameras) -> Recovered:
    return Recovered(cameras, torch.ones(len(cameras), dtype=torch.bool))


def _similarity(seed: int, scale: float) -> Similarity:
    numbers = np.random.default_rng(seed)
    turn = torch.from_numpy(Rotation.from_quat(numbers.normal(size=4)).as_matrix())
    return Similarity(scale, turn, torch.from_numpy(numbers.normal(size=3) * 5))


# Alignment ---------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6), st.floats(0.05, 20), st.integers(4, 20), st.sampled_from([True, False])
)
def test_umeyama_finds_a_known_similarity(
    seed: int, scale: float, count: int, with_scale: bool
) -> None:
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)).double()
    known = _similarity(seed, scale if with_scale else 1.0)
    c, R, t = umeyama(points, known.points(points), with_scale)
    assert c == pytest.approx(known.scale, rel=1e-9)
    torch.testing.assert_close(R, known.rotation, atol=1e-7, rtol=0)
    torch.testing.assert_close(t, known.translation, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_umeyama_turns_as_scipy_does_under_noise(seed: int) -> None:
    numbers = torch.Generator().manual_seed(seed)
    x = torch.randn(12, 3, generator=numbers, dtype=torch.float64)
    y = _similarity(seed, 1.7).points(x) + torch.randn(12, 3, generator=numbers) * 0.5
    c, R, t = umeyama(x, y)
    expected = Rotation.align_vectors(y - y.mean(dim=0), x - x.mean(dim=0))[0]
    np.testing.assert_allclose(R.numpy(), expected.as_matrix(), atol=1e-7)
    # No neighbouring scale or shift fits better: the gradient of the mean square is zero.
    parameters = [torch.tensor(c, dtype=torch.float64, requires_grad=True), t.requires_grad_()]
    loss = (y - parameters[0] * x @ R.T - parameters[1]).square().sum()
    assert max(float(g.abs().max()) for g in torch.autograd.grad(loss, parameters)) < 1e-9


def test_umeyama_never_mirrors() -> None:
    x = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    _, R, _ = umeyama(x, x * torch.tensor([1.0, 1.0, -1.0]))
    assert float(torch.linalg.det(R)) == pytest.approx(1, abs=1e-5)
    assert R.dtype == x.dtype


def test_umeyama_says_what_it_cannot_align() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        umeyama(torch.empty(0, 3), torch.empty(0, 3))
    with pytest.raises(ValueError, match="with_scale=False"):
        umeyama(torch.ones(4, 3), torch.randn(4, 3))
    _, _, t = umeyama(torch.ones(4, 3), torch.full((4, 3), 3.0), with_scale=False)
    assert torch.isfinite(t).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 10), st.sampled_from(["dolly-in", "pan-up", "arc"]))
def test_straight_paths_are_aligned_with_the_help_of_directions(
    seed: int, scale: float, name: str
) -> None:
    """Positions alone leave the turn about the line open; here everything is found again."""
    K = intrinsics(50.0, 40, 60, 7)
    path = preset(name, 7).cameras(static_cameras(K, 40, 60), 4.0)
    asked = replace(path, world_to_camera=path.world_to_camera.double())
    known = _similarity(seed, scale)
    found = align_cameras(known.cameras(asked), asked)
    torch.testing.assert_close(
        found.cameras(known.cameras(asked)).world_to_camera,
        asked.world_to_camera,
        atol=1e-5,
        rtol=0,
    )


def test_positions_of_a_bent_path_overrule_the_directions() -> None:
    asked = _random(3)
    turn = rotation_y(torch.tensor(30.0).double())
    turned = _cameras(turn @ asked.camera_to_world[:, :3, :3], asked.centers)
    found = align_cameras(turned, asked)
    torch.testing.assert_close(found.rotation, torch.eye(3).double(), atol=1e-6, rtol=0)
    spread = torch.linalg.svdvals(asked.centers - asked.centers.mean(dim=0))
    assert spread[1] > STRAIGHT * spread[0]
    errors = camera_errors(_all(turned), asked)
    assert errors["ate"] == pytest.approx(0, abs=1e-9)
    assert errors["ate_rot_deg"] == pytest.approx(30, abs=1e-4)


# Formulas ----------------------------------------------------------------------------------------


def _slow(ours: Cameras, theirs: Cameras) -> dict[str, float]:
    """The same numbers by loops, arccos and SciPy."""
    P = [m.numpy() for m in ours.camera_to_world]
    Q = [m.numpy() for m in theirs.camera_to_world]
    n = len(P)

    def turn(a: np.ndarray, b: np.ndarray):
        return math.acos(np.clip((np.trace(a[:3, :3] @ b[:3, :3].T) - 1) / 2, -1, 1))

    p = [np.linalg.inv(P[0]) @ m for m in P]
    q = [np.linalg.inv(Q[0]) @ m for m in Q]
    reach_p = max(np.linalg.norm(m[:3, 3]) for m in p)
    reach_q = max(np.linalg.norm(m[:3, 3]) for m in q)
    off = [np.linalg.norm(a[:3, 3] / reach_p - b[:3, 3] / reach_q) for a, b in zip(p, q)]
    pairs = [
        turn(np.linalg.inv(P[i]) @ P[j], np.linalg.inv(Q[i]) @ Q[j])
        for i, j in np.ndindex(n, n)
        if i != j
    ]
    x, y = ours.centers.numpy(), theirs.centers.numpy()
    x0, y0 = x - x.mean(axis=0), y - y.mean(axis=0)
    R = Rotation.align_vectors(y0, x0)[0].as_matrix()
    s = np.sum(y0 * (x0 @ R.T)) / np.sum(x0**2)
    apart = np.linalg.norm(s * x0 @ R.T - y0, axis=1)
    aligned = [_block(R @ m[:3, :3], s * R @ m[:3, 3]) for m in P]
    inv = np.linalg.inv
    rest = [inv(inv(a) @ b) @ inv(c) @ d for a, b, c, d in zip(Q, Q[1:], aligned, aligned[1:])]
    extent = max(np.linalg.norm(a - b) for a in y for b in y)
    turns = [turn(a, b) for a, b in zip(p, q)]
    return {
        "cameras_found": 1.0,
        "rot_err_sum_rad": float(np.sum(turns)),
        "rot_err_mean_deg": math.degrees(float(np.mean(turns))),
        "trans_err_sum": float(np.sum(off)),
        "trans_err_mean": float(np.mean(off)),
        "trans_err_sum_scene": float(np.sum(off) * reach_q),
        "rot_pairs_deg": math.degrees(float(np.mean(pairs))),
        "trans_pairs_share": float(np.mean(apart) / extent),
        "ate": math.sqrt(np.mean(apart**2)),
        "ate_rot_deg": math.degrees(
            math.sqrt(np.mean([turn(a, b) ** 2 for a, b in zip(aligned, Q)]))
        ),
        "rpe_trans": math.sqrt(np.mean([np.sum(e[:3, 3] ** 2) for e in rest])),
        "rpe_rot_deg": math.degrees(math.sqrt(np.mean([turn(e, np.eye(4)) ** 2 for e in rest]))),
    }


def _block(R: np.ndarray, t: np.ndarray) -> np.ndarray:
    block = np.eye(4)
    block[:3, :3], block[:3, 3] = R, t
    return block


@pytest.mark.parametrize("seed", range(6))
def test_every_variant_equals_its_slow_twin(seed: int) -> None:
    asked, other = _random(seed), _random(seed + 100)
    errors = camera_errors(_all(other), asked)
    expected = _slow(other, asked)
    assert errors.keys() == expected.keys() == {column.name for column in CAMERA_COLUMNS}
    for name, value in expected.items():
        assert errors[name] == pytest.approx(value, rel=1e-6), name


def test_a_known_turn_is_that_many_degrees() -> None:
    asked = _random(0, 8)
    turns = torch.tensor([0.0, 0, 0, 0, 4, 4, 4, 4])
    own = rotation_y(turns.double()) @ asked.camera_to_world[:, :3, :3]
    errors = camera_errors(_all(_cameras(own, asked.centers)), asked)
    assert errors["rot_err_sum_rad"] == pytest.approx(4 * math.radians(4), rel=1e-5)
    assert errors["rot_err_mean_deg"] == pytest.approx(2, rel=1e-5)
    # 16 of the 28 pairs lie across the jump.
    assert errors["rot_pairs_deg"] == pytest.approx(4 * 16 / 28, rel=1e-5)
    assert errors["rpe_rot_deg"] == pytest.approx(4 / math.sqrt(7), rel=1e-5)
    assert errors["trans_err_sum"] == pytest.approx(0, abs=1e-9)
    assert errors["ate"] == pytest.approx(0, abs=1e-9)


def test_a_known_shift_is_that_share_of_the_path() -> None:
    """A square whose last corner is off by a tenth of its side, straight out of its plane."""
    corners = torch.tensor([[0.0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [1, 1, 0]])
    stand = torch.eye(3).repeat(5, 1, 1)
    moved = corners.clone()
    moved[4, 2] += 0.2
    errors = camera_errors(_all(_cameras(stand, moved)), _cameras(stand, corners))
    reach = 2 * math.sqrt(2)
    assert errors["trans_err_sum"] == pytest.approx(0.2 / reach, rel=1e-6)
    assert errors["trans_err_mean"] == pytest.approx(0.2 / reach / 5, rel=1e-6)
    assert errors["trans_err_sum_scene"] == pytest.approx(0.2, rel=1e-6)
    assert errors["rot_pairs_deg"] == pytest.approx(0, abs=1e-9)


def test_a_dolly_the_wrong_way_is_seen() -> None:
    """Positions alone can be turned round to fit; the other numbers tell."""
    asked = _cameras(
        torch.eye(3).repeat(5, 1, 1), torch.linspace(0, 1, 5)[:, None] * torch.eye(3)[2]
    )
    away = _cameras(torch.eye(3).repeat(5, 1, 1), -asked.centers)
    errors = camera_errors(_all(away), asked)
    assert errors["ate"] == pytest.approx(0, abs=1e-9)
    assert errors["ate_rot_deg"] == pytest.approx(180, abs=1e-3)
    assert errors["trans_err_sum"] == pytest.approx(2 * (0.25 + 0.5 + 0.75 + 1), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.02, 50), st.integers(4, 12), st.floats(0, 0.5))
def test_world_and_scale_of_the_recovered_cameras_do_not_matter(
    seed: int, scale: float, frames: int, noise: float
) -> None:
    asked = _random(seed, frames)
    shake = torch.randn(frames, 3, generator=torch.Generator().manual_seed(seed)) * noise
    ours = _cameras(asked.camera_to_world[:, :3, :3], asked.centers + shake)
    before = camera_errors(_all(ours), asked)
    after = camera_errors(_all(_similarity(seed, scale).cameras(ours)), asked)
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert after[name] == pytest.approx(value, rel=1e-5, abs=1e-5), name


@pytest.mark.parametrize("seed", range(3))
def test_the_same_path_in_float32_has_no_error(seed: int) -> None:
    """Also where float32 and a far-away world round; arccos alone would give 0.03 degrees."""
    asked = _random(seed)
    ours = _similarity(seed, 3.0).cameras(asked)
    single = replace(ours, world_to_camera=ours.world_to_camera.float())
    errors = camera_errors(_all(single), asked)
    assert max(value for name, value in errors.items() if name != "cameras_found") < 1e-4


# What cannot be had ------------------------------------------------------------------------------


def test_frames_without_a_camera_do_not_count() -> None:
    asked = _random(1, 8)
    nonsense = asked.world_to_camera.clone()
    nonsense[[0, 3]] = torch.nan
    found = torch.tensor([False, True, True, False, True, True, True, True])
    errors = camera_errors(Recovered(replace(asked, world_to_camera=nonsense), found), asked)
    assert errors["cameras_found"] == pytest.approx(6 / 8)
    assert all(errors[name] == pytest.approx(0, abs=1e-6) for name in ROTATION | TRANSLATION)


def test_relative_pose_error_never_bridges_a_gap() -> None:
    asked = _random(2, 6)
    found = torch.tensor([True, False, True, False, True, False])
    errors = camera_errors(Recovered(asked, found), asked)
    assert "ate" in errors and not {"rpe_trans", "rpe_rot_deg"} & errors.keys()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_cameras_leave_only_their_share(count: int) -> None:
    asked = _random(4, 8)
    found = torch.arange(8) < count
    assert camera_errors(Recovered(asked, found), asked) == {"cameras_found": count / 8}


@pytest.mark.parametrize("which", ["asked", "recovered"])
def test_a_path_that_stands_still_has_rotation_errors_only(which: str) -> None:
    moving = _random(5)
    still = _cameras(moving.camera_to_world[:, :3, :3], 100 + torch.zeros(len(moving), 3))
    # In float32 the one position comes out a little different in every frame.
    still = replace(still, world_to_camera=still.world_to_camera.float())
    ours, asked = (moving, still) if which == "asked" else (still, moving)
    errors = camera_errors(_all(ours), asked)
    assert errors.keys() == ROTATION | {"cameras_found"}
    assert errors["rot_pairs_deg"] == pytest.approx(0, abs=1e-4)


def test_how_still_is_still_can_be_said() -> None:
    asked = _random(6)
    small = _cameras(asked.camera_to_world[:, :3, :3], asked.centers * 1e-5)
    assert "ate" not in camera_errors(_all(asked), small)
    assert "ate" in camera_errors(_all(asked), small, still=1e-6)


def test_variants_are_chosen_by_name() -> None:
    asked = _random(7)
    assert camera_errors(_all(asked), asked, ["ate"]).keys() == {"ate"}
    with pytest.raises(ValueError, match="Did you mean ate"):
        camera_errors(_all(asked), asked, ["atee"])


def test_cameras_must_fit_each_other() -> None:
    asked = _random(8, 6)
    with pytest.raises(ValueError, match="got 5 and 6"):
        camera_errors(_all(asked[:5]), asked)
    with pytest.raises(ValueError, match="one `found` per camera"):
        Recovered(asked, torch.ones(5, dtype=torch.bool))
    with pytest.raises(ValueError, match="recovered cameras.*frame 2"):
        broken = asked.world_to_camera.clone()
        broken[2] = torch.nan
        camera_errors(_all(replace(asked, world_to_camera=broken)), asked)


def test_recoveries_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_recovery() == StructureFromMotion()
    assert load_recovery("glomap") == StructureFromMotion(("global",))
    with pytest.raises(ValueError, match="Did you mean colmap"):
        load_recovery("colmp")
    (tmp_path / "my_recovery_of_the_test.py").write_text(
        "import torch\n"
        "from trajectorycrafter.lab.evaluation.cameras import Recovered\n"
        "from trajectorycrafter.geometry.cameras import static_cameras\n"
        "def stands(video, K):\n"
        "    cameras = static_cameras(K, video.height, video.width)\n"
        "    return Recovered(cameras, torch.ones(len(video), dtype=torch.bool))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = load_recovery("my_recovery_of_the_test:stands")
    assert isinstance(own, CameraRecovery)
    found = own(Video(torch.rand(4, 3, 6, 8), 24.0), intrinsics(8.0, 6, 8, 4))
    assert found.found.all()
    with pytest.raises(ValueError, match="has no 'sits'"):
        load_recovery("my_recovery_of_the_test:sits")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(ValueError, match=r"trajectorycrafter\[poses\]"):
        load_recovery()(Video(torch.rand(4, 3, 6, 8), 24.0), None)


# Through structure from motion -------------------------------------------------------------------

FRAMES, HEIGHT, WIDTH = 8, 144, 192


def _path(name: str, amount: float | None = None) -> Cameras:
    K = intrinsics(focal_from_fov(60.0, WIDTH), HEIGHT, WIDTH, FRAMES)
    return preset(name, FRAMES, amount).cameras(static_cameras(K, HEIGHT, WIDTH), 4.0)


def test_cameras_of_a_rendered_orbit_and_of_another_one() -> None:
    pytest.importorskip("pycolmap")
    asked = _path("orbit-right", 20)
    video, _ = RayScene.make(1, place="room").render(asked, torch.zeros(FRAMES))
    recovered = load_recovery("colmap")(video, asked.K)
    torch.testing.assert_close(recovered.cameras.K, asked.K)
    errors = camera_errors(recovered, asked)
    # Measured: all found, 0.2 degrees, 1.4 percent, 0.3 percent of the extent.
    assert errors["cameras_found"] > 0.8
    assert errors["rot_err_mean_deg"] < 1.5 and errors["rot_pairs_deg"] < 1.5
    assert errors["trans_err_mean"] < 0.05 and errors["trans_pairs_share"] < 0.03
    # Had 32 degrees been asked for, every frame would be wrong by its share of 12 degrees.
    wanted = torch.linspace(0, 12, FRAMES)[recovered.found].mean()
    wrong = camera_errors(recovered, _path("orbit-right", 32))["rot_err_mean_deg"]
    assert wrong == pytest.approx(float(wanted), abs=1.5)


def test_a_lens_that_zooms_is_taken_as_given() -> None:
    pytest.importorskip("pycolmap")
    asked = _path("dolly-zoom")
    video, _ = RayScene.make(1, place="room").render(asked, torch.zeros(FRAMES))
    recovered = load_recovery("glomap")(video, asked.K)
    torch.testing.assert_close(recovered.cameras.K, asked.K)
    # Measured: 0.006; with the first lens for all frames 0.95, a path that goes the wrong way.
    assert camera_errors(recovered, asked)["trans_err_mean"] < 0.05


@pytest.mark.parametrize("what", ["still", "short"])
def test_a_video_without_motion_has_no_cameras_and_is_no_error(what: str) -> None:
    pytest.importorskip("pycolmap")
    frames = torch.full((5 if what == "still" else 2, 3, 60, 80), 0.5)
    recovered = load_recovery("colmap")(Video(frames, 24.0), None)
    asked = _random(9, len(frames))
    assert not recovered.found.any()
    assert camera_errors(recovered, asked) == {"cameras_found": 0.0}
