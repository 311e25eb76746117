"""Clips and who may see them: one folder on disk, a folder in it for each visitor.

    ROOT/users/<user>/clips/<clip>.mp4 (or another suffix), <clip>.json
    ROOT/users/<user>/jobs/<job>/      (see jobs.py)

The one thing a reader would get wrong: a visitor's id is also the key to the visitor's files. It is
random, made here, and never accepted from a client that names one of its own.
"""

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ..config.studio import Limits
from ..runtime.files import whole, write_json
from ..video.clip import Video
from ..video.reading import DEMO_CLIP, FrameChoice, VideoInfo, probe

ID = re.compile(r"[0-9a-f]{32}")
"""A visitor, clip or job: 128 random bits."""
LARGEST_PIXELS = 7680 * 4320
"""Pixels of a frame; a small file can claim to be a huge picture."""
STALE_S = 24 * 3600.0
"""After this time a visitor who left nothing behind is forgotten."""


@dataclass(frozen=True)
class Clip:
    """A clip that a visitor can work on."""

    id: str
    name: str
    """As the visitor called it: shown, never used as a path."""
    path: Path
    frames: int
    fps: float
    height: int
    width: int
    shipped: bool = False
    """Whether it came with the package; such clips are everybody's."""

    @staticmethod
    def of(id: str, name: str, path: Path, *, shipped: bool) -> "Clip":
        """A clip with what its file says about itself; raises as `probe`."""
        info = probe(path)
        return Clip(id, name, path, info.frames, info.fps, info.height, info.width, shipped)


class Library:
    """The clips of all visitors, and the shipped ones."""

    def __init__(self, root: Path, limits: Limits | None = None):
        """Makes the folder `root` unless it is there; raises OSError if it cannot be written."""
        self.root, self.limits = Path(root).absolute(), limits or Limits()
        self.users = self.root / "users"
        self.make_room: Callable[[int], bool] = self._has_room
        """Whether there is room for so many bytes; the queue's own removes old jobs for them."""
        # Not readable for others on this machine.
        self.users.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in self.users.iterdir():
            old = time.time() - folder.stat().st_mtime > STALE_S
            if old and not any(path.is_file() for path in folder.rglob("*")):
                shutil.rmtree(folder, ignore_errors=True)

    def user(self, token: str | None) -> "User":
        """The visitor of this id; a new one, with a new random id, if there is none.

        Args:
            token: what a browser sent (cookie or `?user=`), which may be anything.
        """
        if token is not None and self.knows(token):
            return User(token, self)
        user = User(secrets.token_hex(16), self)
        user.folder.mkdir(mode=0o700)
        return user

    def knows(self, token: str) -> bool:
        """Whether a visitor has this id."""
        return ID.fullmatch(token) is not None and (self.users / token).is_dir()

    def size(self) -> int:
        """Bytes of all files."""
        return folder_size(self.root)

    def _has_room(self, size: int) -> bool:
        return self.size() + size <= self.limits.quota_bytes


@dataclass(frozen=True)
class User:
    """One visitor's own corner of the library."""

    id: str
    library: Library

    @property
    def folder(self) -> Path:
        return self.library.users / self.id

    def clips(self) -> list[Clip]:
        """The shipped clips, then this visitor's, the newest last."""
        records = sorted(
            (self.folder / "clips").glob("*.json"), key=lambda file: file.stat().st_mtime_ns
        )
        return [*shipped_clips(), *(self._clip(record) for record in records)]

    def clip(self, id: str) -> Clip:
        """The clip of this id, shipped or this visitor's; raises ValueError if there is none."""
        for clip in self.clips():
            if clip.id == id:
                return clip
        raise ValueError("There is no such clip; it may have been removed.")

    def add(self, name: str, data: bytes) -> Clip:
        """Keep an uploaded clip, under a random name, if it can be decoded.

        Args:
            name: its last part is shown to the visitor.

        Raises:
            ValueError: too large, no room, or not a clip; the message is for the visitor.
        """
        limits = self.library.limits
        if len(data) > limits.upload_bytes:
            raise ValueError(
                f"The file has {len(data) / 1e6:.0f} MB; at most {limits.upload_mb:.0f} MB can be "
                "uploaded. Cut the clip or make it smaller."
            )
        if not self.library.make_room(len(data)):
            raise ValueError(
                f"The studio's {limits.quota_gb:g} GB are full; remove clips or finished jobs."
            )
        shown = printable(re.split(r"[/\\]", name)[-1], "clip")
        suffix = _suffix(data, shown)
        clips = self.folder / "clips"
        id = secrets.token_hex(16)
        path = clips / f"{id}{suffix}"
        with whole(path) as partial:
            partial.write_bytes(data)
            info = _checked(partial, shown)
        clip = Clip(id, shown, path, info.frames, info.fps, info.height, info.width)
        write_json(asdict(clip) | {"path": path.name}, clips / f"{id}.json")
        return clip

    def remove(self, id: str) -> None:
        """Delete one of this visitor's own clips; jobs that used it keep their results."""
        clip = self.clip(id)
        if clip.shipped:
            raise ValueError(f"{clip.name} came with the package and stays.")
        clip.path.with_suffix(".json").unlink(missing_ok=True)
        clip.path.unlink(missing_ok=True)

    def _clip(self, record: Path) -> Clip:
        entry = json.loads(record.read_text(encoding="utf-8"))
        return Clip(**entry | {"path": record.parent / Path(entry["path"]).name})


def shipped_clips() -> list[Clip]:
    """The clips of the package."""
    return [
        Clip.of(path.stem, path.stem.replace("_", " "), path, shipped=True)
        for path in sorted(DEMO_CLIP.parent.glob("*.mp4"))
    ]


def folder_size(folder: Path) -> int:
    """Bytes of the files in a folder and all below it; what vanishes meanwhile does not count."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def printable(name: str, otherwise: str) -> str:
    """What is printable of a visitor's name for something."""
    return "".join(c for c in name if c.isprintable()).strip()[:80] or otherwise


_SIGNATURES = {
    ".mkv": rb"\x1aE\xdf\xa3",  # also WebM
    ".avi": rb"RIFF....AVI ",
    ".webp": rb"RIFF....WEBP",
    ".gif": rb"GIF8[79]a",
    ".png": rb"\x89PNG\r\n\x1a\n",
    ".jpg": rb"\xff\xd8\xff",
    ".mp4": rb"....(ftyp|moov|mdat|wide|free|skip|pnot)",  # also QuickTime
}
"""How files of each kind begin. The name tells nothing: FFmpeg goes by the content, and some kinds
that it knows (playlists) would make it open files of this machine."""


def _suffix(data: bytes, name: str) -> str:
    """The suffix that fits the content."""
    for suffix, beginning in _SIGNATURES.items():
        if re.match(beginning, data[:16], re.DOTALL):
            return suffix
    raise ValueError(
        f"{name} is not a clip that can be read: expected a video (MP4, MOV, MKV, WebM, AVI), a "
        "GIF or an image (PNG, JPEG, WebP)."
    )


def _checked(path: Path, name: str) -> VideoInfo:
    """What the file says about itself after a test; errors use the visitor's name for it."""
    try:
        info = probe(path)
        if info.height * info.width <= LARGEST_PIXELS:
            Video.read(path, FrameChoice(count=1))
            return info
    except Exception as error:
        # Whatever a decoder fails on, for the visitor it is the file.
        reason = str(error).replace(str(path), name) if isinstance(error, ValueError) else "damaged"
        raise ValueError(f"{name} cannot be read: {reason}") from error
    raise ValueError(
        f"{name} has frames of {info.width}x{info.height} pixels; at most 7680x4320 can be read."
    )
