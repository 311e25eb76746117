"""VMAF, Netflix's learned score of a distorted video, through the FFmpeg of `imageio-ffmpeg`.

The one thing a reader would get wrong: VMAF was made for compression, where every pixel stays in
place. Shifted by 4 pixels, the shipped clip scores 8 against itself, unshifted 99: a clip seen by a
slightly wrong camera scores near 0 however good it looks.
"""

import re
import subprocess

import numpy as np
import torch

from ...video.clip import Video

_PACKAGE = "VMAF needs a package: pip install 'trajectorycrafter[eval]' (imageio-ffmpeg)."


def vmaf(made: Video, true: Video) -> float:
    """VMAF (model v0.6.1, mean over frames) of a clip against the true one, 0 to 100.

    Both are rounded to 8 bits, go to FFmpeg as one raw stream (one above the other) and are
    compared as BT.709 luma of limited range, so nothing is lost to a codec on the way. Source:
    Li et al. 2016, https://github.com/Netflix/vmaf.

    Raises:
        ValueError: clips of different length or size, `imageio-ffmpeg` missing, or an FFmpeg that
            cannot do it.
    """
    if made.frames.shape != true.frames.shape or len(made) == 0:
        raise ValueError(
            f"VMAF compares clips of equal length and size; got {_said(made)} and {_said(true)}."
        )
    size = f"{made.width}x{2 * made.height}"
    command = [_ffmpeg(), "-hide_banner", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size]
    command += [
        "-r",
        f"{made.fps:g}",
        "-i",
        "-",
        "-filter_complex",
        _graph(made),
        "-f",
        "null",
        "-",
    ]
    stacked = torch.cat([made.frames, true.frames], dim=2)
    done = subprocess.run(command, input=_raw(stacked), capture_output=True)
    said = done.stderr.decode(errors="replace")
    found = re.search(r"VMAF score: ([\d.]+)", said)
    if found is None:
        raise ValueError(_failure(said))
    return float(found.group(1))


def _graph(video: Video) -> str:
    """The filters that take the two clips apart again and compare them."""
    width, height = video.width, video.height
    luma = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd,format=yuv444p"
    return (
        f"[0:v]{luma},split[both][again];"
        f"[both]crop={width}:{height}:0:0[made];[again]crop={width}:{height}:0:{height}[true];"
        "[made][true]libvmaf=n_threads=2"
    )


def _raw(frames: torch.Tensor) -> bytes:
    pixels = (frames.cpu().float() * 255).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy()).tobytes()


def _ffmpeg() -> str:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError as error:
        raise ValueError(_PACKAGE) from error
    return get_ffmpeg_exe()


def _failure(said: str) -> str:
    last = said.strip().splitlines()[-1] if said.strip() else "it said nothing"
    if "libvmaf" in said and "No such filter" in said:
        return (
            "This FFmpeg has no libvmaf filter. Use the one of imageio-ffmpeg (pip install "
            "'trajectorycrafter[eval]', and unset IMAGEIO_FFMPEG_EXE), or leave VMAF out."
        )
    return f"FFmpeg could not compute VMAF: {last}"


def _said(video: Video) -> str:
    return f"{len(video)} frames of {video.height}x{video.width}"
