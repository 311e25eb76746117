"""VBench-7: the seven no-reference scores of Table 2 of the TrajectoryCrafter paper.

The one thing a reader would get wrong: the scores reward a camera that hardly moves; a still
picture gets 1 in three of them. Always report them together with the camera error.

Flickering is computed here, exactly. Three more are computed here where their networks are at hand
(`networks.py`), and all others by the `vbench` package (`external.py`). What cannot
be computed is left out, and the report says so; see docs/reference/vbench.md.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ....runtime.engine import in_words
from ....runtime.files import write_json
from ....runtime.machine import pick_device
from ..records import Column, Entry, EntryLog, Evaluation, Quoted
from . import networks
from .external import external_scores, vbench_version, video_stamp
from .networks import Scorer

COLUMNS = [
    Column(name, label, "higher", about, digits=4)
    for name, label, about in (
        ("subject_consistency", "Subject consistency",
         "DINO ViT-B/16: cosine to the frame before and to the first, negative as 0, mean"),
        ("background_consistency", "Background consistency",
         "CLIP ViT-B/32: cosine to the frame before and to the first, negative as 0, mean"),
        ("temporal_flickering", "Temporal flickering",
         "(255 - mean absolute difference of neighbouring 8-bit frames) / 255"),
        ("motion_smoothness", "Motion smoothness",
         "(255 - mean absolute difference of odd frames and AMT-S between even ones) / 255"),
        ("overall_consistency", "Overall consistency",
         "ViCLIP: cosine of 8 frames and the prompt"),
        ("aesthetic_quality", "Aesthetic quality",
         "LAION's linear head on CLIP ViT-L/14, a tenth of its mean"),
        ("imaging_quality", "Imaging quality",
         "MUSIQ (SPAQ), longer side at most 512, a hundredth of its mean"),
    )
]  # fmt: skip
"""The dimensions in the order of the paper's table; all are better when higher, at most 1."""
DIMENSIONS = tuple(column.name for column in COLUMNS)

QUOTED = [
    Quoted(
        "TrajectoryCrafter",
        dict(zip(DIMENSIONS, (0.9236, 0.9512, 0.9437, 0.9815, 0.2847, 0.5920, 0.6479))),
        "TrajectoryCrafter (ICCV 2025), Table 2, on its own videos, which are not public",
    ),
    Quoted(
        "TrajectoryCrafter (measured by EasyCreator)",
        dict(zip(DIMENSIONS[:5], (0.863, 0.867, 0.793, 0.882, 0.246))),
        "EasyCreator, on other videos: the same system, and much lower",
    ),
]
"""What others printed."""

BIAS = (
    "These scores reward a camera that hardly moves: never read them without the camera error of "
    "the same videos."
)
MIN_FRAMES = 3
"""Motion smoothness interpolates between frames 0 and 2."""


VBENCH_TRAJECTORIES = {
    "orbit-left": 20.0,
    "orbit-right": 20.0,
    "orbit-up": 15.0,
    "orbit-down": 10.0,
    "dolly-in": 0.3,
    "dolly-out": 0.3,
}
"""Presets of `trajectorycrafter redirect --camera` with their amounts: degrees for orbits, shares
of the radius for dollies. Six moves a clip, as in Sec. 4.3. The paper does not say which: these are
our choice, well inside the ranges that the released system documents."""


def vbench_jobs(
    clips: Sequence[Path], prompts: Mapping[str, str] | None = None
) -> list[dict[str, str]]:
    """A manifest of Sec. 4.3: every clip with each of `VBENCH_TRAJECTORIES`, a row a video.

    A row has columns of a manifest (docs/use/batches.md): absolute `clip`, `trajectory`, `name`
    (`<clip>-<trajectory>`), and `prompt` where there is one.

    Args:
        prompts: what a clip shows, by the clip's name without suffix.

    Raises:
        ValueError: two clips of one name.
    """
    stems = [clip.stem for clip in clips]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise ValueError(f"Clips need different names; these are there twice: {', '.join(twice)}.")
    rows = []
    for clip in clips:
        said = {"prompt": prompts[clip.stem]} if prompts and clip.stem in prompts else {}
        for move, amount in VBENCH_TRAJECTORIES.items():
            path = {"clip": str(clip.absolute()), "trajectory": f"{move}:{amount:g}"}
            rows.append(path | said | {"name": f"{clip.stem}-{move}"})
    return rows


# ------------------------------------------------------------------------------------- flickering


def temporal_flickering(frames: Float[Tensor, "T 3 H W"]) -> float:
    """(255 - m) / 255, m the mean absolute difference of neighboring frames in 8 bits.

    1 is a still picture. Equal to VBench's `temporal_flickering.py` to the last bit: frames rounded
    to 8 bits, each difference averaged in float32, colors innermost, then the differences. VBench
    means it for static scenes; it has no way to tell a flicker from a motion.

    Raises:
        ValueError: fewer than two frames.
    """
    if len(frames) < 2:
        raise ValueError(f"Flickering needs at least 2 frames, got {len(frames)}.")
    levels = (frames.clamp(0, 1) * 255).round().permute(0, 2, 3, 1)
    rows = np.ascontiguousarray(levels.cpu().numpy(), dtype=np.float32)
    differences = np.array([np.mean(np.abs(a - b)) for a, b in zip(rows, rows[1:])])
    return (255.0 - float(np.mean(differences))) / 255.0


def read_as_vbench(path: Path) -> Float[Tensor, "T 3 H W"]:
    """All frames as OpenCV decodes them, which is how VBench reads a file for its flickering.

    `Video.read` honors the file's color matrix, OpenCV need not: levels may differ by a few.

    Raises:
        ValueError: not a video, or fewer than `MIN_FRAMES` frames.
    """
    import cv2

    # OpenCV's type stub does not know that None means the end.
    capture: Any = cv2.VideoCapture(str(path))
    pictures: list[Tensor] = []
    while (picture := capture.read()[1]) is not None:
        pictures.append(torch.from_numpy(picture))
    capture.release()
    if len(pictures) < MIN_FRAMES:
        raise ValueError(f"{path}: expected a video of {MIN_FRAMES} frames, got {len(pictures)}.")
    return torch.stack(pictures).flip(-1).permute(0, 3, 1, 2).float() / 255


# ------------------------------------------------------------------------------------- evaluation


def evaluate_vbench(
    results: Path,
    out: Path,
    *,
    dimensions: Sequence[str] = DIMENSIONS,
    weights: Path | None = None,
    python: Path | None = None,
    prompts: Path | None = None,
    device: str = "auto",
) -> Evaluation:
    """Score every `results/<method>/*.mp4`; one entry a method and video.

    A video called `<clip>-<trajectory>` is an entry of that clip in the group of that trajectory.
    A video that cannot be scored is an entry with its error. What is in `out` already and still
    holds is not computed again.

    Args:
        out: folder for the entries as they are made and for the files of the `vbench` package.
        weights: folder with networks (docs/reference/vbench.md); default: the Hugging Face cache.
        python: interpreter of an environment with `vbench`, for what is not computed here.
        prompts: JSON, what a video shows by its file name, name without suffix, or clip.

    Raises:
        FileNotFoundError: no videos, no such interpreter or prompts.
        ValueError: unknown dimensions, a video without a prompt, or a failure of the package.
    """
    videos = find_videos(results)
    texts = None if prompts is None else read_prompts(prompts, videos)
    here, by_package, left_out = _planned(dimensions, weights, python, prompts)
    by = dict.fromkeys(here, "here, no network")
    for name in here:
        if name in networks.REPOSITORIES:
            place = weights or "the Hugging Face cache"
            by[name] = f"here, {networks.REPOSITORIES[name]} in {place}"
    package: dict[Path, dict[str, float]] = {}
    if python is not None and by_package:
        version = vbench_version(python)
        by |= dict.fromkeys(by_package, f"vbench {version} in {python}")
        package = _package_scores(by_package, python, videos, out, texts)

    @cache
    def load() -> dict[str, Scorer]:
        own: dict[str, Scorer] = {"temporal_flickering": temporal_flickering}
        place = pick_device(device)
        return {n: own.get(n) or networks.load_scorer(n, weights, place) for n in here}

    entries = _entries(videos, out, by, package, load)
    columns = [column for column in COLUMNS if column.name in by]
    note = f"Left out: {', '.join(left_out)}." if left_out else ""
    if left_out and [*by] == ["temporal_flickering"]:
        note = (
            "Nothing but flickering could be computed: there are neither networks nor an "
            "environment with vbench. docs/reference/vbench.md says how to get them."
        )
    about = {"results": str(results), "computed_by": by, "left_out": left_out}
    return Evaluation("vbench", columns, entries, QUOTED, about | {"bias": BIAS, "note": note})


def find_videos(results: Path) -> list[Path]:
    """`results/<method>/*.mp4`, sorted.

    Raises:
        FileNotFoundError: there is none.
    """
    videos = sorted(v for v in results.glob("*/*.mp4") if not v.name.startswith("."))
    if not videos:
        raise FileNotFoundError(f"Expected videos at {results}/<method>/*.mp4, and found none.")
    return videos


def read_prompts(path: Path, videos: Sequence[Path]) -> dict[Path, str]:
    """The prompt of every video, from JSON by file name, name without suffix, or clip.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such JSON, or a video without a prompt.
    """
    value = json.loads(path.read_text())
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ValueError(f'{path}: expected JSON like {{"clip": "what it shows"}}.')
    texts: dict[Path, str] = {}
    for video in videos:
        names = (video.name, video.stem, clip_and_group(video)[0])
        known = [value[name] for name in names if name in value]
        texts |= {video: known[0]} if known else {}
    lacks = [str(video) for video in videos if video not in texts]
    if lacks:
        raise ValueError(f"{path} has no prompt for {', '.join(lacks[:5])} ({len(lacks)} in all).")
    return texts


def clip_and_group(video: Path) -> tuple[str, dict[str, str]]:
    """The clip of `<clip>-<trajectory>.mp4` and its group; other names are clips of their own."""
    for move in VBENCH_TRAJECTORIES:
        if video.stem.endswith(f"-{move}"):
            return video.stem.removesuffix(f"-{move}"), {"trajectory": move}
    return video.stem, {}


def _planned(
    dimensions: Sequence[str], weights: Path | None, python: Path | None, prompts: Path | None
) -> tuple[list[str], list[str], dict[str, str]]:
    """What is computed here, what by the package, and what is left out, with the reason."""
    unknown = [name for name in dimensions if name not in DIMENSIONS]
    if unknown or not dimensions:
        raise ValueError(f"Expected dimensions of {', '.join(DIMENSIONS)}; got {list(dimensions)}.")
    if weights is not None and not weights.is_dir():
        raise FileNotFoundError(f"Expected a folder with networks at {weights}; it is not there.")
    here: list[str] = []
    by_package: list[str] = []
    left_out: dict[str, str] = {}
    for name in (name for name in DIMENSIONS if name in dimensions):
        lacks = "its network is in the vbench package only"
        if name in networks.REPOSITORIES:
            lacks = networks.missing(name, weights)
        if lacks is None or name == "temporal_flickering":
            here.append(name)
        elif python is None:
            left_out[name] = f"{lacks}, and no --vbench-python was given"
        elif name == "overall_consistency" and prompts is None:
            left_out[name] = "it compares with the prompt, and no --prompts were given"
        else:
            by_package.append(name)
    if not here and not by_package:
        why = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise ValueError(
            f"None of the dimensions can be computed. {why}. See docs/reference/vbench.md."
        )
    return here, by_package, left_out


def _package_scores(
    names: Sequence[str],
    python: Path,
    videos: Sequence[Path],
    out: Path,
    texts: Mapping[Path, str] | None,
) -> dict[Path, dict[str, float]]:
    """The package's scores of the videos it can read: one run for each method and dimension."""
    scores: dict[Path, dict[str, float]] = {}
    for video in videos:
        # VBench stops at a video that it cannot read, and all scores of the run with it.
        with suppress(ValueError):
            read_as_vbench(video)
            scores[video] = {}
    methods = sorted({video.parent for video in scores})
    runs = [(method, name) for method in methods for name in names]
    for method, name in tqdm(runs, desc="VBench", delay=1, leave=False):
        mine = [video for video in scores if video.parent == method]
        words = {v.name: texts[v] for v in mine} if texts else None
        words = words if name == "overall_consistency" else None
        found = external_scores(python, name, mine, out / "vbench" / method.name, words)
        for video in mine:
            scores[video][name] = found[video.name]
    return scores


def _entries(
    videos: Sequence[Path],
    out: Path,
    computed_by: dict[str, str],
    package: Mapping[Path, dict[str, float]],
    load: Callable[[], dict[str, Scorer]],
) -> list[Entry]:
    """Entries of all videos; what neither file nor scorers changed is taken from the log."""
    log, stamps_path = EntryLog(out / "entries.jsonl"), out / "stamps.json"
    stamps = json.loads(stamps_path.read_text()) if stamps_path.is_file() else {}
    keys, done = [], log.done
    for video in tqdm(videos, desc="Videos", delay=1, leave=False):
        clip, group = clip_and_group(video)
        blank, name = Entry(video.parent.name, clip, group), f"{video.parent.name}/{video.name}"
        known = package.get(video, {})
        stamp = [video_stamp(video), computed_by, known]
        keys.append(blank.key)
        if blank.key in done and stamps.get(name) == stamp:
            continue
        scorers = load()
        try:
            frames = read_as_vbench(video)
            found = {dimension: scorer(frames) for dimension, scorer in scorers.items()}
            entry = replace(blank, values=found | known)
        except (ValueError, RuntimeError) as error:  # one bad video must not cost the others
            entry = replace(blank, error=in_words(error))
        log.add(entry)
        stamps[name] = stamp if entry.error is None else None
        write_json(stamps, stamps_path)
    latest = {entry.key: entry for entry in log.entries}
    return [latest[key] for key in keys]
