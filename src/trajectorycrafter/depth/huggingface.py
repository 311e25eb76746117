"""Any depth checkpoint of the transformers library, frame by frame, made consistent in time.

Pictures are prepared here from the numbers in the checkpoint's `preprocessor_config.json`, in float
and on the device, because the library's own processors need torchvision or round to 8 bits.

The one thing a reader would get wrong: these models disagree about what they return. Some give
depth in metres, some one over it with unknown scale and shift, one gives it for a focal length that
it also estimates. All are turned to *disparity* first, aligned and resized as such, and to depth at
the end.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm
from transformers import AutoConfig, AutoModelForDepthEstimation
from transformers.image_processing_utils import ImageProcessingMixin

from ..geometry.cameras import DEFAULT_FOV_DEG, focal_from_fov, intrinsics
from ..video.clip import Depth, Video
from .temporal import align_over_time, disparity_to_depth

Output = Literal["relative", "metric", "canonical"]
"""What a model returns: relative = one over depth, scale and shift unknown (MiDaS, Depth Anything);
metric = depth in metres; canonical = one over depth for a focal length of one image width (Depth
Pro)."""
CPU = torch.device("cpu")
PIXELS_AT_ONCE = 4_000_000
"""A chunk of frames has about so many pixels at the model's size, which bounds memory."""
NEAREST, FARTHEST = 1e-3, 1e4
"""Metres; what a metric model says beyond these is cut off."""


@dataclass(frozen=True)
class Preparation:
    """How a checkpoint wants its pictures; the words are those of `preprocessor_config.json`."""

    size: tuple[int, int] | None
    """Height and width; None keeps the frame's own."""
    keep_aspect_ratio: bool
    """The frame's shape stays, at the scale of the side that changes least."""
    multiple: int
    """Height and width are made divisible by this."""
    mode: Literal["bilinear", "bicubic"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    reflect: bool
    """Mirror a margin around the frame and cut it off the result (ZoeDepth)."""

    @classmethod
    def read(cls, path: str) -> "Preparation":
        """From a checkpoint's folder or hub id."""
        given, _ = ImageProcessingMixin.get_image_processor_dict(path)
        size = given.get("size") if given.get("do_resize", True) else None
        if isinstance(size, dict):
            size = (
                (size["height"], size["width"])
                if "height" in size
                else (size["shortest_edge"],) * 2
            )
        elif isinstance(size, int):
            size = (size, size)
        normal = given.get("do_normalize", True) and "image_mean" in given
        # 2 and 3 are PIL's numbers for bilinear and bicubic.
        return cls(
            size,
            bool(given.get("keep_aspect_ratio", False)),
            int(given.get("ensure_multiple_of") or given.get("size_divisor") or 1),
            "bicubic" if given.get("resample", 2) == 3 else "bilinear",
            tuple(given["image_mean"]) if normal else (0.0, 0.0, 0.0),
            tuple(given["image_std"]) if normal else (1.0, 1.0, 1.0),
            "ZoeDepth" in given.get("image_processor_type", "") and bool(given.get("do_pad", True)),
        )

    def margin(self, height: int, width: int) -> tuple[int, int]:
        """Mirrored rows above and below, columns left and right (Bhat et al. 2023, their code)."""
        if not self.reflect:
            return 0, 0
        return int((height / 2) ** 0.5 * 3), int((width / 2) ** 0.5 * 3)

    def target(self, height: int, width: int) -> tuple[int, int]:
        """The size a frame of this size is given to the model in."""
        wanted_height, wanted_width = self.size or (height, width)
        by_height, by_width = wanted_height / height, wanted_width / width
        if self.keep_aspect_ratio:
            by_height = by_width = min(by_height, by_width, key=lambda scale: abs(1 - scale))

        def near(side: float) -> int:
            # A model that takes any size is only asked for what divides it, never for more.
            steps = side // self.multiple if self.size is None else round(side / self.multiple)
            return max(1, int(steps)) * self.multiple

        return near(height * by_height), near(width * by_width)

    def __call__(self, frames: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "T 3 h w"]:
        """Frames in [0, 1] as the model wants them."""
        rows, columns = self.margin(*frames.shape[2:])
        if rows or columns:
            frames = F.pad(frames, (columns, columns, rows, rows), mode="reflect")
        size = self.target(*frames.shape[2:])
        if frames.shape[2:] != size:
            frames = F.interpolate(frames, size, mode=self.mode, antialias=True).clamp(0, 1)
        mean = torch.tensor(self.mean, device=frames.device)[:, None, None]
        std = torch.tensor(self.std, device=frames.device)[:, None, None]
        return (frames - mean) / std

    def undo_margin(
        self, maps: Float[Tensor, "T 1 h w"], height: int, width: int
    ) -> Float[Tensor, "T 1 H W"]:
        """The part of the model's maps that belongs to the frame, at the frame's size."""
        rows, columns = self.margin(height, width)
        full = (height + 2 * rows, width + 2 * columns)
        maps = F.interpolate(maps, full, mode="bilinear", antialias=True)
        return maps[..., rows : rows + height, columns : columns + width]


@dataclass
class HuggingFaceDepth:
    """A depth estimator, `Video -> Depth`; metric models keep metres and their focal length."""

    model: Any
    prepare: Preparation
    output: Output
    device: torch.device = CPU
    fov_deg: float | None = None
    """Horizontal field of view; None asks the model, if it is one that knows."""
    smoothing: float = 0.7
    """See `temporal.align_over_time`."""

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        weights: Path | None = None,
        *,
        device: torch.device | str = "cpu",
        fov_deg: float | None = None,
        output: Output | None = None,
    ) -> "HuggingFaceDepth":
        """A checkpoint by folder or hub id; always float32, since half precision shows as steps.

        Args:
            weights: a folder in which `name` is looked for before the hub is asked.
            output: what the model returns; None = told from its configuration.

        Raises:
            FileNotFoundError: no such folder and no such checkpoint to be had.
            ValueError: a model that is not for depth, or whose output is not known.
        """
        path = _place(name, weights)
        try:
            config = AutoConfig.from_pretrained(path)
            prepare = Preparation.read(path)
            kind = output or output_of(config)
            model = AutoModelForDepthEstimation.from_pretrained(
                path, use_safetensors=True, output_loading_info=True
            )
        except OSError as error:
            raise FileNotFoundError(
                f"No depth checkpoint {name!r}: expected a folder with config.json, "
                "preprocessor_config.json and model.safetensors, or a hub id that can be reached. "
                f"({str(error).strip().splitlines()[0]})"
            ) from error
        model, info = model
        if info["missing_keys"] or info["mismatched_keys"]:
            wrong = [*info["missing_keys"], *info["mismatched_keys"]]
            raise ValueError(
                f"The weights in {path} lack, or have in another shape, what its config.json asks "
                f"for: {', '.join(map(str, list(wrong)[:8]))}."
            )
        return cls(model.eval().requires_grad_(False), prepare, kind, torch.device(device), fov_deg)

    def __call__(self, video: Video) -> Depth:
        """Depth at the clip's size, in metres if the model knows them."""
        disparity, fov_deg = self.disparity(video)
        aligned = align_over_time(
            disparity, video, shift=self.output == "relative", smoothing=self.smoothing
        )
        if self.output == "relative":
            z = disparity_to_depth(aligned)
        else:
            z = 1 / aligned.clamp(1 / FARTHEST, 1 / NEAREST)
        z = z.to(video.frames.device)
        if fov_deg is None:
            return Depth.of(z)
        K = intrinsics(focal_from_fov(fov_deg, video.width), video.height, video.width, len(video))
        return Depth.of(z, K.to(z))

    @torch.no_grad()
    def disparity(self, video: Video) -> tuple[Float[Tensor, "T 1 H W"], float | None]:
        """One over depth, frame by frame, and the field of view if model or user know it."""
        height, width = video.height, video.width
        rows, columns = self.prepare.margin(height, width)
        size = self.prepare.target(height + 2 * rows, width + 2 * columns)
        chunk = max(1, PIXELS_AT_ONCE // (size[0] * size[1]))
        self.model.to(self.device)
        maps, fovs = [], []
        for frames in tqdm(video.frames.split(chunk), desc="depth", leave=False):
            seen = self.model(pixel_values=self.prepare(frames.to(self.device)))
            raw = seen.predicted_depth.float()[:, None]
            if self.output == "metric":
                raw = 1 / raw.clamp(NEAREST, FARTHEST)
            maps.append(self.prepare.undo_margin(raw, height, width).cpu())
            if self.output == "canonical" and seen.field_of_view is not None:
                fovs.append(seen.field_of_view.float().flatten().cpu())
        self.model.to("cpu")
        return self._scaled(torch.cat(maps), fovs)

    def _scaled(
        self, maps: Float[Tensor, "T 1 H W"], fovs: list[Tensor]
    ) -> tuple[Float[Tensor, "T 1 H W"], float | None]:
        """Canonical maps made metric by one focal length for the clip: a lens keeps its length."""
        if self.output != "canonical":
            return maps, self.fov_deg
        fov_deg = self.fov_deg
        if fov_deg is None:
            fov_deg = float(torch.cat(fovs).median()) if fovs else DEFAULT_FOV_DEG
        # The estimate is a bare regression and may leave the range of any lens.
        fov_deg = min(max(fov_deg, 1.0), 170.0)
        return maps / focal_from_fov(fov_deg, 1), fov_deg


def output_of(config: Any) -> Output:
    """What a model of this configuration returns.

    Raises:
        ValueError: a model type whose output is not known here.
    """
    kind = config.model_type
    if kind in ("depth_anything", "prompt_depth_anything"):
        return "metric" if config.depth_estimation_type == "metric" else "relative"
    if kind == "dpt":
        # Only the DPT heads on DINOv2 were trained on metres (NYU, KITTI); the others are MiDaS.
        backbone = getattr(config.backbone_config, "model_type", None)
        return "metric" if backbone == "dinov2" else "relative"
    if kind in ("zoedepth", "glpn", "tipsv2_dpt"):
        return "metric"
    if kind == "depth_pro":
        return "canonical"
    raise ValueError(
        f"It is not known whether models of type {kind!r} return depth or one over it; say so with "
        "HuggingFaceDepth.from_pretrained(..., output='metric' or 'relative') in an object of "
        "your own."
    )


def _place(name: str, weights: Path | None) -> str:
    """The checkpoint's folder, in the weights folder or anywhere, else its hub id."""
    if weights is not None:
        for folder in (weights / name, weights / name.split("/")[-1]):
            if (folder / "config.json").is_file():
                return str(folder)
    return name
