"""Uploads are checked by decoding, kept under random names, and seen by their owner alone."""

import io
import os
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from trajectorycrafter.config.studio import Limits
from trajectorycrafter.studio.library import ID, STALE_S, Library, folder_size
from trajectorycrafter.video.clip import Video


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small clip as a file's bytes."""
    frames = torch.rand(5, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    return Video(frames, 10.0).write(tmp_path_factory.mktemp("up") / "a.mp4").read_bytes()


def image(kind: str) -> bytes:
    kept = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 10, 10)).save(kept, kind)
    return kept.getvalue()


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "studio")


def test_an_upload_is_kept_and_described(library: Library, mp4: bytes) -> None:
    user = library.user(None)
    clip = user.add("Holiday.MP4", mp4)
    assert (clip.name, clip.frames, clip.fps) == ("Holiday.MP4", 5, 10.0)
    assert (clip.height, clip.width, clip.shipped) == (48, 64, False)
    assert clip.path.read_bytes() == mp4
    assert clip.path.parent == user.folder / "clips"
    assert ID.fullmatch(clip.path.stem) and clip.path.suffix == ".mp4"
    assert user.clips()[-1] == clip == user.clip(clip.id)


def test_clips_come_in_order_and_survive_a_restart(library: Library, mp4: bytes) -> None:
    user = library.user(None)
    own = [user.add(name, mp4) for name in ("one.mp4", "two.mp4", "three.mp4")]
    again = Library(library.root).user(user.id)
    assert [clip for clip in again.clips() if not clip.shipped] == own


def test_everybody_has_the_shipped_clips(library: Library) -> None:
    clips = library.user(None).clips()
    assert [clip.id for clip in clips] == ["park_walk"]
    assert clips[0].shipped and clips[0].frames == 97
    with pytest.raises(ValueError, match="came with the package"):
        library.user(None).remove("park_walk")
    assert clips[0].path.exists()


def test_visitors_do_not_see_each_other(library: Library, mp4: bytes) -> None:
    one, other = library.user(None), library.user(None)
    clip = one.add("mine.mp4", mp4)
    assert clip.id not in [c.id for c in other.clips()]
    with pytest.raises(ValueError, match="no such clip"):
        other.clip(clip.id)
    with pytest.raises(ValueError, match="no such clip"):
        other.remove(clip.id)
    assert clip.path.exists()


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.mp4",
        "/etc/cron.d/x.mp4",
        "C:\\windows\\x.mp4",
        "..",
        "a/b\x00c\n.mp4",
        "",
        "\u202e",
    ],
)
def test_the_visitors_name_is_never_a_path(library: Library, mp4: bytes, name: str) -> None:
    user = library.user(None)
    clip = user.add(name, mp4)
    assert clip.path.parent == user.folder / "clips" and ID.fullmatch(clip.path.stem)
    assert "/" not in clip.name and "\\" not in clip.name and clip.name.isprintable()
    everything = [path for path in library.root.rglob("*") if path.is_file()]
    assert all(path.parent == user.folder / "clips" for path in everything)


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("JPEG", ".jpg"), ("GIF", ".gif")])
def test_images_are_clips_of_one_frame(library: Library, kind: str, suffix: str) -> None:
    clip = library.user(None).add("still.mp4", image(kind))
    assert (clip.frames, clip.path.suffix) == (1, suffix)


PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", PLAYLIST, b"ffconcat version 1.0\nfile /etc/passwd\n", b"\x00" * 4096],
    ids=["empty", "text", "playlist", "concat", "zeros"],
)
def test_what_is_no_clip_is_told_by_its_content(library: Library, data: bytes) -> None:
    user = library.user(None)
    with pytest.raises(ValueError, match=r"^x\.mp4 is not a clip that can be read: expected a vid"):
        user.add("x.mp4", data)
    assert not any(path.is_file() for path in user.folder.rglob("*"))


def test_a_cut_off_clip_shows_a_message_and_leaves_nothing(library: Library, mp4: bytes) -> None:
    user = library.user(None)
    for data in (mp4[: len(mp4) // 3], mp4[:16] + os.urandom(500)):
        with pytest.raises(ValueError, match=r"^broken\.mp4 cannot be read: ") as told:
            user.add("broken.mp4", data)
        assert str(library.root) not in str(told.value)
    assert not any(path.is_file() for path in user.folder.rglob("*"))


def test_a_picture_that_is_too_large_is_refused(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trajectorycrafter.studio.library.LARGEST_PIXELS", 63 * 48)
    with pytest.raises(ValueError, match=r"64x48 pixels; at most"):
        library.user(None).add("big.png", image("PNG"))


def test_the_size_of_an_upload_is_limited(tmp_path: Path, mp4: bytes) -> None:
    library = Library(tmp_path, Limits(upload_mb=(len(mp4) - 1) / 1e6))
    with pytest.raises(ValueError, match="can be uploaded"):
        library.user(None).add("a.mp4", mp4)


def test_uploads_stop_where_the_quota_ends(tmp_path: Path, mp4: bytes) -> None:
    library = Library(tmp_path, Limits(quota_gb=(2.5 * len(mp4)) / 1e9))
    user = library.user(None)
    first = user.add("a.mp4", mp4)
    user.add("b.mp4", mp4)
    with pytest.raises(ValueError, match="are full"):
        user.add("c.mp4", mp4)
    user.remove(first.id)
    assert user.add("c.mp4", mp4).name == "c.mp4"


def test_only_ids_made_here_find_a_visitor(library: Library) -> None:
    (library.root / "elsewhere").mkdir()
    for token in (None, "", "..", "../elsewhere", "f" * 32, "A" * 32, "\n" * 32):
        user = library.user(token)
        assert ID.fullmatch(user.id) and user.id != token
    known = library.user(None)
    assert library.user(known.id) == known


def test_visitors_who_left_nothing_are_forgotten(library: Library, mp4: bytes) -> None:
    gone, fresh, busy = (library.user(None) for _ in range(3))
    busy.add("a.mp4", mp4)
    for user in (gone, busy):
        before = time.time() - 2 * STALE_S
        os.utime(user.folder, (before, before))
    again = Library(library.root)
    assert [again.knows(user.id) for user in (gone, fresh, busy)] == [False, True, True]


def test_folder_size_counts_all_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"1234")
    (tmp_path / "y").write_bytes(b"123")
    assert folder_size(tmp_path) == 7
