"""Re-shoot the clip in the package along a named path, and write the new video.

python examples/01_redirect_a_clip.py [OUT]
"""

import sys
from pathlib import Path

from trajectorycrafter import TrajectoryCrafter, Video, preset
from trajectorycrafter.video.reading import DEMO_CLIP, FrameChoice

out = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
out.mkdir(parents=True, exist_ok=True)

# Five small frames, so that the example takes seconds; leave the choice away for the whole clip.
video = Video.read(DEMO_CLIP, FrameChoice(count=5, stride=8, size=(144, 256)))
crafter = TrajectoryCrafter(model="fill", depth="embedded")
result = crafter(video, preset("orbit-right", len(video), amount=12))

print("wrote", result.video.write(out / "reshot.mp4", overwrite=True))
print(f"invented: {1 - result.shot.view.visible.float().mean():.0%} of the pixels")
