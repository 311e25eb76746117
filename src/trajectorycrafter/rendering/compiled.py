"""The renderer's inner loops, compiled for the CPU; `splatting.py` tells what they compute.

The one thing a reader would get wrong: kernels run one frame each, without the interpreter's lock,
in plain Python threads. numba's own parallel loops are avoided on purpose: their default thread
pool aborts the process when two Python threads enter it at once.
"""

from typing import no_type_check

import numpy as np
from numba import njit

F = np.float32


try:
    _kernel = njit(nogil=True, cache=True)
    _kernel(lambda: None)
except RuntimeError:
    # No folder can be written in which the compiled code would be kept between runs.
    _kernel = njit(nogil=True)


@_kernel
@no_type_check
def project(points, world_to_camera, K, x, y, z):
    """Fill x, y (pixels, centers at integers) and z (along the optical axis)."""
    a = world_to_camera
    for i in range(points.shape[0]):
        p, q, r = points[i, 0], points[i, 1], points[i, 2]
        u = a[0, 0] * p + a[0, 1] * q + a[0, 2] * r + a[0, 3]
        v = a[1, 0] * p + a[1, 1] * q + a[1, 2] * r + a[1, 3]
        w = a[2, 0] * p + a[2, 1] * q + a[2, 2] * r + a[2, 3]
        x[i] = (K[0, 0] * u + K[0, 1] * v + K[0, 2] * w) / w - F(0.5)
        y[i] = (K[1, 0] * u + K[1, 1] * v + K[1, 2] * w) / w - F(0.5)
        z[i] = w


@_kernel
@no_type_check
def draw_size(x, y, z, valid, spacing, focal, largest, height, width, size):
    """Fill the drawn size in pixels; see `splatting.sized`."""
    margin = largest + F(1)
    for i in range(z.shape[0]):
        inside = -margin < x[i] < F(width) + margin and -margin < y[i] < F(height) + margin
        drawn = valid[i] and z[i] > F(1e-6) and z[i] < F(np.inf) and inside
        size[i] = min(max(spacing[i] * focal / z[i], F(1)), largest) if drawn else F(0)


@_kernel
@no_type_check
def splat_released(x, y, z, near, colors, valid, frame, depth, visible):
    """The released warper's splat with depth weights `near`; see `splatting.splat_released`."""
    height, width = visible.shape
    # Color, depth and weight of a pixel lie side by side: one cache line per corner. Unsigned
    # indices into one long array spare numba its test for negative ones.
    canvas = np.zeros((height + 2) * (width + 2) * 5, dtype=np.float32)
    for i in range(z.shape[0]):
        # A quotient by zero has no place; comparisons with nan are false.
        if not valid[i] or not (abs(x[i]) < F(1e9) and abs(y[i]) < F(1e9)):
            continue
        px = min(max(x[i] + F(1), F(0)), F(width + 1))
        py = min(max(y[i] + F(1), F(0)), F(height + 1))
        left, top = np.uint64(px), np.uint64(py)
        dx, dy = px - F(left), py - F(top)
        # Where the position is a whole number the four corners coincide, each with weight 1.
        right = left if dx == F(0) else left + np.uint64(1)
        bottom = top if dy == F(0) else top + np.uint64(1)
        wr, wb = F(1) - (F(right) - px), F(1) - (F(bottom) - py)
        wl, wt, zi = F(1) - dx, F(1) - dy, z[i]
        red, green, blue = colors[i, 0], colors[i, 1], colors[i, 2]
        for row, wy in ((top, wt * near[i]), (bottom, wb * near[i])):
            for column, wx in ((left, wl), (right, wr)):
                weight = wx * wy
                k = (row * np.uint64(width + 2) + column) * np.uint64(5)
                canvas[k] += weight * red
                canvas[k + np.uint64(1)] += weight * green
                canvas[k + np.uint64(2)] += weight * blue
                canvas[k + np.uint64(3)] += weight * zi
                canvas[k + np.uint64(4)] += weight
    for row in range(height):
        for column in range(width):
            k = np.uint64(((row + 1) * (width + 2) + column + 1) * 5)
            weight = canvas[k + np.uint64(4)]
            seen = weight > F(0)
            per = F(1) / weight if seen else F(0)
            visible[row, column] = seen
            frame[0, row, column] = min(max(canvas[k] * per, F(0)), F(1))
            frame[1, row, column] = min(max(canvas[k + np.uint64(1)] * per, F(0)), F(1))
            frame[2, row, column] = min(max(canvas[k + np.uint64(2)] * per, F(0)), F(1))
            depth[row, column] = canvas[k + np.uint64(3)] * per


@_kernel
@no_type_check
def _draw_fronts(x, y, z, size, core, reach, front, wide):
    """The nearest depth per pixel, by the points' own area and by all that they touch."""
    height, width = front.shape
    for i in range(z.shape[0]):
        if size[i] <= F(0):
            continue
        zi, own, half = z[i], core * size[i], reach * size[i]
        left = max(int(np.ceil(x[i] - half)), 0)
        right = min(int(np.floor(x[i] + half)), width - 1)
        for row in range(
            max(int(np.ceil(y[i] - half)), 0), min(int(np.floor(y[i] + half)) + 1, height)
        ):
            near_row = abs(F(row) - y[i]) <= own
            for column in range(left, right + 1):
                wide[row, column] = min(wide[row, column], zi)
                if near_row and abs(F(column) - x[i]) <= own:
                    front[row, column] = min(front[row, column], zi)


@_kernel
@no_type_check
def _bridge(front, row, column, tolerance, gap, limit):
    """Depth between two opposite neighbors of one surface nearer than `limit`, and their place."""
    height, width = front.shape
    for reach in range(2, gap + 1):
        for a in range(1, reach):
            b = reach - a
            if a > 2 or b > 2:
                continue
            for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
                y0, x0, y1, x1 = row - a * dy, column - a * dx, row + b * dy, column + b * dx
                if y0 < 0 or y1 >= height or min(x0, x1) < 0 or max(x0, x1) >= width:
                    continue
                p, q = front[y0, x0], front[y1, x1]
                if max(p, q) < limit and abs(p - q) < tolerance * min(p, q):
                    return (p * F(b) + q * F(a)) / F(reach), y0, x0, y1, x1, F(b) / F(reach)
    return F(np.inf), 0, 0, 0, 0, F(0)


@_kernel
@no_type_check
def _close_cracks(front, wide, tolerance, closed):
    """Give pixels inside a torn surface that surface's depth; mark them in `closed`."""
    height, width = front.shape
    for row in range(height):
        for column in range(width):
            here = front[row, column]
            if np.isinf(here):
                closed[row, column] = _bridge(front, row, column, tolerance, 3, F(np.inf))[0]
            elif wide[row, column] < here * (F(1) - tolerance):
                between = _bridge(front, row, column, tolerance, 3, here * (F(1) - tolerance))[0]
                if abs(between - wide[row, column]) < tolerance * between:
                    closed[row, column] = between


@_kernel
@no_type_check
def splat_quality(x, y, z, size, colors, core, reach, tolerance, frame, depth, visible):
    """The default splat; see `splatting.splat_quality`."""
    height, width = visible.shape
    front = np.full((height, width), F(np.inf), dtype=np.float32)
    wide = np.full((height, width), F(np.inf), dtype=np.float32)
    closed = np.full((height, width), F(np.inf), dtype=np.float32)
    _draw_fronts(x, y, z, size, core, reach, front, wide)
    _close_cracks(front, wide, tolerance, closed)
    surface = np.minimum(front, closed)
    canvas = np.zeros((height, width, 5), dtype=np.float32)
    for i in range(z.shape[0]):
        r = size[i]
        if r <= F(0):
            continue
        zi, per = z[i], F(1) / r
        left, right = max(int(np.ceil(x[i] - r)), 0), min(int(np.floor(x[i] + r)), width - 1)
        for row in range(max(int(np.ceil(y[i] - r)), 0), min(int(np.floor(y[i] + r)) + 1, height)):
            wy = F(1) - abs(F(row) - y[i]) * per
            for column in range(left, right + 1):
                here = surface[row, column]
                band = tolerance * here
                off = abs(zi - here)
                # An empty pixel is infinitely far from every point.
                if not off < band:
                    continue
                off /= band
                weight = wy * (F(1) - abs(F(column) - x[i]) * per) * (F(1) - off * off)
                pixel = canvas[row, column]
                pixel[0] += weight * colors[i, 0]
                pixel[1] += weight * colors[i, 1]
                pixel[2] += weight * colors[i, 2]
                pixel[3] += weight * zi
                pixel[4] += weight
    for row in range(height):
        for column in range(width):
            pixel = canvas[row, column]
            # As `splatting.FAINTEST`, here and below.
            seen = pixel[4] > F(1e-4)
            per = F(1) / pixel[4] if seen else F(0)
            visible[row, column] = seen
            for c in range(3):
                frame[c, row, column] = min(max(pixel[c] * per, F(0)), F(1))
            depth[row, column] = pixel[3] * per
    for row in range(height):
        for column in range(width):
            if np.isinf(closed[row, column]) or canvas[row, column, 4] > F(1e-4):
                continue
            limit = front[row, column] * (F(1) - tolerance)
            between, y0, x0, y1, x1, share = _bridge(front, row, column, tolerance, 3, limit)
            one, other = canvas[y0, x0], canvas[y1, x1]
            if one[4] > F(1e-4) and other[4] > F(1e-4):
                for c in range(3):
                    value = share * one[c] / one[4] + (F(1) - share) * other[c] / other[4]
                    frame[c, row, column] = min(max(value, F(0)), F(1))
                depth[row, column] = between
                visible[row, column] = True
