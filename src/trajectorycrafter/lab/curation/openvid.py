"""OpenVid-1M: a csv of captions and scores, and videos in zip parts or unzipped.

    OpenVid-1M.csv (or OpenVidHD.csv, or either in data/train/)
    OpenVid_part0.zip ...                the videos in any folder of the zip
    OpenVid_part73_partaa, ..._partab    a zip that was cut; together they are one
    video/                               unzipped, flat

https://huggingface.co/datasets/nkp37/OpenVid-1M; names are `YOUTUBEID_N_AtoB.mp4`.

The one thing a reader would get wrong: few have all 186 zips. Rows whose video is not there are
counted as missing and cost nothing else.
"""

import csv
from pathlib import Path

from .opening import Listing, SourceClip, open_zip

TABLES = ("OpenVid-1M.csv", "OpenVidHD.csv")


def list_openvid(root: Path, least_scores: dict[str, float] | None = None) -> Listing:
    """The rows of the table whose video is there and whose scores suffice.

    Args:
        least_scores: by column without the word score: aesthetic, motion, temporal_consistency.

    Raises:
        FileNotFoundError: no table.
        ValueError: a table without the columns video and caption, or without a wanted score.
    """
    places = [folder / name for folder in (root, root / "data" / "train") for name in TABLES]
    table = next((path for path in places if path.is_file()), None)
    if table is None:
        raise FileNotFoundError(f"No OpenVid-1M.csv or OpenVidHD.csv in {root} or its data/train.")
    places, least = _places(root), least_scores or {}
    clips, rejected = [], {}
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        _check_columns(table, reader.fieldnames or [], least)
        for row in reader:
            scores, name = _scores(row), row["video"]
            reason = "missing" if name not in places else None
            if any(scores.get(key, float("-inf")) < value for key, value in least.items()):
                reason = "score"
            if reason is not None:
                rejected[reason] = rejected.get(reason, 0) + 1
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
    return Listing(clips, rejected)


def _check_columns(table: Path, columns: object, least: dict[str, float]) -> None:
    names = list(columns) if isinstance(columns, list | tuple) else []
    lacking = {"video", "caption"} - set(names)
    if lacking:
        raise ValueError(f"{table}: expected columns video and caption; got {', '.join(names)}.")
    known = {_plain(name) for name in names}
    unknown = set(least) - known
    if unknown:
        raise ValueError(
            f"{table} has no score {', '.join(sorted(unknown))}; known: "
            f"{', '.join(sorted(known - {'video', 'caption'}))}."
        )


def _plain(column: str) -> str:
    """`aesthetic score` and `aesthetic_score` are both `aesthetic`."""
    return column.strip().lower().replace(" ", "_").removesuffix("_score")


def _scores(row: dict[str, str]) -> dict[str, float]:
    """The numbers of a row, by plain name."""
    scores = {}
    for column, text in row.items():
        if column in ("video", "caption") or not isinstance(text, str):
            continue
        try:
            scores[_plain(column)] = float(text)
        except ValueError:
            continue  # camera motion is a word
    return scores


def _places(root: Path) -> dict[str, tuple[tuple[Path, ...], str | None]]:
    """Where each video is, by its name: the zip's parts and the member, or the unzipped file."""
    zips: dict[str, tuple[Path, ...]] = {}
    zips |= {path.stem: (path,) for path in sorted(root.glob("OpenVid_part*.zip"))}
    cut: dict[str, list[Path]] = {}
    for path in sorted(root.glob("OpenVid_part*_part*")):
        cut.setdefault(path.name.rpartition("_part")[0], []).append(path)
    places: dict[str, tuple[tuple[Path, ...], str | None]] = {}
    zips |= {name: tuple(parts) for name, parts in cut.items() if name not in zips}
    for parts in zips.values():
        with open_zip(parts) as file:
            for name in file.namelist():
                if name.endswith(".mp4"):
                    places[Path(name).name] = parts, name
    for path in sorted((root / "video").glob("*.mp4")):
        places[path.name] = (path,), None
    return places
