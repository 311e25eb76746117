"""The home of samples on disk: WebDataset tar shards beside a parquet index.

A shard is a plain tar, so any WebDataset reader can stream it. Of every sample it holds lossless
WebP frames (`KEY.target.000.webp`), the render's depth in float16 and its visibility in packed bits
(`KEY.render.depth.z`, `KEY.render.visible.z`, both zlib), and last of all `KEY.json`. The index has
a row per sample, with the place of its bytes, so that reading needs no scan.

The one thing a reader would get wrong: a sample is there when its `KEY.json` is, and a shard when
it has its name; until then it is `.partial.shard-000000.tar`, from which a later writer goes on.
"""

import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...runtime.files import whole
from .sample import SCHEMA, Encoded, Sample, decode, encode

INDEX = "index.parquet"
COLUMNS = {
    "id": "string",
    "clip": "string",
    "kind": "string",
    "recipe": "string",
    "frames": "int32",
    "height": "int32",
    "width": "int32",
    "hole_share": "float32",
    "motion": "float32",
    "scores": "string",
    "caption": "string",
    "provenance": "string",
    "licence": "string",
    "seed": "int64",
    "shard": "string",
    "offset": "int64",
    "bytes": "int64",
}
"""Of the index. `scores` is JSON; `offset` and `bytes` are the sample's place in its shard."""


# -------------------------------------------------------------------------------------- writing


class ShardWriter:
    """Writes samples into shards of a folder, each sample once.

    Samples that are in the folder already, from a run that was stopped, are found; the unfinished
    shard is cut behind its last whole sample and continued.
    """

    def __init__(self, folder: str | Path, per_shard: int = 64):
        """
        Args:
            per_shard: samples in a shard.

        Raises:
            ValueError: less than one sample in a shard, or the package pyarrow is missing.
        """
        if per_shard < 1:
            raise ValueError(f"A shard has at least 1 sample; got per_shard={per_shard}.")
        _pyarrow()
        self.folder, self.per_shard = Path(folder), per_shard
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rejected: dict[str, int] = {}
        """How many clips were rejected, by reason; written into the index's metadata."""
        self._rows, self._open_rows = _found_rows(self.folder)
        self._ids = {row["id"] for row in (*self._rows, *self._open_rows)}
        self._file = None
        finished = sorted(self.folder.glob("shard-*.tar"))
        self._number = 1 + int(finished[-1].stem.split("-")[1]) if finished else 0
        if self._open_rows:
            self._file = self._partial.open("r+b")
            last = self._open_rows[-1]
            self._file.truncate(last["offset"] + last["bytes"])
            self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self.close()
        elif self._file is not None:
            self._file.close()

    def __contains__(self, id: object) -> bool:
        """Whether a sample of this name is written."""
        return id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def write(self, sample: Sample | Encoded) -> bool:
        """Add the sample; False if one of its name is there already."""
        encoded = encode(sample) if isinstance(sample, Sample) else sample
        if encoded.id in self._ids:
            return False
        if self._file is None:
            self._file = self._partial.open("wb")
        start = self._file.tell()
        for end, data in encoded.members.items():
            header = tarfile.TarInfo(f"{encoded.key}.{end}")
            header.size = len(data)
            padding = bytes(-len(data) % tarfile.BLOCKSIZE)
            self._file.write(header.tobuf(tarfile.GNU_FORMAT) + data + padding)
        self._file.flush()
        row = _row(encoded.members["json"]) | {
            "shard": self._name,
            "offset": start,
            "bytes": self._file.tell() - start,
        }
        self._open_rows.append(row)
        self._ids.add(encoded.id)
        if len(self._open_rows) >= self.per_shard:
            self._finish_shard()
        return True

    def close(self) -> None:
        """Give the last shard its name and write the index."""
        if self._file is not None:
            self._finish_shard()
        else:
            self._write_index()

    @property
    def _name(self) -> str:
        return f"shard-{self._number:06d}.tar"

    @property
    def _partial(self) -> Path:
        return self.folder / f".partial.{self._name}"

    def _finish_shard(self) -> None:
        assert self._file is not None
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))  # the end of a tar
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._partial, self.folder / self._name)
        self._rows += self._open_rows
        self._open_rows, self._file, self._number = [], None, self._number + 1
        self._write_index()

    def _write_index(self) -> None:
        arrow, parquet = _pyarrow()
        schema = arrow.schema(
            [(name, arrow.type_for_alias(kind)) for name, kind in COLUMNS.items()],
            {"schema": SCHEMA, "rejected": json.dumps(self.rejected)},
        )
        rows = sorted(self._rows, key=lambda row: row["id"])
        with whole(self.folder / INDEX) as partial:
            parquet.write_table(arrow.Table.from_pylist(rows, schema), partial)


def _row(described: bytes) -> dict[str, Any]:
    """The index's row of a sample, but for its place."""
    said = json.loads(described)
    info = said["info"]
    frames, _, height, width = said["shape"]
    row = {"kind": said["kind"], "caption": said["caption"]}
    row |= {"frames": frames, "height": height, "width": width}
    row |= {"scores": json.dumps(info.get("scores", {}))}
    names = ("id", "clip", "recipe", "hole_share", "motion", "provenance", "licence", "seed")
    return row | {name: info.get(name) for name in names}


def _found_rows(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of what is in the folder's finished shards, and in the unfinished one."""
    indexed = read_index(folder).to_pylist() if (folder / INDEX).exists() else []
    known = {row["shard"] for row in indexed}
    for shard in sorted(folder.glob("shard-*.tar")):
        if shard.name not in known:  # a run was killed between the shard and the index
            indexed += _scanned(shard, shard.name)
    rows = []
    for partial in folder.glob(".partial.shard-*.tar"):
        rows += _scanned(partial, partial.name.removeprefix(".partial."))
    return indexed, rows


def _scanned(path: Path, shard: str) -> list[dict[str, Any]]:
    """The rows of all whole samples of a tar, which may end anywhere."""
    rows, start, size = [], 0, path.stat().st_size
    try:
        with tarfile.open(path) as file:
            for member in file:
                end = member.offset_data + -(-member.size // 512) * 512
                if end > size:
                    break
                if member.name.endswith(".json"):
                    data = file.extractfile(member)
                    assert data is not None, member.name
                    rows.append(_row(data.read()))
                    rows[-1] |= {"shard": shard, "offset": start, "bytes": end - start}
                    start = end
    except tarfile.ReadError:
        pass  # cut inside a header: what came before is whole
    return rows


# -------------------------------------------------------------------------------------- reading


def read_index(folder: str | Path) -> Any:
    """The `pyarrow.Table` of a folder's samples, sorted by id; see `COLUMNS`.

    The schema's metadata has `rejected`: JSON, the number of rejected clips by reason.

    Raises:
        FileNotFoundError: no index in the folder.
        ValueError: the package pyarrow is missing, or the index is of another schema.
    """
    path = Path(folder) / INDEX
    if not path.exists():
        raise FileNotFoundError(f"No {INDEX} in {folder}; `trajectorycrafter curate` writes one.")
    table = _pyarrow()[1].read_table(path)
    found = (table.schema.metadata or {}).get(b"schema", b"").decode()
    if found != SCHEMA:
        raise ValueError(f"{path}: expected schema {SCHEMA!r}; got {found!r}.")
    return table


def read_sample(folder: str | Path, row: Mapping[str, Any]) -> Sample:
    """The sample of a row of the folder's index.

    Raises:
        ValueError: the shard is not the one that was indexed.
    """
    path = Path(folder) / row["shard"]
    with path.open("rb") as file:
        file.seek(row["offset"])
        data = file.read(row["bytes"])
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as members:
            parts: dict[str, bytes] = {}
            for member in members:
                held = members.extractfile(member)
                assert held is not None, member.name
                parts[member.name.split(".", 1)[1]] = held.read()
    except tarfile.ReadError as error:
        raise ValueError(f"{path} does not belong to its {INDEX} ({error}).") from None
    return decode(parts)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ValueError(
            "Shards of samples need the package pyarrow: pip install 'trajectorycrafter[train]'."
        ) from error
    return pyarrow, pyarrow.parquet
