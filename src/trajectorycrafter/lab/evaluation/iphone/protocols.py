"""How the papers measure on the iPhone benchmark, and what they printed.

The one thing a reader would get wrong: rows of different protocols do not compare. The same
released system got 14.24, 14.13, 13.82, 13.06 and 13.00 dB.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from ..metrics import METRICS
from ..perceptual import Masked, Net
from ..records import Column, Quoted
from .layouts import COMPARED, BenchmarkScene, DepthKind, Layout
from .placement import Orientation

Resolution = Literal["1x", "half", "native", "model", "square"]

SIZES: dict[Resolution, tuple[int, int] | None] = {
    "1x": (960, 720),
    "half": (480, 360),
    "native": None,
    "model": (384, 672),
    "square": (480, 480),
}
"""Height and width that frames are compared at. The first three show the filmed picture (native: as
it is stored), and made frames are brought back to it; the last two are a model's, and the filmed
picture is brought there."""
MADE = (384, 672)
"""Height and width of the released model."""
NOT_BY_FRAME = ("psnr_pooled", "flicker", "warping_error")
LPIPS: dict[str, tuple[Net, Masked]] = {
    "lpips_alex": ("alex", "plain"),
    "lpips_vgg": ("vgg", "plain"),
    "lpips_alex_dycheck": ("alex", "dycheck"),
    "lpips_alex_som": ("alex", "som"),
}
"""The metrics that need weights: network, and what a mask does."""
COMMON = ("psnr", "ssim", "lpips_alex", "lpips_vgg", "dino")


@dataclass(frozen=True)
class Protocol:
    """All choices behind a number on the iPhone benchmark."""

    name: str
    origin: str
    """Where it is from, and what had to be guessed."""
    mask: Literal["none", "covisible"] = "none"
    """Which pixels count: all, or those that the source clip has seen often enough."""
    resolution: Resolution = "1x"
    """Size at which frames are compared; see `SIZES`."""
    cameras: Literal["first", "both"] = "first"
    """Held-out cameras."""
    depth: DepthKind | Literal["own"] = "som"
    """Depth of the source for our own videos; own: the estimator of the settings, brought to the
    scale of the data's depth."""
    orientation: Orientation = "stretch"
    """How the upright picture lies in the made frame. rotate: turned right (clockwise) and
    stretched; stretch also fits frames that were made upright."""
    frames: int | None = 49
    """How many source frames the clip has, from the first on; None: all."""
    step: int = 1
    """1 takes every source frame, 2 every second one."""
    layout: Layout | None = None
    """Whose cameras and masks; None: the processed ones where they are there."""
    scenes: tuple[str, ...] = COMPARED
    """Empty: all that are there."""
    metrics: tuple[str, ...] = COMMON

    def __post_init__(self) -> None:
        """Raises ValueError for metrics that are unknown or not by frame, and numbers below 1."""
        known = [*METRICS, *LPIPS]
        for metric in self.metrics:
            if metric in NOT_BY_FRAME or metric not in known:
                usable = [name for name in known if name not in NOT_BY_FRAME]
                raise ValueError(
                    f"Protocol {self.name}: metric {metric!r} is none of {', '.join(usable)}."
                )
        if self.step < 1 or (self.frames is not None and self.frames < 1):
            raise ValueError(
                f"Protocol {self.name}: frames and step are at least 1; got {self.frames} and "
                f"{self.step}."
            )

    def clip(self, scene: BenchmarkScene) -> list[int]:
        """The source frames that a method is given."""
        return list(range(0, len(scene.pictures), self.step))[: self.frames]


_SOM = ("psnr_som", "ssim_som", "lpips_alex_som", "dino")
_DYCHECK = ("psnr_dycheck", "ssim_dycheck", "lpips_alex_dycheck", "dino")
_COGNVS = ("psnr", "ssim_uniform7", "lpips_alex", "dino")
_CAMDIRECTOR = ("psnr_som", "lpips_alex_som", "dino")
_MULTI_CAMERA = ("apple", "block", "paper-windmill", "space-out", "spin", "teddy", "wheel")

PROTOCOLS = {protocol.name: protocol for protocol in [
    Protocol("tc-paper", "TrajectoryCrafter Tab. 1: five scenes, first camera, no mask named; "
             "guessed: size, stretching (its code stretches all clips), first 49 frames",
             resolution="model"),
    Protocol("tc-rotate",
             "as tc-paper, frames turned as in the fork alekseizhuravlev/TrajectoryCrafter",
             resolution="model", orientation="rotate"),
    Protocol("som-masked", "vye16/shape-of-motion scripts/evaluate_iphone.py",
             mask="covisible", cameras="both", frames=None, metrics=_SOM),
    Protocol("dycheck-masked",
             "KAIR-BAIR/dycheck core/tasks/novel_view.py at factor 2; its own cameras",
             mask="covisible", resolution="half", cameras="both", depth="lidar", frames=None,
             layout="dycheck", scenes=_MULTI_CAMERA, metrics=_DYCHECK),
    Protocol("cognvs", "CogNVS eval: skimage PSNR and SSIM, LPIPS on AlexNet; it also fits the "
             "target camera at test time", cameras="both", frames=None, metrics=_COGNVS),
    Protocol("cognvs-360p", "as cognvs, its option 360p",
             resolution="half", cameras="both", frames=None, metrics=_COGNVS),
    Protocol("camdirector", "CamDirector compute_metrics.py, first 41 frames of every second; "
             "guessed: that the 41 are counted after", resolution="native", depth="camdirector",
             frames=41, step=2, metrics=_CAMDIRECTOR),
    Protocol("camdirector-all", "CamDirector compute_metrics.py, all frames (every second one)",
             resolution="native", depth="camdirector", frames=None, step=2, metrics=_CAMDIRECTOR),
    Protocol("vista4d",
             "Vista4D, full frame at 672x384; guessed: camera, cropping, first 49 frames",
             resolution="model", orientation="crop"),
    Protocol("vista4d-masked", "as vista4d, masked",
             mask="covisible", resolution="model", orientation="crop"),
    Protocol("scaling4d", "Scaling4D, 480x480, 49 frames; guessed: camera, cropping",
             resolution="square", orientation="crop"),
]}  # fmt: skip


def varied(protocol: Protocol, **axes: Any) -> Protocol:
    """The protocol with other axes, and a name that says so: `tc-paper, resolution=1x`.

    Raises:
        ValueError: as `Protocol`.
    """
    changed = {axis: value for axis, value in axes.items() if getattr(protocol, axis) != value}
    name = ", ".join([protocol.name, *(f"{axis}={value}" for axis, value in changed.items())])
    return replace(protocol, name=name, **changed)


# --------------------------------------------------------------------------- as others printed it


def _rows(paper: str, *rows: tuple[str | float | None, ...]) -> list[Quoted]:
    """Quoted rows: name, PSNR, SSIM and LPIPS, as far as they were printed."""
    kinds = ("psnr", "ssim", "lpips")
    return [
        Quoted(str(row), {k: float(v) for k, v in zip(kinds, values) if v is not None}, paper)
        for row, *values in rows
    ]


_TC = "TrajectoryCrafter (arXiv 2503.05638)"
_CAMDIRECTOR_PAPER = "CamDirector (arXiv 2603.02256)"
_REDIRECTOR = "ReDirector (arXiv 2511.19827)"
_SECOND_HAND = ", read in a third party's notes"
_FULL = [
    *_rows(f"{_TC} Tab. 1",
           ("TrajectoryCrafter", 14.24, 0.417, 0.519), ("GCD", 10.77), ("ViewCrafter", 10.75),
           ("Shape of Motion", 11.28), ("TrajectoryCrafter, apple", 13.88),
           ("TrajectoryCrafter, block", 14.21), ("TrajectoryCrafter, paper-windmill", 14.89),
           ("TrajectoryCrafter, spin", 14.51), ("TrajectoryCrafter, teddy", 13.73)),
    *_rows(f"{_TC} Tab. 3, ablation",
           ("TrajectoryCrafter without Ref-DiT", 11.63),
           ("TrajectoryCrafter, reference concatenated", 11.05),
           ("TrajectoryCrafter without dynamic data", 10.93),
           ("TrajectoryCrafter without multi-view data", 12.35)),
    *_rows(f"Scaling4D, 480x480{_SECOND_HAND}",
           ("Scaling4D", 14.85, 0.336, 0.468), ("TrajectoryCrafter", 14.13, 0.309, 0.539),
           ("GEN3C", 14.09, 0.304, 0.531), ("Voyager", 14.03, 0.303, 0.513),
           ("ReCamMaster", 10.25, 0.318, 0.709)),
    *_rows(f"Vista4D, full frame{_SECOND_HAND}",
           ("Vista4D", 14.14, None, 0.514), ("TrajectoryCrafter", 13.06, 0.320, 0.656),
           ("EX-4D", 12.64, None, 0.669), ("GEN3C", 12.06, None, 0.679),
           ("ReCamMaster", 10.96, None, 0.755), ("CamCloneMaster", 11.17, None, 0.713)),
    *_rows(f"{_CAMDIRECTOR_PAPER}, first 41 frames{_SECOND_HAND}",
           ("CamDirector", 14.31, None, 0.4952), ("TrajectoryCrafter", 13.00, None, 0.6197)),
    *_rows(f"{_CAMDIRECTOR_PAPER}, all frames{_SECOND_HAND}", ("CamDirector", 14.12, None, 0.5103)),
    *_rows(f"{_REDIRECTOR}, 81 frames{_SECOND_HAND}", ("ReDirector", 10.82)),
    *_rows(f"{_REDIRECTOR}, 161 frames{_SECOND_HAND}", ("ReDirector", 11.56)),
    *_rows(f"{_REDIRECTOR}, 241 frames{_SECOND_HAND}", ("ReDirector", 11.85)),
]  # fmt: skip
_COVISIBLE = [
    *_rows(f"Vista4D, masked{_SECOND_HAND}",
           ("Vista4D", 14.09, 0.480, 0.461), ("TrajectoryCrafter", 13.82, 0.492, 0.569)),
    *_rows("DyCheck (arXiv 2210.13445), seven scenes", ("T-NeRF", 16.96, 0.577, 0.379)),
    *_rows("DyCheck protocol, in the table of a later work",
           ("Deformable 3DGS", 16.56, 0.458, 0.453)),
    *_rows("Dynamic Gaussian Marbles, DyCheck protocol",
           ("Dynamic Gaussian Marbles", 16.72, None, 0.418)),
]  # fmt: skip
QUOTED: list[Quoted] = _FULL + _COVISIBLE
"""Never measured here; each under the protocol of its own source."""
PRINTED_LPIPS = Column("lpips", "LPIPS as printed", "lower", "Quoted; the network is not named.", 3)
FRAMES = Column("frames", "Frames", "neither", "Target frames that were scored.", 0)


def quoted_for(protocol: Protocol) -> list[Quoted]:
    """The quoted rows that count the same pixels, their keys those of the protocol's columns."""
    kinds = ("psnr", "ssim")
    rename = {k: next((m for m in protocol.metrics if m.startswith(k)), k) for k in kinds}
    rows = _COVISIBLE if protocol.mask == "covisible" else _FULL
    return [replace(r, values={rename.get(k, k): v for k, v in r.values.items()}) for r in rows]
