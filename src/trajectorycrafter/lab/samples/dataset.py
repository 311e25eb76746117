"""The stream of samples that training reads: shuffled, mixed by weight, split, and resumable.

An epoch is a list of samples drawn from the seed and the epoch's number alone. Rank r of W takes
every W-th of them, beginning with the r-th; the workers of a loader share a rank's part by whole
batches.

The one thing a reader would get wrong: the stream is the same for any number of loader workers only
if the dataset knows the loader's batch size (`batch`), and workers cannot tell this process how
many samples were taken: with workers, say it in `state_dict(taken)`.
"""

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from .sample import Kind, Sample
from .shards import read_index, read_sample

Folders = str | Path | Iterable[str | Path] | Mapping[str | Path, float]


class SampleDataset(IterableDataset[Sample]):
    """Samples of one or more folders as one endless (or finite) stream."""

    def __init__(
        self,
        folders: Folders,
        *,
        kinds: Mapping[Kind, float] | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        batch: int = 1,
        epochs: int | None = None,
        shuffle: bool = True,
    ):
        """
        Args:
            folders: one, several, or each with its share of the stream (any positive numbers).
            kinds: share of each kind; one that is not named is left out. Default: as they are.
            rank: of this process; it takes every `world_size`-th sample.
            batch: the loader's batch size.
            epochs: after how many the stream ends, at a length all ranks share; None never ends.
            shuffle: else in the order of folders and ids, which needs `kinds` and shares left out.

        With neither `kinds` nor shares an epoch has every sample once. With them it has as many
        draws as there are samples, and within an epoch no sample of a group comes again before the
        others of its group have come.

        Raises:
            FileNotFoundError: a folder without an index.
            ValueError: numbers out of range, shares that leave nothing, or no samples at all.
        """
        if not 0 <= rank < world_size or batch < 1 or (epochs is not None and epochs < 1):
            raise ValueError(
                "Expected 0 <= rank < world_size, batch >= 1 and epochs >= 1; got "
                f"rank={rank}, world_size={world_size}, batch={batch}, epochs={epochs}."
            )
        shares = _shares(folders)
        weighted = kinds is not None or any(share is not None for share in shares.values())
        if weighted and not shuffle:
            raise ValueError("Weights mix by drawing; leave them out or shuffle.")
        self.rows = [
            (folder, row)
            for folder in shares
            for row in read_index(folder).to_pylist()
            if kinds is None or kinds.get(row["kind"], 0) > 0
        ]
        if not self.rows:
            raise ValueError(f"No samples of the wanted kinds in {', '.join(map(str, shares))}.")
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.batch, self.epochs, self.shuffle = batch, epochs, shuffle
        self._groups = _groups(self.rows, shares, kinds) if weighted else ()
        self._taken = 0

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        for taken in self._turns(worker, workers):
            epoch, place = divmod(taken * self.world_size + self.rank, len(self.rows))
            if self.shuffle:
                place = _drawn(self.seed, epoch, len(self.rows), self._groups)[place]
            if info is None:
                self._taken = taken + 1
            yield self.read(*self.rows[place])

    def read(self, folder: Path, row: dict[str, Any]) -> Any:
        """What the stream gives for a row of the index."""
        return read_sample(folder, row)

    def _turns(self, worker: int, workers: int) -> Iterator[int]:
        """Which of the rank's samples a loader's worker gives: its batches among the workers'."""
        end = sys.maxsize
        if self.epochs is not None:
            end = self.epochs * len(self.rows) // self.world_size
        start = self._taken + worker * self.batch
        while start < end:
            yield from range(start, min(start + self.batch, end))
            start += workers * self.batch

    def state_dict(self, taken: int | None = None) -> dict[str, Any]:
        """Where the stream stands.

        Args:
            taken: samples that this rank has used since the stream's very beginning; None for what
                this object gave out itself, which is right for a loader without workers.
        """
        taken = self._taken if taken is None else taken
        return {"taken": taken, "world_size": self.world_size, "of": self._fingerprint()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, also with another number of ranks.

        Raises:
            ValueError: a state of other samples, weights or another seed, or one that falls between
                two turns of so many ranks.
        """
        if state["of"] != self._fingerprint():
            raise ValueError(
                "This state belongs to other samples, another seed or other weights; go on with "
                "the same folders and settings, or begin the stream again."
            )
        given = state["taken"] * state["world_size"]
        if given % self.world_size:
            raise ValueError(
                f"{given} samples were given to {state['world_size']} ranks; that is no whole "
                f"number of turns for {self.world_size}. Use as many ranks as before."
            )
        self._taken = given // self.world_size

    def _fingerprint(self) -> str:
        ids = [(row["id"], row["kind"]) for _, row in self.rows]
        weights = [(weight, len(members)) for weight, members in self._groups]
        said = repr((self.seed, self.shuffle, ids, weights))
        return hashlib.sha256(said.encode()).hexdigest()


def _shares(folders: Folders) -> dict[Path, float | None]:
    """Each folder's share; None where none is given."""
    if isinstance(folders, str | Path):
        return {Path(folders): None}
    if not isinstance(folders, Mapping):
        return {Path(folder): None for folder in folders}
    if any(not share > 0 for share in folders.values()):
        raise ValueError(f"A folder's share is more than 0; got {dict(folders)}.")
    return {Path(folder): float(share) for folder, share in folders.items()}


Groups = tuple[tuple[float, tuple[int, ...]], ...]
"""Of each folder and kind: the share of the stream, and the samples."""


def _groups(
    rows: list[tuple[Path, dict[str, Any]]],
    shares: dict[Path, float | None],
    kinds: Mapping[Kind, float] | None,
) -> Groups:
    members: dict[tuple[Path, str], list[int]] = {}
    for i, (folder, row) in enumerate(rows):
        members.setdefault((folder, row["kind"]), []).append(i)
    weights: list[float] = []
    for (folder, kind), found in members.items():
        mine = len(found)
        if kinds is None:  # within a folder kinds are as frequent as they are
            whole = sum(len(m) for (f, _), m in members.items() if f == folder)
            weights.append((shares[folder] or whole) * mine / whole)
            continue
        # Within a kind folders share by what is given, else by how much they have.
        within = {f: shares[f] or len(m) for (f, k), m in members.items() if k == kind}
        weight = next(float(w) for k, w in kinds.items() if k == kind)
        weights.append(weight * within[folder] / sum(within.values()))
    total = sum(weights)
    return tuple((w / total, tuple(found)) for w, found in zip(weights, members.values()))


@lru_cache(maxsize=4)
def _drawn(seed: int, epoch: int, count: int, groups: Groups) -> np.ndarray:
    """`count` samples, the same on every machine for the same seed and epoch."""
    rng = np.random.default_rng([17, seed, epoch])
    if not groups:
        return rng.permutation(count)
    picked = rng.choice(len(groups), size=count, p=[weight for weight, _ in groups])
    order = np.empty(count, dtype=np.int64)
    for g, (_, members) in enumerate(groups):
        places = np.flatnonzero(picked == g)
        rounds = -(-len(places) // len(members))
        shuffled = [rng.permutation(members) for _ in range(rounds)]
        if shuffled:
            order[places] = np.concatenate(shuffled)[: len(places)]
    return order
