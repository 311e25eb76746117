"""Make the moving picture on top of the README: the shipped clip beside what `make demo` makes.

python scripts/make_before_after.py demo docs/images/before_after.webp
"""

import sys
from pathlib import Path

import torch
from PIL import Image

from trajectorycrafter import Video
from trajectorycrafter.video.reading import DEMO_CLIP, FrameChoice

SIZE = (182, 320)
"""Height and width of each half: the demo's shape, and narrow enough for the README's column."""
STRIDE = 2
"""Half of the frames at half the rate: the eye follows them, and the file stays below 1 MB."""


def main(demo: Path, out: Path) -> None:
    """Write source and result side by side as an animated WebP that repeats without end."""
    source, result = (
        Video.read(clip, FrameChoice(count=None, stride=STRIDE, size=SIZE))
        for clip in (DEMO_CLIP, demo / "video.mp4")
    )
    gap = torch.ones(len(result), 3, SIZE[0], 4)
    both = torch.cat([source.frames[: len(result)], gap, result.frames], dim=3)
    pictures = [
        Image.fromarray((frame.permute(1, 2, 0) * 255).round().byte().numpy()) for frame in both
    ]
    duration = round(1000 / result.fps)
    pictures[0].save(
        out, save_all=True, append_images=pictures[1:], duration=duration, loop=0, quality=70
    )
    print(f"{out}: {len(pictures)} frames, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
