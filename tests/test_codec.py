"""The embedded codec and its decoder: what they keep, and what they refuse."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trajectorycrafter.model.codec import Pictures, RenderDecoder, SpaceToDepthCodec


def clip(frames: int, height: int = 16, width: int = 24, seed: int = 0) -> torch.Tensor:
    """Smooth moving pictures in [-1, 1], `T 3 H W`."""
    generator = torch.Generator().manual_seed(seed)
    rough = torch.rand(1, 3, 3, 4, 5, generator=generator)
    size = (frames, height, width)
    smooth = torch.nn.functional.interpolate(rough, size, mode="trilinear", align_corners=True)
    return smooth[0].transpose(0, 1) * 2 - 1


def batch(*clips: torch.Tensor) -> torch.Tensor:
    return torch.stack(clips).transpose(1, 2)


@given(st.integers(1, 14), st.integers(1, 3), st.integers(1, 3))
def test_all_components_give_the_clip_back(frames: int, rows: int, columns: int) -> None:
    codec = SpaceToDepthCodec(768)
    video = batch(clip(frames, 8 * rows, 8 * columns))
    latents = codec.encode(video).latent_dist.mode()
    assert latents.shape == (1, 768, 1 + (frames + 2) // 4, rows, columns)
    back = codec.decode(latents).sample
    torch.testing.assert_close(back[:, :, :frames], video)
    # Frames beyond the clip's end repeat its last one.
    torch.testing.assert_close(back[:, :, frames:], video[:, :, -1:].expand_as(back[:, :, frames:]))


def test_a_fitted_codec_keeps_what_its_clips_are_made_of() -> None:
    clips = [clip(9, seed=i) for i in range(40)]
    codec = SpaceToDepthCodec.fit(clips[:30], 32)
    plain = SpaceToDepthCodec(32)
    held_out = batch(*clips[30:])

    def error(made: SpaceToDepthCodec) -> float:
        back = made.decode(made.encode(held_out).latent_dist.mode()).sample
        return float((back - held_out).square().mean())

    assert error(codec) < 0.005 < 0.1 * error(plain)
    latents = codec.encode(batch(*clips[:30])).latent_dist.mode()
    assert float(latents.square().mean()) == pytest.approx(1, rel=0.05)
    # Half whitened: a latent's deviation is the square root of its component's.
    deviation = latents.transpose(0, 1).flatten(1).std(dim=1)
    components = deviation / codec.basis.norm(dim=0)
    ratio = deviation**2 / components
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=0.02, atol=0)
    assert components[0] > 3 * components[31]


def test_a_difference_of_latents_is_one_of_pixels() -> None:
    codec = SpaceToDepthCodec.fit([clip(9, seed=i) for i in range(20)], 16)
    a, b = (codec.encode(batch(clip(5, seed=i))).latent_dist.mode() for i in (50, 51))
    pixels = codec.decode(a).sample - codec.decode(b).sample
    torch.testing.assert_close(codec.difference(a - b), pixels)


def test_the_posterior_has_no_spread() -> None:
    posterior = SpaceToDepthCodec(8).encode(batch(clip(5))).latent_dist
    assert posterior.sample(torch.Generator()) is posterior.mode()
    assert not posterior.std.any()


def test_sides_must_be_whole_blocks() -> None:
    with pytest.raises(ValueError, match="multiples of 8; got 16x20"):
        SpaceToDepthCodec(8).encode(torch.zeros(1, 3, 5, 16, 20))


def pictures(frames: int, height: int, width: int) -> Pictures:
    g = torch.Generator().manual_seed(1)
    parts = [torch.rand(2, frames, 3, height, width, generator=g) * 2 - 1 for _ in range(3)]
    masks = [torch.rand(2, frames, 1, height, width, generator=g) > 0.5 for _ in range(2)]
    return Pictures(parts[0], parts[1], masks[0], parts[2], masks[1])


@pytest.mark.parametrize(("frames", "height", "width"), [(5, 16, 24), (7, 32, 16), (1, 16, 16)])
def test_an_untrained_decoder_draws_the_change_over_the_fill(
    frames: int, height: int, width: int
) -> None:
    decoder = RenderDecoder(8, widths=(8, 16), depth=(1, 1))
    given = pictures(frames, height, width)
    latents = torch.rand(2, 8, 1 + (frames + 2) // 4, height // 8, width // 8)
    drawn = torch.rand(2, frames, 3, height, width)
    torch.testing.assert_close(decoder(latents, latents, drawn, given), given.filled + drawn)


def test_the_decoder_reads_latents_and_pictures_but_no_hole() -> None:
    torch.manual_seed(0)
    decoder = RenderDecoder(8, widths=(8, 16), depth=(1, 1))
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    given, latents = pictures(9, 16, 16), torch.rand(2, 8, 3, 2, 2)
    drawn = torch.zeros(2, 9, 3, 16, 16)
    made = decoder(latents, latents, drawn, given)
    assert not torch.allclose(decoder(latents + 1, latents, drawn, given), made)
    # What lies under a mask's zeros is nothing that was seen.
    junk = torch.where(given.visible, given.render, torch.tensor(0.7))
    hidden = Pictures(given.filled, junk, given.visible, given.memory, given.memory_visible)
    torch.testing.assert_close(decoder(latents, latents, drawn, hidden), made)
    # Clips of a batch do not see each other.
    alone = Pictures(*(x[1:] for x in vars(given).values()))
    torch.testing.assert_close(
        decoder(latents[1:], latents[1:], drawn[1:], alone), made[1:], rtol=1e-4, atol=1e-5
    )


def test_a_smooth_decoder_adds_the_same_without_its_fine_texture() -> None:
    torch.manual_seed(0)
    sharp = RenderDecoder(8, widths=(8, 16), depth=(1, 1))
    torch.nn.init.normal_(sharp.outward.weight, std=0.1)
    smooth = RenderDecoder(8, widths=(8, 16), depth=(1, 1), smooth=3.0)
    smooth.load_state_dict(sharp.state_dict())
    pictures = Pictures(
        filled=torch.rand(1, 5, 3, 48, 64),
        render=torch.rand(1, 5, 3, 48, 64),
        visible=torch.rand(1, 5, 1, 48, 64) > 0.5,
        memory=torch.rand(1, 5, 3, 48, 64),
        memory_visible=torch.rand(1, 5, 1, 48, 64) > 0.5,
    )
    change, latents = torch.randn(2, 1, 8, 2, 6, 8)
    drawn = torch.rand(1, 5, 3, 48, 64)
    with torch.no_grad():
        fine, coarse = (
            decoder(change, latents, drawn, pictures) - pictures.filled
            for decoder in (sharp, smooth)
        )
    steps = [x.diff(dim=-1).abs().mean() for x in (fine, coarse)]
    assert steps[1] < steps[0] / 10
    assert torch.allclose(fine.mean((3, 4)), coarse.mean((3, 4)), atol=0.02)
    # A Gaussian of 3 pixels, worked out plainly in the middle of a frame.
    places = torch.arange(-9, 10).float()
    weights = torch.exp(-places.square() / 18)
    kernel = weights[:, None] * weights / weights.sum() ** 2
    expected = (fine[0, 2, 1, 11:30, 21:40] * kernel).sum()
    assert torch.allclose(coarse[0, 2, 1, 20, 30], expected, atol=1e-5)
