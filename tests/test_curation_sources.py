"""The sources' true names and formats, made small: what is listed, opened and read."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from curation_trees import (
    room,
    write_dl3dv,
    write_folder,
    write_openvid,
    write_posed,
    write_realestate10k,
)

from trajectorycrafter.config.curation import (
    Curation,
    Source,
    TripletSettings,
    WindowSettings,
)
from trajectorycrafter.lab.curation.opening import opened
from trajectorycrafter.lab.curation.rejected import RejectedError
from trajectorycrafter.lab.curation.sequences import read_window, undistorted
from trajectorycrafter.lab.curation.sources import list_clips
from trajectorycrafter.video.clip import Video
from trajectorycrafter.video.reading import probe

ALL = WindowSettings(frames=5, size=(72, 96))
LONG = TripletSettings(sequence=3.6)
"""All 18 frames of the room."""


def posed(
    source: Source, data: Path, size: tuple[int, int] = (72, 96), stride: int = 1
) -> Curation:
    window = replace(ALL, size=size, stride=stride)
    return Curation(source, data, window=window, triplet=LONG)


def test_a_folder_of_anything(tmp_path: Path) -> None:
    clips = list_clips(Curation("folder", write_folder(tmp_path / "x"), licence="CC0")).clips
    assert [clip.id for clip in clips] == [
        "blank.mp4",
        "cut.mp4",
        "damaged.mp4",
        "film.mp4",
        "short.mp4",
        "still.mp4",
        "stills/",
        "sub/loop.gif",
        "sub/loop.webp",
    ]
    by_id = {clip.id: clip for clip in clips}
    assert by_id["film.mp4"].caption == "a drifting pattern"
    assert {clip.licence for clip in clips} == {"CC0"}
    for name in ("stills/", "sub/loop.gif", "sub/loop.webp"):
        with opened(by_id[name]) as path:
            assert len(Video.read(path)) == 10


def test_openvid_in_zips_parts_and_unzipped(tmp_path: Path) -> None:
    settings = Curation("openvid", write_openvid(tmp_path / "x"), least_scores={"aesthetic": 5.0})
    listing = list_clips(settings)
    ids = [clip.id for clip in listing.clips]
    assert ids == ["flatVid-x_2_20to119", "partedVid-x_1_10to109", "wholeVid-x_0_0to99"]
    assert listing.rejected == {"missing": 1, "score": 1}
    for clip in listing.clips:
        assert clip.caption.endswith("clip, drifting") and '"' in clip.caption
        assert clip.scores == {
            "aesthetic": 5.5,
            "motion": 4.2,
            "temporal_consistency": 0.99,
            "frame": 12.0,
            "fps": 24.0,
            "seconds": 0.5,
        }
        assert clip.licence == "CC-BY-4.0"
        with opened(clip) as path:
            assert probe(path).frames == 12
        assert not path.exists() or path.parent.name == "video"  # what was taken out is gone


def test_openvid_messages(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"OpenVid-1M\.csv"):
        list_clips(Curation("openvid", tmp_path))
    root = write_openvid(tmp_path / "x")
    with pytest.raises(ValueError, match=r"no score beauty; known: aesthetic, camera_motion"):
        list_clips(Curation("openvid", root, least_scores={"beauty": 1.0}))
    (root / "OpenVid-1M.csv").write_text("name,words\na,b\n")
    with pytest.raises(ValueError, match="expected columns video and caption"):
        list_clips(Curation("openvid", root))


def test_a_damaged_zip_costs_its_own_clips(tmp_path: Path) -> None:
    root = write_openvid(tmp_path / "x")
    clip = list_clips(Curation("openvid", root)).clips[-1]
    data = bytearray(clip.place[0].read_bytes())
    data[40:400] = bytes(360)
    clip.place[0].write_bytes(data)
    with pytest.raises(RejectedError, match="unreadable"), opened(clip) as path:
        probe(path)


def check_room(settings: Curation, name: str, tolerance: float) -> None:
    """The sequence shows the room, and its cameras are the room's."""
    clip = {clip.id: clip for clip in list_clips(settings).clips}[name]
    with opened(clip) as path:
        video, cameras = read_window(clip, path, settings, np.random.default_rng(0))
    assert len(video) == len(cameras) == 18
    true = room()
    torch.testing.assert_close(cameras.K, true.cameras.K, atol=0.05, rtol=0)
    relative = cameras.world_to_camera @ cameras.camera_to_world[:1]
    expected = true.cameras.world_to_camera @ true.cameras.camera_to_world[:1]
    torch.testing.assert_close(relative, expected, atol=2e-3, rtol=0)
    assert float((video.frames - true.video.frames).abs().mean()) < tolerance


def test_realestate10k_by_video_and_by_frames(tmp_path: Path) -> None:
    settings = posed("realestate10k", write_realestate10k(tmp_path / "x"))
    listing = list_clips(settings)
    assert [clip.id for clip in listing.clips] == ["0a1b2c3d", "4e5f6a7b"]  # none of the test split
    assert listing.rejected == {"missing": 1}
    assert listing.clips[0].provenance.endswith("watch?v=yT_ub-e12345")
    check_room(settings, "0a1b2c3d", 0.02)  # H.264 lies between
    check_room(settings, "4e5f6a7b", 1e-6)


def test_dl3dv_as_folder_and_as_zip(tmp_path: Path) -> None:
    settings = posed("dl3dv", write_dl3dv(tmp_path / "x"))
    names = [clip.id for clip in list_clips(settings).clips]
    assert names == ["1K/" + "0a" * 32, "1K/" + "1b" * 32]
    for name in names:
        check_room(settings, name, 0.01)
    (tmp_path / "x" / "cache" / "DL3DV-valid.csv").write_text(f"hash,batch\n{'1b' * 32},1K\n")
    assert [clip.id for clip in list_clips(settings).clips] == names[1:]


def test_a_colmap_model(tmp_path: Path) -> None:
    settings = posed("posed", write_posed(tmp_path / "x"))
    check_room(settings, "flat/hall", 1e-6)
    next((tmp_path / "x" / "flat" / "hall" / "images").iterdir()).unlink()
    clip = list_clips(settings).clips[0]
    with opened(clip) as path, pytest.raises(RejectedError, match="17 pictures but 18 cameras"):
        read_window(clip, path, settings, np.random.default_rng(0))


@pytest.mark.parametrize("size", [(48, 96), (72, 48), (36, 48)])
def test_cameras_follow_their_pictures_into_another_shape(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """What is cut away does not move the rays of what is left."""
    settings = posed("posed", write_posed(tmp_path / "x"), size)
    (clip,) = list_clips(settings).clips
    with opened(clip) as path:
        video, cameras = read_window(clip, path, settings, np.random.default_rng(0))
    assert (cameras.height, cameras.width) == size == (video.height, video.width)
    scale = max(size[0] / 72, size[1] / 96)
    K = cameras.K[0]
    assert float(K[0, 0]) == pytest.approx(80 * scale, rel=1e-4)
    assert float(K[0, 2]) == pytest.approx(size[1] / 2, abs=0.51)
    assert float(K[1, 2]) == pytest.approx(size[0] / 2, abs=0.51)


def test_windows_of_a_sequence(tmp_path: Path) -> None:
    settings = posed("posed", write_posed(tmp_path / "x"), stride=2)
    (clip,) = list_clips(settings).clips
    with opened(clip) as path:
        video, cameras = read_window(clip, path, settings, np.random.default_rng(0))
        assert len(video) == 9
        step = (cameras.centers[1] - cameras.centers[0]).norm()
        true = room().cameras.centers
        assert float(step) == pytest.approx(float((true[2] - true[0]).norm()), rel=1e-3)
        long = replace(settings, window=replace(settings.window, frames=9))
        with pytest.raises(RejectedError, match="short"):
            read_window(clip, path, long, np.random.default_rng(0))


def test_distortion_is_taken_out() -> None:
    """A picture of directions, taken through a bad lens, shows each where the new K says."""
    height, width = 60, 80
    K = torch.tensor([[70.0, 0, 40.0], [0, 72.0, 30.0], [0, 0, 1]])
    lens = (-0.15, 0.02, 0.001, -0.002, 0.0)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixels = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
    rays = cv2.undistortPoints(pixels, K.double().numpy(), np.array(lens))
    seen = torch.from_numpy(_look(rays.reshape(height, width, 2))).permute(2, 0, 1)[None].float()
    made, new = undistorted(seen, K, lens)
    straight = np.stack(
        [(x - float(new[0, 2])) / float(new[0, 0]), (y - float(new[1, 2])) / float(new[1, 1])], -1
    )
    expected = torch.from_numpy(_look(straight)).permute(2, 0, 1)[None].float()
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    assert float((made - expected)[inner].abs().max()) < 0.01
    assert float((seen - expected)[inner].abs().max()) > 0.03


def _look(rays: np.ndarray) -> np.ndarray:
    x, y = rays[..., 0], rays[..., 1]
    return np.stack([np.sin(5 * x), np.cos(6 * y), np.sin(4 * x + 3 * y)], axis=-1) / 2 + 0.5


def test_a_part_of_the_clips_is_drawn_by_the_seed(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "x")
    drawn = [
        [clip.id for clip in list_clips(Curation("folder", root, clips=4, seed=seed)).clips]
        for seed in (0, 0, 1)
    ]
    assert len(drawn[0]) == 4 and drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(drawn[0])


def test_messages_of_sources(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--data FOLDER"):
        list_clips(Curation("folder"))
    with pytest.raises(FileNotFoundError, match="no folder"):
        list_clips(Curation("folder", tmp_path / "none"))
    with pytest.raises(ValueError, match="holds no clip"):
        list_clips(Curation("folder", tmp_path))
    with pytest.raises(FileNotFoundError, match=r"train/CLIP\.txt"):
        list_clips(Curation("realestate10k", tmp_path))
