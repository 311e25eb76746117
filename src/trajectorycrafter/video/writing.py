"""Where clips are encoded: H.264 files and folders of PNGs, whole or not at all.

The one thing a reader would get wrong: the color conversion is done here and not by FFmpeg's
scaler, which would put the color samples half a pixel off.
"""

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from jaxtyping import Float32
from PIL import Image

from ..runtime.files import whole
from .sound import Sound, SoundTrack

if TYPE_CHECKING:
    from .clip import Video


def write_video(
    video: "Video",
    path: str | Path,
    overwrite: bool = False,
    crf: int = 14,
    sound: Sound | None = None,
) -> Path:
    """Write an H.264 mp4 that every player shows, or a folder of PNGs if `path` has no suffix.

    The mp4 is 8-bit 4:2:0, tagged and converted as BT.709; an odd height or width grows by one
    repeated row or column. It appears under its name only when it is complete. Folders above it are
    made. Values are clamped to [0, 1] and rounded.

    Args:
        crf: quality, 0 (lossless) to 51.
        sound: put beside the pictures of an mp4.

    Raises:
        ValueError: no frames, values or a rate that are not finite, an unknown suffix, or a `path`
            that exists while `overwrite` is False.
        OSError: the folder cannot be written or the disk is full; nothing is left behind.
    """
    path = Path(path)
    _check_writable(video, path, overwrite, crf)
    with whole(path) as partial:
        if path.suffix:
            _encode_mp4(video, partial, crf, sound)
        else:
            _write_pngs(video, partial)
    return path


def _check_writable(video: "Video", path: Path, overwrite: bool, crf: int) -> None:
    """Refuse before any work what cannot be written."""
    if path.suffix.lower() not in (".mp4", ""):
        raise ValueError(
            f"Expected a path that ends in .mp4, or one without suffix for PNGs; got {path}."
        )
    if len(video) == 0 or min(video.height, video.width) == 0:
        raise ValueError(f"There is nothing to write to {path}: {tuple(video.frames.shape)}.")
    if not (math.isfinite(video.fps) and video.fps > 0):
        raise ValueError(f"Expected a positive frame rate for {path}, got {video.fps}.")
    if not 0 <= crf <= 51:
        raise ValueError(f"crf lies between 0 and 51; got {crf}.")
    for index, frame in enumerate(video.frames):
        if not bool(frame.isfinite().all()):
            raise ValueError(f"Frame {index} for {path} has values that are not finite.")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists already; pass --overwrite (overwrite=True) to replace it.")
    if path.exists() and path.is_dir() != (path.suffix == ""):
        raise ValueError(f"{path} exists and is {'a folder' if path.is_dir() else 'a file'}.")
    if path.is_dir() and any(not re.fullmatch(r"\d+\.png", file.name) for file in path.iterdir()):
        raise ValueError(f"{path} holds other files than numbered PNGs; choose another folder.")


def _arrays_of(video: "Video") -> Iterator[Float32[np.ndarray, "H W 3"]]:
    """The frames one at a time, clamped to [0, 1]."""
    for frame in video.frames:
        yield frame.detach().float().clamp(0, 1).permute(1, 2, 0).cpu().numpy()


def _encode_mp4(video: "Video", path: Path, crf: int, sound: Sound | None) -> None:
    rate = Fraction(video.fps).limit_denominator(1001)
    with av.open(str(path.absolute()), "w", options={"movflags": "+faststart"}) as container:
        # Without the macroblock tree, whose rounding differs from run to run on some processors:
        # equal frames must give equal files.
        options = {"crf": str(crf), "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width = video.height + video.height % 2, video.width + video.width % 2
        stream.pix_fmt = "yuv420p"
        _tag_bt709(stream.codec_context)
        track = None if sound is None else SoundTrack(container, sound, len(video) / video.fps)
        for index, pixels in enumerate(_arrays_of(video)):
            frame = _to_yuv(pixels)
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track is not None:
            track.write()


def _to_yuv(pixels: Float32[np.ndarray, "H W 3"]) -> av.VideoFrame:
    """BT.709, limited range, 4:2:0.

    FFmpeg's scaler would put the color samples into the middle of four pixels, but H.264 without
    further notice has them at the left two, and players (our reader too) go by that: a shift of
    half a pixel. So the samples are taken here, at the left.
    """
    height, width = pixels.shape[:2]
    even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    # Written out, since a matrix product may round differently from run to run.
    luma = 0.2126 * even[..., 0] + 0.7152 * even[..., 1] + 0.0722 * even[..., 2]
    blue, red = (even[..., 2] - luma) / 1.8556, (even[..., 0] - luma) / 1.5748
    planes = [16 + 219 * luma]
    for chroma in (blue, red):
        # Every second column, smoothed by 1-2-1, and the mean of every two rows.
        sides = np.pad(chroma, ((0, 0), (1, 0)), mode="edge")
        columns = (sides[:, :-1:2] + 2 * sides[:, 1::2] + chroma[:, 1::2]) / 4
        planes.append(128 + 224 * ((columns[::2] + columns[1::2]) / 2))
    packed = np.concatenate([plane.ravel() for plane in planes]).round().astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(packed.reshape(-1, even.shape[1]), format="yuv420p")
    _tag_bt709(frame)
    return frame


def _tag_bt709(target: Any) -> None:
    """Name primaries, curve and matrix (1 is BT.709 for each) and the limited range (1)."""
    target.color_primaries = target.color_trc = target.colorspace = target.color_range = 1


def _write_pngs(video: "Video", folder: Path) -> None:
    folder.mkdir()
    for index, pixels in enumerate(_arrays_of(video)):
        image = Image.fromarray((pixels * 255).round().astype(np.uint8))
        image.save(folder / f"{index:05d}.png")
