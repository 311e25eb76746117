"""Pictures for people: depth and errors in colors, comparisons, camera paths, contact sheets.

The one thing a reader would get wrong: nothing here is measured or read back. Depth colors show
inverse depth between two percentiles of the clip, so they cannot be compared between clips;
error colors have one scale for all clips.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..geometry.cameras import Cameras
from ..runtime.files import whole
from .clip import Depth, Video

GAP = 4
"""Pixels between panels."""
TILE_WIDTH = 480
"""Pixels that a frame of a contact sheet has at most."""
MOST_FRUSTA = 9
"""Cameras drawn along a path; the line shows the others."""


def colorize_depth(depth: Depth, colormap: str = "turbo") -> Float[Tensor, "T 3 H W"]:
    """Depth as colors: near is warm, far is cold, untrusted pixels are black.

    Inverse depth is shown, and one range, its 1st to 99th percentile, serves the whole clip, so
    that flicker stays visible and single wrong pixels do not matter.

    Args:
        colormap: a name that matplotlib knows.
    """
    inverse = torch.where(depth.valid, 1 / depth.z, 0).float().cpu()
    trusted = inverse[depth.valid.cpu()]
    if len(trusted) == 0:
        return torch.zeros(len(depth), 3, *depth.z.shape[2:])
    # A thin choice of pixels is enough for two percentiles.
    low, high = np.percentile(trusted[:: max(1, len(trusted) // 1_000_000)].numpy(), (1, 99))
    share = ((inverse - low) / max(high - low, 1e-12)).clamp(0, 1)
    table = torch.from_numpy(matplotlib.colormaps[colormap](np.arange(256))[:, :3]).float()
    colors = table[(share[:, 0] * 255).round().long()].permute(0, 3, 1, 2)
    return colors * depth.valid.cpu()


def difference_video(
    made: Float[Tensor, "T 3 H W"], true: Float[Tensor, "T 3 H W"], full: float = 0.5
) -> Float[Tensor, "T 3 H W"]:
    """Where two clips differ: black where they agree, through purple and orange to pale yellow.

    The error of a pixel is the mean over its colors of the absolute difference. Its place in the
    map (inferno, which is evenly lighter all along) is the square root of its share of `full`, so
    that small errors show. The scale is the same for all clips: maps can be compared.

    Args:
        full: the error that gets the last color; larger ones get it too.
    """
    error = (made.float().cpu() - true.float().cpu()).abs().mean(dim=1)
    place = (error / full).clamp(0, 1).sqrt() * 255
    table = torch.from_numpy(matplotlib.colormaps["inferno"](np.arange(256))[:, :3]).float()
    return table[place.round().long()].permute(0, 3, 1, 2)


def side_by_side(
    panels: Sequence[Float[Tensor, "T 3 _ _"]], labels: Sequence[str]
) -> Float[Tensor, "T 3 H W"]:
    """Clips beside each other, each under its label; all get the height of the first.

    Raises:
        ValueError: no clips, other than one label a clip, or clips of different length.
    """
    if not panels or len(panels) != len(labels):
        raise ValueError(
            f"Expected at least one clip and one label for each; got {len(panels)} clips "
            f"and {len(labels)} labels."
        )
    lengths = [len(panel) for panel in panels]
    if len(set(lengths)) > 1:
        raise ValueError(f"Expected clips of the same number of frames, got {lengths}.")
    height = panels[0].shape[2]
    columns = []
    for panel, label in zip(panels, labels):
        fitted = _at_height(panel.float().cpu(), height)
        strip = Image.new("RGB", (fitted.shape[3], max(16, height // 16)), (24, 24, 24))
        font = ImageFont.load_default(size=round(0.7 * strip.height))
        where = (strip.height // 3, strip.height / 2)
        ImageDraw.Draw(strip).text(where, label, fill="white", font=font, anchor="lm")
        words = torch.from_numpy(np.array(strip)).permute(2, 0, 1) / 255
        labeled = torch.cat([words.expand(len(fitted), -1, -1, -1), fitted], dim=2)
        columns += [labeled, torch.ones(len(fitted), 3, labeled.shape[2], GAP)]
    return torch.cat(columns[:-1], dim=3)


def _at_height(frames: Float[Tensor, "T 3 h w"], height: int) -> Float[Tensor, "T 3 H W"]:
    if frames.shape[2] == height:
        return frames
    width = max(1, round(frames.shape[3] * height / frames.shape[2]))
    shape = (height, width)
    return F.interpolate(frames, shape, mode="bilinear", antialias=True, align_corners=False)


def contact_sheet(video: Video, path: str | Path, count: int = 16, columns: int = 4) -> Path:
    """Write a PNG with frames spread evenly over the clip, each under its index.

    An existing file is replaced. Fewer than `count` frames are shown if the clip has fewer.

    Raises:
        ValueError: an empty clip, or a count or columns below 1.
        OSError: it cannot be written.
    """
    if len(video) == 0 or count < 1 or columns < 1:
        raise ValueError(
            f"Expected at least one frame, count and column; got {len(video)}, {count}, {columns}."
        )
    chosen = np.unique(np.linspace(0, len(video) - 1, count).round().astype(int))
    columns = min(columns, len(chosen))
    height = min(video.height, max(1, round(TILE_WIDTH * video.height / video.width)))
    small = [_at_height(video.frames[i : i + 1].float().cpu(), height) for i in chosen]
    tiles = [side_by_side([tile], [str(i)])[0] for i, tile in zip(chosen, small)]
    tiles += [torch.ones_like(tiles[0])] * (-len(tiles) % columns)
    framed = [F.pad(tile, (0, GAP, 0, GAP), value=1.0) for tile in tiles]
    rows = [torch.cat(framed[i : i + columns], dim=2) for i in range(0, len(framed), columns)]
    sheet = torch.cat(rows, dim=1)[:, :-GAP, :-GAP].clamp(0, 1).mul(255).round().byte()
    with whole(Path(path)) as partial:
        Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(partial, format="PNG")
    return Path(path)


def plot_trajectory(
    cameras: Cameras,
    source: Cameras,
    path: str | Path,
    points: Float[Tensor, "N 3"] | None = None,
) -> Path:
    """Write a PNG of a camera path from above and from the side.

    The new cameras are colored from first (dark) to last (bright), the first source camera is red,
    the scene's points are faint. An existing file is replaced.

    Args:
        cameras: the new cameras, in the world of `source`.
        points: some of the scene's points, in the same world.

    Raises:
        OSError: it cannot be written.
    """
    seen = torch.empty(0, 3) if points is None else points.detach().cpu()
    seen = seen[seen.isfinite().all(dim=1)]
    centers = torch.cat([source.centers[:1], cameras.centers]).detach().cpu()
    # The drawn pyramids are small against the path and the scene.
    extent = float((centers.amax(0) - centers.amin(0)).norm())
    if len(seen):
        extent = max(extent, float((seen - centers[0]).norm(dim=1).nanmedian()) / 2)
    size = 0.15 * extent if extent > 1e-6 else 0.15
    chosen = np.unique(np.linspace(0, len(cameras) - 1, MOST_FRUSTA).round().astype(int))
    frusta = frustum_lines(cameras[chosen.tolist()], size)
    origin = frustum_lines(source[[0]], size)
    figure = Figure(figsize=(11, 5.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    # World axes are x right, y down, z forward; drawings have up on top.
    top = figure.add_subplot(1, 2, 1, title="from above", xlabel="right (x)", ylabel="forward (z)")
    side = figure.add_subplot(
        1, 2, 2, title="from the side", xlabel="forward (z)", ylabel="up (-y)"
    )
    for axes, pair, signs in ((top, (0, 2), (1, 1)), (side, (2, 1), (1, -1))):
        drawn = (frusta, origin, centers[1:].numpy(), seen.numpy())
        _draw_view(axes, *(a[..., pair] * signs for a in drawn))
    colors = ScalarMappable(Normalize(0, max(1, len(cameras) - 1)), "viridis")
    figure.colorbar(colors, ax=[top, side], label="output frame", shrink=0.7)
    with whole(Path(path)) as partial:
        figure.savefig(partial, format="png")
    return Path(path)


def frustum_lines(cameras: Cameras, size: float) -> np.ndarray:
    """Each camera as eight segments (camera, segment, end, xyz): four edges and the image's rim."""
    height, width = cameras.height, cameras.width
    rim = torch.tensor([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]])
    rays = rim.to(cameras.K) @ torch.linalg.inv(cameras.K).transpose(-1, -2) * size
    to_world = cameras.camera_to_world
    corners = rays @ to_world[:, :3, :3].transpose(-1, -2) + to_world[:, None, :3, 3]
    apex = cameras.centers[:, None].expand_as(corners)
    edges = torch.stack([apex, corners], dim=2)
    sides = torch.stack([corners, corners.roll(-1, dims=1)], dim=2)
    return torch.cat([edges, sides], dim=1).detach().cpu().numpy()


def _draw_view(
    axes: Axes,
    frusta: np.ndarray,
    origin: np.ndarray,
    centers: np.ndarray,
    points: np.ndarray,
) -> None:
    """One flat view of the path; the arrays end in the two drawn coordinates."""
    shown = [frusta.reshape(-1, 2), origin.reshape(-1, 2), centers]
    if len(points):
        axes.scatter(*points.T, s=1, color="0.6", alpha=0.4, linewidths=0, rasterized=True)
        # The farthest points would shrink the path to a dot.
        shown.append(np.percentile(points, (20, 80), axis=0))
    axes.plot(*centers.T, color="0.3", linewidth=1)
    times = matplotlib.colormaps["viridis"](np.linspace(0, 1, len(frusta)))
    for lines, color in zip(frusta, times):
        axes.add_collection(LineCollection(list(lines), colors=[color], linewidths=1.2))
    axes.add_collection(LineCollection(list(origin[0]), colors=["red"], linewidths=1.2))
    low, high = np.concatenate(shown).min(0), np.concatenate(shown).max(0)
    half = 0.55 * max(high - low)
    for limit, middle in zip((axes.set_xlim, axes.set_ylim), (low + high) / 2):
        limit(middle - half, middle + half)
    axes.set_aspect("equal")
    axes.locator_params(nbins=6)
    axes.grid(alpha=0.2)
