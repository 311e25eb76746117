"""How far the metrics are from independent implementations: the table of docs/reference/metrics.md.

Needs `make .venv/dev` and `pip install torchmetrics`, but no torchvision: both LPIPS packages get a
stand-in for it that has nothing but the two networks' layers with random weights, which are ours as
well then. So what is compared is the formula, on weights that nobody trained.
"""

import math
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
import torchmetrics.functional.image.lpips as torchmetrics_lpips
from imageio_ffmpeg import get_ffmpeg_exe
from scipy.ndimage import map_coordinates
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure
from tqdm.auto import tqdm
from transformers import Dinov2Config, Dinov2Model

from trajectorycrafter.depth.dinov2 import load_dinov2
from trajectorycrafter.lab.evaluation import pixels, temporal
from trajectorycrafter.lab.evaluation.dino import SHORT_SIDE, dino_distance
from trajectorycrafter.lab.evaluation.perceptual import BACKBONES, Net, load_lpips
from trajectorycrafter.lab.evaluation.vmaf import vmaf
from trajectorycrafter.video.clip import Video
from trajectorycrafter.video.flow import optical_flow, to_gray
from trajectorycrafter.video.reading import DEMO_CLIP, FrameChoice

GAUSSIAN: dict[str, Any] = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)


@dataclass(frozen=True)
class Pair:
    """Made and true frames, and what counts of them."""

    made: Tensor
    true: Tensor
    mask: Tensor

    def crop(self, height: int, width: int) -> "Pair":
        part = (slice(0, 1), slice(None), slice(0, height), slice(0, width))
        return Pair(self.made[part], self.true[part], self.mask[part])


@dataclass(frozen=True)
class Check:
    """One line of the table."""

    metric: str
    independent: str
    ours: Callable[[Pair], Any]
    theirs: Callable[[Pair], Any]
    unit: str = ""


def degraded(true: Tensor, seed: int) -> Pair:
    """Blurred, shifted in brightness and noisy; the mask is blobs of some pixels."""
    generator = torch.Generator().manual_seed(seed)
    blurred = nn.functional.avg_pool2d(true, 3, stride=1, padding=1)
    noise = 0.05 * torch.randn(true.shape, generator=generator)
    coarse = torch.rand(len(true), 1, 9, 11, generator=generator)
    blobs = nn.functional.interpolate(coarse, true.shape[2:], mode="bilinear")
    return Pair((blurred + noise + 0.02).clamp(0, 1), true, blobs > 0.5)


def material() -> dict[str, list[Pair]]:
    """Random frames, three photographs that come with scikit-image, and the shipped clip."""
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(3, 3, 96, 128, generator=generator)
    photographs = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    stills = np.stack([image[20:212, 100:356] for image in photographs])
    clip = Video.read(DEMO_CLIP, FrameChoice(count=3, size=(216, 384))).frames
    return {
        "random": [degraded(random, 1)],
        "real": [
            degraded(torch.from_numpy(stills).permute(0, 3, 1, 2) / 255, 2),
            degraded(clip, 3),
        ],
    }


# ------------------------------------------------------------------ independent implementations


def each(compare: Callable[[np.ndarray, np.ndarray], Any]) -> Callable[[Pair], list[float]]:
    """A function of two float64 images `H W 3`, for each frame."""

    def run(pair: Pair) -> list[float]:
        frames = (x.permute(0, 2, 3, 1).double().numpy() for x in (pair.made, pair.true))
        return [compare(m, t) for m, t in zip(*frames)]

    return run


def masked_psnr(pair: Pair) -> list[float]:
    squares = ((pair.made.double() - pair.true.double()) ** 2 * pair.mask).numpy()
    numbers = 3 * pair.mask.numpy().sum(axis=(1, 2, 3))
    return list(-10 * np.log10(squares.sum(axis=(1, 2, 3)) / numbers))


def pooled_psnr(pair: Pair) -> float:
    return -10 * math.log10(np.mean((pair.made.double() - pair.true.double()).numpy() ** 2))


def masked_map(pair: Pair) -> list[float]:
    """scikit-image's Gaussian map, mean over the mask."""
    values = []
    for made, true, mask in zip(pair.made, pair.true, pair.mask[:, 0].numpy()):
        m, t = (x.permute(1, 2, 0).double().numpy() for x in (made, true))
        settings: dict[str, Any] = GAUSSIAN | dict(data_range=1, channel_axis=-1, full=True)
        whole = structural_similarity(t, m, **settings)[1]
        values.append(whole[5:-5, 5:-5][mask[5:-5, 5:-5]].mean())
    return values


def looped_ssim(pair: Pair) -> list[float]:
    """DyCheck's masked SSIM, a window at a time."""
    taps = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    taps /= taps.sum()

    def mean(image: np.ndarray, mask: np.ndarray) -> float:
        rows = [
            t * (taps * row)[m].sum() * 11 / m.sum()
            for t, row, m in zip(taps, image, mask)
            if m.any()
        ]
        return sum(rows) * 11 / len(rows) if rows else 0.0

    def one(x: np.ndarray, y: np.ndarray, mask: np.ndarray) -> float:
        mx, my = mean(x, mask), mean(y, mask)
        vx, vy = max(0, mean(x * x, mask) - mx * mx), max(0, mean(y * y, mask) - my * my)
        cov = mean(x * y, mask) - mx * my
        cov = math.copysign(min(math.sqrt(vx * vy), abs(cov)), cov)
        above = (2 * mx * my + 1e-4) * (2 * cov + 9e-4)
        return above / ((mx * mx + my * my + 1e-4) * (vx + vy + 9e-4))

    made, true, mask = (x[0].numpy() for x in (pair.made.double(), pair.true.double(), pair.mask))
    height, width = mask.shape[1:]
    places = [np.s_[y : y + 11, x : x + 11] for y in range(height - 10) for x in range(width - 10)]
    return [
        float(np.mean([one(m[p], t[p], mask[0][p]) for m, t in zip(made, true) for p in places]))
    ]


def torchmetrics_ssim(pair: Pair) -> Tensor:
    settings: dict[str, Any] = dict(data_range=1.0, reduction="none", return_full_image=True)
    _, whole = structural_similarity_index_measure(pair.made, pair.true, **settings)
    return whole[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))


def dino_of_transformers(pair: Pair) -> list[float]:
    """The same weights in transformers' own DINOv2, cosines in NumPy."""
    config = Dinov2Config(
        hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14, layer_norm_eps=1e-6
    )
    network = Dinov2Model(config).eval()
    network.load_state_dict(transformers_names(load_dinov2().state_dict()))
    height, width = pair.true.shape[2:]
    scale = SHORT_SIDE / min(height, width) / 14
    size = (round(height * scale) * 14, round(width * scale) * 14)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    tokens = []
    for frames in (pair.made, pair.true):
        images = nn.functional.interpolate(frames, size, mode="bilinear", antialias=True)
        with torch.no_grad():
            seen = network(pixel_values=(images - mean) / std).last_hidden_state[:, 1:]
        tokens.append(seen.double().numpy())
    a, b = tokens
    cosine = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return list(1 - cosine.mean(-1))


def transformers_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our DINOv2 weights under the names of transformers 5.23."""
    named = {
        "embeddings.mask_token": torch.zeros(1, 384),  # not used
        "embeddings.cls_token": state["cls_token"],
        "embeddings.position_embeddings": state["position"],
        "embeddings.patch_embeddings.projection.weight": state["patches.weight"],
        "embeddings.patch_embeddings.projection.bias": state["patches.bias"],
        "layernorm.weight": state["norm.weight"],
        "layernorm.bias": state["norm.bias"],
    }
    parts = {
        "norm1": "norm1", "norm2": "norm2", "proj": "attention.o_proj",
        "fc1": "mlp.fc1", "fc2": "mlp.fc2",
    }  # fmt: skip
    for i in range(12):
        ours, theirs = f"blocks.{i}", f"encoder.layer.{i}"
        for kind in ("weight", "bias"):
            for a, b in parts.items():
                named[f"{theirs}.{b}.{kind}"] = state[f"{ours}.{a}.{kind}"]
            qkv = state[f"{ours}.qkv.{kind}"].chunk(3)
            for name, value in zip("qkv", qkv):
                named[f"{theirs}.attention.{name}_proj.{kind}"] = value
        for n in (1, 2):
            named[f"{theirs}.layer_scale{n}.lambda1"] = state[f"{ours}.scale{n}"]
    return named


def residual_change(pair: Pair) -> float:
    return float(
        np.abs(np.diff(pair.made.double().numpy() - pair.true.double().numpy(), axis=0)).mean()
    )


def looked_up_error(pair: Pair) -> float:
    """Warping error with SciPy's interpolation, along the same flow."""
    values = []
    for t in range(len(pair.true) - 1):
        grays = to_gray(pair.true[t : t + 2])
        w, back = (optical_flow(g, "MEDIUM")[0].double().numpy() for g in (grays, grays[::-1]))
        rows, columns = np.mgrid[: w.shape[1], : w.shape[2]].astype(float)
        rows, columns = rows + w[1], columns + w[0]

        def looked_up(
            image: np.ndarray, at: tuple[np.ndarray, ...] = (rows, columns)
        ) -> np.ndarray:
            return map_coordinates(image, at, order=1, mode="nearest")

        b = np.stack([looked_up(channel) for channel in back])
        lengths = (w**2).sum(0), (b**2).sum(0)
        good = ((w + b) ** 2).sum(0) <= 0.01 * sum(lengths) + 0.5
        bend = np.zeros_like(rows)
        bend[:, :-1] += (np.diff(w, axis=2) ** 2).sum(0)
        bend[:-1] += (np.diff(w, axis=1) ** 2).sum(0)
        good &= bend <= 0.01 * lengths[0] + 0.002
        good &= (rows >= -0.5) & (rows <= w.shape[1] - 0.5)
        good &= (columns >= -0.5) & (columns <= w.shape[2] - 0.5)
        frame, after = pair.made[t].double().numpy(), pair.made[t + 1].double().numpy()
        warped = np.stack([looked_up(channel) for channel in after])
        values.append(((warped - frame) ** 2)[:, good].mean())
    return float(np.mean(values))


def vmaf_of_files(pair: Pair) -> float:
    """Two lossless files instead of one stream."""
    height, width = pair.true.shape[2:]
    with tempfile.TemporaryDirectory() as folder:
        command = [get_ffmpeg_exe(), "-hide_banner"]
        for name, frames in (("made", pair.made), ("true", pair.true)):
            raw = (frames * 255).round().byte().permute(0, 2, 3, 1).numpy().tobytes()
            path = Path(folder) / f"{name}.rgb"
            path.write_bytes(raw)
            command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
            command += ["-r", "24", "-i", str(path)]
        luma = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd,format=yuv444p"
        graph = f"[0:v]{luma}[a];[1:v]{luma}[b];[a][b]libvmaf"
        command += ["-filter_complex", graph, "-f", "null", "-"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return float(said.split("VMAF score: ")[1].split()[0])


def random_features(net: Net) -> nn.Sequential:
    """Our layer stack with random weights; torchvision's has one more pool, which LPIPS ignores."""
    generator = torch.Generator().manual_seed(0)
    layers = BACKBONES[net].features()
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            spread = (2 / layer.weight[0].numel()) ** 0.5
            for values, size in zip(layer.parameters(), (spread, 0.1)):
                values.data.normal_(0, size, generator=generator)
    return layers.requires_grad_(False)


def stand_in_for_torchvision() -> None:
    torchvision, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")

    def network(net: Net) -> Callable[..., types.SimpleNamespace]:
        return lambda **_: types.SimpleNamespace(features=random_features(net))

    vars(models).update(alexnet=network("alex"), vgg16=network("vgg"))
    vars(torchvision).update(models=models)
    sys.modules |= {"torchvision": torchvision, "torchvision.models": models}


def lpips_checks(net: Net, folder: Path) -> list[Check]:
    """Against `lpips`, and against the network in torchmetrics that Shape of Motion uses."""
    import lpips  # It imports torchvision, so not before the stand-in is there.

    module: Any = torchmetrics_lpips
    module._TORCHVISION_AVAILABLE = True
    state = random_features(net).state_dict()
    torch.save({f"features.{k}": v for k, v in state.items()}, folder / BACKBONES[net].file)
    plain = lpips.LPIPS(net=net, verbose=False)
    spatial = lpips.LPIPS(net=net, spatial=True, verbose=False)
    som = module._LPIPS(net=net, spatial=True, pnet_rand=True)

    def masked(network: nn.Module, black: bool) -> Callable[[Pair], Tensor]:
        def run(pair: Pair) -> Tensor:
            made, true = (x * pair.mask if black else x for x in (pair.made, pair.true))
            with torch.no_grad():
                whole = network(made, true, normalize=True)
            return (whole * pair.mask).sum(dim=(1, 2, 3)) / pair.mask.sum(dim=(1, 2, 3))

        return run

    def unmasked(pair: Pair) -> Tensor:
        with torch.no_grad():
            return plain(pair.made, pair.true, normalize=True).flatten()

    def ours(masked: Any, use_mask: bool) -> Callable[[Pair], Tensor]:
        compute = load_lpips(net, folder, masked=masked).compute
        return lambda p: compute(p.made, p.true, p.mask if use_mask else None)

    return [
        Check(f"`lpips_{net}`", "lpips", ours("plain", False), unmasked),
        Check(
            f"`lpips_{net}`, masked",
            "lpips, `spatial`",
            ours("plain", True),
            masked(spatial, False),
        ),
        Check(
            f"`lpips_{net}_dycheck`",
            "lpips, `spatial`",
            ours("dycheck", True),
            masked(spatial, True),
        ),
        Check(f"`lpips_{net}_som`", "torchmetrics", ours("som", True), masked(som, True)),
    ]


def ours(metric: Callable[..., Tensor], masked: bool = False) -> Callable[[Pair], Tensor]:
    return lambda pair: metric(pair.made, pair.true, pair.mask if masked else None)


def checks(folder: Path) -> list[Check]:
    skimage_psnr = each(lambda m, t: peak_signal_noise_ratio(t, m, data_range=1))
    gaussian = each(
        lambda m, t: structural_similarity(t, m, data_range=1, channel_axis=-1, **GAUSSIAN)
    )
    uniform = each(lambda m, t: structural_similarity(t, m, data_range=1, channel_axis=-1))
    return [
        Check("`psnr`", "scikit-image", ours(pixels.psnr), skimage_psnr, " dB"),
        Check("`psnr_pooled`", "NumPy", ours(pixels.psnr_pooled), pooled_psnr, " dB"),
        Check("`psnr_dycheck`, `psnr_som`", "NumPy", ours(pixels.psnr, True), masked_psnr, " dB"),
        Check("`ssim`", "scikit-image", ours(pixels.ssim), gaussian),
        Check("`ssim`", "torchmetrics, border cut", ours(pixels.ssim), torchmetrics_ssim),
        Check("`ssim`, masked", "scikit-image, `full`", ours(pixels.ssim, True), masked_map),
        Check("`ssim_uniform7`", "scikit-image", ours(pixels.ssim_uniform7), uniform),
        Check(
            "`ssim_dycheck`, `ssim_som`",
            "loops over windows (48x64)",
            lambda p: ours(pixels.ssim_dycheck, True)(p.crop(48, 64)),
            lambda p: looped_ssim(p.crop(48, 64)),
        ),
        *lpips_checks("alex", folder),
        *lpips_checks("vgg", folder),
        Check("`dino`", "transformers, NumPy", ours(dino_distance), dino_of_transformers),
        Check("`flicker`", "NumPy", lambda p: temporal.flicker(p.made, p.true), residual_change),
        Check(
            "`warping_error`",
            "SciPy, same flow",
            lambda p: temporal.warping_error(p.made, p.true),
            looked_up_error,
        ),
        Check(
            "`vmaf`",
            "FFmpeg on two files",
            lambda p: vmaf(Video(p.made, 24), Video(p.true, 24)),
            vmaf_of_files,
            " of 100",
        ),
    ]


def difference(check: Check, pairs: list[Pair]) -> float:
    """The largest difference over the frames of all pairs."""
    values = ((check.ours(pair), check.theirs(pair)) for pair in pairs)
    return float(np.max([np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in values]))


def main() -> None:
    stand_in_for_torchvision()
    frames = material()
    print("| metric | independent implementation | largest difference on random | on real images |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for check in tqdm(checks(Path(folder)), delay=1, leave=False):
            found = (f"{difference(check, pairs):.1e}{check.unit}" for pairs in frames.values())
            tqdm.write(f"| {check.metric} | {check.independent} | {' | '.join(found)} |")


if __name__ == "__main__":
    main()
