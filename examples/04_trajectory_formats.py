"""Turn one camera path into the files of other programs, and read one back.

python examples/04_trajectory_formats.py [OUT]
"""

import sys
from pathlib import Path

from trajectorycrafter import preset, read_trajectory, write_trajectory
from trajectorycrafter.geometry.cameras import focal_from_fov, intrinsics, static_cameras
from trajectorycrafter.geometry.trajectory_files import TrajectoryFormat

out = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
out.mkdir(parents=True, exist_ok=True)

frames, height, width = 24, 384, 672
source = static_cameras(intrinsics(focal_from_fov(55, width), height, width, frames), height, width)
cameras = preset("spiral", frames).cameras(source, radius=3.0)

names: dict[TrajectoryFormat, str] = {
    "nerfstudio": "camera_path.json",
    "colmap": "colmap",
    "tum": "path.tum",
    "vista4d": "path.npz",
    "blender": "blender.json",
}
for format, name in names.items():
    print("wrote", write_trajectory(cameras, out / name, format))

back = read_trajectory(out / "camera_path.json").cameras(source, radius=3.0)
print(f"largest difference: {(back.world_to_camera - cameras.world_to_camera).abs().max():.1e}")
