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
        got = " and ".join(f"{len(v)} frames of {v.height}x{v.width}" for v in (made, true))
        raise ValueError(f"VMAF compares clips of equal length and size; got {got}.")
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError as error:
        raise ValueError(
            "VMAF needs a package: pip install 'trajectorycrafter[eval]' (imageio-ffmpeg)."
        ) from error
    width, height = made.width, made.height
    # The filters take the two clips apart again and compare them.
    luma = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd,format=yuv444p"
    graph = (
        f"[0:v]{luma},split[both][again];"
        f"[both]crop={width}:{height}:0:0[made];[again]crop={width}:{height}:0:{height}[true];"
        "[made][true]libvmaf=n_threads=2"
    )
    command = [get_ffmpeg_exe(), "-hide_banner", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{2 * height}", "-r", f"{made.fps:g}", "-i", "-"]
    command += ["-filter_complex", graph, "-f", "null", "-"]
    stacked = torch.cat([made.frames, true.frames], dim=2).permute(0, 2, 3, 1)
    pixels = (stacked.cpu().float() * 255).round().clamp(0, 255).to(torch.uint8)
    raw = np.ascontiguousarray(pixels.numpy()).tobytes()
    said = subprocess.run(command, input=raw, capture_output=True).stderr.decode(errors="replace")
    found = re.search(r"VMAF score: ([\d.]+)", said)
    if found is not None:
        return float(found.group(1))
    if "libvmaf" in said and "No such filter" in said:
        raise ValueError(
            "This FFmpeg has no libvmaf filter. Use the one of imageio-ffmpeg (pip install "
            "'trajectorycrafter[eval]', and unset IMAGEIO_FFMPEG_EXE), or leave VMAF out."
        )
    last = said.strip().splitlines()[-1] if said.strip() else "it said nothing"
    raise ValueError(f"FFmpeg could not compute VMAF: {last}")
