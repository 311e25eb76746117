"""Real-4D on a made-up rig: a synthetic scene filmed by two cameras, in Pose2Sim's files."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trajectorycrafter.config.evaluation import Real4D
from trajectorycrafter.geometry.cameras import Cameras
from trajectorycrafter.lab.evaluation import real4d
from trajectorycrafter.lab.evaluation.real4d import (
    evaluate_real4d,
    find_clips,
    make_case,
    read_calibration,
    to_scale,
    triangulated,
)
from trajectorycrafter.lab.evaluation.run import evaluate
from trajectorycrafter.lab.synthetic.scene import RayScene
from trajectorycrafter.lab.synthetic.takes import steady
from trajectorycrafter.video.clip import Depth, Video

SIZE = (240, 320)
SCENE = RayScene.make(5, place="room")
CAMERAS = {
    "cam01": steady(SCENE.pivot, 3, SIZE),
    "cam02": steady(SCENE.pivot, 3, SIZE, azimuth_deg=12.0),
}
TIMES = torch.tensor([0.0, 0.1, 0.2])


def qualisys(name: str, cameras: Cameras) -> str:
    """A camera as the calibration file has it: rows of R, mm, 1/64 pixel, centres at integers."""
    move = cameras.world_to_camera[0].double()
    rotation = torch.diag(torch.tensor([1.0, -1.0, -1.0]).double()) @ move[:3, :3]
    center = cameras.centers[0] * 1000
    entries = " ".join(
        f'r{i + 1}{j + 1}="{rotation[i, j]:.12f}"' for i in range(3) for j in range(3)
    )
    place = " ".join(f'{axis}="{center[k]:.9f}"' for k, axis in enumerate("xyz"))
    K = cameras.K[0]
    lens = (
        f'focalLengthU="{K[0, 0] * 64}" focalLengthV="{K[1, 1] * 64}" '
        f'centerPointU="{(K[0, 2] - 0.5) * 64}" centerPointV="{(K[1, 2] - 0.5) * 64}" '
        'radialDistortion1="0" radialDistortion2="0" radialDistortion3="0" '
        'tangentalDistortion1="0" tangentalDistortion2="0"'
    )
    return f'<camera serial="{name}"><transform {entries} {place}/><intrinsic {lens}/></camera>'


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, and both cameras' clips in it."""
    root = tmp_path_factory.mktemp("rig") / "Demo_SinglePerson"
    (root / "calibration").mkdir(parents=True)
    cameras = "".join(qualisys(name, cameras) for name, cameras in CAMERAS.items())
    text = f'<?xml version="1.0"?><calibration><cameras>{cameras}</cameras></calibration>'
    (root / "calibration" / "Calib.qca.txt").write_text(text)
    for name, cameras in CAMERAS.items():
        video, _ = SCENE.render(cameras, TIMES)
        video.write(root / "videos" / f"{name}.mp4", crf=4)
    return root


@pytest.fixture
def settings(rig: Path, monkeypatch: pytest.MonkeyPatch) -> Real4D:
    monkeypatch.setattr(real4d, "PAIRS", (("cam01", "cam02"), ("cam02", "cam03")))
    monkeypatch.setattr(real4d, "load_depth_estimator", lambda name: guess)
    return Real4D(data=rig.parent, size=(120, 160), frames=3, stride=1, methods=("render", "fill"))


def guess(video: Video) -> Depth:
    """True depth of cam01, in an unknown scale and shift of disparity."""
    depth = SCENE.render(CAMERAS["cam01"].resized(120, 160), TIMES)[1]
    return Depth(1 / (3.0 / depth.z + 0.2), depth.valid)[: len(video)]


def test_calibration_gives_the_cameras(rig: Path) -> None:
    found = read_calibration(rig / "calibration" / "Calib.qca.txt")
    for name, cameras in CAMERAS.items():
        np.testing.assert_allclose(
            found[name].world_to_camera, cameras.world_to_camera[0].numpy(), atol=1e-5
        )
        np.testing.assert_allclose(found[name].K, cameras.K[0].numpy(), atol=1e-3)


def test_points_of_two_cameras_have_their_true_depth() -> None:
    (video, depth), (other, _) = (SCENE.render(c, TIMES) for c in CAMERAS.values())
    places, z = triangulated(video, CAMERAS["cam01"], other, CAMERAS["cam02"])
    frame, column, row = places.floor().long().unbind(1)
    true = depth.z[frame, 0, row, column]
    assert len(z) > 50
    assert float((z / true - 1).abs().median()) < 0.02


def test_scale_and_shift_are_found_among_wrong_matches() -> None:
    generator = torch.Generator().manual_seed(0)
    true = 1 + 4 * torch.rand(2, 1, 20, 30, generator=generator)
    depth = Depth(1 / (0.5 / true + 0.1), torch.ones_like(true, dtype=torch.bool))
    column, row = (
        torch.randint(30, (80,), generator=generator),
        torch.randint(20, (80,), generator=generator),
    )
    frame = torch.randint(2, (80,), generator=generator)
    z = true[frame, 0, row, column].clone()
    z[:20] *= 2.5
    places = torch.stack([frame, column + 0.5, row + 0.5], dim=1)
    found = to_scale(depth, places, z)
    assert float((found.z / true - 1).abs().median()) < 0.02


def test_a_case_is_in_the_calibration_s_metres(settings: Real4D) -> None:
    assert settings.data is not None
    case, depth, seconds = make_case(find_clips(settings.data), "cam01", "cam02", settings)
    truth = SCENE.render(CAMERAS["cam01"].resized(120, 160), TIMES)[1]
    assert float((depth.z / truth.z - 1).abs().median()) < 0.05
    assert case.group == {"angle": "12"} and seconds > 0
    assert case.visible is not None and 0.5 < case.visible.float().mean() < 1
    torch.testing.assert_close(
        case.cameras.K, CAMERAS["cam02"].resized(120, 160).K, atol=1e-2, rtol=0
    )
    there = SCENE.render(CAMERAS["cam02"].resized(120, 160), TIMES)[0]
    assert float((case.truth.frames - there.frames).abs().mean()) < 0.03


def test_a_pair_that_cannot_be_scored_is_told(settings: Real4D, tmp_path: Path) -> None:
    found = evaluate(settings, tmp_path / "out")
    rows = {entry.row: entry for entry in found.entries if entry.error is None}
    assert rows["fill"].values["psnr"] > rows["render"].values["psnr"] + 2
    errors = [entry for entry in found.entries if entry.error]
    assert [e.clip for e in errors] == ["cam02 to cam03"] and "no cam03" in str(errors[0].error)
    assert (tmp_path / "out" / "report.html").exists()
    again = evaluate_real4d(tmp_path / "out", settings)
    assert {e.key for e in again.entries} == {e.key for e in found.entries}


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="pip download --no-deps pose2sim"):
        find_clips(tmp_path)
    broken = tmp_path / "Calib.qca.txt"
    broken.write_text("<calibration><cameras><camera serial='a'/></cameras></calibration>")
    with pytest.raises(ValueError, match=r"\.qca\.txt"):
        read_calibration(broken)
    one = torch.ones(1, 1, 4, 4)
    with pytest.raises(ValueError, match="Only 3 points"):
        to_scale(Depth(one, one > 0), torch.zeros(3, 3), torch.ones(3))


def test_the_angle_between_cameras(settings: Real4D, rig: Path) -> None:
    case, _, _ = make_case(rig, "cam01", "cam02", replace(settings, frames=2))
    assert math.isclose(float(case.group["angle"]), 12) and len(case.video) == 2
