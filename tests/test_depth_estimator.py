"""Loading estimators by name, and what is asked of their results."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trajectorycrafter.config.redirect import RELEASED
from trajectorycrafter.depth.estimator import (
    NAMES,
    check_depth,
    completed,
    load_depth_estimator,
    with_intrinsics,
)
from trajectorycrafter.geometry.cameras import DEFAULT_FOV_DEG, focal_from_fov, intrinsics
from trajectorycrafter.video.clip import Depth, Video
from trajectorycrafter.video.depth_npz import write_depth

FRAMES, HEIGHT, WIDTH = 3, 12, 16


@pytest.fixture
def video() -> Video:
    return Video(
        torch.rand(FRAMES, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)), 24.0
    )


@pytest.fixture
def depth() -> Depth:
    generator = torch.Generator().manual_seed(1)
    return Depth.of(1 + torch.rand(FRAMES, 1, HEIGHT, WIDTH, generator=generator))


def _bent(depth: Depth, frame: int, value: float) -> Depth:
    """With a number that is no distance, though marked valid."""
    z = depth.z.clone()
    z[frame, 0, 3, 4] = value
    return Depth(z, depth.valid, depth.K)


def test_good_depth_passes_unchanged(video: Video, depth: Depth) -> None:
    assert check_depth(depth, video) is depth


@pytest.mark.parametrize(
    ("value", "said"),
    [(float("nan"), "not finite"), (float("inf"), "not finite"), (0.0, "zero"), (-1.0, "negative")],
)
def test_numbers_that_are_no_distances_are_refused(
    video: Video, depth: Depth, value: float, said: str
) -> None:
    with pytest.raises(ValueError, match=f"frame 1 .*{said}.* 1 pixels"):
        check_depth(_bent(depth, 1, value), video)


def test_holes_marked_invalid_pass(video: Video, depth: Depth) -> None:
    z = depth.z.clone()
    z[1, 0, 3, 4] = float("nan")
    checked = check_depth(Depth.of(z), video)
    assert int((~checked.valid).sum()) == 1


@pytest.mark.parametrize("value", [float("nan"), 0.0, -2.0])
def test_frame_without_any_depth_is_refused(video: Video, depth: Depth, value: float) -> None:
    z = depth.z.clone()
    z[2] = value
    with pytest.raises(ValueError, match="frame 2 has no valid pixel"):
        check_depth(Depth.of(z), video)


def test_wrong_number_of_frames_is_refused(video: Video, depth: Depth) -> None:
    with pytest.raises(ValueError, match=r"\(3, 1, 12, 16\).*\(2, 1, 12, 16\).*start, stride"):
        check_depth(depth[:2], video)


def test_wrong_size_is_refused(video: Video) -> None:
    with pytest.raises(ValueError, match="Compute it on the frames as they are used here, 12x16"):
        check_depth(Depth.of(torch.ones(FRAMES, 1, 6, 8)), video)


def test_tensor_instead_of_depth_is_refused(video: Video, depth: Depth) -> None:
    with pytest.raises(ValueError, match=r"Depth\.of\(z, K\)"):
        check_depth(depth.z, video)


def test_singular_intrinsics_are_refused(video: Video, depth: Depth) -> None:
    K = intrinsics(10.0, HEIGHT, WIDTH, FRAMES)
    K[2, 0, 0] = 0
    with pytest.raises(ValueError, match="frame 2 is singular"):
        check_depth(Depth(depth.z, depth.valid, K), video)


def test_unknown_field_of_view_is_the_default(depth: Depth) -> None:
    K = with_intrinsics(depth).K
    assert K is not None
    torch.testing.assert_close(
        K, intrinsics(focal_from_fov(DEFAULT_FOV_DEG, WIDTH), HEIGHT, WIDTH, FRAMES)
    )


def test_own_focal_length_stays_and_the_users_wins(depth: Depth) -> None:
    K = intrinsics(20.0, HEIGHT, WIDTH, FRAMES)
    own = Depth(depth.z, depth.valid, K)
    assert with_intrinsics(own).K is K
    users = with_intrinsics(own, fov_deg=90.0).K
    # Half the field is 45 degrees, so the focal length is half the width.
    assert users is not None and float(users[0, 0, 0]) == pytest.approx(WIDTH / 2)


def test_parity_intrinsics_are_the_released_ones() -> None:
    depth = Depth.of(torch.ones(1, 1, 576, 1024))
    K = with_intrinsics(depth, way=RELEASED).K
    # Released: f = 500, centre (512, 288) with pixel centres at integers.
    expected = torch.tensor([[500, 0, 512.5], [0, 500, 288.5], [0, 0, 1]])
    assert K is not None
    torch.testing.assert_close(K[0], expected)


def test_parity_intrinsics_keep_the_field_of_view_at_other_sizes() -> None:
    K = with_intrinsics(Depth.of(torch.ones(1, 1, 72, 128)), way=RELEASED).K
    assert K is not None
    torch.testing.assert_close(K[0, 0], torch.tensor([62.5, 0, 64.0625]))


@pytest.mark.parametrize("fov_deg", [0.0, 180.0, -5.0])
def test_impossible_field_of_view_is_refused_before_loading(fov_deg: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 180"):
        load_depth_estimator("file:/not/there.npz", fov_deg=fov_deg)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("embeded", "embedded"),
        ("depthcrafer", "depthcrafter"),
        ("DepthCrafter", "depthcrafter"),
        ("huggingface", "huggingface:ID"),
        ("hugingface:Intel/dpt-large", "huggingface:ID"),
        ("fle:depth.npz", "file:PATH"),
        ("file:", "file:PATH"),
    ],
)
def test_unknown_name_suggests_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"Did you mean {nearest}"):
        load_depth_estimator(name)


def test_unknown_name_lists_all() -> None:
    with pytest.raises(ValueError) as error:
        load_depth_estimator("xyzzy")
    assert all(name in str(error.value) for name in NAMES)


def test_missing_file_is_said_at_once() -> None:
    with pytest.raises(FileNotFoundError, match="there"):
        load_depth_estimator("file:/not/there.npz")


def test_file_by_name_gets_intrinsics(video: Video, depth: Depth, tmp_path: Path) -> None:
    write_depth(depth, tmp_path / "depth.npz")
    loaded = load_depth_estimator(f"file:{tmp_path / 'depth.npz'}", fov_deg=70.0)(video)
    assert torch.equal(loaded.z, depth.z)
    assert loaded.K is not None
    assert float(loaded.K[0, 0, 0]) == pytest.approx(focal_from_fov(70.0, WIDTH), rel=1e-6)


OWN = """
import torch
from trajectorycrafter.video.clip import Depth

def flat(video):
    return Depth.of(torch.full_like(video.frames[:, :1], 2.0))

class Wrong:
    def __call__(self, video):
        return Depth.of(torch.ones(1, 1, 2, 2))

number = 3
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_depth_of_the_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_depth_of_the_test", raising=False)
    return "my_depth_of_the_test"


def test_own_estimator_by_module_and_attribute(video: Video, own_module: str) -> None:
    depth = load_depth_estimator(f"{own_module}:flat")(video)
    assert (depth.z == 2).all() and depth.K is not None


def test_own_estimators_result_is_checked(video: Video, own_module: str) -> None:
    with pytest.raises(ValueError, match=r"\(3, 1, 12, 16\)"):
        load_depth_estimator(f"{own_module}:Wrong")(video)


def test_own_module_without_the_attribute(own_module: str) -> None:
    with pytest.raises(ValueError, match="has no 'absent'"):
        load_depth_estimator(f"{own_module}:absent")


def test_own_attribute_that_cannot_be_called(own_module: str) -> None:
    with pytest.raises(ValueError, match="is a int"):
        load_depth_estimator(f"{own_module}:number")


def test_embedded_by_name(video: Video) -> None:
    depth = load_depth_estimator("embedded", fov_deg=70.0)(video)
    assert depth.z.shape == (FRAMES, 1, HEIGHT, WIDTH) and depth.K is not None
    assert float(depth.K[0, 0, 0]) == pytest.approx(focal_from_fov(70.0, WIDTH), rel=1e-6)


def test_completed_gives_any_object_intrinsics(video: Video, depth: Depth) -> None:
    assert completed(lambda video: depth)(video).K is not None


def test_names_are_loaded_lazily() -> None:
    code = "import sys, trajectorycrafter.depth.estimator; assert 'diffusers' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
