"""The splats against the released numbers, against each other, and on cases worked by hand."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from reference.slow_splat import slow_splat_released
from safetensors.torch import load_file

from trajectorycrafter.rendering import splatting
from trajectorycrafter.rendering.splatting import (
    Splats,
    project,
    sized,
    splat_quality,
    splat_quality_torch,
    splat_released,
    splat_released_torch,
)

GOLDEN = load_file(Path(__file__).parent / "golden" / "warper" / "warper.safetensors")
HEIGHT, WIDTH = GOLDEN["frames"].shape[2:]
FRAMES = range(3)


def golden_points(frame: int, flow: str = "plain"):
    """Where the released warper sends each pixel, how deep, and which colour."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) * 1.0, torch.arange(WIDTH) * 1.0, indexing="ij")
    moved = GOLDEN[f"{flow}.flow"][frame] + torch.stack([x, y])
    z = GOLDEN[f"{flow}.transformed_depth"][frame].flatten()
    colors = (GOLDEN["frames"][frame].flatten(1).T + 1) / 2
    return Splats(
        moved[0].flatten(), moved[1].flatten(), z, torch.ones(len(z)), colors.contiguous()
    )


def random_points(seed: int, count: int = 900, height: int = 24, width: int = 32):
    """Points all about the image, some outside, some behind, at two depths."""
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(count, generator=g) * (width + 8) - 4
    y = torch.rand(count, generator=g) * (height + 8) - 4
    x[::7], y[::11] = x[::7].round(), y[::11].round()
    z = torch.where(torch.rand(count, generator=g) < 0.3, 2.0, 5.0)
    z = z + 0.05 * torch.rand(count, generator=g)
    z[::50] *= -1
    valid = torch.rand(count, generator=g) < 0.9
    return Splats(x, y, z, valid.float(), torch.rand(count, 3, generator=g))


@pytest.mark.parametrize("frame", FRAMES)
def test_projection_is_the_released_warpers(frame: int) -> None:
    K = GOLDEN["K"][frame].clone()
    z = GOLDEN["depths"][frame, 0]
    y, x = torch.meshgrid(torch.arange(HEIGHT) * 1.0, torch.arange(WIDTH) * 1.0, indexing="ij")
    points = torch.stack([(x - K[0, 2]) / K[0, 0] * z, (y - K[1, 2]) / K[1, 1] * z, z], dim=-1)
    K[:2, 2] += 0.5
    world_to_camera = GOLDEN["pose_t"][frame] @ torch.linalg.inv(GOLDEN["pose_s"][frame])
    points, want = points.view(-1, 3), golden_points(frame)
    found = project(points, points, want.size > 0, world_to_camera, K)
    # The golden flow itself moves by 1.5e-4 pixels between float32 and float64.
    assert (found.x - want.x).abs().max() < 2e-4
    assert (found.y - want.y).abs().max() < 2e-4
    assert ((found.z - want.z) / (1 + want.z)).abs().max() < 2e-4


@pytest.mark.parametrize("splat", [splat_released, splat_released_torch])
@pytest.mark.parametrize("frame", FRAMES)
def test_released_splat_on_the_golden_flow(
    splat: Callable[..., tuple[torch.Tensor, ...]], frame: int
) -> None:
    image, depth, visible = splat(golden_points(frame), HEIGHT, WIDTH)
    assert torch.equal(visible, GOLDEN["plain.mask"][frame].bool())
    signed = torch.where(visible, image * 2 - 1, -1.0)
    assert (signed - GOLDEN["plain.warped_frame"][frame]).abs().max() < 1e-5
    want = GOLDEN["plain.warped_depth"][frame]
    assert ((depth - want) / (1 + want)).abs().max() < 1e-5


@pytest.mark.parametrize("splat", [splat_released, splat_released_torch])
def test_released_splat_equals_its_slow_twin(
    splat: Callable[..., tuple[torch.Tensor, ...]],
) -> None:
    points = random_points(0)
    image, depth, visible = splat(points, 24, 32)
    x, y, z = points.x.numpy(), points.y.numpy(), points.z.numpy()
    valid = (points.size > 0).numpy()
    want = slow_splat_released(x, y, z, points.colors.numpy(), valid, 24, 32)
    assert (visible[0].numpy() == want[2]).all()
    # Sums of float32 in another order, over weights of very different size.
    assert abs(image.numpy() - want[0]).max() < 1e-4
    assert abs(depth[0].numpy() - want[1]).max() < 1e-4


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.7, 20.0])
def test_quality_splat_equals_its_torch_twin(seed: int, scale: float) -> None:
    points = random_points(seed)
    points = sized(points, scale * points.z.abs() / 100, torch.tensor(100.0), 24, 32)
    fast = splat_quality(points, 24, 32)
    plain = splat_quality_torch(points, 24, 32)
    assert torch.equal(fast[2], plain[2])
    # Sums in another order; depth is about 5.
    assert (fast[0] - plain[0]).abs().max() < 1e-5
    assert (fast[1] - plain[1]).abs().max() < 1e-4


def test_without_numba_the_torch_twins_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    splats = random_points(1)
    places = torch.stack([splats.x, splats.y, splats.z], dim=1), splats.colors, splats.size > 0
    view, spacing = (torch.eye(4), torch.eye(3)), splats.z.abs() / 50
    compiled = project(*places, *view)
    size = sized(splats, spacing, torch.tensor(100.0), 24, 32).size
    drawn = splat_released(splats, 24, 32)
    splatting.compiled_kernels.cache_clear()
    monkeypatch.setitem(sys.modules, "trajectorycrafter.rendering.compiled", None)
    monkeypatch.delattr("trajectorycrafter.rendering.compiled", raising=False)
    try:
        assert splatting.compiled_kernels() is None
        plain = project(*places, *view)
        for axis in ("x", "y", "z"):
            a, b = getattr(compiled, axis), getattr(plain, axis)
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
        again = sized(splats, spacing, torch.tensor(100.0), 24, 32).size
        torch.testing.assert_close(again, size)
        twin = splat_released(splats, 24, 32)
        assert torch.equal(twin[2], drawn[2])
        torch.testing.assert_close(twin[0], drawn[0], rtol=0, atol=1e-4)
    finally:
        splatting.compiled_kernels.cache_clear()


def test_points_behind_the_camera_or_without_a_number_are_not_drawn() -> None:
    z = torch.tensor([-3.0, 0.0, torch.nan, torch.inf, 2.0])
    x = torch.tensor([5.0, 5.0, 5.0, 5.0, torch.nan])
    points = Splats(x, x, z, torch.ones(5), torch.ones(5, 3))
    drawn = sized(points, torch.ones(5), torch.tensor(1.0), 10, 10)
    assert not drawn.size.any()
    _, _, visible = splat_quality(drawn, 10, 10)
    assert not visible.any()
    # The released splat survives them, too, though it draws the first.
    splat_released(points, 10, 10)


def test_the_front_surface_hides_the_one_behind() -> None:
    y, x = torch.meshgrid(torch.arange(10) * 1.0, torch.arange(10) * 1.0, indexing="ij")
    x, y = torch.cat([x, x + 0.4]).flatten(), torch.cat([y, y + 0.4]).flatten()
    z = torch.cat([torch.full((100,), 4.0), torch.full((100,), 2.0)])
    colors = torch.cat(
        [torch.tensor([1.0, 0, 0]).expand(100, 3), torch.tensor([0, 1.0, 0]).expand(100, 3)]
    )
    image, depth, _ = splat_quality(Splats(x, y, z, torch.ones(200), colors), 10, 10)
    assert (image[0, 1:, 1:] == 0).all() and (image[1, 1:, 1:] == 1).all()
    assert (depth[0, 1:, 1:] - 2).abs().max() < 1e-6


def test_torn_surface_closes_and_disocclusion_stays() -> None:
    """A surface stretched 1.8 times shows neither holes nor what is behind; a gap between two
    surfaces of different depth stays a hole."""
    y, x = torch.meshgrid(torch.arange(30) * 1.0, torch.arange(15) * 1.8, indexing="ij")
    front = x.flatten(), y.flatten(), torch.full((450,), 2.0)
    by, bx = torch.meshgrid(torch.arange(30) * 1.0, torch.arange(30) * 1.0, indexing="ij")
    back = bx.flatten(), by.flatten(), torch.full((900,), 6.0)
    x, y, z = (torch.cat(pair) for pair in zip(front, back, strict=True))
    colors = torch.cat([torch.ones(450, 3), torch.zeros(900, 3)])
    image, _, visible = splat_quality(Splats(x, y, z, torch.ones(len(z)), colors), 30, 30)
    inner = image[:, 2:-2, 1:25]
    assert visible.all()
    assert (inner > 0.99).float().mean() > 0.97
    alone = splat_quality(Splats(*front, torch.ones(450), torch.ones(450, 3)), 30, 30)
    assert alone[2][0, 1:-1, 1:25].all()
    kept = (bx <= 10) | (bx >= 13)
    z = torch.where(bx <= 10, 2.0, 6.0)
    count = int(kept.sum())
    points = Splats(bx[kept], by[kept], z[kept], torch.ones(count), torch.ones(count, 3))
    gap = splat_quality(points, 30, 30)
    assert torch.equal(gap[2][0], kept)


def test_several_threads_may_render_at_once() -> None:
    points = random_points(2)
    want = splat_released(points, 24, 32)
    with ThreadPoolExecutor(4) as threads:
        jobs = [threads.submit(splat_released, points, 24, 32) for _ in range(40)]
        for job in jobs:
            assert torch.equal(job.result()[0], want[0])


@pytest.mark.parametrize("frame", FRAMES)
def test_the_released_way_there_and_back_is_three_splats(frame: int) -> None:
    """Image there; flow there; and the image back along that flow with the unwarped depth."""
    points = golden_points(frame)
    there, _, seen = splat_released(points, HEIGHT, WIDTH)
    flow = GOLDEN["plain.flow"][frame].flatten(1).T
    # The splat is for colours in [0, 1]; it averages, so a scaled flow stays in range.
    low, span = flow.min(), flow.max() - flow.min()
    scaled = torch.cat([(flow - low) / span, torch.zeros_like(flow[:, :1])], dim=1)
    moved, _, _ = splat_released(replace(points, colors=scaled), HEIGHT, WIDTH)
    warped_flow = torch.where(seen, moved[:2] * span + low, 0.0)
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    back_x, back_y = columns - warped_flow[0], rows - warped_flow[1]
    depth = GOLDEN["depths"][frame].flatten()
    colors = there.flatten(1).T.contiguous()
    points = Splats(back_x.flatten(), back_y.flatten(), depth, seen.flatten().float(), colors)
    back, _, known = splat_released(points, HEIGHT, WIDTH)
    signed = torch.where(known, back * 2 - 1, -1.0)
    wrong = (signed - GOLDEN["twice.twice_warped_frame1"][frame]).abs().amax(dim=0) > 1e-3
    # Depth weights span e^50, so that rounding moves single pixels; see docs/reference/parity.md.
    assert wrong.float().mean() < 0.005
