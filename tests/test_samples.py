"""Samples in shards: what goes in comes out, a broken file is repaired, the stream is exact."""

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from trajectorycrafter.lab.samples import (
    COLUMNS,
    Kind,
    Sample,
    SampleDataset,
    ShardWriter,
    decode,
    encode,
    read_index,
    read_sample,
)
from trajectorycrafter.rendering.render import Render
from trajectorycrafter.video.clip import Video


def make(
    name: str, kind: Kind = "dynamic", memory: bool = True, size: tuple[int, int] = (10, 14)
) -> Sample:
    """A sample of noise, drawn from its name."""
    generator = torch.Generator().manual_seed(sum(name.encode()))

    def frames(count: int) -> torch.Tensor:
        whole = torch.randint(0, 256, (count, 3, *size), generator=generator)
        return whole.float() / 255

    def view() -> Render:
        visible = torch.rand(5, 1, *size, generator=generator) > 0.3
        depth = torch.rand(5, 1, *size, generator=generator) * 30 * visible
        return Render(frames(5) * visible, depth, visible)

    info = {
        "id": name,
        "clip": name.split("#")[0],
        "recipe": "noise",
        "hole_share": 0.3,
        "motion": 1.5,
        "scores": {"aesthetic": 5.0},
        "licence": "CC0-1.0",
        "seed": 3,
    }
    return Sample(
        Video(frames(5), 24.0),
        view(),
        Video(frames(3), 12.0),
        "noise, and “more”",
        kind,
        view() if memory else None,
        info,
        Video(frames(5), 24.0) if memory else None,
    )


def test_a_sample_comes_back_as_it_was() -> None:
    made = make("a/b.mp4#0")
    back = decode(encode(made).members)
    for a, b in ((made.target, back.target), (made.reference, back.reference)):
        assert torch.equal(a.frames, b.frames)
        assert a.fps == b.fps
    assert made.memory is not None and back.memory is not None
    for a, b in ((made.render, back.render), (made.memory, back.memory)):
        assert torch.equal(a.frames, b.frames)
        assert torch.equal(a.visible, b.visible)
        torch.testing.assert_close(a.depth, b.depth, rtol=5e-4, atol=1e-6)
    assert (back.caption, back.kind, back.info) == (made.caption, made.kind, made.info)
    assert made.filled is not None and back.filled is not None
    assert torch.equal(back.filled.frames, made.filled.frames)
    plain = decode(encode(make("b", memory=False)).members)
    assert plain.memory is None
    assert plain.filled is None


def test_far_depth_stays_finite() -> None:
    made = make("far", memory=False)
    far = Render(made.render.frames, made.render.depth + 1e6, made.render.visible)
    sample = Sample(made.target, far, made.reference, "", "static", info={"id": "far"})
    assert torch.isfinite(decode(encode(sample).members).render.depth).all()


def test_parts_that_do_not_fit_are_refused() -> None:
    a, small = make("a"), make("b", size=(8, 8))
    with pytest.raises(ValueError, match=r"a render of the target's shape \(5, 3, 10, 14\)"):
        Sample(a.target, small.render, a.reference, "", "static")
    with pytest.raises(ValueError, match="reference frames of 10x14"):
        Sample(a.target, a.render, small.reference, "", "static")
    with pytest.raises(ValueError, match="needs its name"):
        encode(Sample(a.target, a.render, a.reference, "", "static"))
    with pytest.raises(ValueError, match="not JSON serializable"):
        encode(Sample(a.target, a.render, a.reference, "", "static", info={"id": "x", "y": {1}}))
    with pytest.raises(ValueError, match="Expected schema"):
        decode({"json": b"{}"})


def fill(folder: Path, names: list[str], per_shard: int = 3) -> None:
    with ShardWriter(folder, per_shard) as writer:
        for name in names:
            writer.write(make(name))
        writer.rejected = {"still": 2}


NAMES = [f"clip {i}.mp4#0" for i in range(7)]


def test_shards_and_index(tmp_path: Path) -> None:
    fill(tmp_path, NAMES)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["index.parquet", *(f"shard-00000{i}.tar" for i in range(3))]
    table = read_index(tmp_path)
    assert table.column_names == list(COLUMNS)
    assert json.loads(table.schema.metadata[b"rejected"]) == {"still": 2}
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == NAMES
    assert json.loads(rows[0]["scores"]) == {"aesthetic": 5.0}
    assert rows[3]["licence"] == "CC0-1.0" and rows[3]["frames"] == 5 and rows[3]["height"] == 10
    assert Counter(row["shard"] for row in rows) == {
        "shard-000000.tar": 3,
        "shard-000001.tar": 3,
        "shard-000002.tar": 1,
    }
    for row in rows:
        assert torch.equal(read_sample(tmp_path, row).render.frames, make(row["id"]).render.frames)


def test_shards_are_webdataset(tmp_path: Path) -> None:
    from webdataset.compat import WebDataset

    fill(tmp_path, NAMES, per_shard=7)
    stream = WebDataset(str(tmp_path / "shard-000000.tar"), shardshuffle=False)
    decoded: Any = stream.decode("rgb8")
    found = list(decoded)
    assert [sample["json"]["info"]["id"] for sample in found] == NAMES
    assert len({sample["__key__"] for sample in found}) == 7
    expected = (make(NAMES[2]).target.frames[4] * 255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(found[2]["target.004.webp"], expected)


def test_no_sample_is_written_twice(tmp_path: Path) -> None:
    fill(tmp_path, NAMES[:4])
    with ShardWriter(tmp_path, 3) as writer:
        assert len(writer) == 4 and NAMES[3] in writer
        assert not writer.write(make(NAMES[3]))
        assert writer.write(make(NAMES[4]))
    assert [row["id"] for row in read_index(tmp_path).to_pylist()] == NAMES[:5]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.31, 0.5, 0.77, 0.999, 1.0])
def test_a_writer_that_was_killed_goes_on(tmp_path: Path, share: float) -> None:
    """Wherever the unfinished shard ends, whole samples are kept, others are made again."""
    writer = ShardWriter(tmp_path, 6)
    for name in NAMES[:3]:
        writer.write(make(name))
    (partial,) = tmp_path.glob(".partial.*")
    data = partial.read_bytes()
    partial.write_bytes(data[: round(share * len(data))])
    with ShardWriter(tmp_path, 6) as writer:
        assert len(writer) == int(share * 3)
        for name in NAMES:
            writer.write(make(name))
    rows = read_index(tmp_path).to_pylist()
    assert [row["id"] for row in rows] == NAMES
    for row in rows:
        assert torch.equal(read_sample(tmp_path, row).target.frames, make(row["id"]).target.frames)
    assert not list(tmp_path.glob(".partial.*"))


def test_a_shard_that_is_not_indexed_is_found(tmp_path: Path) -> None:
    fill(tmp_path, NAMES[:3])
    (tmp_path / "index.parquet").unlink()
    with ShardWriter(tmp_path, 3) as writer:
        assert len(writer) == 3
    assert [row["id"] for row in read_index(tmp_path).to_pylist()] == NAMES[:3]


def test_messages_of_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"index\.parquet"):
        read_index(tmp_path)
    with pytest.raises(ValueError, match="at least 1 sample"):
        ShardWriter(tmp_path, 0)
    fill(tmp_path, NAMES[:2])
    (tmp_path / "shard-000000.tar").write_bytes(b"x" * 100_000)
    with pytest.raises(ValueError, match="does not belong to its index"):
        read_sample(tmp_path, read_index(tmp_path).to_pylist()[0])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"trajectorycrafter\[train\]"):
        ShardWriter(tmp_path)


# --------------------------------------------------------------------------------------- stream


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Ten dynamic and five static samples, and five dynamic ones elsewhere."""
    a, b = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    with ShardWriter(a, 4) as writer:
        for i in range(10):
            writer.write(make(f"d{i}#0", "dynamic", memory=False, size=(8, 8)))
        for i in range(5):
            writer.write(make(f"s{i}#0", "static", memory=False, size=(8, 8)))
    with ShardWriter(b, 4) as writer:
        for i in range(5):
            writer.write(make(f"b{i}#0", "dynamic", memory=False, size=(8, 8)))
    return a, b


def ids(samples: Iterable[Sample]) -> list[str]:
    return [sample.info["id"].split("#")[0] for sample in samples]


def first(dataset: SampleDataset, count: int) -> list[str]:
    return ids(sample for _, sample in zip(range(count), dataset))


def test_an_epoch_has_every_sample_once_in_a_new_order(sets: tuple[Path, Path]) -> None:
    stream = first(SampleDataset(sets), 40)
    assert sorted(stream[:20]) == sorted(stream[20:]) and len(set(stream)) == 20
    assert stream[:20] != stream[20:]
    assert first(SampleDataset(sets), 40) == stream
    assert first(SampleDataset(sets, seed=1), 40) != stream
    plain = SampleDataset(sets[0], shuffle=False, epochs=1)
    assert ids(plain) == [f"d{i}" for i in range(10)] + [f"s{i}" for i in range(5)]


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_the_stream(sets: tuple[Path, Path], ranks: int) -> None:
    whole = first(SampleDataset(sets), 20)
    parts = [
        ids(SampleDataset(sets, rank=rank, world_size=ranks, epochs=1)) for rank in range(ranks)
    ]
    assert {len(part) for part in parts} == {20 // ranks}  # else a rank would wait for the others
    for rank, part in enumerate(parts):
        assert part == whole[rank::ranks][: 20 // ranks]


def test_kinds_and_folders_are_mixed_by_weight(sets: tuple[Path, Path]) -> None:
    drawn = Counter(
        s[0] for s in first(SampleDataset(sets, kinds={"static": 3, "dynamic": 1}), 300)
    )
    assert 0.68 < drawn["s"] / 300 < 0.82
    assert drawn["d"] > drawn["b"] > 0  # within a kind by what the folders have
    only = SampleDataset(sets, kinds={"static": 1.0}, epochs=2)
    assert Counter(ids(only)) == dict.fromkeys((f"s{i}" for i in range(5)), 2)
    shares = SampleDataset({sets[0]: 1.0, sets[1]: 4.0})
    drawn = Counter(s[0] for s in first(shares, 300))
    assert 0.73 < drawn["b"] / 300 < 0.87
    epoch = first(SampleDataset({sets[0]: 1.0, sets[1]: 4.0}), 20)
    per_sample = Counter(s for s in epoch if s[0] == "b")
    assert max(per_sample.values()) - min(per_sample.values()) <= 1


@pytest.mark.parametrize("taken", [1, 7, 20, 33])
def test_the_stream_resumes_exactly(sets: tuple[Path, Path], taken: int) -> None:
    def dataset() -> SampleDataset:
        return SampleDataset(sets, kinds={"static": 1, "dynamic": 1}, seed=5)

    whole, begun = first(dataset(), 50), dataset()
    assert first(begun, taken) == whole[:taken]
    state = json.loads(json.dumps(begun.state_dict(taken)))
    resumed = dataset()
    resumed.load_state_dict(state)
    assert first(resumed, 50 - taken) == whole[taken:]


def test_the_dataset_counts_what_it_gives_without_workers(sets: tuple[Path, Path]) -> None:
    dataset = SampleDataset(sets)
    stream = iter(dataset)
    seen = ids(next(stream) for _ in range(6))
    resumed = SampleDataset(sets)
    resumed.load_state_dict(dataset.state_dict())
    assert seen + first(resumed, 5) == first(SampleDataset(sets), 11)


def test_another_number_of_ranks_goes_on_where_all_stood(sets: tuple[Path, Path]) -> None:
    dataset = SampleDataset(sets, rank=1, world_size=2)
    state = dataset.state_dict(taken=6)
    alone = SampleDataset(sets)
    alone.load_state_dict(state)
    assert first(alone, 4) == first(SampleDataset(sets), 16)[12:]
    with pytest.raises(ValueError, match="12 samples were given to 2 ranks"):
        SampleDataset(sets, world_size=5).load_state_dict(state)
    with pytest.raises(ValueError, match="other samples"):
        SampleDataset(sets, seed=9).load_state_dict(state)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_loader_workers_do_not_change_the_stream(
    workers: int, batch: int, ranks: int, batches_done: int
) -> None:
    """What a loader does: batch k comes from worker k modulo their number."""
    dataset: Any = object.__new__(SampleDataset)
    dataset.rows, dataset.world_size, dataset.batch, dataset.epochs = [None] * 23, ranks, batch, 3
    dataset._taken = batches_done * batch
    given_out = [list(dataset._turns(w, workers)) for w in range(workers)]
    loaded = []
    while any(given_out):
        for turns in given_out:
            loaded += turns[:batch]
            del turns[:batch]
    assert loaded == list(range(dataset._taken, 3 * 23 // ranks))


def test_a_loader_with_workers_gives_the_same(sets: tuple[Path, Path]) -> None:
    dataset = SampleDataset(sets, epochs=1, batch=2)
    loader = DataLoader(dataset, batch_size=2, num_workers=2, collate_fn=ids)
    loaded = [name for batch in loader for name in batch]
    assert loaded == ids(SampleDataset(sets, epochs=1))


def test_messages_of_the_stream(sets: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rank=2"):
        SampleDataset(sets, rank=2, world_size=2)
    with pytest.raises(ValueError, match="share is more than 0"):
        SampleDataset({sets[0]: 0.0})
    with pytest.raises(ValueError, match="leave them out or shuffle"):
        SampleDataset(sets, kinds={"static": 1.0}, shuffle=False)
    with pytest.raises(ValueError, match="No samples of the wanted kinds"):
        SampleDataset(sets[1], kinds={"static": 1.0})
    with pytest.raises(FileNotFoundError, match="No index"):
        SampleDataset(tmp_path)
