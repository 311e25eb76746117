"""Where clips are decoded: files, folders of images, single images.

The one thing a reader would get wrong: frames are counted in the order of presentation, and
`start`, `stride` and `count` choose by that index, not by time. A file with a variable frame rate
therefore plays at its average rate afterwards.

What is read is what a player shows: rotation from the display matrix (or EXIF), square pixels, the
file's own color matrix and range, transparency over black. Interlaced fields are not separated,
and HDR transfer curves are kept as they are.
"""

import itertools
import math
import re
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import av
import numpy as np
import psutil
from av.error import EOFError as EndOfFile
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition
from jaxtyping import UInt8, UInt16
from PIL import Image, ImageOps, ImageSequence

if TYPE_CHECKING:
    from .clip import Video

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".exr")
IMAGE_FPS = 24.0
"""Rate given to images, which carry none."""
DEMO_CLIP = Path(__file__).parents[1] / "assets" / "clips" / "park_walk.mp4"
"""The clip that ships with the package: a walk in a park, 97 frames, fixed camera (BSD-3)."""
SMALLEST_SIDE = 8
"""Pixels; what is smaller is a mistake, not a clip."""

# Pillow reads these: FFmpeg knows neither mirrored EXIF orientations nor animated WebP.
_PILLOW_SUFFIXES = (".jpg", ".jpeg", ".webp")
# FFmpeg shows plain text as pictures of a terminal.
_TEXT_FORMATS = ("tty", "bin", "xbin", "adf", "idf")
# Bicubic (widened when shrinking, so that nothing aliases), full chroma both ways, exact rounding.
_SCALING = 0x4 | 0x2000 | 0x4000 | 0x40000
# A frame this far in is reached by a key frame instead of from the beginning.
_SEEK_FROM = 32
# Packets come in decoding order; pictures are reordered by at most 16 of them.
_REORDERING = 64

Pixels: TypeAlias = UInt8[np.ndarray, "_ _ 3"] | UInt16[np.ndarray, "_ _ 3"]


@dataclass(frozen=True)
class _Picture:
    """A decoded frame and how it is to be shown."""

    frame: av.VideoFrame
    aspect: Fraction = Fraction(1)
    """Width of a pixel over its height."""

    @property
    def time(self) -> float:
        """When it is shown, in ticks of its stream; infinity if it does not say."""
        return math.inf if self.frame.pts is None else float(self.frame.pts)

    @property
    def quarter_turns(self) -> int:
        """Counter-clockwise turns that bring it upright."""
        return round(self.frame.rotation / 90) % 4

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as shown: upright, with square pixels."""
        height, width = self.frame.height, max(1, round(self.frame.width * self.aspect))
        return (width, height) if self.quarter_turns % 2 else (height, width)


class _DamagedError(ValueError):
    """The file could be decoded only up to here."""


@dataclass(frozen=True)
class FrameChoice:
    """Which frames of a clip to read, and at which size."""

    start: int = 0
    """Index of the first frame."""
    stride: int = 1
    """Take every n-th frame; the frame rate is divided by it."""
    count: int | None = None
    """Number of frames; None: all that are left."""
    shorter_ok: bool = False
    """Whether a clip with fewer than `count` frames is read as far as it goes."""
    size: tuple[int, int] | None = None
    """Height and width of the result; None: the clip's own shape."""
    pixels: int | None = None
    """Shrink the clip's own shape to about this many pixels a frame; not together with `size`."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How a clip of another shape meets the size: cut, put between black bars, or distorted."""
    multiple: int = 1
    """Height and width are multiples of this; the clip's own shape is rounded to it."""

    def __post_init__(self) -> None:
        """Raises ValueError for a number out of range, `size` together with `pixels`, an unknown
        `fit`, or a size that is no multiple."""
        if self.start < 0:
            raise ValueError(f"The first frame is 0; got start={self.start}.")
        for name in ("stride", "multiple"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1; got {getattr(self, name)}.")
        for name in ("count", "pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is at least 1, or None; got {value}.")
        if self.fit not in ("crop", "pad", "stretch"):
            raise ValueError(f"fit is crop, pad or stretch; got {self.fit!r}.")
        if self.size is None:
            return
        if self.pixels is not None:
            raise ValueError("Give size or pixels, not both.")
        if min(self.size) < 1:
            raise ValueError(
                f"size is height and width in pixels; got {self.size[0]}x{self.size[1]}."
            )
        near = [max(1, round(side / self.multiple)) * self.multiple for side in self.size]
        if near != list(self.size):
            raise ValueError(
                f"Expected a height and width divisible by {self.multiple}, got "
                f"{self.size[0]}x{self.size[1]}; use {near[0]}x{near[1]}."
            )

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that a clip of the given height and width gets."""
        if self.size is not None:
            return self.size
        shrink = 1.0 if self.pixels is None else min(1.0, (self.pixels / (height * width)) ** 0.5)
        round_side = math.floor if shrink == 1 else round
        sides = (round_side(side * shrink / self.multiple) for side in (height, width))
        size = tuple(max(1, side) * self.multiple for side in sides)
        return size[0], size[1]

    def scaled_size(self, height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width to resample to, before cutting or padding to `size`."""
        ratios = (size[0] / height, size[1] / width)
        if self.fit == "stretch":
            return size
        if self.fit == "pad":
            scaled = (round(side * min(ratios)) for side in (height, width))
            tall, wide = (max(1, min(a, b)) for a, b in zip(scaled, size))
            return tall, wide
        if 0 <= height - size[0] < self.multiple and 0 <= width - size[1] < self.multiple:
            return height, width  # Only rounding: cutting a few rows keeps the pixels as they are.
        scaled = (round(side * max(ratios)) for side in (height, width))
        tall, wide = (max(a, b) for a, b in zip(scaled, size))
        return tall, wide


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about itself."""

    frames: int
    """As the container counts them; a damaged file may hold fewer."""
    fps: float
    height: int
    """As shown: after rotation and with square pixels."""
    width: int
    codec: str
    has_audio: bool

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


def clip_path(clip: str | Path, folder: Path = Path()) -> Path:
    """Where a clip lies: the word `demo` is the shipped one, all else a path.

    A file or folder of that name is `./demo`, or a `Path`.

    Args:
        folder: what a relative path counts from.
    """
    return DEMO_CLIP if clip == "demo" else folder / Path(clip).expanduser()


def clip_text(clip: Path, text: str) -> str:
    """What `clip_path` reads as a clip that lies at `text`."""
    if clip == DEMO_CLIP:
        return "demo"
    return "./demo" if text == "demo" else text


# ---------------------------------------------------------------------------------------- reading


def probe(path: str | Path) -> VideoInfo:
    """Length, rate and size of a clip, decoding one frame of it at most.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it is not a clip, an image or a folder of images.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}.")
    if path.is_file() and path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; expected a video or an image.")
    if path.is_dir():
        files = _images_of(path)
        return VideoInfo(len(files), IMAGE_FPS, *_first_picture(files[0]).size, "images", False)
    if path.suffix.lower() in _PILLOW_SUFFIXES:
        size = _first_picture(path).size
        return VideoInfo(*_pillow_timing(path), *size, path.suffix[1:].lower(), False)
    with _opened(path) as (container, stream):
        count, unit = stream.frames, float(stream.time_base or 1)
        fps = float(stream.average_rate or stream.guessed_rate or IMAGE_FPS)
        codec, sound = stream.codec_context.name, bool(container.streams.audio)
        size = _first_of(decoded(container, stream), path).size
    if count:
        return VideoInfo(count, IMAGE_FPS if count == 1 else fps, *size, codec, sound)
    # A container that does not count its frames names a rate by its first few, if at all.
    with _opened(path) as (container, stream):
        times = [packet.pts for packet in _packets(container, stream)]
    if len(times) < 2:
        return VideoInfo(len(times), IMAGE_FPS, *size, codec, sound)
    if None not in times and max(times) > min(times):
        measured = (len(times) - 1) / ((max(times) - min(times)) * unit)
        # Where the name agrees it is exact, while the times are rounded.
        fps = fps if abs(measured / fps - 1) < 0.01 else measured
    return VideoInfo(len(times), fps, *size, codec, sound)


def read_video(path: str | Path, choice: FrameChoice, info: VideoInfo | None = None) -> "Video":
    """Read frames of a clip, an image (one frame) or a folder of images (in natural order).

    Only the chosen frames are kept, each already at its final size. A damaged file is fine as long
    as the chosen frames lie before the damage. Images play at 24 frames per second.

    Args:
        info: what `probe` has said of the clip, which is then not asked again.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: no pictures, damaged, too few frames, frames below 8x8 pixels, images of
            different sizes, or more frames than memory holds.
    """
    import torch

    from .clip import Video

    path = Path(path)
    info = info or probe(path)
    pixels = _read_folder(path, choice) if path.is_dir() else _read_file(path, choice, info)
    frames = torch.empty(len(pixels), 3, *pixels[0].shape[:2])
    for index in range(len(pixels)):
        # Popping frees each frame as it is copied.
        picture = pixels.pop(0)
        largest = np.iinfo(picture.dtype).max
        frames[index] = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1) / largest
    return Video(frames, info.fps / choice.stride)


def _read_file(path: Path, choice: FrameChoice, info: VideoInfo) -> list[Pixels]:
    """The chosen frames of one file."""
    pixels: list[Pixels] = []
    size, total, damaged = (0, 0), 0, False
    try:
        with closing(_pictures_of(path, choice.start)) as pictures:
            for index, picture in enumerate(pictures, choice.start):
                total = index + 1
                if len(pixels) == choice.count:
                    break
                if (index - choice.start) % choice.stride:
                    continue
                if not pixels:
                    left = 1 + (info.frames - index) // choice.stride
                    size = _planned_size(path, picture, choice, choice.count or left)
                pixels.append(_fitted(picture, choice, size))
    except _DamagedError:
        damaged = True
    _check_count(path, choice, len(pixels), total or info.frames, damaged)
    return pixels


def _read_folder(path: Path, choice: FrameChoice) -> list[Pixels]:
    """The chosen images of a folder."""
    files = _images_of(path)
    chosen = files[choice.start :: choice.stride][: choice.count]
    _check_count(path, choice, len(chosen), len(files), damaged=False)
    first = _first_picture(chosen[0])
    size = _planned_size(path, first, choice, len(chosen))
    pixels: list[Pixels] = []
    for file in chosen:
        picture = _first_picture(file)
        if picture.size != first.size:
            raise ValueError(
                f"The images of {path} differ in size: {chosen[0].name} is "
                f"{first.size[0]}x{first.size[1]}, {file.name} is "
                f"{picture.size[0]}x{picture.size[1]} (height x width)."
            )
        pixels.append(_fitted(picture, choice, size))
    return pixels


def _images_of(folder: Path) -> list[Path]:
    """The images of a folder, 9.png before 10.png."""
    files = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    ]
    if not files:
        raise ValueError(f"{folder} has no images; expected files like 00000.png.")

    def natural(file: Path) -> list[tuple[int, str]]:
        return [(int(n or 0), text) for n, text in re.findall(r"(\d+)|(\D+)", file.name)]

    return sorted(files, key=natural)


def _planned_size(
    path: Path, picture: _Picture, choice: FrameChoice, frames: int
) -> tuple[int, int]:
    """Height and width of the result, if it is of use and fits into memory."""
    if min(picture.size) < SMALLEST_SIDE:
        raise ValueError(
            f"{path} has frames of {picture.size[0]}x{picture.size[1]} pixels; expected at least "
            f"{SMALLEST_SIDE}x{SMALLEST_SIDE}."
        )
    height, width = choice.output_size(*picture.size)
    needed = frames * height * width * 3 * 5  # One byte while decoding, four as float32.
    free = psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"{frames} frames of {height}x{width} from {path} need {needed / 1e9:.1f} GB, but "
            f"{free / 1e9:.1f} GB are free; ask for fewer frames or a smaller size."
        )
    return height, width


def _check_count(path: Path, choice: FrameChoice, got: int, total: int, damaged: bool) -> None:
    """Raises ValueError unless the clip gave what was asked."""
    if got == choice.count:
        return
    chosen = f"start={choice.start}, stride={choice.stride}"
    if damaged:
        readable = f"only its first {total} frames" if got else "nothing at the chosen start"
        raise ValueError(
            f"{path} is damaged or cut off: {readable} can be read ({chosen} give {got}). "
            f"Repair the file or ask for frames before the damage."
        )
    if got == 0:
        raise _past_end(path, choice.start, total)
    if choice.count is not None and not choice.shorter_ok:
        raise ValueError(
            f"Expected {choice.count} frames, but {path} has {total} and {chosen} leave {got}; "
            f"ask for at most {got}, or lower start or stride."
        )


def _past_end(path: Path, start: int, total: int) -> ValueError:
    return ValueError(
        f"start={start} lies past the end: {path} has {total} frames, counted from 0."
    )


# -------------------------------------------------------------------------- files into pictures


@contextmanager
def _opened(path: Path) -> Generator[tuple[Any, Any], None, None]:
    """The container and its video stream."""
    try:
        # An absolute path is never taken for a protocol; without patterns a name may hold a %.
        container = av.open(str(path.absolute()), options={"pattern_type": "none"})
    except FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise ValueError(
            f"{path} is not a video or image that can be read, or it is cut off or without frames "
            f"({error.strerror})."
        ) from error
    with container:
        if container.format.name in _TEXT_FORMATS:
            raise ValueError(f"{path} is a text, not a video or an image.")
        cover = Disposition.attached_pic  # of music
        streams = [s for s in container.streams.video if not s.disposition & cover]
        if not streams:
            found = "sound but no pictures" if container.streams.audio else "no pictures"
            raise ValueError(f"{path} has {found}; expected a video or an image.")
        best = container.streams.best("video")
        stream: Any = best if best in streams else streams[0]
        if stream.codec_context is None:
            raise ValueError(f"The pictures of {path} are in a codec that FFmpeg cannot decode.")
        stream.thread_type = "AUTO"
        yield container, stream


def _first_picture(path: Path) -> _Picture:
    return _first_of(_pictures_of(path), path)


def _first_of(pictures: Iterator[_Picture], path: Path) -> _Picture:
    try:
        picture = next(pictures, None)
    except _DamagedError:
        picture = None
    if picture is None:
        raise ValueError(f"{path} has no frame that can be decoded.")
    return picture


def _pictures_of(path: Path, start: int = 0) -> Generator[_Picture, None, None]:
    """The frames of a file from `start` on, in the order of presentation."""
    if path.suffix.lower() in _PILLOW_SUFFIXES:
        yield from _pillow_pictures(path, start)
        return
    wanted = _key_frame_and_time(path, start) if start >= _SEEK_FROM else None
    if wanted is not None:
        with _opened(path) as (container, stream):
            container.seek(wanted[0], stream=stream, backward=True)
            pictures = decoded(container, stream)
            first = next(pictures, None)
            # Some containers seek past the key frame; then only counting from the beginning helps.
            if first is not None and first.time <= wanted[1]:
                rest = itertools.chain([first], pictures)
                yield from (picture for picture in rest if picture.time >= wanted[1])
                return
    with _opened(path) as (container, stream):
        yield from itertools.islice(decoded(container, stream), start, None)


def decoded(container: Any, stream: Any) -> Iterator[_Picture]:
    """The frames from here on, up to the end or the first damage.

    Raises:
        _DamagedError: after the last frame before the damage. Packets that cannot be decoded before
            any frame could are no damage: recordings of broadcasts begin so.
    """
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    begun, damaged = False, False
    packets = container.demux(stream)
    while not damaged:
        try:
            packet = next(packets)
            damaged = packet.is_corrupt and begun
            # The frames that wait inside the decoder are good; a broken packet would discard them.
            frames = stream.codec_context.decode(None) if damaged else packet.decode()
        except (StopIteration, EndOfFile):
            break
        except FFmpegError as error:
            if isinstance(error, OSError):
                raise
            damaged, frames = begun, []
        for frame in frames:
            begun = True
            yield _Picture(frame, aspect)
    entries = stream.index_entries
    if damaged or (len(entries) and entries[-1].pos + entries[-1].size > container.size):
        raise _DamagedError


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of frames that will be shown, without decoding them."""
    try:
        yield from (p for p in container.demux(stream) if p.size and not p.is_discard)
    except InvalidDataError:
        return  # Decoding will meet the damage again, and report it.


def _key_frame_and_time(path: Path, start: int) -> tuple[int, int] | None:
    """When frame `start` is shown, and where the key frame before it is; None if unknowable."""
    with _opened(path) as (container, stream):
        packets = itertools.islice(_packets(container, stream), start + _REORDERING)
        stamps = [(packet.pts, packet.dts, packet.is_keyframe) for packet in packets]
    if any(pts is None or dts is None for pts, dts, _ in stamps):
        return None
    if len(stamps) <= start:
        raise _past_end(path, start, len(stamps))
    time = sorted(pts for pts, _, _ in stamps)[start]
    keys = [(pts, dts) for pts, dts, is_key in stamps if is_key and pts <= time]
    return (max(keys)[1], time) if keys else None


@contextmanager
def _pillow_opened(path: Path) -> Generator[Image.Image, None, None]:
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not an image that can be read ({error}).") from error


def _pillow_pictures(path: Path, start: int) -> Iterator[_Picture]:
    with _pillow_opened(path) as image:
        for frame in itertools.islice(ImageSequence.Iterator(image), start, None):
            upright = ImageOps.exif_transpose(frame).convert("RGBA")
            yield _Picture(av.VideoFrame.from_ndarray(np.asarray(upright), format="rgba"))


def _pillow_timing(path: Path) -> tuple[int, float]:
    """Number of frames and average frames per second."""
    with _pillow_opened(path) as image:
        durations = []
        for frame in ImageSequence.Iterator(image):
            frame.load()  # The duration is known only then.
            durations.append(frame.info.get("duration", 0))
    total = sum(durations)
    return len(durations), 1000 * len(durations) / total if total else IMAGE_FPS


# ------------------------------------------------------------------------- pictures into pixels


def _fitted(picture: _Picture, choice: FrameChoice, size: tuple[int, int]) -> Pixels:
    """A decoded frame as RGB at its final size, upright, over black."""
    frame, parts = picture.frame, picture.frame.format.components
    if any(part.is_alpha for part in parts) or frame.format.has_palette:
        frame = _over_black(frame)
    # Resampled and converted in one step, in 16 bits where the file has more than 8.
    deep = max(part.bits for part in frame.format.components) > 8
    # Files that do not name their color matrix mean what players assume: BT.709 from HD on.
    untagged = frame.colorspace == 2 and not frame.format.is_rgb
    matrix = "ITU709" if untagged and (frame.width >= 1280 or frame.height > 576) else None
    scaled, turns = choice.scaled_size(*picture.size, size), picture.quarter_turns
    height, width = scaled[::-1] if turns % 2 else scaled
    converted = frame.reformat(
        width,
        height,
        "rgb48le" if deep else "rgb24",
        src_colorspace=matrix,
        interpolation=_SCALING,
    )
    pixels = np.rot90(converted.to_ndarray(), turns)
    for axis, wanted in enumerate(size):  # the middle is cut out, or stands between black bars
        spare = pixels.shape[axis] - wanted
        if spare > 0:
            pixels = pixels.take(range(spare // 2, spare // 2 + wanted), axis)
        elif spare < 0:
            bars = [(0, 0)] * 3
            bars[axis] = (-spare // 2, -spare - (-spare // 2))
            pixels = np.pad(pixels, bars)
    return np.ascontiguousarray(pixels)


def _over_black(frame: av.VideoFrame) -> av.VideoFrame:
    """Blend before resampling, so that hidden colors do not bleed into visible ones."""
    deep = max(component.bits for component in frame.format.components) > 8
    rgba = frame.reformat(format="rgba64le" if deep else "rgba").to_ndarray()
    shares = rgba / (65535.0 if deep else 255.0)
    blended = (shares[..., :3] * shares[..., 3:] * 65535).round().astype(np.uint16)
    return av.VideoFrame.from_ndarray(blended, format="rgb48le")
