"""OpenVid-1M: a csv of captions and scores, and videos in zip parts or unzipped.

    OpenVid-1M.csv (or OpenVidHD.csv, or either in data/train/)
    OpenVid_part0.zip ...                the videos in any folder of the zip
    OpenVid_part73_partaa, ..._partab    a zip that was cut; together they are one
    video/                               unzipped, flat

https://huggingface.co/datasets/nkp37/OpenVid-1M; names are `YOUTUBEID_N_AtoB.mp4`.

Few have all 186 zips. Rows whose video is not there are counted as missing and cost nothing else.
"""

import csv
import math
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from .opening import Listing, SourceClip, open_zip

TABLES = ("OpenVid-1M.csv", "OpenVidHD.csv")


def list_openvid(root: Path, least_scores: dict[str, float] | None = None) -> Listing:
    """The rows of the table whose video is there and whose scores suffice.

    Raises:
        FileNotFoundError: no table.
        ValueError: a table without the columns video and caption, or without a wanted score.
    """
    places = [folder / name for folder in (root, root / "data" / "train") for name in TABLES]
    table = next((path for path in places if path.is_file()), None)
    if table is None:
        raise FileNotFoundError(f"No OpenVid-1M.csv or OpenVidHD.csv in {root} or its data/train.")
    places, least = _places(root), least_scores or {}
    clips, rejected = [], Counter[str]()
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or [])
        if {"video", "caption"} - set(names):
            got = ", ".join(names)
            raise ValueError(f"{table}: expected columns video and caption; got {got}.")
        known = {_plain(name) for name in names}
        if least.keys() - known:
            raise ValueError(
                f"{table} has no score {', '.join(sorted(least.keys() - known))}; known: "
                f"{', '.join(sorted(known - {'video', 'caption'}))}."
            )
        for row in reader:
            scores, name = _scores(row), row["video"]
            if any(scores.get(key, -math.inf) < value for key, value in least.items()):
                rejected["score"] += 1
                continue
            if name not in places:
                rejected["missing"] += 1
                continue
            clips.append(
                SourceClip(
                    Path(name).stem,
                    *places[name],
                    caption=row["caption"].strip(),
                    licence="CC-BY-4.0",
                    provenance=f"OpenVid-1M, {name}",
                    scores=scores,
                )
            )
    return Listing(clips, dict(rejected))


def _plain(column: str) -> str:
    """`aesthetic score` and `aesthetic_score` are both `aesthetic`."""
    return column.strip().lower().replace(" ", "_").removesuffix("_score")


def _scores(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of a row, by plain name."""
    scores = {}
    for column, text in row.items():
        if column not in ("video", "caption"):
            with suppress(ValueError, TypeError):  # camera motion is a word, and fields may lack
                scores[_plain(column)] = float(text)
    return scores


def _places(root: Path) -> dict[str, tuple[tuple[Path, ...], str | None]]:
    """Where each video is, by its name: the zip's parts and the member, or the unzipped file."""
    zips = {path.stem: (path,) for path in sorted(root.glob("OpenVid_part*.zip"))}
    cut: dict[str, tuple[Path, ...]] = {}
    for path in sorted(root.glob("OpenVid_part*_part*")):
        name = path.name.rpartition("_part")[0]
        cut[name] = (*cut.get(name, ()), path)
    places: dict[str, tuple[tuple[Path, ...], str | None]] = {}
    for parts in (zips | {name: parts for name, parts in cut.items() if name not in zips}).values():
        with open_zip(parts) as file:
            for name in file.namelist():
                if name.endswith(".mp4"):
                    places[Path(name).name] = parts, name
    for path in sorted((root / "video").glob("*.mp4")):
        places[path.name] = (path,), None
    return places
