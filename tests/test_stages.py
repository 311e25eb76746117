from pathlib import Path

import pytest
import torch

from trajectorycrafter.runtime.machine import measured, measured_gflops, pick_device, pick_dtype
from trajectorycrafter.runtime.stages import Stages


def write(value: str, path: Path) -> None:
    path.write_text(value)


def test_a_stage_that_was_finished_is_read_not_computed(tmp_path: Path) -> None:
    first = Stages(tmp_path)
    assert first.run("read", lambda: "x", file="a.txt", save=write, load=Path.read_text) == "x"
    assert "read" in first.costs

    def never() -> str:
        raise AssertionError("computed twice")

    again = Stages(tmp_path)
    assert again.run("read", never, file="a.txt", save=write, load=Path.read_text) == "x"
    assert "read" not in again.costs


def test_a_stage_that_failed_leaves_nothing_to_be_trusted(tmp_path: Path) -> None:
    def half(value: str, path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Stages(tmp_path).run("read", lambda: "x", file="a.txt", save=half, load=Path.read_text)
    assert not (tmp_path / "a.txt").exists()
    again = Stages(tmp_path)
    assert again.run("read", lambda: "y", file="a.txt", save=write, load=Path.read_text) == "y"


def test_what_is_known_already_is_not_computed(tmp_path: Path) -> None:
    known = tmp_path / "known.txt"
    known.write_text("known")
    stages = Stages(tmp_path / "stages")
    stages.offer("a.txt", known)
    assert (
        stages.run("read", lambda: "new", file="a.txt", save=write, load=Path.read_text) == "known"
    )
    known.write_text("other")
    stages.offer("a.txt", known)  # what the run has of its own comes first
    assert (
        stages.run("read", lambda: "new", file="a.txt", save=write, load=Path.read_text) == "known"
    )
    assert [path.name for path in (tmp_path / "stages").iterdir()] == ["a.txt"]
    Stages().offer("a.txt", known)


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    stages = Stages()
    assert stages.run("read", lambda: "1", file="a.txt", save=write, load=Path.read_text) == "1"
    assert list(tmp_path.iterdir()) == []


def test_cost_sees_time_and_memory() -> None:
    with measured() as idle:
        pass
    with measured() as cost:
        block = torch.ones(100_000_000)  # 0.4 GB
        block += 1
        del block
    assert cost.seconds > 0
    assert cost.peak_gb > idle.peak_gb + 0.2


def test_devices_and_types_are_picked_or_refused() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    assert pick_dtype("auto", torch.device("cuda")) == torch.bfloat16
    assert pick_dtype("float16", torch.device("cpu")) == torch.float16
    with pytest.raises(ValueError, match="Device 'npu' is not on this machine; it has: .*cpu"):
        pick_device("npu")
    with pytest.raises(ValueError, match="Unknown dtype 'int3'; use one of float32"):
        pick_dtype("int3", torch.device("cpu"))
    assert measured_gflops(torch.device("cpu"), torch.float32) > 0
