"""Where clips are decoded: files, folders of images, single images.

The one thing a reader would get wrong: frames are counted in the order of presentation, and
`start`, `stride` and `count` choose by that index, not by time. A file with a variable frame rate
is resampled to a constant one first.

What is read is what a player shows on a standard screen: upright by display matrix or EXIF, square
pixels, the file's own colors (`colors.py`), fields joined, a constant rate.
"""

import math
import re
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import psutil

from .colors import SCALING, Pixels, is_deep, matrix_of, standard
from .decoding import (
    IMAGE_SUFFIXES,
    DamagedError,
    Picture,
    decoded,
    first_of,
    is_pillow,
    opened,
    past_end,
    pictures_of,
    pillow_timing,
    remarks,
    timeline,
)
from .timeline import IMAGE_FPS

if TYPE_CHECKING:
    from .clip import Video

_ALIKE = {".jpeg": ".jpg", ".tiff": ".tif"}

DEMO_CLIP = Path(__file__).parents[1] / "assets" / "clips" / "park_walk.mp4"
"""The clip that ships with the package: a walk in a park, 97 frames, fixed camera (BSD-3)."""
SMALLEST_SIDE = 8
"""Pixels; what is smaller is a mistake, not a clip."""


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
    fps: float | None = None
    """Frames per second, before the stride; None: the clip's own, made constant if it varies."""

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
        check_fps(self.fps)
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
    notes: tuple[str, ...] = ()
    """What a viewer should know of how the clip is read."""
    shown: tuple[tuple[int, int], ...] | None = None
    """Which frame of the file each one is, and when that is shown; None: each once, in order."""

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


def check_fps(fps: float | None) -> None:
    """Raises ValueError unless frames per second are above 0 and at most 1000, or None."""
    if fps is not None and not 0 < fps <= 1000:
        raise ValueError(f"fps is a number above 0, at most 1000, or None; got {fps}.")


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


def probe(path: str | Path, fps: float | None = None) -> VideoInfo:
    """Length, rate and size of a clip, decoding one frame of it at most.

    Args:
        fps: frames per second to which it will be resampled in time; for images, their rate.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it is not a clip, an image or a folder of images, or fps is out of range.
    """
    path = Path(path)
    check_fps(fps)
    if not path.exists():
        raise FileNotFoundError(_nothing_at(path))
    if path.is_dir():
        files = _images_of(path)
        size = first_of(pictures_of(files[0]), files[0]).size
        return VideoInfo(len(files), fps or IMAGE_FPS, *size, "images", False)
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; expected a video or an image.")
    if is_pillow(path):
        size = first_of(pictures_of(path), path).size
        count, own = pillow_timing(path)
        return VideoInfo(count, fps or own, *size, path.suffix[1:].lower(), False)
    with opened(path) as (container, stream):
        codec, sound = stream.codec_context.name, bool(container.streams.audio)
        line = timeline(path, container, stream, exact=fps is not None)
        picture = first_of(decoded(path, container, stream), path)
        notes = remarks(picture, line, container)
    height, width = picture.size
    if line.count == 1:
        return VideoInfo(1, fps or IMAGE_FPS, height, width, codec, sound, tuple(notes))
    rate, shown = fps or line.fps, None
    if line.jumps:
        rate = fps or (float(line.rates[0]) if line.rates else IMAGE_FPS)
        notes.append(f"the clip's times jump; its frames are played evenly, {rate:.4g} per second")
        return VideoInfo(line.count, rate, height, width, codec, sound, tuple(notes))
    if line.varies and fps is None:
        rate = line.even_fps
        notes.append(
            f"the clip's frame rate varies; it is played at {rate:.4g} frames per second, slower "
            "parts with repeated frames (--fps N for another rate)"
        )
    if line.stamps and (line.varies or abs(rate / line.fps - 1) > 1e-6):
        shown = tuple(line.retimed(rate))
    elif not line.stamps and fps is not None and abs(fps / line.fps - 1) > 1e-6:
        raise ValueError(f"{path} does not say when its frames are shown; leave --fps out.")
    count = line.count if shown is None else len(shown)
    return VideoInfo(count, rate, height, width, codec, sound, tuple(notes), shown)


def _nothing_at(path: Path) -> str:
    """Why there is no clip at `path`, and what can be given."""
    text = str(path)
    if re.match(r"[a-z]{2,}:/", text):
        return f"{text} is a web address; download the clip first and give the file."
    if text == "-":
        return "A clip cannot be read from standard input; give a file."
    if re.search(r"%0?\d*d|[*?]", text):
        return f"{text} is a pattern; give the folder of the images, here {path.parent}."
    return f"There is no file or folder {path}."


def read_video(path: str | Path, choice: FrameChoice, info: VideoInfo | None = None) -> "Video":
    """Read frames of a clip, an image (one frame) or a folder of images (in natural order).

    Only the chosen frames are kept, each already at its final size. A damaged file is fine as long
    as the chosen frames lie before the damage. Images play at 24 frames per second.

    Args:
        info: what `probe` has said of the clip at `choice.fps`, which is then not asked again.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: no pictures, damaged, too few frames, frames below 8x8 pixels, images of
            different sizes, or more frames than memory holds.
    """
    import torch

    from .clip import Video

    path = Path(path)
    info = info or probe(path, choice.fps)
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
        with closing(_in_time(path, choice.start, info)) as pictures:
            for index, picture in enumerate(pictures, choice.start):
                total = index + 1
                if len(pixels) == choice.count:
                    break
                if (index - choice.start) % choice.stride:
                    continue
                if not pixels:
                    left = 1 + (info.frames - index) // choice.stride
                    size = _planned_size(path, picture, choice, min(choice.count or left, left))
                pixels.append(_fitted(picture, choice, size))
    except DamagedError:
        damaged = True
    _check_count(path, choice, len(pixels), total or info.frames, damaged)
    return pixels


def _in_time(path: Path, start: int, info: VideoInfo) -> Generator[Picture, None, None]:
    """The frames of a file from `start` on, repeated or left out as the rate demands."""
    if info.shown is None:
        yield from pictures_of(path, start)
        return
    if start >= len(info.shown):
        raise past_end(path, start, len(info.shown))
    pictures = pictures_of(path, info.shown[start][0])
    picture = next(pictures, None)
    for _, stamp in info.shown[start:]:
        while picture is not None and picture.time < stamp:
            picture = next(pictures, None)
        if picture is None:
            return
        yield picture


def _read_folder(path: Path, choice: FrameChoice) -> list[Pixels]:
    """The chosen images of a folder."""
    files = _images_of(path)
    chosen = files[choice.start :: choice.stride][: choice.count]
    _check_count(path, choice, len(chosen), len(files), damaged=False)
    first = first_of(pictures_of(chosen[0]), chosen[0])
    size = _planned_size(path, first, choice, len(chosen))
    pixels: list[Pixels] = []
    for file in chosen:
        picture = first_of(pictures_of(file), file)
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
    kinds = Counter(_ALIKE.get(file.suffix.lower(), file.suffix.lower()) for file in files)
    series = Counter(re.sub(r"\d+", "#", file.stem) for file in files)
    if len(kinds) > 1 or 1 < len(series) < len(files):
        found = kinds if len(kinds) > 1 else series
        several = ", ".join(f"{found[name]} of {name}" for name in sorted(found)[:4])
        raise ValueError(
            f"{folder} holds images of more than one series ({several}); a clip is one series of "
            "one kind. Move the others to a folder of their own."
        )

    def natural(file: Path) -> list[tuple[int, str]]:
        return [(int(n or 0), text) for n, text in re.findall(r"(\d+)|(\D+)", file.name)]

    return sorted(files, key=natural)


def _planned_size(
    path: Path, picture: Picture, choice: FrameChoice, frames: int
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
        raise past_end(path, choice.start, total)
    if choice.count is not None and not choice.shorter_ok:
        raise ValueError(
            f"Expected {choice.count} frames, but {path} has {total} and {chosen} leave {got}; "
            f"ask for at most {got}, or lower start or stride."
        )


def _fitted(picture: Picture, choice: FrameChoice, size: tuple[int, int]) -> Pixels:
    """A decoded frame as RGB at its final size, upright, over black."""
    (swap, mirror_x, mirror_y), scaled = picture.upright, choice.scaled_size(*picture.size, size)
    frame = standard(picture.frame)
    # Resampled and converted in one step, in 16 bits where the file has more than 8.
    height, width = scaled[::-1] if swap else scaled
    kind, matrix = "rgb48le" if is_deep(frame) else "rgb24", matrix_of(frame)
    converted = frame.reformat(width, height, kind, src_colorspace=matrix, interpolation=SCALING)
    pixels = converted.to_ndarray()
    pixels = pixels.swapaxes(0, 1) if swap else pixels
    pixels = pixels[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
    for axis, wanted in enumerate(size):  # the middle is cut out, or stands between black bars
        spare = pixels.shape[axis] - wanted
        if spare > 0:
            pixels = pixels.take(range(spare // 2, spare // 2 + wanted), axis)
        elif spare < 0:
            bars = [(0, 0)] * 3
            bars[axis] = (-spare // 2, -spare - (-spare // 2))
            pixels = np.pad(pixels, bars)
    return np.ascontiguousarray(pixels)
