"""From a file to pictures: containers, codecs, stills; which way is up, and what is shown when.

The one thing a reader would get wrong: what a file says of itself (frames, rate, length) is not
believed where its packets say otherwise.
"""

import errno
import itertools
import math
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import av.filter
import numpy as np
from av.error import EOFError as EndOfFile
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition
from PIL import Image, ImageSequence, features

from .colors import HDR, in_srgb
from .timeline import IMAGE_FPS, Timeline

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".exr"),
    *(".heic", ".heif", ".hif", ".avif"),
)
MOST_PIXELS = 180_000_000
"""A small file can claim pictures of any size; this is where Pillow stops, too."""

_PILLOW_SUFFIXES = (".jpg", ".jpeg", ".webp")
_HEIF_SUFFIXES = (".heic", ".heif", ".hif")
# Stills that FFmpeg decodes (16 bits too) and Pillow knows the orientation and the profile of.
_TAGGED_SUFFIXES = (".png", ".tif", ".tiff")
# FFmpeg shows plain text as pictures of a terminal.
_TEXT_FORMATS = ("tty", "bin", "xbin", "adf", "idf")
# Their frames may carry EXIF, which PyAV 18 has no name for: asking for side data then corrupts
# memory. They are never mirrored.
_STILL_CODECS = ("mjpeg", "png", "apng", "tiff", "webp", "jpegxl", "jpegls", "bmp")
# FFmpeg's own decoders of these leave the transparency out.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# A frame this far in is reached by a key frame instead of from the beginning.
_SEEK_FROM = 32
# Packets come in decoding order; pictures are reordered by at most 16 of them.
_REORDERING = 64

Upright = tuple[bool, bool, bool]
"""How a picture is brought upright: rows and columns swapped, then mirrored along x, along y."""
_EXIF: dict[int, Upright] = {
    orientation: (swap, mirror_x, mirror_y)
    for orientation, swap, mirror_x, mirror_y in (
        (1, False, False, False),
        (2, False, True, False),
        (3, False, True, True),
        (4, False, False, True),
        (5, True, False, False),
        (6, True, True, False),
        (7, True, True, True),
        (8, True, False, True),
    )
}


@dataclass(frozen=True)
class Picture:
    """A decoded frame and how it is to be shown."""

    frame: av.VideoFrame
    aspect: Fraction = Fraction(1)
    """Width of a pixel over its height."""
    upright: Upright = _EXIF[1]
    joined: bool = False
    """Whether it was made of two fields."""

    @property
    def time(self) -> float:
        """When it is shown, in ticks of its stream; infinity if it does not say."""
        return math.inf if self.frame.pts is None else float(self.frame.pts)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as shown: upright, with square pixels."""
        height, width = self.frame.height, max(1, round(self.frame.width * self.aspect))
        return (width, height) if self.upright[0] else (height, width)


class DamagedError(ValueError):
    """The file could be decoded only up to here."""


def is_pillow(path: Path) -> bool:
    """Whether Pillow decodes it: FFmpeg knows neither animated WebP nor the tiles of HEIF."""
    suffix = path.suffix.lower()
    if suffix in _HEIF_SUFFIXES:
        return find_spec("pillow_heif") is not None
    return suffix in _PILLOW_SUFFIXES or (suffix == ".avif" and bool(features.check("avif")))


@contextmanager
def opened(path: Path) -> Generator[tuple[Any, Any], None, None]:
    """The container and its video stream.

    Raises:
        ValueError: no video or image that can be read, or pictures of more than `MOST_PIXELS`.
        OSError: the system does not let the file be read.
    """
    if not os.access(path, os.R_OK):  # the system's error; all that follows is the file's
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    try:
        # An absolute path is never taken for a protocol; without patterns a name may hold a %.
        options = {"pattern_type": "none"}
        container = av.open(str(path.absolute()), options=options, metadata_errors="replace")
    except (FFmpegError, UnicodeError) as error:
        raise ValueError(
            f"{path} is not a video or image that can be read, or it is cut off or without frames "
            f"({getattr(error, 'strerror', None) or error})."
        ) from error
    with container:
        if container.format.name in _TEXT_FORMATS:
            raise ValueError(f"{path} is a text, not a video or an image.")
        cover = Disposition.attached_pic  # of music
        streams = [s for s in container.streams.video if not s.disposition & cover]
        if not streams:
            found = "sound but no pictures" if container.streams.audio else "no pictures"
            raise ValueError(f"{path} has {found}; expected a video or an image.")
        if path.suffix.lower() in (*_HEIF_SUFFIXES, ".avif") and len(streams) > 1:
            raise ValueError(
                f"{path} is made of {len(streams)} tiles, as phones store photographs; reading it "
                "needs the extra heif: pip install 'trajectorycrafter[heif]', or save it as JPEG."
            )
        best = container.streams.best("video")
        stream: Any = best if best in streams else streams[0]
        if stream.codec_context is None:
            raise ValueError(f"The pictures of {path} are in a codec that FFmpeg cannot decode.")
        check_pixels(path, stream.codec_context.height or 0, stream.codec_context.width or 0)
        stream.thread_type = "AUTO"
        yield container, stream


def check_pixels(path: Path, height: int, width: int) -> None:
    """Raises ValueError for a picture larger than `MOST_PIXELS`, from its header."""
    if height * width > MOST_PIXELS:
        raise ValueError(
            f"{path} has pictures of {height}x{width} pixels, more than the "
            f"{MOST_PIXELS // 1_000_000} million that are read; make it smaller first."
        )


def timeline(path: Path, container: Any, stream: Any, exact: bool = False) -> Timeline:
    """When the frames of an opened file are shown: by its table of frames, else by its packets.

    Args:
        exact: by its packets in any case; the table has the times of decoding.
    """
    named = [rate for rate in (stream.average_rate, stream.guessed_rate) if rate]
    tick = float(stream.time_base or 1)
    if stream.frames and "mov" in container.format.name and not exact:
        # Times of decoding step alike where those of showing do.
        stamps = [entry.timestamp for entry in stream.index_entries]
        found = Timeline(stamps, tick, stream.frames, named)
        if len(stamps) >= stream.frames and not found.varies:
            return found
    # Demuxing moves on, so the file is opened once more.
    with opened(path) as (again, other):
        shown = [packet.pts for packet in packets(again, other)]
    stamps = sorted({stamp for stamp in shown if stamp is not None})
    return Timeline(stamps if len(stamps) == len(shown) else [], tick, len(shown), named)


def first_of(pictures: Iterator[Picture], path: Path) -> Picture:
    """The first picture.

    Raises:
        ValueError: there is none.
    """
    try:
        picture = next(pictures, None)
    except DamagedError:
        picture = None
    if picture is None:
        raise ValueError(f"{path} has no frame that can be decoded.")
    return picture


def pictures_of(path: Path, start: int = 0) -> Generator[Picture, None, None]:
    """The frames of a file from `start` on, in the order of presentation.

    Raises:
        ValueError: no video or image that can be read, or `start` lies past the end.
        DamagedError: after the last frame before a damage.
    """
    if is_pillow(path):
        yield from itertools.islice(stills(path), start, None)
        return
    wanted = _key_frame_and_time(path, start) if start >= _SEEK_FROM else None
    if wanted is not None:
        with opened(path) as (container, stream):
            container.seek(wanted[0], stream=stream, backward=True)
            pictures = decoded(path, container, stream)
            first = next(pictures, None)
            # Some containers seek past the key frame; then only counting from the beginning helps.
            if first is not None and first.time <= wanted[1]:
                rest = itertools.chain([first], pictures)
                yield from (picture for picture in rest if picture.time >= wanted[1])
                return
    with opened(path) as (container, stream):
        yield from itertools.islice(decoded(path, container, stream), start, None)


def _key_frame_and_time(path: Path, start: int) -> tuple[int, int] | None:
    """When frame `start` is shown, and where the key frame before it is; None if unknowable."""
    with opened(path) as (container, stream):
        chosen = itertools.islice(packets(container, stream), start + _REORDERING)
        stamps = [(packet.pts, packet.dts, packet.is_keyframe) for packet in chosen]
    if any(pts is None or dts is None for pts, dts, _ in stamps):
        return None
    if len(stamps) <= start:
        raise past_end(path, start, len(stamps))
    time = sorted(pts for pts, _, _ in stamps)[start]
    keys = [(pts, dts) for pts, dts, is_key in stamps if is_key and pts <= time]
    return (max(keys)[1], time) if keys else None


def past_end(path: Path, start: int, total: int) -> ValueError:
    """The error for a first frame that is not there."""
    return ValueError(
        f"start={start} lies past the end: {path} has {total} frames, counted from 0."
    )


@dataclass(frozen=True)
class StillTags:
    """What a still image says of itself beside its pixels."""

    upright: Upright
    profile: bytes | None
    """ICC profile that its pixels are to be converted from; None leaves them as they are."""


def still_tags(path: Path) -> StillTags | None:
    """Orientation and color profile of a still that FFmpeg decodes; None for other files."""
    if path.suffix.lower() not in _TAGGED_SUFFIXES:
        return None
    try:
        with Image.open(path) as image:
            check_pixels(path, image.height, image.width)
            upright = _EXIF.get(image.getexif().get(0x0112, 1), _EXIF[1])
            # Pillow would cut 16-bit gray off, and has one picture where FFmpeg has all of them.
            converts = image.mode[0] not in "IF" and getattr(image, "n_frames", 1) == 1
            return StillTags(upright, image.info.get("icc_profile") if converts else None)
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return None  # FFmpeg may know it, or says what is wrong.


def decoded(path: Path, container: Any, stream: Any) -> Iterator[Picture]:
    """The frames from here on, up to the end or the first damage; fields joined to frames.

    Raises:
        DamagedError: after the last frame before the damage. Packets that cannot be decoded before
            any frame could are no damage: recordings of broadcasts begin so.
    """
    aspect, tags = Fraction(stream.sample_aspect_ratio or 1), still_tags(path)
    frames = _frames(container, stream)
    first = next(frames, None)
    if first is None:
        return
    frames = itertools.chain([first], frames)
    if first.interlaced_frame:
        frames = _deinterlaced(first, frames)
    # Once: PyAV's side data keeps a frame alive until the collector comes by.
    codec = stream.codec_context.name
    upright = _display_matrix(first, codec) if tags is None else tags.upright
    for frame in frames:
        if tags is not None and tags.profile is not None:
            with Image.open(path) as image:
                frame = _frame_of(in_srgb(image, tags.profile, str(path)))
        yield Picture(frame, aspect, upright, first.interlaced_frame)


def _frames(container: Any, stream: Any) -> Iterator[av.VideoFrame]:
    """As the decoder gives them, with transparency; raises as `decoded`."""
    context: Any = stream.codec_context
    transparent = any(key.lower() == "alpha_mode" for key in stream.metadata)
    if transparent and context.name in _ALPHA_DECODERS:
        context = av.CodecContext.create(_ALPHA_DECODERS[context.name], "r")
    begun, damaged = False, False
    demuxed = container.demux(stream)
    while not damaged:
        try:
            packet = next(demuxed)
            damaged = packet.is_corrupt and begun
            # The frames that wait inside the decoder are good; a broken packet would discard them.
            frames = context.decode(None) if damaged or not packet.size else context.decode(packet)
        except (StopIteration, EndOfFile):
            break
        except FFmpegError:
            damaged, frames = begun, []
        begun = begun or bool(frames)
        yield from frames
    entries = stream.index_entries
    if damaged or (len(entries) and entries[-1].pos + entries[-1].size > container.size):
        raise DamagedError


def _deinterlaced(first: av.VideoFrame, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """One frame for each, the lines of its second field made of their neighbors (bwdif)."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=first.width, height=first.height, format=first.format, time_base=first.time_base
    )
    join = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(join)
    join.link_to(sink)
    graph.configure()

    def ready() -> Iterator[Any]:
        while True:
            try:
                yield sink.pull()
            except (BlockingIOError, EndOfFile):
                return

    damage = None
    try:
        for frame in frames:
            source.push(frame)
            yield from ready()
    except DamagedError as error:
        damage = error
    source.push(None)
    yield from ready()
    if damage is not None:
        raise damage


def _display_matrix(frame: av.VideoFrame, codec: str) -> Upright:
    """How the file's display matrix (of a track header or a HEIF item) brings it upright."""
    if codec in _STILL_CODECS:
        return _EXIF[{1: 8, 2: 3, 3: 6}.get(round(frame.rotation / 90) % 4, 1)]
    side_data: Any = frame.side_data
    data = next((d for d in side_data if d.type.name == "DISPLAYMATRIX"), None)
    if data is None:
        return _EXIF[1]
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    swap = abs(b) + abs(c) > abs(a) + abs(d)
    return (True, c < 0, b < 0) if swap else (False, a < 0, d < 0)


def packets(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of frames that will be shown, without decoding them."""
    try:
        yield from (p for p in container.demux(stream) if p.size and not p.is_discard)
    except (InvalidDataError, EndOfFile):
        return  # Decoding will meet the damage again, and report it.


@contextmanager
def pillow_opened(path: Path) -> Generator[Image.Image, None, None]:
    """Raises ValueError unless Pillow can read the image."""
    if path.suffix.lower() in _HEIF_SUFFIXES:
        from pillow_heif import register_heif_opener

        register_heif_opener()
    try:
        with Image.open(path) as image:
            check_pixels(path, image.height, image.width)
            yield image
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not an image that can be read ({error}).") from error


def stills(path: Path) -> Iterator[Picture]:
    """The images of a file that Pillow reads, in sRGB; raises as `pillow_opened`."""
    with pillow_opened(path) as image:
        for still in ImageSequence.Iterator(image):
            upright = _EXIF.get(still.getexif().get(0x0112, 1), _EXIF[1])
            shown = in_srgb(still, still.info.get("icc_profile"), str(path))
            yield Picture(_frame_of(shown), upright=upright)


def _frame_of(image: Image.Image) -> av.VideoFrame:
    kind = "rgba" if image.mode == "RGBA" else "rgb24"
    return av.VideoFrame.from_ndarray(np.asarray(image), format=kind)


def pillow_timing(path: Path) -> tuple[int, float]:
    """Number of frames and average frames per second; raises as `pillow_opened`."""
    with pillow_opened(path) as image:
        durations = []
        for frame in ImageSequence.Iterator(image):
            frame.load()  # The duration is known only then.
            durations.append(frame.info.get("duration", 0))
    total = sum(durations)
    return len(durations), 1000 * len(durations) / total if total else IMAGE_FPS


def remarks(picture: Picture, line: Timeline, container: Any) -> list[str]:
    """What a viewer should know of how the file is read."""
    found = []
    if picture.frame.color_trc in HDR:
        kind = HDR[picture.frame.color_trc]
        found.append(f"the clip is HDR ({kind}); it is mapped to a standard screen")
    if picture.joined:
        found.append("the clip is interlaced; its fields are joined to full frames (bwdif)")
    # Streams for broadcast have no header that could say how long they are.
    if container.duration and line.count and not container.format.name.startswith("mpeg"):
        said, there = container.duration / av.time_base, line.count / line.fps
        if said > 1.1 * there and (said - there) * line.fps > 2:
            found.append(
                f"the file says that it is {said:.4g} s long but holds {there:.3g} s "
                f"({line.count} frames); it may be cut off"
            )
    return found
