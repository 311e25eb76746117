"""The iPhone benchmark: finished videos of any method against what held-out cameras filmed.

A `Protocol` names each choice behind a number; `PROTOCOLS` holds those of the papers, as far as
they are known.

The one thing a reader would get wrong: the published TrajectoryCrafter numbers (14.24 dB) count all
pixels, those of Shape of Motion and DyCheck only what the source clip has seen. Never put a `none`
beside a `covisible`.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from ....config.redirect import RedirectSettings
from ....geometry.trajectories import Trajectory
from ....job.generation import Generator
from ....job.pipeline import TrajectoryCrafter
from ....runtime.engine import in_words
from ....video.clip import Depth, Video
from ..metrics import METRICS, Metric, columns
from ..perceptual import load_lpips
from ..records import Entry, EntryLog, Evaluation
from ..report import write_media
from .files import StoredFrames
from .layouts import BenchmarkScene, TargetView, find_scenes, load_scene
from .placement import Placement, resized
from .protocols import FRAMES, LPIPS, MADE, PRINTED_LPIPS, SIZES, Protocol, quoted_for
from .results import find_result, partners

CHUNK = 16
"""Frames in memory together: 277 of 960x720 would be 2.3 GB for each side."""


def evaluate_iphone(
    data: Path,
    results: Path | list[Path],
    protocol: Protocol,
    out: Path,
    *,
    weights: Path | None = None,
    media: bool = False,
) -> Evaluation:
    """Score finished videos; what fails is an entry with its error, and the rest goes on.

    A stopped run goes on from `out/entries.jsonl`; delete that file to score changed videos again.

    Args:
        results: folders of methods (`<folder>/<method>/<scene>/<camera>.mp4`) or of one method;
            see `find_result`.
        weights: of LPIPS; without them its columns are left out and `about` says so.
        media: also write what was compared into `out/media`, for the report.

    Raises:
        FileNotFoundError: no data folder, or no folder of results.
        ValueError: no scene in `data`, no method in `results`, or two of one name.
    """
    began = time.monotonic()
    folders = find_scenes(data)
    scenes = protocol.scenes or tuple(folders)
    methods = _methods([results] if isinstance(results, Path) else results, scenes)
    metrics, notes = _metrics(protocol, weights)
    log = EntryLog(out / "entries.jsonl")
    # An entry from before the weights were there lacks their columns, so it is scored again.
    wanted = {metric.name for metric in metrics}
    done = {e.key for e in log.entries if e.error is None and wanted <= e.values.keys()}
    group = {"protocol": protocol.name}
    keys = set()
    bar = tqdm(total=len(scenes) * len(methods), desc="scoring", delay=1, leave=False)
    for name in scenes:
        views = _views(folders, name, protocol)
        for row, folder in methods.items():
            for clip, view in views.items():
                entry = Entry(row, clip, group)
                keys.add(entry.key)
                if entry.key not in done:
                    shown = out if media else None
                    log.add(_scored(entry, view, folder, protocol, metrics, shown))
            bar.update()
    bar.close()
    entries = [entry for entry in log.entries if entry.key in keys]
    about = {
        "data": str(data),
        "results": {row: str(folder) for row, folder in methods.items()},
        "protocol": {"source" if k == "origin" else k: v for k, v in asdict(protocol).items()},
        "notes": notes,
        "mean over scenes": _by_frame(entries, metrics, scenes=True),
        "mean over frames": _by_frame(entries, metrics, scenes=False),
        "seconds": time.monotonic() - began,
    }
    headings = [*columns(metrics, [""]), PRINTED_LPIPS, FRAMES]
    return Evaluation("iphone", headings, entries, quoted_for(protocol), about)


def _methods(results: list[Path], scenes: Sequence[str]) -> dict[str, Path]:
    """Folders of methods by name: a folder that has a result itself, else those inside it."""

    def has_result(folder: Path) -> bool:
        return any(
            (folder / scene).is_dir()
            or (folder / f"{scene}.mp4").is_file()
            or any(folder.glob(f"*{scene}_*.mp4"))
            or any(folder.glob(f"{scene}_*/*.png"))
            for scene in scenes
        )

    found = {}
    for folder in results:
        if not folder.is_dir():
            raise FileNotFoundError(f"No folder of results {folder}.")
        inside = sorted(path for path in folder.iterdir() if path.is_dir())
        for path in [folder] if has_result(folder) else filter(has_result, inside):
            if path.name in found:
                raise ValueError(
                    f"Two results are called {path.name}: {found[path.name]} and {path}."
                )
            found[path.name] = path
    if not found:
        raise ValueError(
            f"No results in {', '.join(map(str, results))}; expected <method>/<scene>/<camera>.mp4 "
            f"with scenes {', '.join(scenes)}."
        )
    return found


def _views(
    folders: dict[str, Path], name: str, protocol: Protocol
) -> dict[str, tuple[BenchmarkScene, TargetView] | Exception]:
    """What is to be scored of a scene, by the clip's name; or why it cannot be."""
    try:
        if name not in folders:
            raise FileNotFoundError(f"No scene {name} in the data; found {', '.join(folders)}.")
        scene = _load(folders[name], protocol)
    except (ValueError, OSError) as error:
        return {name: error}
    if protocol.cameras == "first":
        return {name: (scene, scene.targets[0])}
    return {f"{name}/{view.camera}": (scene, view) for view in scene.targets}


def _load(folder: Path, protocol: Protocol) -> BenchmarkScene:
    """The scene at the stored size next to the protocol's."""
    stored = 2 if protocol.resolution == "half" and (folder / "rgb" / "2x").is_dir() else 1
    scene = load_scene(folder, stored, protocol.layout)
    if not scene.targets:
        raise ValueError(f"{folder} has no held-out camera; nothing to compare with.")
    return scene


def _metrics(protocol: Protocol, weights: Path | None) -> tuple[list[Metric], list[str]]:
    """The protocol's metrics, and notes about those whose weights are missing."""
    found, notes = [], []
    for name in protocol.metrics:
        if name in METRICS:
            found.append(METRICS[name])
            continue
        net, masked = LPIPS[name]
        try:
            found.append(load_lpips(net, weights, masked=masked))
        except FileNotFoundError as error:
            notes.append(f"{name} is left out: {error}")
    return found, notes


def _scored(
    entry: Entry,
    view: tuple[BenchmarkScene, TargetView] | Exception,
    folder: Path,
    protocol: Protocol,
    metrics: list[Metric],
    out: Path | None,
) -> Entry:
    """The entry with its values, or with the reason why there are none.

    If `out` is given, what was compared is written there, too.
    """
    try:
        if isinstance(view, Exception):
            raise view
        parts: dict[str, list[Tensor]] = {metric.name: [] for metric in metrics}
        kept, frames, media = [], 0, {}
        for made, true, mask in _pieces(*view, folder, protocol):
            for metric in metrics:
                parts[metric.name].append(metric.compute(made, true, mask))
            kept += [(made, true)] if out else []
            frames += len(made)
        means = {name: float(torch.cat(part).nanmean()) for name, part in parts.items()}
        values = {name: mean for name, mean in means.items() if not math.isnan(mean)}
        if out:
            fps = view[0].pictures.fps / protocol.step
            made, true = (Video(torch.cat(side), fps) for side in zip(*kept))
            media = write_media(out, entry.clip, entry.row, made, true, None, entry.group)
        return replace(entry, values=values | {"frames": float(frames)}, media=media)
    except (ValueError, OSError) as error:
        return replace(entry, error=in_words(error))


def _pieces(
    scene: BenchmarkScene, view: TargetView, folder: Path, protocol: Protocol
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """What `compared` gives, a few frames at a time."""
    clip = protocol.clip(scene)
    chosen = [i for i, moment in enumerate(view.moments) if moment in set(clip)]
    if not chosen:
        raise ValueError(
            f"{scene.name}: camera {view.camera} has no frame at the moments {clip[0]} to "
            f"{clip[-1]}; it starts at {view.moments[0]}."
        )
    files = find_result(folder, scene.name, view.camera, view is scene.targets[0])
    result: StoredFrames | Video = StoredFrames(tuple(files), scene.pictures.fps)
    if files[0].suffix != ".png":
        result = Video.read(files[0])
    index = partners(files, len(result), clip, [view.moments[i] for i in chosen])
    for start in range(0, len(chosen), CHUNK):
        part = slice(start, start + CHUNK)
        stored = isinstance(result, StoredFrames)
        made = result.read(index[part]).frames if stored else result.frames[index[part]]
        yield compared(made, view, chosen[part], protocol)


def compared(
    made: Float[Tensor, "T 3 _h _w"], view: TargetView, chosen: list[int], protocol: Protocol
) -> tuple[Float[Tensor, "T 3 H W"], Float[Tensor, "T 3 H W"], Bool[Tensor, "T 1 H W"] | None]:
    """Made and true frames at the protocol's size, and which pixels count (None: all).

    Raises:
        ValueError: the protocol wants co-visible masks and the data has none.
    """
    true = view.pictures.read(chosen).frames
    mask = torch.ones_like(true[:, :1], dtype=torch.bool)
    if protocol.mask == "covisible":
        if view.covisible is None:
            raise ValueError(
                f"{view.pictures.files[0].parent}: {protocol.name} needs co-visible masks; "
                "the data has none. Choose a protocol whose mask is none."
            )
        mask = view.covisible.read(chosen)
    picture = (true.shape[2], true.shape[3])
    size = SIZES[protocol.resolution] or picture
    if protocol.resolution in ("model", "square"):
        placement = Placement(protocol.orientation, picture, size)
        made, true, mask = resized(made, size), placement.place(true), placement.place(mask)
    else:
        placement = Placement(protocol.orientation, size, (made.shape[2], made.shape[3]))
        seen = placement.undo(torch.ones_like(made[:, :1], dtype=torch.bool))
        made, true = placement.undo(made), resized(true, size)
        mask = resized(mask, size) & seen
    return made, true, None if bool(mask.all()) else mask


def _by_frame(
    entries: list[Entry], metrics: list[Metric], scenes: bool
) -> dict[str, dict[str, float]]:
    """Means by row and metric in which every frame counts the same.

    Within each scene first and then over `scenes`, as Shape of Motion has it; else over all frames,
    as CogNVS has it.
    """
    found: dict[str, dict[str, float]] = {}
    for row, metric in product(dict.fromkeys(e.row for e in entries), metrics):
        cells: dict[str, list[tuple[float, float]]] = {}
        for entry in entries:
            value = entry.values.get(metric.name, math.nan)
            if entry.row == row and math.isfinite(value):
                cell = entry.clip.split("/")[0] if scenes else ""
                cells.setdefault(cell, []).append((value, entry.values["frames"]))
        if cells:
            means = [sum(v * n for v, n in c) / sum(n for _, n in c) for c in cells.values()]
            found.setdefault(row, {})[metric.name] = sum(means) / len(means)
    return found


# ------------------------------------------------------------------------------- our own videos


def redirect_iphone(
    data: Path,
    out: Path,
    protocol: Protocol,
    *,
    method: str = "trajectorycrafter",
    model: str | Generator | None = None,
    settings: RedirectSettings | None = None,
    size: tuple[int, int] | None = None,
) -> list[Path]:
    """Re-shoot the scenes as their held-out cameras saw them: `out/<method>/<scene>/<camera>.mp4`.

    Every video has one frame for each source frame of the protocol's clip. Where a held-out camera
    has a gap, its nearest frame in time says where it stood. What is there already is kept.

    Args:
        model: what completes the render; default: the settings'.
        size: height and width of the made frames; default: the protocol's, and the released model's
            where the protocol compares upright pictures but makes them otherwise.

    Returns:
        The videos that were made now.

    Raises:
        FileNotFoundError, ValueError: no data, or no depth as the protocol wants it.
    """
    folders = find_scenes(data)
    names = [name for name in protocol.scenes or tuple(folders) if name in folders]
    if not names:
        raise ValueError(f"{data} has none of the scenes {', '.join(protocol.scenes)}.")
    crafter = TrajectoryCrafter(model, settings=settings)
    done = []
    for name in tqdm(names, desc="re-shooting", delay=1, leave=False):
        scene = _load(folders[name], protocol)
        for view in scene.targets[: 1 if protocol.cameras == "first" else None]:
            path = out / method / name / f"{view.camera}.mp4"
            if not path.exists():
                done.append(_reshoot(scene, view, protocol, crafter, size).write(path))
    return done


def _reshoot(
    scene: BenchmarkScene,
    view: TargetView,
    protocol: Protocol,
    crafter: TrajectoryCrafter,
    size: tuple[int, int] | None,
) -> Video:
    clip = protocol.clip(scene)
    video = scene.pictures.read(clip)
    picture = (video.height, video.width)
    if size is None:
        fits = protocol.orientation == "stretch" or protocol.resolution in ("model", "square")
        size = (SIZES[protocol.resolution] or picture) if fits else MADE
    placement = Placement(protocol.orientation, picture, size)
    nearest = [min(range(len(view.moments)), key=lambda i: abs(view.moments[i] - m)) for m in clip]
    source = placement.place_cameras(scene.cameras[clip])
    depth = placement.place_depth(_depth(scene, clip, video, protocol, crafter), source)
    placed = Video(placement.place(video.frames), video.fps / protocol.step)
    seen = placement.place_cameras(view.cameras.resized(*picture)[nearest])
    trajectory = Trajectory.from_cameras(seen, relative_to="world")
    ours = TrajectoryCrafter(
        crafter.generator,
        lambda video: depth,
        lambda video, depth: source,
        settings=crafter.settings,
    )
    return ours(placed, trajectory).video


def _depth(
    scene: BenchmarkScene,
    clip: list[int],
    video: Video,
    protocol: Protocol,
    crafter: TrajectoryCrafter,
) -> Depth:
    """The depth of the protocol, in the unit of the scene's cameras."""
    if protocol.depth != "own":
        if protocol.depth not in scene.depths:
            raise ValueError(
                f"{scene.name}: protocol {protocol.name} wants depth {protocol.depth!r}; the data "
                f"({scene.layout}) has {', '.join(scene.depths) or 'none'}."
            )
        return scene.depths[protocol.depth].read(clip)
    if not scene.depths:
        raise ValueError(
            f"{scene.name}: no depth in the data that could tell the scale of our own."
        )
    own = crafter.depth_estimator(video)
    known = next(iter(scene.depths.values())).read(clip)
    both = own.valid & known.valid
    if not both.any():
        raise ValueError(f"{scene.name}: no pixel has both our own depth and that of the data.")
    return replace(own, z=own.z * (known.z[both] / own.z[both]).median())
