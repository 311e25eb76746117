"""Classical completion: a plausible picture in the holes of a render, without any network.

Six sources, in this order; each fills only what the ones before left open, and a pixel of the
render itself is never touched:
1. in gaps of a few pixels, the points that were culled as flying: there they are hardly displaced;
2. where a continuous surface is stretched, that surface, its points drawn as large as the stretch;
3. places that stand still, as seen at other moments of the source video;
4. the source picture continued past its frame: mirrored color at the frame's depth, more blurred
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
from ..geometry.frames import mapped
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
    """The render of a shot with its holes filled, by those of `PARTS` that take part.

    Args:
        static_source: whether the source camera stands still; None reads it from its matrices.

    Raises:
        ValueError: a part that is unknown.
    """
    if not set(parts) <= set(PARTS):
        raise ValueError(f"parts are some of {', '.join(PARTS)}; got {', '.join(parts)}.")
    source, device = shot.source, shot.view.frames.device
    size, cloud = (source.height, source.width), shot.cloud.to(device)
    if static_source is None:
        apart = (source.world_to_camera - source.world_to_camera[:1]).abs().max()
        # Rounding of matrices that were once equal, in scene units and in pixels.
        static_source = bool(apart < 1e-5 and (source.K - source.K[:1]).abs().max() < 1e-3)
    still = beyond = None
    if static_source:
        background = *static_background(cloud, source), source[:1]
        still, beyond = _lifted(*background), continued(*background)
    elif "static" in parts:
        still = static_points(cloud, source)
    drawn: list[tuple[Tensor, Tensor, Tensor]] = []
    for start in range(0, len(shot.view), CHUNK):
        view, cameras = shot.view[start : start + CHUNK], shot.cameras[start : start + CHUNK]
        moment = shot.trajectory.source_frame[start : start + CHUNK]
        moments, filmed = cloud[moment.to(device)], source[moment.cpu()].to(device)
        z = transform_points(filmed.world_to_camera, moments.points)[..., 2].unflatten(1, size)
        if "rims" in parts and not moments.valid.all():
            wide = F.max_pool2d(view.visible.float(), 2 * RIM + 1, stride=1, padding=RIM)
            thin = -F.max_pool2d(-wide, 2 * RIM + 1, stride=1, padding=RIM) > 0
            view = _behind(view, replace(moments, valid=~moments.valid), cameras, thin)
        if "stretched" in parts:
            view = _behind(view, _stretched(moments, z, cameras), cameras)
        if "static" in parts and still is not None:
            view = _behind(view, still, cameras)
        if "continued" in parts:
            color = moments.colors.transpose(1, 2).unflatten(2, size)
            picture = color, z[:, None], moments.valid.unflatten(1, size)[:, None]
            outside = continued(*picture, filmed) if beyond is None else beyond
            view = _behind(view, outside, cameras)
        values = torch.cat([view.frames, view.depth], dim=1)
        far = (view.visible & ~_near_side(view)).float()
        drawn.append((view.frames, view.visible, push_pull(values, far, FAR_POWER)[:, :3]))
    frames, seen, smooth = (torch.cat(part) for part in zip(*drawn, strict=True))
    # The smooth fill is evened out over five frames, else it would flicker.
    calm, index = torch.zeros_like(smooth), torch.arange(len(smooth), device=device)
    for offset, weight in zip(range(-2, 3), (1, 4, 6, 4, 1), strict=True):
        calm += weight / 16 * smooth[(index + offset).clamp(0, len(smooth) - 1)]
    filled = torch.where(seen, frames, calm)
    if "seam" in parts:
        # Led over to the render's colors in the pixel or two of each hole next to them.
        known = shot.view.visible.float()
        near = F.avg_pool2d(known, 3, stride=1, padding=1)
        mean = F.avg_pool2d(shot.view.frames * known, 3, stride=1, padding=1) / near.clamp(min=1e-6)
        filled = torch.lerp(filled, mean, near.clamp(max=0.5))
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
    """Color and depth of what a standing camera sees behind all that moves.

    Per pixel: the moments that show its far surface, and the median over them. It is trusted where
    enough moments show that surface and agree on its color.
    """
    chosen = torch.linspace(0, len(cloud) - 1, min(len(cloud), MOMENTS)).round().long().unique()
    moments = cloud[chosen.to(cloud.points.device)]
    cameras = source_cameras[chosen].to(cloud.points.device)
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
    # A surface that is seen in fewer moments may itself be passing; one moment agrees with itself.
    agrees = (spread < SAME_COLOR) & (shown.sum(0) >= max(2, 0.12 * len(chosen))) & z.isfinite()
    size = (1, 1, cameras.height, cameras.width)
    color = color.nan_to_num().T.reshape(1, 3, *size[2:])
    return color, z.nan_to_num(1.0).reshape(size), agrees.reshape(size)


def static_points(cloud: DynamicPointCloud, source_cameras: Cameras) -> DynamicPointCloud:
    """Points of several moments of a moving camera that the other moments confirm, as one moment.

    A moment confirms a point if it sees the same depth and color there, and denies it if it sees
    through it; what it sees in front says nothing.
    """
    count, device = min(len(cloud), KEYFRAMES), cloud.points.device
    chosen = torch.linspace(0, len(cloud) - 1, count).round().long().unique().tolist()
    cameras = source_cameras.to(device)
    kept: list[Tensor] = []
    for i in chosen:
        points, colors = cloud.points[i], cloud.colors[i]
        confirmed = torch.zeros_like(cloud.valid[i], dtype=torch.int32)
        denied = torch.zeros_like(confirmed)
        for j in chosen:
            if j == i:
                continue
            pixels, z = cameras[[j]].project(points[None])
            column, row = pixels[0].nan_to_num(-1).clamp(-1, 1e6).floor().long().unbind(-1)
            inside = (column >= 0) & (column < cameras.width) & (row >= 0) & (row < cameras.height)
            place = torch.where(inside, row * cameras.width + column, 0)
            there = transform_points(cameras.world_to_camera[j], cloud.points[j][place])[:, 2]
            inside &= cloud.valid[j][place] & (z[0] > 0)
            apart = there / z[0] - 1
            same = (colors - cloud.colors[j][place]).abs().mean(dim=-1) < SAME_COLOR
            confirmed += inside & (apart.abs() < SAME_DEPTH) & same
            denied += inside & (apart > SAME_DEPTH)
        # One denial among four confirmations may be an error of that moment's depth.
        kept.append(cloud.valid[i] & (confirmed > 0) & (denied <= confirmed // 4))
    part, mask = cloud[torch.tensor(chosen, device=device)], torch.stack(kept)
    return mapped(replace(part, valid=mask), lambda tensor: tensor[mask][None])


def continued(
    color: Float[Tensor, "n 3 h w"],
    z: Float[Tensor, "n 1 h w"],
    known: Bool[Tensor, "n 1 h w"],
    cameras: Cameras,
) -> DynamicPointCloud:
    """Points outside the picture: its mirror image, blurred farther out, at its frame's depth."""
    height, width = color.shape[2:]
    values = push_pull(torch.cat([color, z], dim=1), known.float(), FAR_POWER)
    color, z = values[:, :3], values[:, 3:].clamp(min=1e-6)
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
    # Its own slant may bring the surface a little nearer: hence 0.85, not 1.
    alike = F.pad(z, around, "reflect") > 0.85 * depth
    mirror = push_pull(mirror, alike.float())
    small = (max(mirror.shape[2] // 16, 1), max(mirror.shape[3] // 16, 1))
    blurred = F.adaptive_avg_pool2d(mirror, small)
    blurred = F.interpolate(blurred, mirror.shape[2:], mode="bilinear")
    K = cameras.K.clone()
    K[:, :2, 2] += margin
    wider = Cameras(cameras.world_to_camera, K, height + 2 * margin, width + 2 * margin)
    # The root blurs soon: a sharp mirror image beside the frame is seen for what it is.
    return _lifted(torch.lerp(mirror, blurred, out**0.5), depth, outside, wider)


def _stretched(
    moments: DynamicPointCloud, z: Float[Tensor, "T h w"], cameras: Cameras
) -> DynamicPointCloud:
    """The moments with points as large as the new cameras see their surfaces stretched.

    A point is drawn as large as the distance, in the new picture, to the farthest of its neighbors
    on its surface.

    Args:
        z: the points' depth in the source's picture.
    """
    cameras = cameras.to(z.device)
    pixels, novel_z = cameras.project(moments.points)
    pixels, apart = pixels.unflatten(1, z.shape[1:]), torch.zeros_like(z)
    for axis in (1, 2):
        count = z.shape[axis] - 1
        near, far = z.narrow(axis, 0, count), z.narrow(axis, 1, count)
        step = (pixels.narrow(axis, 1, count) - pixels.narrow(axis, 0, count)).norm(dim=-1)
        # Across an edge there is no surface to stretch.
        step = step * ((far / near).log().abs() < SAME_DEPTH)
        for side in (apart.narrow(axis, 0, count), apart.narrow(axis, 1, count)):
            torch.maximum(side, step, out=side)
    # What is behind the camera is not drawn, whatever its spacing.
    pixel = novel_z.clamp(min=0) / (cameras.K[:, 0, 0] * cameras.K[:, 1, 1]).sqrt()[:, None]
    spacing = torch.maximum(moments.spacing, apart.flatten(1).nan_to_num(0.0) * pixel)
    return replace(moments, spacing=spacing)


def _behind(
    view: Render,
    cloud: DynamicPointCloud,
    cameras: Cameras,
    where: Bool[Tensor, "T 1 H W"] | None = None,
) -> Render:
    """The view, and in its holes what is seen of `cloud`, unless it lies before what is around.

    Args:
        cloud: a moment per camera, or one for all.
    """
    if cloud.points.shape[1] == 0:
        return view
    if len(cloud) == 1:
        cloud = mapped(cloud, lambda tensor: tensor.expand(len(view), *tensor.shape[1:]))
    other = render(cloud, cameras)
    around = push_pull(view.depth, view.visible.float())
    # `around` mixes the hole's two sides, so what belongs in it may be somewhat nearer than that;
    # what is much nearer stood elsewhere, or is an error.
    use = other.visible & ~view.visible & (other.depth > 0.6 * around)
    use = use if where is None else use & where
    return Render(
        torch.where(use, other.frames, view.frames),
        torch.where(use, other.depth, view.depth),
        view.visible | use,
    )


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
    # From the near side's border inwards, as far as the surface goes on: a fifth, as above.
    return view.visible & (view.depth < 1.2 * around)


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
