"""Depth read from files, good and bad, and written again."""

import json
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import OpenEXR
import pytest
import torch

from trajectorycrafter.depth import from_file
from trajectorycrafter.depth.from_file import DepthFile, read_depth
from trajectorycrafter.geometry.cameras import focal_from_fov, intrinsics, static_cameras
from trajectorycrafter.video.clip import Depth, Video
from trajectorycrafter.video.depth_npz import write_depth

FRAMES, HEIGHT, WIDTH = 3, 6, 8
K = intrinsics(9.0, HEIGHT, WIDTH, FRAMES)


@pytest.fixture
def z() -> np.ndarray:
    return np.random.default_rng(0).uniform(1, 5, (FRAMES, HEIGHT, WIDTH)).astype(np.float32)


def _npz(path: Path, **arrays: Any) -> Path:
    np.savez(path / "depth.npz", **arrays)
    return path / "depth.npz"


def _exr(path: Path, values: np.ndarray, channel: str = "Z") -> None:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {channel: values.astype(np.float32)}) as picture:
        picture.write(str(path))


def _same(depth: Depth, z: np.ndarray) -> None:
    np.testing.assert_array_equal(depth.z[:, 0].numpy(), z)


def test_what_is_written_is_read_again(tmp_path: Path, z: np.ndarray) -> None:
    valid = torch.from_numpy(z)[:, None] > 2
    depth = Depth(torch.where(valid, torch.from_numpy(z)[:, None], 1.0), valid, K)
    path = write_depth(depth, tmp_path / "out.npz", static_cameras(K, HEIGHT, WIDTH))
    again = read_depth(path)
    assert torch.equal(again.z, depth.z) and torch.equal(again.valid, valid)
    assert again.K is not None and torch.equal(again.K, K)
    assert [file.name for file in tmp_path.iterdir()] == ["out.npz"]


def test_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, z: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.npz"
    path.write_bytes(b"old")

    def full(file: BinaryIO, **arrays: Any):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(from_file.np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        write_depth(Depth.of(torch.from_numpy(z)[:, None]), path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["out.npz"]


def test_only_npz_is_written(tmp_path: Path, z: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\.npz"):
        write_depth(Depth.of(torch.from_numpy(z)[:, None]), tmp_path / "depth.exr")


@pytest.mark.parametrize("key", ["z", "depth", "depths"])
@pytest.mark.parametrize(
    "shape", [(FRAMES, HEIGHT, WIDTH), (FRAMES, 1, HEIGHT, WIDTH), (FRAMES, HEIGHT, WIDTH, 1)]
)
def test_npz_under_its_usual_names_and_shapes(
    tmp_path: Path, z: np.ndarray, key: str, shape: tuple[int, ...]
) -> None:
    depth = read_depth(_npz(tmp_path, **{key: z.reshape(shape)}))
    _same(depth, z)
    assert depth.valid.all() and depth.K is None


def test_npz_of_doubles_and_of_integers(tmp_path: Path, z: np.ndarray) -> None:
    _same(read_depth(_npz(tmp_path, z=z.astype(np.float64))), z)
    _same(read_depth(_npz(tmp_path, z=np.ceil(z).astype(np.uint16))), np.ceil(z))


def test_npz_of_inverse_depth(tmp_path: Path, z: np.ndarray) -> None:
    depth = read_depth(_npz(tmp_path, inverse_depth=1 / z))
    np.testing.assert_allclose(depth.z[:, 0].numpy(), z, rtol=1e-5)


def test_npz_of_relative_disparity_keeps_the_order(tmp_path: Path, z: np.ndarray) -> None:
    depth = read_depth(_npz(tmp_path, disparity=z - z.min()))
    order = z.ravel().argsort()
    assert (np.diff(depth.z.numpy().ravel()[order]) <= 1e-5).all() and (depth.z > 0).all()


@pytest.mark.parametrize("key", ["K", "intrinsics"])
@pytest.mark.parametrize("count", [None, 1, FRAMES])
def test_npz_with_intrinsics(tmp_path: Path, z: np.ndarray, key: str, count: int | None) -> None:
    given = K[0].numpy() if count is None else K[:count].numpy()
    depth = read_depth(_npz(tmp_path, z=z, **{key: given}))
    assert depth.K is not None and torch.equal(depth.K, K)


def test_npz_with_field_of_view(tmp_path: Path, z: np.ndarray) -> None:
    depth = read_depth(_npz(tmp_path, z=z, fov_deg=60.0))
    assert depth.K is not None
    assert float(depth.K[0, 0, 0]) == pytest.approx(focal_from_fov(60.0, WIDTH), rel=1e-6)


def test_npz_with_holes(tmp_path: Path, z: np.ndarray) -> None:
    z[1, 2, 3] = np.nan
    depth = read_depth(_npz(tmp_path, z=z, valid=np.isfinite(z)))
    assert int((~depth.valid).sum()) == 1 and not depth.valid[1, 0, 2, 3]
    assert torch.isfinite(depth.z).all()


def test_npy_and_a_single_map(tmp_path: Path, z: np.ndarray) -> None:
    np.save(tmp_path / "many.npy", z)
    np.save(tmp_path / "one.npy", z[0])
    _same(read_depth(tmp_path / "many.npy"), z)
    _same(read_depth(tmp_path / "one.npy"), z[:1])


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "NaN"), (np.inf, "infinite"), (-1.0, "negative"), (0.0, "zero")]
)
def test_numbers_that_are_no_distances_name_file_and_frame(
    tmp_path: Path, z: np.ndarray, value: float, said: str
) -> None:
    z[2, 1, 1] = value
    with pytest.raises(ValueError, match=rf"depth\.npz, frame 2: 1 of 48 pixels are {said}"):
        read_depth(_npz(tmp_path, z=z))


def test_frame_without_any_depth_is_named(tmp_path: Path, z: np.ndarray) -> None:
    valid = np.ones(z.shape, bool)
    valid[1] = False
    with pytest.raises(ValueError, match="frame 1: no pixel has a depth"):
        read_depth(_npz(tmp_path, z=z, valid=valid))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"other": np.ones(3)}, "expected one of z, depth.*got other"),
        ({"z": np.ones(3)}, r"expected an array \(frames, height, width\)"),
        ({"z": np.ones((2, 3, 4, 5))}, r"expected an array \(frames, height, width\)"),
        ({"z": np.ones((0, 3, 4))}, r"expected an array \(frames, height, width\)"),
        ({"z": np.full((1, 2, 2), "far")}, "expected numbers"),
        ({"z": np.ones((2, 3, 4)), "K": np.eye(4)}, r"expected K of shape \(3, 3\)"),
        ({"z": np.ones((2, 3, 4)), "K": np.zeros((3, 3))}, "singular"),
        ({"z": np.ones((2, 3, 4)), "valid": np.ones((2, 3, 5))}, "valid must have"),
        ({"z": np.array([{"a": 1}], dtype=object)}, "cannot be read"),
    ],
)
def test_unusable_npz_says_why(tmp_path: Path, arrays: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_depth(_npz(tmp_path, **arrays))


@pytest.mark.parametrize("name", ["depth.npz", "depth.npy"])
@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_damaged_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} cannot be read"):
        read_depth(tmp_path / name)


def test_unknown_suffix_and_missing_file(tmp_path: Path) -> None:
    (tmp_path / "depth.mp4").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no depth file; expected an \.npz"):
        read_depth(tmp_path / "depth.mp4")
    with pytest.raises(FileNotFoundError, match="absent"):
        read_depth(tmp_path / "absent.npz")


@pytest.mark.parametrize("channel", ["Z", "Y", "V", "R", "ViewLayer.Depth.Z", "odd"])
def test_exr_channels(tmp_path: Path, z: np.ndarray, channel: str) -> None:
    _exr(tmp_path / "depth.exr", z[0], channel)
    _same(read_depth(tmp_path / "depth.exr"), z[:1])


def test_exr_without_a_depth_channel(tmp_path: Path, z: np.ndarray) -> None:
    with OpenEXR.File({}, {"A": z[0].copy(), "G": z[0].copy()}) as picture:
        picture.write(str(tmp_path / "depth.exr"))
    with pytest.raises(ValueError, match="expected a channel Z"):
        read_depth(tmp_path / "depth.exr")


def test_exr_folder_in_natural_order_with_scale_and_lens(tmp_path: Path) -> None:
    for i in (10, 2, 1):
        _exr(tmp_path / f"frame{i}.exr", np.full((HEIGHT, WIDTH), float(i)))
    (tmp_path / "depth.json").write_text(json.dumps({"scale": 0.5, "K": K[0].tolist()}))
    depth = read_depth(tmp_path)
    assert depth.z[:, 0, 0, 0].tolist() == [0.5, 1.0, 5.0]
    assert depth.K is not None and torch.equal(depth.K, K)


def test_exr_with_unknown_pixels(tmp_path: Path, z: np.ndarray) -> None:
    z[0, 0, 0] = np.inf
    _exr(tmp_path / "1.exr", z[0])
    with pytest.raises(ValueError, match=r"1\.exr: 1 of 48 pixels are infinite"):
        read_depth(tmp_path)
    (tmp_path / "depth.json").write_text('{"holes": true}')
    assert int((~read_depth(tmp_path).valid).sum()) == 1


def test_exr_package_is_named_if_it_is_missing(
    tmp_path: Path, z: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    _exr(tmp_path / "1.exr", z[0])
    monkeypatch.setitem(__import__("sys").modules, "OpenEXR", None)
    with pytest.raises(ValueError, match=r'pip install "trajectorycrafter\[exr\]"'):
        read_depth(tmp_path / "1.exr")


def test_damaged_exr_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.exr").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"1\.exr cannot be read"):
        read_depth(tmp_path / "1.exr")


def _pngs(folder: Path, maps: list[np.ndarray], notes: object) -> Path:
    for i, values in enumerate(maps):
        cv2.imwrite(str(folder / f"{i}.png"), values)
    if notes is not None:
        (folder / "depth.json").write_text(json.dumps(notes))
    return folder


def test_png_folder_in_millimetres(tmp_path: Path) -> None:
    maps = [np.full((HEIGHT, WIDTH), 1500, np.uint16), np.full((HEIGHT, WIDTH), 2000, np.uint16)]
    maps[0][0, 0] = 0
    depth = read_depth(_pngs(tmp_path, maps, {"scale": 0.001, "fov_deg": 60}))
    torch.testing.assert_close(depth.z[:, 0, 1, 1], torch.tensor([1.5, 2.0]))
    assert not depth.valid[0, 0, 0, 0] and int((~depth.valid).sum()) == 1
    assert depth.K is not None


def test_single_png(tmp_path: Path) -> None:
    _pngs(tmp_path, [np.full((HEIGHT, WIDTH), 7, np.uint16)], {"scale": 0.1})
    torch.testing.assert_close(read_depth(tmp_path / "0.png").z[0, 0, 0, 0], torch.tensor(0.7))


GREY = np.full((HEIGHT, WIDTH), 7, np.uint16)


@pytest.mark.parametrize(
    ("maps", "notes", "said"),
    [
        ([GREY], None, r"depth\.json is missing or has no scale"),
        ([GREY], {"fov_deg": 60}, r"depth\.json is missing or has no scale"),
        ([GREY], {"scale": 0}, "scale must be > 0"),
        ([GREY], [1], "expected an object"),
        ([GREY], {"scale": 1, "K": [[1, 2], [3]]}, "K is no matrix"),
        ([GREY], {"scale": 1, "fov_deg": 200}, "between 0 and 180"),
        ([GREY.astype(np.uint8)], {"scale": 1}, "expected a grey png of 16 bits; got uint8"),
        ([np.dstack([GREY] * 3)], {"scale": 1}, "with 3 channels"),
        ([GREY, GREY[:4]], {"scale": 1}, r"1\.png is 4x8 but 0\.png is 6x8"),
        ([GREY, 0 * GREY], {"scale": 1}, r"1\.png: no pixel has a depth"),
    ],
)
def test_unusable_png_says_why(
    tmp_path: Path, maps: list[np.ndarray], notes: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        read_depth(_pngs(tmp_path, maps, notes))


def test_folder_without_maps_or_with_both(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither"):
        read_depth(tmp_path)
    _pngs(tmp_path, [GREY], {"scale": 1})
    _exr(tmp_path / "1.exr", GREY.astype(np.float32))
    with pytest.raises(ValueError, match="both"):
        read_depth(tmp_path)


def test_file_must_fit_the_clip(tmp_path: Path, z: np.ndarray) -> None:
    estimate = DepthFile(_npz(tmp_path, z=z))
    _same(estimate(Video(torch.rand(FRAMES, 3, HEIGHT, WIDTH), 24.0)), z)
    with pytest.raises(ValueError, match=r"depth\.npz holds 3 frames of depth but the clip has 5"):
        estimate(Video(torch.rand(5, 3, HEIGHT, WIDTH), 24.0))
    with pytest.raises(ValueError, match=r"depth\.npz: frame 0 is 6x8 but the clip is 12x16"):
        estimate(Video(torch.rand(FRAMES, 3, 12, 16), 24.0))
