"""Lists of clips to work on, as csv or jsonl: read, checked as a whole, and written.

The one thing a reader would get wrong: relative paths count from the manifest's own folder, never
from where the command runs, so that a manifest can move with its clips.
"""

import csv
import difflib
import io
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..config.redirect import RedirectSettings
from ..runtime.files import write_text

COLUMNS = {
    "clip": "a video, a folder of images, an image, or demo; the only required column",
    "trajectory": "orbit-right, orbit-right:20, a trajectory file, or five numbers",
    "prompt": "what the video shows; default: as for a single clip",
    "name": "folder of the line's results; default: made of clip and trajectory",
    "depth": "another depth estimator for this line, as --depth takes it",
    "target": "a video: what the new camera really saw",
    "result": "a finished video of another method, to be scored and not made",
    "row": "the method's name in an evaluation's tables; default: the model's",
}
"""The columns of a manifest, which are also the fields of its lines as JSON."""
SUFFIXES = (".csv", ".jsonl")

Numbers = tuple[float, float, float, float, float]
Problems = list[tuple[int, str]]
"""Line numbers, and what is wrong there."""
_FOLDER_NAME = r"[^/\\:*?\"<>|\x00-\x1f]+"


@dataclass(frozen=True)
class Job:
    """One line of a manifest, checked, see `COLUMNS`; its paths are absolute."""

    clip: Path
    name: str
    """A folder's name, different from that of every other line."""
    preset: str | None = None
    """A named camera path; at most one of `preset`, `numbers` and `trajectory` is given."""
    amount: float | None = None
    """How far the preset goes, in its own unit."""
    numbers: Numbers | None = None
    """The released five numbers: elevation and azimuth in degrees, dolly, right, up."""
    trajectory: Path | None = None
    prompt: str | None = None
    depth: str | None = None
    target: Path | None = None
    result: Path | None = None
    row: str | None = None
    line: int = field(default=0, compare=False)
    """Where it stands in the file, from 1."""

    @property
    def path_text(self) -> str:
        """The camera path as the manifest's column `trajectory` has it; empty without one."""
        return path_words(self.preset, self.amount, self.numbers, self.trajectory)

    def settings(self, common: RedirectSettings) -> RedirectSettings:
        """The common settings with what this line says in their place."""
        camera, depth, generator = common.camera, common.depth, common.generator
        if self.path_text:
            camera = replace(
                camera,
                camera=self.preset,
                amount=self.amount,
                target=self.numbers,
                trajectory=self.trajectory,
            )
        if self.depth is not None:
            depth = replace(depth, depth=self.depth)
        if self.prompt is not None:
            generator = replace(generator, prompt=self.prompt)
        return replace(common, camera=camera, depth=depth, generator=generator)


def path_words(
    preset: str | None, amount: float | None, numbers: Numbers | None, file: Path | str | None
) -> str:
    """A camera path, of which at most one way is there, in the words of a manifest."""
    if preset is not None:
        return preset if amount is None else f"{preset}:{_short(amount)}"
    if numbers is not None:
        return " ".join(_short(number) for number in numbers)
    return "" if file is None else str(file)


def _is_json(path: Path) -> bool:
    """Whether a manifest is jsonl, not csv; raises ValueError for any other suffix."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"A manifest's name ends with .csv or .jsonl; got {path}.")
    return path.suffix.lower() == ".jsonl"


def read_manifest(path: str | Path) -> list[Job]:
    """Read a manifest; `docs/use/batches.md` says what its columns mean.

    All lines are checked before any work: every path exists, every preset and estimator is known,
    names differ. Clips are not opened.

    Raises:
        FileNotFoundError: no such manifest.
        ValueError: not a manifest, or lines that cannot be used: all of them, with their numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no manifest {path}.")
    as_json = _is_json(path)
    problems: Problems = []
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from None
    lines = _json_lines(text, problems) if as_json else _csv_lines(text, path, problems)
    jobs = [_job(line, values, path.parent, problems) for line, values in lines]
    if not problems and not jobs:
        raise ValueError(f"{path} has no lines; expected one per clip.")
    jobs = _named(jobs, problems)
    if problems:
        listed = "\n".join(f"  line {line}: {what}" for line, what in sorted(problems))
        raise ValueError(f"{path} cannot be used; nothing was begun:\n{listed}")
    return jobs


def write_manifest(jobs: Iterable[Job], path: str | Path) -> Path:
    """Write jobs as csv or jsonl, whole or not at all; `read_manifest` gives equal ones.

    Paths inside the manifest's folder are written relative to it, so that the folder can move.

    Raises:
        ValueError: another suffix, or no jobs.
    """
    path, jobs = Path(path), list(jobs)
    as_json = _is_json(path)
    if not jobs:
        raise ValueError(f"No jobs to write to {path}; a manifest has at least one line.")
    rows = [_values(job, path.parent.absolute()) for job in jobs]
    used = [column for column in COLUMNS if any(column in row for row in rows)]
    text = io.StringIO()
    if as_json:
        text.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        writer = csv.DictWriter(text, used, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(text.getvalue(), path)
    return path


# ------------------------------------------------------------------------------ the file's layout


def _json_lines(text: str, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append((number, f"not JSON: {error}"))
            continue
        if not isinstance(entry, dict):
            problems.append((number, f"expected an object like {{'clip': ...}}, got {line[:60]}"))
            continue
        problems += [(number, unknown) for unknown in _unknown_columns(entry)]
        yield number, entry


def _csv_lines(text: str, path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    reader, header, number = csv.reader(io.StringIO(text), strict=True), [], 1
    try:
        for row in reader:
            if not any(value.strip() for value in row):
                pass
            elif not header:
                header = [name.strip() for name in row]
                problems += [(number, unknown) for unknown in _unknown_columns(header)]
                if len(header) == 1 and re.search(r"[;\t|]", header[0]):
                    problems.append((number, "columns must be separated by commas"))
                elif "clip" not in header:
                    what = "no column 'clip'; the first line names the columns: clip,trajectory"
                    problems.append((number, what))
            elif len(row) > len(header):
                what = f"{len(row)} fields under {len(header)} columns; quote fields with commas"
                problems.append((number, what))
            else:
                yield number, dict(zip(header, row))
            number = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not csv: {error}.") from None
    if not header:
        raise ValueError(f"{path} is empty; expected a first line like: clip,trajectory")


def _unknown_columns(names: Iterable[str]) -> Iterator[str]:
    names = list(names)
    for name in names:
        if name not in COLUMNS:
            near = difflib.get_close_matches(name.lower(), COLUMNS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            yield f"unknown column {name!r}{hint} (known: {', '.join(COLUMNS)})"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"column {name!r} is there twice"


# ---------------------------------------------------------------------------------- one line's job


def _job(line: int, entry: dict[str, Any], folder: Path, problems: Problems) -> Job:
    """The line's job; what is wrong with it goes to `problems`. Its name may still be empty."""
    from ..depth.estimator import check_depth_name
    from ..video.reading import clip_path

    trimmed = {
        key: value.strip() if isinstance(value, str) else value for key, value in entry.items()
    }
    values = {key: value for key, value in trimmed.items() if value not in (None, "")}
    fields: dict[str, Any] = {"clip": Path(), "name": ""}
    if "clip" not in values:
        problems.append((line, "no clip"))
    for column, value in values.items():
        try:
            if column == "trajectory":
                fields |= _path(value, folder)
                continue
            if column not in COLUMNS:
                continue  # already reported
            text = _text(value)
            read: str | Path = text
            match column:
                case "clip":
                    read = _existing(str(clip_path(text, folder)), folder)
                case "target" | "result":
                    read = _existing(text, folder)
                case "depth" if text.startswith("file:") and text != "file:":
                    read = f"file:{_existing(text.removeprefix('file:'), folder)}"
                case "depth":
                    check_depth_name(text)
                case "name" if text.lower() == "batch.json":
                    raise ValueError(
                        "this name is that of the record in the same folder; choose another"
                    )
                case "name" if text[0] == "." or not re.fullmatch(_FOLDER_NAME, text):
                    raise ValueError(f"expected the plain name of a folder, got {text!r}")
                case _:
                    pass
            fields[column] = read
        except (ValueError, FileNotFoundError) as error:
            problems.append((line, f"{column}: {error}"))
    return Job(**fields, line=line)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected text, got {json.dumps(value)}")
    return str(value)


def _existing(text: str, folder: Path) -> Path:
    """The absolute path of something that exists."""
    path = Path(os.path.abspath(folder / Path(text).expanduser()))
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    return path


def _path(value: Any, folder: Path) -> dict[str, Any]:
    """The fields of `Job` that a trajectory stands for: five numbers, a file, or a preset."""
    from ..geometry.presets import PRESETS, preset
    from ..geometry.trajectory_files import read_trajectory

    words = value if isinstance(value, list) else str(value).replace(",", " ").split()
    try:
        numbers = tuple(float(word) for word in words)
    except (TypeError, ValueError):
        text = _text(value)
    else:
        if len(numbers) != 5 or not all(math.isfinite(number) for number in numbers):
            raise ValueError(
                "expected five finite numbers (elevation and azimuth in degrees, dolly, right, "
                f"up), got {value!r}"
            )
        return {"numbers": numbers}
    name, _, amount = text.partition(":")
    file = folder / Path(text).expanduser()
    if name not in PRESETS and (file.exists() or file.suffix or "/" in text):
        path = _existing(text, folder)
        read_trajectory(path, 49)
        return {"trajectory": path}
    try:
        size = float(amount) if amount else None
    except ValueError:
        raise ValueError(f"expected a number after {name}:, got {amount!r}") from None
    preset(name, 2, size)
    return {"preset": name, "amount": size}


# ------------------------------------------------------------------------------------------- names


def _named(jobs: list[Job], problems: Problems) -> list[Job]:
    """The jobs with the names that were left out; those that are given come first."""
    taken: dict[str, int] = {}
    for job in jobs:
        # Upper and lower case are the same folder on some systems.
        first = taken.setdefault(job.name.casefold(), job.line) if job.name else job.line
        if first != job.line:
            problems.append((job.line, f"name {job.name!r} is also that of line {first}"))
    return [job if job.name else replace(job, name=_free_name(job, taken)) for job in jobs]


def _free_name(job: Job, taken: dict[str, int]) -> str:
    """Clip and trajectory in words a folder can have, numbered from the second on; now taken."""
    path = job.trajectory.stem if job.trajectory is not None else job.path_text
    words = [job.clip.stem, path.replace(" ", "_")]
    if job.result is not None:
        words = [job.row or job.result.stem, *words]
    plain = [re.sub(r"[^\w.+-]+", "-", word).strip("-.") for word in words]
    base = "-".join(word for word in plain if word)[:100] or "clip"
    names = (base if n == 1 else f"{base}-{n}" for n in range(1, len(taken) + 2))
    # The first one whose entry was not there before is ours.
    return next(n for n in names if taken.setdefault(n.casefold(), -job.line) == -job.line)


def _short(number: float) -> str:
    """The number in full, whole ones without a point."""
    return repr(number).removesuffix(".0")


def _values(job: Job, folder: Path) -> dict[str, str]:
    """The job as the fields of a line, without empty ones."""
    from ..video.reading import clip_text

    def near(path: Path | None) -> str | None:
        if path is None:
            return None
        path = Path(os.path.abspath(path))
        return str(path.relative_to(folder) if path.is_relative_to(folder) else path)

    depth = job.depth
    if depth is not None and depth.startswith("file:"):
        depth = f"file:{near(Path(depth.removeprefix('file:')))}"
    values = {
        "clip": clip_text(job.clip, str(near(job.clip))),
        "trajectory": job.path_text if job.trajectory is None else near(job.trajectory),
        "prompt": job.prompt,
        "name": job.name,
        "depth": depth,
        "target": near(job.target),
        "result": near(job.result),
        "row": job.row,
    }
    return {column: value for column, value in values.items() if value}
