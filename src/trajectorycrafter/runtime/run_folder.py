"""The folder of a run: who may write there, what it goes on from, when its results count.

The one thing a reader would get wrong: a run writes into `.partial` inside its folder, and what an
earlier run left beside it stays as it is until the new results are whole. Then `.partial` is
renamed to `.whole`, which decides it, and its entries move up; a swap that was killed is completed
by the next run.
"""

import json
import os
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from .files import write_json

WORK, WHOLE, EARLIER = ".partial", ".whole", ".earlier"
"""What is being made; what is whole and moves up; what gave way to it and will be deleted."""
CONTENTS = ".contents.json"
STAGES = "stages"
"""Results of single stages, which only a resumed run needs."""


@dataclass(frozen=True)
class RunFolder:
    """A folder that this run has claimed."""

    out: Path
    """Where the results are in the end."""
    work: Path
    """Where the run writes: a folder inside `out`, or `out` itself to complete a finished run."""
    ours: tuple[str, ...]
    """Names (or patterns) of all that a run can leave; nothing else in `out` is ever removed."""

    @property
    def stages(self) -> Path:
        """Folder for the results of single stages, gone when the run is done."""
        return self.work / STAGES

    def finish(self) -> None:
        """Put the results in the place of the earlier ones."""
        shutil.rmtree(self.stages, ignore_errors=True)
        if self.work == self.out:
            return
        names = sorted(path.name for path in self.work.iterdir() if path.name != CONTENTS)
        write_json({"ours": self.ours, "names": names}, self.work / CONTENTS)
        os.replace(self.work, self.out / WHOLE)
        settle(self.out)

    def discard(self) -> None:
        """Forget what this run made; what was there before it stays."""
        shutil.rmtree(self.stages if self.work == self.out else self.work, ignore_errors=True)
        if self.out.is_dir() and not any(self.out.iterdir()):
            self.out.rmdir()


def claim(
    out: Path,
    name: str,
    record: dict[str, Any],
    *,
    ours: tuple[str, ...],
    held: str,
    free: Collection[str] = (),
    overwrite: bool = False,
    resume: bool = False,
) -> RunFolder:
    """Make `out` the folder of this run and write its record, or say why that cannot be.

    Args:
        out: made if need be.
        name: of the file that holds the record.
        record: what the results depend on, and more, as JSON knows it.
        ours: names or patterns of all that such a run can leave.
        held: what such a folder holds, in words: "a run", "an evaluation".
        free: entries of the record, `a` or `a.b`, that may change when a run goes on.
        overwrite: an earlier result gives way when this run is whole. With `resume`: go on though
            the record differs.
        resume: go on with the run that was stopped here, or complete a finished one.

    Raises:
        ValueError: `out` is a file, holds something else or a run with another record, or holds
            nothing to resume.
        OSError: it cannot be written.
    """
    settle(out)
    check_claim(out, name, held, overwrite=overwrite, resume=resume)
    work = opened(out) if resume else out / WORK
    if resume and not overwrite:
        check_same(work / name, record, held, free)
    if not resume:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    write_json(record, work / name)
    return RunFolder(out, work, ours)


def opened(out: Path) -> Path:
    """Where the run that has claimed `out` writes."""
    return out / WORK if (out / WORK).exists() else out


def settle(out: Path) -> None:
    """Complete the swap of a run that was killed in the middle of it, if there was one."""
    whole, earlier = out / WHOLE, out / EARLIER
    if (whole / CONTENTS).exists():
        contents = json.loads((whole / CONTENTS).read_text(encoding="utf-8"))
        earlier.mkdir(exist_ok=True)
        for path in list(out.iterdir()):
            if not any(fnmatch(path.name, pattern) for pattern in contents["ours"]):
                continue
            if path.name not in contents["names"] or (whole / path.name).exists():
                place = earlier / path.name
                # What an earlier attempt left there gives way.
                if place.is_dir() and not place.is_symlink():
                    shutil.rmtree(place)
                os.replace(path, place)
        for name in contents["names"]:
            if (whole / name).exists():
                os.replace(whole / name, out / name)
    shutil.rmtree(whole, ignore_errors=True)
    shutil.rmtree(earlier, ignore_errors=True)


def unfinished(out: Path, name: str) -> dict[str, Any] | None:
    """The record of the run that was stopped in `out`; None if there is none."""
    return read_record(out / WORK / name)


def read_record(path: Path) -> dict[str, Any] | None:
    """The record in a file; None if it is not there or no record."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def check_claim(out: Path, name: str, held: str, *, overwrite: bool, resume: bool) -> None:
    """Raises ValueError unless a run may begin, or go on, in `out`; arguments as `claim`."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; expected a folder.")
    stopped = (out / WORK / name).exists()
    if resume:
        if not (stopped or (out / name).exists()):
            raise ValueError(f"{out} holds nothing to resume (no {name}); start without --resume.")
    elif stopped and not overwrite:
        raise ValueError(
            f"{out} holds {held} that was stopped. Use --resume to go on with it, --overwrite to "
            "begin again, or another --out."
        )
    elif not overwrite and out.exists() and any(path.name != WORK for path in out.iterdir()):
        raise ValueError(
            f"{out} is not empty. Use --overwrite to replace an earlier result, --resume to go on "
            "with it, or another --out."
        )


def check_same(path: Path, now: dict[str, Any], held: str, free: Collection[str] = ()) -> None:
    """Raises ValueError unless the record at `path` agrees with `now`; says where it does not."""
    earlier = read_record(path)
    if earlier is None:
        raise ValueError(f"{path} is damaged; use --overwrite to begin again.")
    found = difference(earlier, now, free)
    if found is not None:
        raise ValueError(
            f"{path.parent} holds {held} with other settings: {found}. Resume with the same, use "
            "--overwrite to begin again, or choose another --out."
        )


def check_inputs(outs: Iterable[Path], ours: Iterable[str], inputs: Iterable[Path]) -> None:
    """Raises ValueError if runs into the folders `outs` would replace or remove one of `inputs`."""
    # Absolute, without following links, in the case that the system compares by.
    folders = {Path(os.path.normcase(os.path.abspath(out))): out for out in outs}
    patterns = (*ours, WORK, WHOLE, EARLIER)
    for path in inputs:
        for place in (os.path.abspath(path), path.resolve()):
            place = Path(os.path.normcase(place))
            for inside in (place, *place.parents):
                if inside not in folders:
                    continue
                rest = place.relative_to(inside).parts
                if not rest or any(fnmatch(rest[0], pattern) for pattern in patterns):
                    raise ValueError(
                        f"The results in {folders[inside]} would replace {path}, which this run "
                        "reads; nothing was begun. Choose another --out."
                    )


def difference(
    before: dict[str, Any], now: dict[str, Any], free: Collection[str] = (), path: str = ""
) -> str | None:
    """The first place where two records differ, in words; None if they agree.

    Args:
        free: names that are not compared, `a` or `a.b`.
    """
    for key, value in now.items():
        name, earlier = f"{path}{key}", before.get(key)
        if name in free or earlier == value:
            continue
        if not (isinstance(earlier, dict) and isinstance(value, dict)):
            return f"{name} was {earlier!r} and is {value!r}"
        found = difference(earlier, value, free, f"{name}.")
        if found is not None:
            return found
    return None
