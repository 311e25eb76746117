"""What a clip of a dataset is, and how it is opened, in a folder or in a zip.

The one thing a reader would get wrong: a clip in a zip is on disk only as long as it is open.
"""

import io
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from zipfile import BadZipFile, ZipFile

from .rejected import RejectedError

VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".mpg", ".ts", ".gif", ".webp")
"""Files that hold a clip: videos and animated images."""
CameraFormat = Literal["transforms", "colmap", "realestate10k"]


@dataclass(frozen=True)
class SourceClip:
    """One clip or sequence of a dataset; small, so that it can be sent to a worker."""

    id: str
    """Unlike all others of its dataset."""
    place: tuple[Path, ...] = ()
    """The file or folder, or the zip, or the zip's parts in order."""
    inside: str | None = None
    """What to take out of the zip: a member, or a folder if it ends in a slash."""
    caption: str = ""
    licence: str = "unknown"
    provenance: str = ""
    """Data set and address, for people."""
    scores: dict[str, float] = field(default_factory=dict)
    """As the dataset's own list has them."""
    cameras: CameraFormat | None = None
    """How the cameras of a posed sequence are written."""
    camera_file: Path | None = None
    """Where, if not in the sequence's own folder."""


@dataclass(frozen=True)
class Listing:
    """What a dataset has."""

    clips: list[SourceClip]
    """Sorted by id."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Entries that are of no use, by reason."""


@contextmanager
def opened(clip: SourceClip) -> Generator[Path]:
    """The clip as a file or folder; what is in a zip is taken out for as long as it is needed.

    Raises:
        RejectedError: the zip is damaged or has no such member.
    """
    inside = clip.inside
    if inside is None:
        yield clip.place[0] if clip.place else Path()
        return
    with TemporaryDirectory(prefix="trajectorycrafter-clip-") as made:
        folder = Path(made).resolve()
        try:
            with open_zip(clip.place) as file:
                names, start = [inside], len(inside) - len(Path(inside).name)
                if inside.endswith("/"):
                    start = len(inside)
                    names = [n for n in file.namelist() if n.startswith(inside) and n[-1] != "/"]
                for name in names:
                    target = (folder / name[start:]).resolve()
                    if not target.is_relative_to(folder):
                        raise BadZipFile(f"the member {name!r} leads out of its folder")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with file.open(name) as packed, target.open("wb") as sink:
                        shutil.copyfileobj(packed, sink)
        except (BadZipFile, KeyError, OSError, EOFError) as error:
            raise RejectedError("unreadable", f"{clip.place[0].name}: {error}") from error
        yield folder / inside[start:]


@contextmanager
def open_zip(parts: tuple[Path, ...]) -> Generator[ZipFile]:
    """A zip, also one that was cut into parts (`split`, to be joined by `cat`)."""
    if len(parts) == 1:
        with ZipFile(parts[0]) as file:
            yield file
        return
    with io.BufferedReader(_Joined(parts)) as joined, ZipFile(joined) as file:
        yield file


class _Joined(io.RawIOBase):
    """Files one after the other, read as one."""

    def __init__(self, parts: tuple[Path, ...]):
        super().__init__()
        self._parts = [(path, path.stat().st_size) for path in parts]
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        size = sum(size for _, size in self._parts)
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        start = 0
        for path, size in self._parts:
            if self._place < start + size:
                with path.open("rb") as file:
                    file.seek(self._place - start)
                    count = file.readinto(buffer)
                self._place += count
                return count
            start += size
        return 0
