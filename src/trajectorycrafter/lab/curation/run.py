"""A set of samples from a source: every clip once, whatever happens to the others.

Workers make samples, this process alone writes them. `clips.jsonl` gets a line when all samples of
a clip are in a shard, so a run that was killed takes up the clips without one; samples of theirs
that are in the unfinished shard are kept, and found equal by their name.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from tqdm.auto import tqdm

from ...config.curation import Curation, Source
from ...runtime.engine import Engine, check_engine, in_words, run_all
from ...runtime.files import JsonLines, to_json
from ...runtime.run_folder import check_inputs, claim
from ..samples import ShardWriter
from .card import write_card
from .draws import check_holes
from .make import Made, kind_of, load_networks, make_samples
from .sources import list_clips

RECORD = "settings.json"
OURS = ("shard-*.tar", ".partial.*", "index.parquet", "clips.jsonl", RECORD, "card.html")


@dataclass(frozen=True)
class Curated:
    """What a run made."""

    folder: Path
    samples: int
    """In the folder, earlier ones included."""
    made: int
    """By this run."""
    rejected: dict[str, int]
    failed: dict[str, str]
    """Clips that failed, and why; the next run tries them again."""
    seconds: float
    """What this run took."""


def curate(
    settings: Curation,
    out: str | Path,
    *,
    engine: Engine = "local",
    workers: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> Curated:
    """Make samples of all clips of a source: shards, their index, and a card.

    Args:
        out: gets `shard-000000.tar`, ..., `index.parquet`, `clips.jsonl`, `settings.json` and
            `card.html`.
        resume: go on with a run of the same settings; what failed is tried again.
        overwrite: replace an earlier run, when this one is whole.
        say: gets a line about the result at the end.

    Raises:
        ValueError: settings that cannot be used, or `out` is taken.
        FileNotFoundError: no such source, or missing weights.
    """
    out, began = Path(out), time.monotonic()
    check_settings(settings)
    check_engine(engine, workers)
    listing = list_clips(settings)
    setup: Callable[[], Any] = partial(load_networks, settings)
    if engine == "local" and workers == 1:
        networks = setup()  # now, so that what is missing is refused before the folder is claimed
        setup = lambda: networks  # noqa: E731
    inputs = [path for path in (settings.data, settings.weights) if path is not None]
    check_inputs([out], OURS, inputs)
    plain = to_json(settings)
    again: dict[str, Any] = {"overwrite": overwrite, "resume": resume}
    folder = claim(out, RECORD, plain, ours=OURS, held="samples made", **again)
    log = ClipLog(folder.work / "clips.jsonl")
    with ShardWriter(folder.work, settings.per_shard) as writer:
        before = len(writer)
        todo = [clip for clip in listing.clips if not log.is_done(clip.id, writer)]
        how: dict[str, Any] = {"engine": engine, "workers": workers, "setup": setup}
        make = partial(make_samples, settings)
        results = run_all(make, todo, describe=lambda clip: clip.id, **how)
        for clip, found in tqdm(results, "Curating", len(todo), delay=1, leave=False):
            if isinstance(found, Made):
                for sample in found.samples:
                    writer.write(sample)
            log.add(clip.id, found)
        rejected = Counter(listing.rejected)
        for line in log.lines.values():
            rejected.update(line.get("rejected", {}))
        writer.rejected = dict(sorted(rejected.items()))
        made, samples = len(writer) - before, len(writer)
    seconds = round(time.monotonic() - began, 2)
    done = Curated(out, samples, made, writer.rejected, log.failed, seconds)
    write_card(folder.work, settings, failed=len(log.failed))
    folder.finish()
    say(_summary(done))
    return done


def check_settings(settings: Curation) -> None:
    """Raises ValueError for what no clip could make good: numbers out of range, an unknown source,
    or a kind that the source cannot give."""
    if settings.source not in get_args(Source):
        known = ", ".join(get_args(Source))
        raise ValueError(f"Unknown source {settings.source!r}; use one of {known}.")
    kind_of(settings)
    check_holes(settings.hole)
    window = settings.window
    numbers: Sequence[tuple[str, float, float]] = (
        ("frames", window.frames, 2),
        ("stride", window.stride, 1),
        ("per_clip", window.per_clip, 1),
        ("height", window.size[0], 16),
        ("width", window.size[1], 16),
        ("reference", settings.reference, 1),
        ("memory", settings.memory, 0),
        ("per_shard", settings.per_shard, 1),
        ("sequence", settings.triplet.sequence, 1.1),
    )
    for name, value, least in numbers:
        if value < least:
            raise ValueError(f"{name} is at least {least:g}; got {value:g}.")
    if settings.least_scores and settings.source != "openvid":
        raise ValueError("least_scores are of source openvid; other clips have no scores.")
    if min(settings.scene.recipes) < 0 or sum(settings.scene.recipes) <= 0:
        raise ValueError(f"recipes are frequencies >= 0; got {settings.scene.recipes}.")


class ClipLog:
    """What became of each clip, a JSON line each; the last line of a clip counts."""

    def __init__(self, path: Path):
        self._log = JsonLines(path)
        self.lines: dict[str, dict[str, Any]] = {said["clip"]: said for said in self._log.read()}

    def add(self, clip: str, found: Made | Exception) -> None:
        """Write what the clip gave."""
        line: dict[str, Any] = {"clip": clip}
        if isinstance(found, Made):
            line["samples"] = [sample.id for sample in found.samples]
            line["rejected"] = found.rejected
        else:
            line["error"] = in_words(found)
        self._log.add(line)
        self.lines[clip] = line

    def is_done(self, clip: str, writer: ShardWriter) -> bool:
        """Whether the clip did not fail and all that it gave is written."""
        line = self.lines.get(clip)
        return line is not None and all(id in writer for id in line.get("samples", [None]))

    @property
    def failed(self) -> dict[str, str]:
        return {name: line["error"] for name, line in self.lines.items() if "error" in line}


def _summary(done: Curated) -> str:
    rate = done.made / done.seconds if done.seconds else 0.0
    parts = [f"{done.samples} samples in {done.folder} ({done.made} now, {rate:.2f} a second)"]
    if done.rejected:
        parts.append("rejected: " + ", ".join(f"{n} {r}" for r, n in done.rejected.items()))
    if done.failed:
        name, why = next(iter(done.failed.items()))
        parts.append(f"{len(done.failed)} failed, the first being {name}: {why}")
    return "; ".join(parts)
