"""Where clips come from: what a clip is, how it is opened, and the listing of every source.

The one thing a reader would get wrong: listing opens no video. What is inside a file is seen when
its turn comes, by the worker that has it; only what the lists themselves tell is counted here.
"""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal
from zipfile import BadZipFile, ZipFile

from ...config.curation import Curation
from ...video.reading import IMAGE_SUFFIXES
from .draws import rng_for
from .rejected import RejectedError

VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".mpg", ".ts", ".gif", ".webp")
"""Of files that hold a clip: videos and animated images."""
CameraFormat = Literal["transforms", "colmap", "realestate10k"]


@dataclass(frozen=True)
class Clip:
    """One clip or sequence of a source; small, so that it can be sent to a worker."""

    id: str
    """Unlike all others of its source."""
    place: tuple[Path, ...] = ()
    """The file or folder, or the zip, or the zip's parts in order."""
    inside: str | None = None
    """What to take out of the zip: a member, or a folder if it ends in a slash."""
    caption: str = ""
    licence: str = "unknown"
    provenance: str = ""
    """Data set and address, for people."""
    scores: dict[str, float] = field(default_factory=dict)
    """As the source tells them."""
    cameras: CameraFormat | None = None
    """How the cameras of a posed sequence are written."""
    camera_file: Path | None = None
    """Where, if not in the sequence's own folder."""


@dataclass(frozen=True)
class Listing:
    """What a source has."""

    clips: list[Clip]
    """Sorted by id."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Entries that are of no use, by reason."""


def list_clips(settings: Curation) -> Listing:
    """The clips of the settings' source; with `clips` a part of them, drawn by the seed.

    Raises:
        FileNotFoundError: no such folder, or not what the source has in it.
        ValueError: no folder is given, or nothing of use is there.
    """
    listing = _list(settings)
    clips = sorted(listing.clips, key=lambda clip: clip.id)
    if not clips:
        raise ValueError(f"{settings.data} holds no clip of source {settings.source}.")
    if 0 < settings.clips < len(clips):
        chosen = rng_for(settings.seed, "clips").choice(len(clips), settings.clips, replace=False)
        clips = [clips[i] for i in sorted(chosen)]
    return Listing(clips, listing.rejected)


def _list(settings: Curation) -> Listing:
    if settings.source == "synthetic":
        first, count = settings.scene.first_scene, settings.scene.scenes
        licence, made = "Apache-2.0", "synthetic scene, training split"
        names = [f"scene-{seed:06d}" for seed in range(first, first + count)]
        return Listing([Clip(name, licence=licence, provenance=made) for name in names])
    if settings.data is None:
        raise ValueError(f"Source {settings.source} needs its folder: --data FOLDER.")
    if not settings.data.is_dir():
        raise FileNotFoundError(f"There is no folder {settings.data}.")
    if settings.source == "folder":
        return Listing(list(_folder(settings.data, settings.licence)))
    if settings.source == "openvid":
        from .openvid import list_openvid

        return list_openvid(settings.data, settings.least_scores)
    from . import posed_sources

    if settings.source == "realestate10k":
        return posed_sources.list_realestate10k(settings.data)
    if settings.source == "dl3dv":
        return Listing(list(posed_sources.list_dl3dv(settings.data)))
    return Listing(list(posed_sources.list_posed(settings.data, settings.licence)))


def _folder(root: Path, licence: str) -> Iterator[Clip]:
    """Every video, animated image and folder of images below `root`.

    `NAME.txt` beside a clip is its caption.
    """
    still = tuple(s for s in IMAGE_SUFFIXES if s not in VIDEO_SUFFIXES)
    folders = set()
    for path in sorted(root.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(root).parts) or path.is_dir():
            continue
        name, suffix = path.relative_to(root).as_posix(), path.suffix.lower()
        if suffix in VIDEO_SUFFIXES:
            yield _folder_clip(path, name, licence)
        elif suffix in still and path.parent not in folders and path.parent != root:
            folders.add(path.parent)
            yield _folder_clip(path.parent, path.parent.relative_to(root).as_posix() + "/", licence)


def _folder_clip(path: Path, name: str, licence: str) -> Clip:
    words = path.with_suffix(".txt") if path.is_file() else path / "caption.txt"
    caption = words.read_text(encoding="utf-8").strip() if words.is_file() else ""
    return Clip(name, (path,), caption=caption, licence=licence, provenance=name)


# -------------------------------------------------------------------------------------- opening


@contextmanager
def opened(clip: Clip) -> Iterator[Path]:
    """The clip as a file or folder; what is in a zip is taken out for as long as it is needed.

    Raises:
        RejectedError: the zip is damaged or has no such member.
    """
    if clip.inside is None:
        yield clip.place[0]
        return
    with TemporaryDirectory(prefix="trajectorycrafter-clip-") as folder:
        try:
            taken = _taken_out(clip, clip.inside, Path(folder))
        except (BadZipFile, KeyError, OSError, EOFError) as error:
            raise RejectedError("unreadable", f"{clip.place[0].name}: {error}") from error
        yield taken


def _taken_out(clip: Clip, inside: str, folder: Path) -> Path:
    with open_zip(clip.place) as file:
        names = [inside]
        if inside.endswith("/"):
            names = [n for n in file.namelist() if n.startswith(inside) and not n.endswith("/")]
        for name in names:
            relative = Path(name[len(inside) :] if inside.endswith("/") else Path(name).name)
            target = (folder / relative).resolve()
            if not target.is_relative_to(folder.resolve()):
                raise BadZipFile(f"the member {name!r} leads out of its folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            with file.open(name) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
    return folder if inside.endswith("/") else folder / Path(inside).name


@contextmanager
def open_zip(parts: tuple[Path, ...]) -> Iterator[ZipFile]:
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

    def readinto(self, buffer) -> int:
        start = 0
        for path, size in self._parts:
            if self._place < start + size:
                with path.open("rb") as file:
                    file.seek(self._place - start)
                    data = file.read(min(len(buffer), start + size - self._place))
                buffer[: len(data)] = data
                self._place += len(data)
                return len(data)
            start += size
        return 0
