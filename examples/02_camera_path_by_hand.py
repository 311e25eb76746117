"""Key a camera path by hand, look at it from above, save it, and render without any model.

python examples/02_camera_path_by_hand.py [OUT]
"""

import sys
from pathlib import Path

from trajectorycrafter import Keyframe, Trajectory, TrajectoryCrafter, Video, write_trajectory
from trajectorycrafter.video.pictures import plot_trajectory
from trajectorycrafter.video.reading import DEMO_CLIP, FrameChoice

out = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
out.mkdir(parents=True, exist_ok=True)

video = Video.read(DEMO_CLIP, FrameChoice(count=5, stride=8, size=(144, 256)))
path = Trajectory.from_keyframes(
    [
        Keyframe(time=0.0),
        Keyframe(time=0.5, azimuth_deg=10, elevation_deg=4),
        Keyframe(time=1.0, azimuth_deg=10, dolly=0.2, zoom=1.2, source_frame=2),
    ],
    frames=12,
)

shot = TrajectoryCrafter().shoot(video, path)
print("wrote", Video(shot.view.frames, video.fps).write(out / "render.mp4", overwrite=True))
print("wrote", plot_trajectory(shot.cameras, shot.source, out / "path.png"))
print("wrote", write_trajectory(path, out / "path.json"))
