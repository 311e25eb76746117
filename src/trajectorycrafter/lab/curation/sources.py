"""The clips of every dataset, by `Curation.source`.

Listing opens no video. What is inside a file is seen when its turn comes, by the worker that has
it; only what the lists themselves say is counted here.
"""

from collections.abc import Iterator
from pathlib import Path

from ...config.curation import Curation
from ...video.reading import IMAGE_SUFFIXES
from .draws import rng_for
from .opening import VIDEO_SUFFIXES, Listing, SourceClip
from .openvid import list_openvid
from .posed_sources import list_dl3dv, list_posed, list_realestate10k


def list_clips(settings: Curation) -> Listing:
    """The clips that the settings name; with `clips` a part of them, drawn by the seed.

    Raises:
        FileNotFoundError: no such folder, or not what such a dataset has in it.
        ValueError: no folder is given, or nothing of use is there.
    """
    listing = _list(settings)
    clips = sorted(listing.clips, key=lambda clip: clip.id)
    if not clips:
        raise ValueError(f"{settings.data} holds no clip of source {settings.source}.")
    if 0 < settings.clips < len(clips):
        chosen = rng_for(settings.seed, "clips").choice(len(clips), settings.clips, replace=False)
        clips = [clips[i] for i in sorted(chosen)]
    return Listing(clips, listing.rejected)


def _list(settings: Curation) -> Listing:
    source, data, licence = settings.source, settings.data, settings.licence
    if source == "synthetic":
        first, count = settings.scene.first_scene, settings.scene.scenes
        names = [f"scene-{seed:06d}" for seed in range(first, first + count)]
        made = "synthetic scene, training split"
        return Listing([SourceClip(n, licence="Apache-2.0", provenance=made) for n in names])
    if data is None:
        raise ValueError(f"Source {source} needs its folder: --data FOLDER.")
    if not data.is_dir():
        raise FileNotFoundError(f"There is no folder {data}.")
    if source == "openvid":
        return list_openvid(data, settings.least_scores)
    if source == "realestate10k":
        return list_realestate10k(data)
    if source == "dl3dv":
        return Listing(list(list_dl3dv(data)))
    return Listing(list((list_posed if source == "posed" else _folder)(data, licence)))


def _folder(root: Path, licence: str) -> Iterator[SourceClip]:
    """Every video, animated image and folder of images below `root`.

    `NAME.txt` beside a clip is its caption.
    """
    folders = set()
    for path in sorted(root.rglob("*")):
        inside, suffix = path.relative_to(root), path.suffix.lower()
        if any(part.startswith(".") for part in inside.parts) or path.is_dir():
            continue
        if suffix in VIDEO_SUFFIXES:
            name, words = inside.as_posix(), path.with_suffix(".txt")
        elif suffix in IMAGE_SUFFIXES and path.parent not in folders and path.parent != root:
            path = path.parent
            folders.add(path)
            name, words = f"{inside.parent.as_posix()}/", path / "caption.txt"
        else:
            continue
        caption = words.read_text(encoding="utf-8").strip() if words.is_file() else ""
        yield SourceClip(name, (path,), caption=caption, licence=licence, provenance=name)
