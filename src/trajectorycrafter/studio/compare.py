"""The page that shows source, render and result of a run beside each other, in step.

The one thing a reader would get wrong: the page lies in the run's folder and names its neighbours
only, so it works from the studio's server and from the disk alike.
"""

import json
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from ..config.redirect import RedirectSettings
from ..geometry.trajectory_files import read_trajectory
from ..job.reshoot import OUTPUTS, frame_choice
from ..runtime.files import write_text
from ..video.clip import Video
from ..video.reading import probe

SOURCE, PAGE = "source.mp4", "compare.html"
_VIEWS = {SOURCE: "Source", "render.mp4": "Render", "video.mp4": "Result"}
_TOLD = {
    "video.mp4": "new video",
    "render.mp4": "render",
    "mask.mp4": "mask",
    "depth.mp4": "depth, coloured",
    "depth.npz": "depth, numbers",
    "comparison.mp4": "side by side",
    "trajectory.json": "camera path",
    "path.png": "picture of the path",
    "run.json": "settings and costs",
}


def add_comparison(out: Path, clip: Path, settings: RedirectSettings, name: str) -> Path:
    """Add what the source showed at each output frame, and the page, to a finished run's folder.

    Args:
        out: folder of a run that is done.
        clip: its clip.
        settings: its settings.
        name: title of the page.

    Returns:
        The page.

    Raises:
        FileNotFoundError: no finished run there, or the clip is gone.
    """
    source = out / SOURCE
    if not source.exists():
        video = Video.read(clip, frame_choice(probe(clip), settings))
        shown = read_trajectory(out / "trajectory.json").source_frame
        video[shown].write(source, overwrite=True)
    return write_page(out, name)


def write_page(out: Path, name: str) -> Path:
    """The page alone, from `run.json` and the videos that are there.

    Raises:
        FileNotFoundError: no run there.
    """
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    settings = run["settings"]
    data = {
        "frames": run["frames"],
        "fps": run["fps"],
        "aspect": run["width"] / run["height"],
        "holes": run["holes"],
        "views": [
            {"file": file, "label": label}
            for file, label in _VIEWS.items()
            if (out / file).exists()
        ],
        "files": [
            {"file": file, "label": _TOLD[file]} for file in OUTPUTS if (out / file).exists()
        ],
        "facts": [
            f"{run['frames']} frames of {run['width']}x{run['height']}, {run['fps']:g} per second",
            f"model {settings['generator']['model']}",
            f"depth {settings['depth']['depth']}",
            f"{sum(stage['seconds'] for stage in run['stages'].values()):.0f} s",
        ],
    }
    template = files("trajectorycrafter").joinpath("assets/studio/compare.html")
    page = Template(template.read_text(encoding="utf-8")).substitute(
        title=escape(name), data=script_json(data)
    )
    write_text(page, out / PAGE)
    return out / PAGE


def script_json(value: object) -> str:
    """JSON that can stand inside a script element, whatever the texts hold."""
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
