"""True pixels stay, holes are the network's, and no border shows."""

import torch

from trajectorycrafter.rendering.blending import blend, blurred


def scene(height: int = 96, width: int = 192) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames `2 3 H W` with a gradient, and a mask with a hole in the middle and at the right."""
    y, x = torch.meshgrid(
        torch.linspace(0.2, 0.8, height), torch.linspace(0.3, 0.7, width), indexing="ij"
    )
    frames = torch.stack([y, x, (x + y) / 2]).expand(2, -1, -1, -1)
    visible = torch.ones(2, 1, height, width, dtype=torch.bool)
    visible[..., 30:60, 40:70] = False
    visible[..., 110:] = False
    return frames, visible


def test_a_perfect_network_leaves_a_perfect_picture() -> None:
    frames, visible = scene()
    torch.testing.assert_close(blend(frames, frames * visible, visible), frames, atol=1e-5, rtol=0)


def test_seen_pixels_are_the_renders_and_holes_are_not() -> None:
    frames, visible = scene()
    mixed = blend(1 - frames, frames * visible, visible)
    deep = torch.zeros_like(visible)
    deep[..., 5:25, 5:100] = True
    torch.testing.assert_close(mixed * deep, frames * deep, atol=1e-4, rtol=0)
    assert (mixed[..., 40:50, 170:] - (1 - frames)[..., 40:50, 170:]).abs().max() < 0.02


def test_wrong_colours_are_matched_at_the_border() -> None:
    frames, visible = scene()
    mixed = blend((frames + 0.1).clamp(0, 1), frames * visible, visible)
    # Near the border the fault is gone, far from it it stays.
    assert (mixed - frames)[..., 30:32, 42:68].abs().max() < 0.03
    assert (mixed - frames)[..., 50, 170:].abs().min() > 0.05


def test_a_border_is_soft() -> None:
    frames, visible = scene(192, 320)
    black = torch.zeros_like(frames)
    steps = blend(frames * 0 + 1, black, visible)[0, 0].diff(dim=0).abs().max()
    assert steps < 0.9


def test_nothing_seen_is_all_network_and_all_seen_is_all_render() -> None:
    frames, visible = scene()
    torch.testing.assert_close(blend(frames, frames * 0, visible & False), frames)
    torch.testing.assert_close(blend(frames * 0, frames, visible | True), frames, atol=1e-5, rtol=0)


def test_a_blur_keeps_the_mean_of_a_plain_picture() -> None:
    plain = torch.full((1, 2, 9, 12), 0.4)
    torch.testing.assert_close(blurred(plain, 2.0), plain)
