"""Posed sequences: RealEstate10K, DL3DV-10K, and folders with a COLMAP model or transforms.json.

The one thing a reader would get wrong: RealEstate10K has no pixels. Its files name a YouTube video
and moments in it; videos are looked for by the video's id, videos and folders of frames by the
clip's own name. Its test split is left alone: it is what others measure on.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile

from .opening import VIDEO_SUFFIXES, Listing, SourceClip, open_zip


def list_realestate10k(root: Path) -> Listing:
    """The clips of `train/` (or of the folder) whose pictures are in `videos/` or `frames/`.

    Raises:
        FileNotFoundError: no such txt.
    """
    folder = root / "train" if (root / "train").is_dir() else root
    texts = sorted(folder.glob("*.txt"))
    if not texts:
        raise FileNotFoundError(f"No clips in {root}; expected train/CLIP.txt.")
    # Videos by their name without suffix, and folders with pictures by theirs.
    places: dict[str, Path] = {}
    for kind in ("videos", "frames"):
        for path in sorted((root / kind).rglob("*")):
            if path.suffix.lower() in VIDEO_SUFFIXES:
                places[path.stem] = path
            elif path.suffix.lower() in (".png", ".jpg", ".jpeg"):
                places[path.parent.name] = path.parent
    clips = []
    for text in texts:
        with text.open(encoding="utf-8") as file:
            address = file.readline().strip()
        video = re.search(r"(?:v=|youtu\.be/)([\w-]+)", address)
        found = places.get(text.stem) or places.get(video[1] if video else "")
        if found is None:
            continue
        clips.append(
            SourceClip(
                text.stem,
                (found,),
                licence="CC-BY-4.0 (cameras), pictures are their makers'",
                provenance=f"RealEstate10K, {address}",
                cameras="realestate10k",
                camera_file=text,
            )
        )
    missing = len(texts) - len(clips)
    return Listing(clips, {"missing": missing} if missing else {})


def list_dl3dv(root: Path) -> Iterator[SourceClip]:
    """The scenes `BATCH/HASH/` and `BATCH/HASH.zip`; those of DL3DV-valid.csv if that is there."""
    valid: set[str] | None = None
    for place in (root / "cache" / "DL3DV-valid.csv", root / "DL3DV-valid.csv"):
        if place.is_file():
            with place.open(encoding="utf-8", newline="") as file:
                valid = {row["hash"] for row in csv.DictReader(file)}
    for path in sorted(root.glob("*/*")):
        name = path.stem if path.suffix == ".zip" else path.name
        if valid is not None and name not in valid:
            continue
        inside: str | None = None
        if path.suffix == ".zip":
            inside = _folder_of_transforms(path)
        elif not (path / "transforms.json").is_file():
            continue
        elif path.with_name(f"{name}.zip").exists():
            continue  # unpacked beside its zip: once is enough
        yield SourceClip(
            f"{path.parent.name}/{name}",
            (path,),
            inside,
            licence="CC-BY-NC-4.0",
            provenance=f"DL3DV-10K, {path.parent.name}/{name}",
            cameras="transforms",
        )


def _folder_of_transforms(path: Path) -> str:
    """The folder inside the zip that has transforms.json; a damaged zip tells when it is opened."""
    try:
        with open_zip((path,)) as file:
            names = [n for n in file.namelist() if n.rsplit("/", 1)[-1] == "transforms.json"]
    except (BadZipFile, OSError):
        names = []
    return names[0].removesuffix("transforms.json") if names else f"{path.stem}/"


def list_posed(root: Path, licence: str) -> Iterator[SourceClip]:
    """Every folder below `root` (or itself) with transforms.json, or a COLMAP model in sparse/."""
    for path in [root, *sorted(p for p in root.rglob("*") if p.is_dir())]:
        name = path.relative_to(root).as_posix()
        transforms = (path / "transforms.json").is_file()
        models = [path / "sparse" / name for name in ("images.txt", "images.bin")]
        models += [path / "sparse" / "0" / model.name for model in models]
        if transforms or any(model.is_file() for model in models):
            cameras = "transforms" if transforms else "colmap"
            yield SourceClip(name, (path,), None, "", licence, name, cameras=cameras)
