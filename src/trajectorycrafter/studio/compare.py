"""The page that shows source, render and result of a run beside each other, in step.

It lies in the run's folder and refers only to files beside it, so it works from the studio's server
and from the disk alike.
"""

import json
from pathlib import Path

from ..config.redirect import RedirectSettings
from ..geometry.trajectory_files import read_trajectory
from ..job.reshoot import frame_choice
from ..runtime.files import write_text
from ..runtime.pages import render
from ..video.clip import Video
from ..video.reading import probe

SOURCE, PAGE = "source.mp4", "compare.html"
_VIEWS = {SOURCE: "Source", "render.mp4": "Render", "video.mp4": "Result"}
_LABELS = {
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
        out: folder of a finished run of this clip with these settings.
        name: title of the page.

    Raises:
        FileNotFoundError: no finished run there, or the clip is gone.
    """
    source = out / SOURCE
    if not source.exists():
        video = Video.read(clip, frame_choice(probe(clip, settings.clip.fps), settings))
        shown = read_trajectory(out / "trajectory.json").source_frame
        video[shown].write(source, overwrite=True)
    return write_page(out, name)


def write_page(out: Path, name: str) -> Path:
    """The page alone, from the folder's `run.json` and the videos that are there."""

    def listed(labels: dict[str, str]) -> list[dict[str, str]]:
        return [{"file": f, "label": label} for f, label in labels.items() if (out / f).exists()]

    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    settings = run["settings"]
    data = {
        "frames": run["frames"],
        "fps": run["fps"],
        "aspect": run["width"] / run["height"],
        "holes": run["holes"],
        "views": listed(_VIEWS),
        "files": listed(_LABELS),
        "facts": [
            f"{run['frames']} frames of {run['width']}x{run['height']}, {run['fps']:g} per second",
            f"model {settings['generator']['model']}",
            f"depth {settings['depth']['depth']}",
            f"{sum(stage['seconds'] for stage in run['stages'].values()):.0f} s",
        ],
    }
    write_text(render("studio/compare.html", title=name, data=data), out / PAGE)
    return out / PAGE
