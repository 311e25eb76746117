"""LPIPS against the `lpips` package on equal random weights; where weights are looked for; DINO."""

import importlib
import sys
import types
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import skimage.data
import torch
from safetensors.torch import save_file
from torch import nn

from trajectorycrafter.lab.evaluation import perceptual
from trajectorycrafter.lab.evaluation.dino import dino_distance
from trajectorycrafter.lab.evaluation.perceptual import BACKBONES, Net, load_lpips

NETS: list[Net] = ["alex", "vgg"]
# Both run the same float32 operations; sums over channels may be ordered differently.
CLOSE = 1e-6


def torchvision_layers(net: str) -> nn.Sequential:
    """The `features` of torchvision's networks, written from its published layer tables."""
    table: list[tuple[int, int, int, int, int] | None] = []  # None is a pooling
    if net == "alex":
        table += [(3, 64, 11, 4, 2), None, (64, 192, 5, 1, 2), None, (192, 384, 3, 1, 1)]
        table += [(384, 256, 3, 1, 1), (256, 256, 3, 1, 1), None]
        pool = nn.MaxPool2d(kernel_size=3, stride=2)
    else:
        inward = 3
        for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
            table.append((inward, width, 3, 1, 1) if width else None)
            inward = width or inward
        pool = nn.MaxPool2d(kernel_size=2, stride=2)
    layers: list[nn.Module] = []
    for row in table:
        layers += [pool] if row is None else [nn.Conv2d(*row), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def random_features(net: str) -> nn.Sequential:
    """Weights from a generator, of the size that keeps features alive to the last layer."""
    generator = torch.Generator().manual_seed(0)
    layers = torchvision_layers(net)
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            spread = (2 / layer.weight[0].numel()) ** 0.5
            for values, size in zip(layer.parameters(), (spread, 0.1)):
                values.data = size * torch.randn(values.shape, generator=generator)
    return layers


def state_of(net: str) -> dict[str, torch.Tensor]:
    """As in torchvision's files, one tensor of the classifier included."""
    state = {f"features.{k}": v for k, v in random_features(net).state_dict().items()}
    return state | {"classifier.6.bias": torch.zeros(1000)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both backbones under their published names."""
    folder = tmp_path_factory.mktemp("weights")
    for net in NETS:
        torch.save(state_of(net), folder / BACKBONES[net].file)
    return folder


@pytest.fixture
def lpips(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The real package, on a torchvision that has nothing but the two networks' layers."""
    torchvision, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    for name, net in (("alexnet", "alex"), ("vgg16", "vgg")):

        def network(pretrained: bool = False, net: str = net) -> types.SimpleNamespace:
            return types.SimpleNamespace(features=random_features(net))

        setattr(models, name, network)
    vars(torchvision)["models"] = models
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    for name in [name for name in sys.modules if name.split(".")[0] == "lpips"]:
        monkeypatch.delitem(sys.modules, name)
    yield importlib.import_module("lpips")
    for name in [name for name in sys.modules if name.split(".")[0] == "lpips"]:
        del sys.modules[name]


def pair(height: int = 48, width: int = 68) -> tuple[torch.Tensor, torch.Tensor]:
    """One random and one real frame, and their noisy copies."""
    generator = torch.Generator().manual_seed(3)
    image = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1) / 255
    real = image[:, 60 : 60 + height, 180 : 180 + width]
    true = torch.stack([torch.rand(3, height, width, generator=generator), real])
    noise = torch.randn(true.shape, generator=generator)
    return (true + 0.1 * noise).clamp(0, 1), true


def left_half(frames: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros_like(frames[:, :1], dtype=torch.bool)
    mask[..., : frames.shape[3] // 2] = True
    return mask


# -------------------------------------------------------------------------------------- LPIPS


@pytest.mark.parametrize("net", NETS)
def test_lpips_is_that_of_the_package(net: Any, weights: Path, lpips: Any) -> None:
    made, true = pair()
    mask = left_half(made)
    theirs = lpips.LPIPS(net=net, verbose=False)
    spatial = lpips.LPIPS(net=net, spatial=True, verbose=False)
    with torch.no_grad():
        plain = theirs(made, true, normalize=True)[:, 0, 0, 0]
        whole = spatial(made, true, normalize=True)
        black = spatial(made * mask, true * mask, normalize=True)
    assert float(plain.min()) > 1e-3

    def close(ours: torch.Tensor, expected: torch.Tensor) -> None:
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=CLOSE)

    metric = load_lpips(net, weights)
    close(metric.compute(made, true, None), plain)
    close(
        metric.compute(made, true, mask),
        torch.stack([w[0][m[0]].mean() for w, m in zip(whole, mask)]),
    )
    for masked in ("dycheck", "som"):
        metric = load_lpips(net, weights, masked=masked)
        expected = torch.stack([b[0][m[0]].mean() for b, m in zip(black, mask)])
        close(metric.compute(made, true, mask), expected)
        close(metric.compute(made, true, None), whole.mean(dim=(1, 2, 3)))


def test_lpips_as_a_metric(weights: Path) -> None:
    made, true = pair()
    metric = load_lpips("alex", weights)
    assert (metric.name, metric.label, metric.better) == ("lpips_alex", "LPIPS (AlexNet)", "lower")
    assert metric.compute(true, true, None).tolist() == [0, 0]
    mask = left_half(made)
    mask[0] = False
    values = metric.compute(made, true, mask)
    assert values[0].isnan()
    assert values[1] > 0
    names = [load_lpips("alex", weights, masked=masked).name for masked in ("dycheck", "som")]
    assert names == ["lpips_alex_dycheck", "lpips_alex_som"]


def test_lpips_in_parts_is_lpips_at_once(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = load_lpips("alex", weights)
    at_once = metric.compute(*pair(), None)
    monkeypatch.setattr(perceptual, "PIXELS", 1)
    torch.testing.assert_close(metric.compute(*pair(), None), at_once)


def test_painting_black_hides_what_does_not_count(weights: Path) -> None:
    made, true = pair()
    mask = left_half(made)
    other = torch.where(mask, made, 1 - made)
    hidden = load_lpips("alex", weights, masked="dycheck").compute
    assert torch.equal(hidden(made, true, mask), hidden(other, true, mask))
    plain = load_lpips("alex", weights).compute
    assert not torch.equal(plain(made, true, mask), plain(other, true, mask))


# -------------------------------------------------------------------- where weights come from


def test_a_backbone_may_be_a_file_or_safetensors(weights: Path, tmp_path: Path) -> None:
    expected = load_lpips("alex", weights).compute(*pair(), None)
    save_file(state_of("alex"), tmp_path / "alexnet-owt-7be5be79.safetensors")
    for place in (
        weights / "alexnet-owt-7be5be79.pth",
        tmp_path / "alexnet-owt-7be5be79.safetensors",
        tmp_path,
    ):
        assert torch.equal(load_lpips("alex", place).compute(*pair(), None), expected)


def test_the_cache_of_torch_hub_is_used(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def hub(url: str, **settings: Any) -> dict[str, torch.Tensor]:
        asked.append((url, settings["check_hash"], settings["weights_only"]))
        return state_of("alex")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", hub)
    perceptual.lpips_network.cache_clear()
    expected = load_lpips("alex", weights).compute(*pair(), None)
    assert torch.equal(load_lpips("alex").compute(*pair(), None), expected)
    load_lpips("alex")
    assert asked == [("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", True, True)]
    perceptual.lpips_network.cache_clear()


def test_no_cache_and_no_network_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hub(url: str, **settings: Any) -> None:
        raise URLError("no route")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", hub)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    perceptual.lpips_network.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"vgg16-397923af.pth: it is not in .*no route"):
        load_lpips("vgg")


def test_a_folder_without_the_backbone_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"alexnet-owt-7be5be79.pth .* neither is in"):
        load_lpips("alex", tmp_path)


def test_weights_of_something_else_are_told(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"'features.0.weight' of shape \(64, 3, 11, 11\), got \(64"
    ):
        load_lpips("alex", weights / BACKBONES["vgg"].file)
    save_file({"layer": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="got nothing of that name"):
        load_lpips("alex", tmp_path / "other.safetensors")


# --------------------------------------------------------------------------------------- DINO


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    image = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1) / 255
    return torch.stack([image[:, :224, 140:364], image[:, 200:424, 40:264]])


def test_dino_distance_is_one_minus_the_cosine_of_tokens(photographs: torch.Tensor) -> None:
    from trajectorycrafter.depth.dinov2 import load_dinov2

    made = (photographs[:1] * 0.5).contiguous()
    network = load_dinov2()
    a, b = (network(x)[-1].flatten(2)[0].double().numpy() for x in (made, photographs[:1]))
    cosine = (a * b).sum(0) / ((a**2).sum(0) * (b**2).sum(0)) ** 0.5
    ours = dino_distance(made, photographs[:1], short_side=224)
    assert float(ours) == pytest.approx(1 - cosine.mean(), abs=1e-5)


def test_dino_distance_takes_frames_made_in_inference_mode(photographs: torch.Tensor) -> None:
    usual = dino_distance(photographs[:1].flip(-1), photographs[:1])
    with torch.inference_mode():
        made = photographs[:1].flip(-1)
    assert torch.allclose(dino_distance(made, photographs[:1]), usual, atol=1e-5)


def test_dino_distance_minds_the_thing_more_than_a_shift(photographs: torch.Tensor) -> None:
    shifted = photographs[:1].roll(3, dims=3)
    other = photographs[1:]
    near = float(dino_distance(shifted, photographs[:1]))
    far = float(dino_distance(other, photographs[:1]))
    assert 0 < near < 0.3 * far < 0.6


def test_dino_distance_under_a_mask_is_that_of_the_place(photographs: torch.Tensor) -> None:
    made = photographs[:1].clone()
    noise = torch.randn(made[..., :112].shape, generator=torch.Generator().manual_seed(0))
    made[..., :112] += 0.3 * noise
    left = left_half(made)
    assert float(dino_distance(made, photographs[:1], left)) > 2 * float(
        dino_distance(made, photographs[:1], ~left)
    )
