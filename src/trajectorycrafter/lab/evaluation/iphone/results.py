"""Where methods leave their videos of the iPhone benchmark, and which frame shows which moment.

The one thing a reader would get wrong: a video may have a frame for each source frame or only for
each held-out one; its length tells, or the numbers in its frames' names.
"""

import re
from pathlib import Path


def find_result(folder: Path, scene: str, camera: str, first: bool) -> list[Path]:
    """A method's video of a scene as seen by a camera: one file, or its frames in order.

    Tried are `<scene>/<camera>`, `<scene>_<camera>` and, for the first camera, `<scene>`, each as
    .mp4 and as a folder of .png; `<camera>_*.png` in `<scene>/results/rgb`, `<scene>/rgb` and
    `<scene>` (Shape of Motion); `*<scene>_*cam<camera>.mp4` (CogNVS).

    Raises:
        FileNotFoundError: none of them is there.
    """
    places = [f"{scene}/{camera}", f"{scene}_{camera}", *([scene] if first else [])]
    named = [
        f"{inside}/{camera}_*.png" for inside in (f"{scene}/results/rgb", f"{scene}/rgb", scene)
    ]
    patterns = [*(f"{p}.mp4" for p in places), *named, *(f"{p}/*.png" for p in places)]
    for pattern in [*patterns, f"*{scene}_*cam{camera}.mp4"]:
        files = []
        for path in folder.glob(pattern):
            # A frame's name may say that another camera has seen it.
            seen_by = re.fullmatch(r"(\d+)_\d+", path.stem) if path.suffix == ".png" else None
            files += [path] if seen_by is None or seen_by[1] == camera else []
        if files:
            return sorted(files, key=_number)
    raise FileNotFoundError(
        f"No result for {scene}, camera {camera}, in {folder}; expected {places[0]}.mp4, "
        f"{places[1]}.mp4 or a folder of PNGs of that name."
    )


def _number(path: Path) -> int:
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else -1


def partners(files: list[Path], made: int, clip: list[int], wanted: list[int]) -> list[int]:
    """For each wanted moment the made frame that shows it.

    Frames whose names hold all wanted numbers are known by them; else there is one frame for each
    wanted moment, or one for each source frame of the clip.

    Args:
        made: number of frames.
        clip, wanted: moments that the method was given, and those that are scored.

    Raises:
        ValueError: another number of frames.
    """
    numbers = {_number(path): i for i, path in enumerate(files)} if made == len(files) > 1 else {}
    if numbers.keys() >= set(wanted):
        return [numbers[moment] for moment in wanted]
    if made == len(wanted):
        return list(range(made))
    if made == len(clip):
        return [clip.index(moment) for moment in wanted]
    raise ValueError(
        f"{files[0]} has {made} frames; expected {len(wanted)}, one for each scored target frame, "
        f"or {len(clip)}, one for each source frame (moments {clip[0]} to {clip[-1]})."
    )
