"""Classical completion: a plausible picture in the holes of a render, without any network.

Six sources, in this order; each fills only what the ones before left open, and a pixel of the
render itself is never touched:
1. in gaps of a few pixels, the points that were culled as flying: there they are hardly displaced;
2. where a continuous surface is stretched, that surface, its points drawn as large as the stretch;
3. places that stand still, as seen at other moments of the source video;
4. the source picture continued past its frame: mirrored colour at the frame's depth, more blurred
   the farther out, so that what the camera turns to has texture and stays put in the world;
5. a smooth multi-scale fill (push-pull pyramid) from around each hole, in which the far side wins;
6. a soft seam of a pixel or two.

The one thing a reader would get wrong: a source camera that stands still is known by its matrices,
but whether the *picture* stands still is measured per pixel, so a moving camera wrongly declared
static finds little that agrees and costs little.
"""

from collections.abc import Collection
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..geometry.cameras import Cameras, transform_points
from ..geometry.frames import joined
from .point_cloud import DynamicPointCloud
from .render import Render, render
from .shot import Shot

MOMENTS = 24
"""Moments compared for a source camera that stands still."""
KEYFRAMES = 8
"""Moments whose points are kept for one that moves."""
SAME_DEPTH = 0.08
"""Relative depth difference below which two observations are of one surface."""
SAME_COLOR = 0.08
"""Mean absolute RGB difference below which two observations agree."""
MARGIN = 0.3
"""How far the picture is continued on each side, as a fraction of its longer side."""
FAR_POWER = 6.0
"""How strongly the smooth fill prefers the far side: weights go with depth to this power."""
RIM = 3
"""Gaps up to twice this wide are closed by culled points, pixels."""
REACH = 0.12
"""How far apart the two sides of a hole are looked for, as a fraction of the longer side."""
CHUNK = 8
"""Frames filled at once."""
PARTS = ("rims", "stretched", "static", "continued", "seam")
"""The sources of the module's list that can be left out, to measure what each brings; the smooth
fill always closes what the others leave open."""


def fill(
    shot: Shot, *, static_source: bool | None = None, parts: Collection[str] = PARTS
) -> Float[Tensor, "T 3 H W"]:
    """The render of a shot with its holes filled.

    Args:
        static_source: whether the source camera stands still; None reads it from its matrices.
        parts: those of `PARTS` that take part.

    Raises:
        ValueError: a part that is unknown.
    """
    if not set(parts) <= set(PARTS):
        raise ValueError(f"parts are some of {', '.join(PARTS)}; got {', '.join(parts)}.")
    source, cameras, completed = shot.source, shot.cameras, shot.view
    if static_source is None:
        moved = (source.world_to_camera - source.world_to_camera[:1]).abs().max()
        static_source = bool(moved < 1e-5 and (source.K - source.K[:1]).abs().max() < 1e-3)
    shot = replace(shot, cloud=shot.cloud.to(completed.frames.device))
    if "rims" in parts:
        completed = _rims(completed, shot)
    if "stretched" in parts:
        completed = _stretched(completed, shot)
    if static_source:
        color, z, agrees = static_background(shot.cloud, source)
        if "static" in parts:
            completed = _behind(completed, _lifted(color, z, agrees, source[:1]), cameras)
        if "continued" in parts:
            color, z = _whole(color, z, agrees)
            completed = _behind(completed, continued(color, z, source[:1]), cameras)
    else:
        if "static" in parts:
            completed = _behind(completed, static_points(shot.cloud, source), cameras)
        if "continued" in parts:
            completed = _continue_each(completed, shot)
    filled = _smooth(completed)
    if "seam" in parts:
        filled = _led_over(shot.view, filled)
    return torch.where(shot.view.visible, shot.view.frames, filled).clamp(0, 1)


def push_pull(
    values: Float[Tensor, "T C H W"],
    weight: Float[Tensor, "T 1 H W"],
    far_power: float = 0.0,
) -> Float[Tensor, "T C H W"]:
    """Fill where `weight` is 0 from coarser and coarser averages of what is known.

    Args:
        weight: 0 unknown to 1 known.
        far_power: with p > 0 the last channel is depth, and where near and far meet in an average,
            each counts with its depth to the power p.
    """
    height, width = values.shape[2:]
    if height == 1 and width == 1:
        return values
    share = weight
    if far_power > 0:
        z = values[:, -1:] * (weight > 0)
        far = F.max_pool2d(z, 3, stride=1, padding=1)
        # Not down to nothing: behind a chair by the window is the wall, not the sky.
        share = weight * ((z / far.clamp(min=1e-12)) ** far_power).clamp(min=0.03)
    # ceil_mode with counted cells only: odd sizes need no padding.
    total = F.avg_pool2d(share, 2, ceil_mode=True)
    mean = F.avg_pool2d(values * share, 2, ceil_mode=True) / total.clamp(min=1e-12)
    # A block that knows one of its pixels is taken as known: coarser levels fill gaps only.
    known = F.avg_pool2d(weight, 2, ceil_mode=True).mul(4).clamp(max=1)
    coarse = push_pull(mean, known, far_power)
    coarse = F.interpolate(coarse, (height, width), mode="bilinear")
    return torch.lerp(coarse, values, weight)


def static_background(
    cloud: DynamicPointCloud, source_cameras: Cameras
) -> tuple[Float[Tensor, "1 3 h w"], Float[Tensor, "1 1 h w"], Bool[Tensor, "1 1 h w"]]:
    """Colour and depth of what a standing camera sees behind all that moves.

    Per pixel: the moments that show its far surface, and the median over them. It is trusted where
    enough moments show that surface and agree on its colour.
    """
    chosen = _evenly(len(cloud), MOMENTS)
    chosen = torch.tensor(chosen, device=cloud.points.device)
    moments, cameras = cloud[chosen], source_cameras[chosen.cpu()].to(cloud.points.device)
    z = transform_points(cameras.world_to_camera, moments.points)[..., 2]
    z = torch.where(moments.valid, z, torch.nan)
    # The farthest fifth may be estimation errors; the surface is what lies about its lower end.
    if z.shape[1] < 1e5:
        far = z.nanquantile(0.8, dim=0)
    else:  # torch's quantile refuses long input: the value at that rank among the numbers
        rank = ((z.isfinite().sum(dim=0, keepdim=True) - 1).clamp(min=0) * 0.8).round().long()
        far = z.sort(dim=0).values.gather(0, rank)[0]
    shown = z > far * (1 - SAME_DEPTH)
    colors = torch.where(shown[..., None], moments.colors, torch.nan)
    color = colors.nanmedian(dim=0).values
    spread = (colors - color).abs().mean(dim=-1).nanmedian(dim=0).values
    z = torch.where(shown, z, torch.nan).nanmedian(dim=0).values
    agrees = (spread < SAME_COLOR) & (shown.sum(0) >= max(2, 0.12 * len(chosen))) & z.isfinite()
    size = (1, 1, cameras.height, cameras.width)
    color = color.nan_to_num().T.reshape(1, 3, *size[2:])
    return color, z.nan_to_num(1.0).reshape(size), agrees.reshape(size)


def static_points(cloud: DynamicPointCloud, source_cameras: Cameras) -> DynamicPointCloud:
    """Points of several moments of a moving camera that the other moments confirm, as one moment.

    A moment confirms a point if it sees the same depth and colour there, and denies it if it sees
    through it; what it sees in front says nothing.
    """
    chosen = _evenly(len(cloud), KEYFRAMES)
    size = (source_cameras.height, source_cameras.width)
    cameras = source_cameras.to(cloud.points.device)
    kept = []
    for i in chosen:
        points, colors = cloud.points[i], cloud.colors[i]
        confirmed = torch.zeros_like(cloud.valid[i], dtype=torch.int32)
        denied = torch.zeros_like(confirmed)
        for j in chosen:
            if j == i:
                continue
            pixels, z = cameras[[j]].project(points[None])
            z_there, color_there, inside = _look_up(cloud, j, pixels[0], cameras, size)
            inside &= z[0] > 0
            apart = z_there / z[0] - 1
            same = (colors - color_there).abs().mean(dim=-1) < SAME_COLOR
            confirmed += inside & (apart.abs() < SAME_DEPTH) & same
            denied += inside & (apart > SAME_DEPTH)
        kept.append(cloud.valid[i] & (confirmed > 0) & (denied <= confirmed // 4))
    index = torch.tensor(chosen, device=cloud.points.device)
    part = cloud[index]
    mask = torch.stack(kept).flatten()
    return DynamicPointCloud(
        part.points.flatten(0, 1)[mask][None],
        part.colors.flatten(0, 1)[mask][None],
        torch.ones(1, int(mask.sum()), dtype=torch.bool, device=mask.device),
        part.spacing.flatten()[mask][None],
    )


def continued(
    color: Float[Tensor, "n 3 h w"], z: Float[Tensor, "n 1 h w"], cameras: Cameras
) -> DynamicPointCloud:
    """Points outside the picture: its mirror image, blurred farther out, at its frame's depth."""
    height, width = color.shape[2:]
    margin = min(round(MARGIN * max(height, width)), height - 1, width - 1)
    around = (margin,) * 4
    outside = F.pad(torch.ones_like(z), around) == 0
    y, x = (torch.arange(-margin, n + margin, device=z.device) for n in (height, width))
    # How far out, from 0 at the frame to 1 at the margin's end.
    out_y = torch.maximum(-y, y - height + 1).clamp(min=0)
    out_x = torch.maximum(-x, x - width + 1).clamp(min=0)
    out = torch.maximum(out_y[:, None], out_x[None]) / max(margin, 1)
    edge = F.avg_pool2d(z, 9, stride=1, padding=4, count_include_pad=False)
    depth = F.pad(edge, around, "replicate")
    mirror = F.pad(color, around, "reflect")
    # Things nearer than the frame's own surface would appear twice; what is around closes the gap.
    alike = F.pad(z, around, "reflect") > 0.85 * depth
    mirror = push_pull(mirror, alike.float())
    small = (max(mirror.shape[2] // 16, 1), max(mirror.shape[3] // 16, 1))
    blurred = F.adaptive_avg_pool2d(mirror, small)
    blurred = F.interpolate(blurred, mirror.shape[2:], mode="bilinear")
    return _lifted(
        torch.lerp(mirror, blurred, out**0.5),
        depth,
        outside,
        cameras.to(z.device).cropped(
            -1.0 * margin, -1.0 * margin, height + 2 * margin, width + 2 * margin
        ),
    )


def _continue_each(view: Render, shot: Shot) -> Render:
    """`continued` for every frame by its own moment, a few frames at a time."""
    parts, size = [], (shot.source.height, shot.source.width)
    for start in range(0, len(view), CHUNK):
        frames = slice(start, start + CHUNK)
        moment = shot.trajectory.source_frame[frames]
        source = shot.source[moment].to(view.frames.device)
        points = shot.cloud[moment.to(shot.cloud.points.device)]
        z = transform_points(source.world_to_camera, points.points)[..., 2]
        color = points.colors.transpose(1, 2).unflatten(2, size)
        color, z = _whole(
            color, z.unflatten(1, size)[:, None], points.valid.unflatten(1, size)[:, None]
        )
        parts.append(_behind(view[frames], continued(color, z, source), shot.cameras[frames]))
    return joined(parts)


def _rims(view: Render, shot: Shot) -> Render:
    """The view, with culled points in the thin outlines that culling left along depth edges."""
    if bool(shot.cloud.valid.all()):
        return view
    moments = shot.cloud[shot.trajectory.source_frame.to(shot.cloud.points.device)]
    wide = F.max_pool2d(view.visible.float(), 2 * RIM + 1, stride=1, padding=RIM)
    thin = -F.max_pool2d(-wide, 2 * RIM + 1, stride=1, padding=RIM) > 0
    return _behind(view, replace(moments, valid=~moments.valid), shot.cameras, thin)


def _stretched(view: Render, shot: Shot) -> Render:
    """The view, and in its holes the surfaces that the new cameras see stretched.

    A point there is drawn as large as the distance, in the new picture, to the farthest of its
    neighbours on its surface.
    """
    parts, size, device = [], (shot.source.height, shot.source.width), shot.cloud.points.device
    for start in range(0, len(view), CHUNK):
        frames = slice(start, start + CHUNK)
        moment = shot.trajectory.source_frame[frames]
        moments, source = shot.cloud[moment.to(device)], shot.source[moment.cpu()].to(device)
        novel = shot.cameras[frames].to(device)
        z = transform_points(source.world_to_camera, moments.points)[..., 2].unflatten(1, size)
        pixels, novel_z = novel.project(moments.points)
        pixels, apart = pixels.unflatten(1, size), torch.zeros_like(z)
        for axis in (1, 2):
            count = z.shape[axis] - 1
            near, far = z.narrow(axis, 0, count), z.narrow(axis, 1, count)
            step = (pixels.narrow(axis, 1, count) - pixels.narrow(axis, 0, count)).norm(dim=-1)
            # Across an edge there is no surface to stretch.
            step = step * ((far / near).log().abs() < SAME_DEPTH)
            for side in (apart.narrow(axis, 0, count), apart.narrow(axis, 1, count)):
                torch.maximum(side, step, out=side)
        # What is behind the camera is not drawn, whatever its spacing.
        pixel = novel_z.clamp(min=0) / (novel.K[:, 0, 0] * novel.K[:, 1, 1]).sqrt()[:, None]
        spacing = torch.maximum(moments.spacing, apart.flatten(1).nan_to_num(0.0) * pixel)
        parts.append(_behind(view[frames], replace(moments, spacing=spacing), shot.cameras[frames]))
    return joined(parts)


def _behind(
    view: Render,
    cloud: DynamicPointCloud,
    cameras: Cameras,
    where: Bool[Tensor, "T 1 H W"] | None = None,
) -> Render:
    """The view, and in its holes what is seen of `cloud`, unless it lies before what is around."""
    if cloud.points.shape[1] == 0:
        return view
    frames = len(view)
    if len(cloud) == 1:
        cloud = DynamicPointCloud(
            *(
                part.expand(frames, *part.shape[1:])
                for part in (cloud.points, cloud.colors, cloud.valid, cloud.spacing)
            )
        )
    other = render(cloud, cameras)
    parts = []
    for start in range(0, frames, CHUNK):
        a, b = view[start : start + CHUNK], other[start : start + CHUNK]
        around = push_pull(a.depth, a.visible.float())
        use = b.visible & ~a.visible & (b.depth > 0.6 * around)
        if where is not None:
            use &= where[start : start + CHUNK]
        parts.append(
            Render(
                torch.where(use, b.frames, a.frames),
                torch.where(use, b.depth, a.depth),
                a.visible | use,
            )
        )
    return joined(parts)


def _smooth(view: Render) -> Float[Tensor, "T 3 H W"]:
    """The view with push-pull in its holes, evened out over five frames there."""
    layers = []
    for start in range(0, len(view), CHUNK):
        part = view[start : start + CHUNK]
        values = torch.cat([part.frames, part.depth], dim=1)
        source = (part.visible & ~_near_side(part)).float()
        layers.append(push_pull(values, source, FAR_POWER)[:, :3])
    layer = torch.cat(layers)
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=layer.device) / 16
    last = len(view) - 1
    calm = torch.zeros_like(layer)
    for offset, weight in zip(range(-2, 3), kernel, strict=True):
        index = (torch.arange(len(view), device=layer.device) + offset).clamp(0, last)
        calm += weight * layer[index]
    return torch.where(view.visible, view.frames, calm)


def _near_side(view: Render) -> Bool[Tensor, "T 1 H W"]:
    """Pixels close to a hole and clearly nearer than what lies on its other side.

    A hole opens behind the near side, so nothing of it belongs in there. The sides are the two ends
    of the hole's rows and columns: what is far away elsewhere does not count.
    """
    near, (height, width) = torch.zeros_like(view.depth), view.depth.shape[2:]
    reach = REACH * max(height, width)
    for axis in (2, 3):
        count, shape = view.depth.shape[axis], [1, 1, 1, 1]
        shape[axis] = count
        index = torch.arange(count, device=near.device).view(shape).expand(near.shape)
        # The last visible pixel before each pixel and the first one after; -1 and count if none.
        before = torch.where(view.visible, index, -1).cummax(dim=axis).values
        after = torch.where(view.visible, index, count).flip(axis)
        after = after.cummin(dim=axis).values.flip(axis)
        found = ~view.visible & (before >= 0) & (after < count)
        found &= (before - after).abs() < 2 * reach
        ends = [index.clamp(0, count - 1) for index in (before, after)]
        depths = [view.depth.gather(axis, end) for end in ends]
        for end, z, across in zip(ends, depths, depths[::-1], strict=True):
            # A fifth nearer is another surface, not the same one's slant.
            nearer = torch.where(found & (z < 0.8 * across), z, 0.0)
            near.scatter_reduce_(axis, end, nearer, "amax")
    # The nearest such border around each pixel, found at a quarter of the size.
    steps = max(1, round(reach / 4))
    around = F.max_pool2d(near, 4, ceil_mode=True)
    around = F.max_pool2d(around, (2 * steps + 1, 1), stride=1, padding=(steps, 0))
    around = F.max_pool2d(around, (1, 2 * steps + 1), stride=1, padding=(0, steps))
    around = F.interpolate(around, scale_factor=4.0, mode="nearest")[..., :height, :width]
    # From the near side's border inwards, as far as the surface goes on.
    return view.visible & (view.depth < 1.2 * around)


def _led_over(view: Render, filled: Float[Tensor, "T 3 H W"]) -> Float[Tensor, "T 3 H W"]:
    """The fill, led over to the render's colours in the pixel or two of each hole next to them."""
    seen = view.visible.float()
    near = F.avg_pool2d(seen, 3, stride=1, padding=1)
    mean = F.avg_pool2d(view.frames * seen, 3, stride=1, padding=1) / near.clamp(min=1e-6)
    return torch.lerp(filled, mean, near.clamp(max=0.5))


def _whole(
    color: Float[Tensor, "n 3 h w"], z: Float[Tensor, "n 1 h w"], known: Bool[Tensor, "n 1 h w"]
) -> tuple[Float[Tensor, "n 3 h w"], Float[Tensor, "n 1 h w"]]:
    """Colour and depth without gaps."""
    values = push_pull(torch.cat([color, z], dim=1), known.float(), FAR_POWER)
    return values[:, :3], values[:, 3:].clamp(min=1e-6)


def _lifted(
    color: Float[Tensor, "n 3 h w"],
    z: Float[Tensor, "n 1 h w"],
    valid: Bool[Tensor, "n 1 h w"],
    cameras: Cameras,
) -> DynamicPointCloud:
    """Pictures to points of the valid pixels; every picture must have the same ones."""
    cameras = cameras.to(z.device)
    mask = valid[0].flatten()
    focal = (cameras.K[:, 0, 0] * cameras.K[:, 1, 1]).sqrt()
    return DynamicPointCloud(
        cameras.unproject(z)[:, mask],
        color.flatten(2).transpose(1, 2)[:, mask],
        mask[mask].expand(len(color), -1),
        (z.flatten(1) / focal[:, None])[:, mask],
    )


def _look_up(
    cloud: DynamicPointCloud,
    moment: int,
    pixels: Float[Tensor, "N 2"],
    cameras: Cameras,
    size: tuple[int, int],
) -> tuple[Float[Tensor, " N"], Float[Tensor, "N 3"], Bool[Tensor, " N"]]:
    """Depth and colour that a moment's picture has at pixel coordinates, and whether it has any."""
    column, row = (pixels.nan_to_num(-1).clamp(-1, 1e6)).floor().long().unbind(-1)
    inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    place = torch.where(inside, row * size[1] + column, 0)
    there = transform_points(cameras.world_to_camera[moment], cloud.points[moment][place])
    return there[:, 2], cloud.colors[moment][place], inside & cloud.valid[moment][place]


def _evenly(count: int, most: int) -> list[int]:
    """At most `most` indices spread over `count`, first and last among them."""
    return sorted(set(torch.linspace(0, count - 1, min(count, most)).round().long().tolist()))
