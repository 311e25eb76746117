"""The ray caster: one frame of boxes, ellipsoids and cylinders with solid patterns and shadows.

Rays are as long as depth: a direction has length 1 along the optical axis, so intersections count
depth, also in each part's own frame, where the part is a unit box, ball or cylinder.
"""

import math
from typing import NamedTuple, no_type_check

import numpy as np

from .patterns import albedo, fractal, kernel, step

BOX, BALL, CYLINDER = 0, 1, 2
ROOM, GROUND = 0, 1
SKY = 90.0
"""Radius of the sky around the world's origin, meters: far enough to stand still, yet finite."""
EPSILON = 1e-3
FAR = 1e9
"""Distance of a miss; finite, since fast arithmetic may not count on infinity."""
TILE = 8
"""Pixels along a side of the tiles that share a list of parts."""


class Moment(NamedTuple):
    """A scene at one moment, as flat arrays: `O` things of `P` parts and `M` materials."""

    place: int
    """`ROOM` or `GROUND`."""
    room: np.ndarray
    """`2 3`: lowest and highest corner; of a ground only the floor, `room[1, 1]`, is read."""
    spheres: np.ndarray
    """`O 4`: middle and radius of a ball around each thing."""
    ranges: np.ndarray
    """`O 2`: first part of each thing and the one after its last."""
    part_spheres: np.ndarray
    """`P 4`: likewise around each part."""
    kinds: np.ndarray
    """`P`: `BOX`, `BALL` or `CYLINDER` (its axis is y)."""
    to_unit: np.ndarray
    """`P 3 4`: world to the frame where the part is of size 1."""
    sizes: np.ndarray
    """`P 3`: half sizes at rest, meters; the pattern sticks to these."""
    owners: np.ndarray
    """`P`: row of each part's material; the rows before hold room, or ground and sky."""
    materials: np.ndarray
    """`M 15`, see `Material.row`: a room's six walls, or the ground, sky and haze, come first."""
    light: np.ndarray
    """`7`: direction to the sun or place of the lamp, its RGB, the share of light from all over."""
    noise: np.ndarray
    """`33 33 33`, in [0, 1], the first layer repeated at the end of each axis."""


@kernel
@no_type_check
def _unit_hit(kind, ox, oy, oz, dx, dy, dz):
    """Distance to the unit part in front of the origin, `FAR` for a miss, and the face's axis."""
    if kind == 1:
        a, b = dx * dx + dy * dy + dz * dz, ox * dx + oy * dy + oz * dz
        root = b * b - a * (ox * ox + oy * oy + oz * oz - 1)
        if root <= 0:
            return FAR, 3
        t = (-b - math.sqrt(root)) / a
        return (t, 3) if t > EPSILON else (FAR, 3)
    if kind == 0:
        near, far, axis = -FAR, FAR, 0
        for i in range(3):
            o, d = (ox, dx) if i == 0 else ((oy, dy) if i == 1 else (oz, dz))
            if abs(d) < 1e-12:
                if abs(o) > 1:
                    return FAR, 0
                continue
            inverse = 1 / d
            first, last = (-1 - o) * inverse, (1 - o) * inverse
            if first > last:
                first, last = last, first
            if first > near:
                near, axis = first, i
            far = min(far, last)
        return (near, axis) if near < far and near > EPSILON else (FAR, 0)
    near, axis = FAR, 3
    a, b = dx * dx + dz * dz, ox * dx + oz * dz
    root = b * b - a * (ox * ox + oz * oz - 1)
    if a > 1e-12 and root > 0:
        t = (-b - math.sqrt(root)) / a
        if t > EPSILON and abs(oy + t * dy) <= 1:
            near = t
    if abs(dy) > 1e-12:
        t = ((-1.0 if dy > 0 else 1.0) - oy) / dy
        px, pz = ox + t * dx, oz + t * dz
        if t > EPSILON and t < near and px * px + pz * pz <= 1:
            near, axis = t, 1
    return near, axis


@kernel
@no_type_check
def _misses(sphere, ox, oy, oz, dx, dy, dz, dd):
    """Whether a ray misses a ball or leaves it behind."""
    x, y, z, r = sphere[0] - ox, sphere[1] - oy, sphere[2] - oz, sphere[3]
    along = x * dx + y * dy + z * dz
    away = x * x + y * y + z * z - r * r
    return away > 0 and (along < 0 or along * along < away * dd)


@kernel
@no_type_check
def _part_hit(s, p, ox, oy, oz, dx, dy, dz):
    """Distance along a ray to part `p` and the face's axis."""
    m = s.to_unit[p]
    return _unit_hit(
        s.kinds[p],
        m[0, 0] * ox + m[0, 1] * oy + m[0, 2] * oz + m[0, 3],
        m[1, 0] * ox + m[1, 1] * oy + m[1, 2] * oz + m[1, 3],
        m[2, 0] * ox + m[2, 1] * oy + m[2, 2] * oz + m[2, 3],
        m[0, 0] * dx + m[0, 1] * dy + m[0, 2] * dz,
        m[1, 0] * dx + m[1, 1] * dy + m[1, 2] * dz,
        m[2, 0] * dx + m[2, 1] * dy + m[2, 2] * dz,
    )


@kernel
@no_type_check
def _nearest(s, parts, count, ox, oy, oz, dx, dy, dz, limit):
    """The nearest of `parts[:count]` within `limit`: number (-1: none), distance, face axis."""
    found, nearest, face = -1, limit, 0
    dd = dx * dx + dy * dy + dz * dz
    for i in range(count):
        p = parts[i]
        if _misses(s.part_spheres[p], ox, oy, oz, dx, dy, dz, dd):
            continue
        t, axis = _part_hit(s, p, ox, oy, oz, dx, dy, dz)
        if t < nearest:
            found, nearest, face = p, t, axis
    return found, nearest, face


@kernel
@no_type_check
def _in_shadow(s, ox, oy, oz, dx, dy, dz):
    """Whether any part lies between a point and the light at distance 1 along the ray."""
    dd = dx * dx + dy * dy + dz * dz
    for thing in range(s.spheres.shape[0]):
        if _misses(s.spheres[thing], ox, oy, oz, dx, dy, dz, dd):
            continue
        for p in range(s.ranges[thing, 0], s.ranges[thing, 1]):
            if _misses(s.part_spheres[p], ox, oy, oz, dx, dy, dz, dd):
                continue
            t, _ = _part_hit(s, p, ox, oy, oz, dx, dy, dz)
            if t < 1:
                return True
    return False


@kernel
@no_type_check
def _parts_in_tile(s, origin, to_world, left, right, top, bottom, parts):
    """Fill `parts` with those whose ball meets the cone around a tile; returns how many."""
    ox, oy, oz = origin[0], origin[1], origin[2]
    x, y = (left + right) / 2, (top + bottom) / 2
    ax = to_world[0, 0] * x + to_world[0, 1] * y + to_world[0, 2]
    ay = to_world[1, 0] * x + to_world[1, 1] * y + to_world[1, 2]
    az = to_world[2, 0] * x + to_world[2, 1] * y + to_world[2, 2]
    norm = math.sqrt(ax * ax + ay * ay + az * az)
    # The corner's angle from the axis is at most its distance on the plane at depth 1.
    half = math.sqrt((right - x) ** 2 + (bottom - y) ** 2)
    count = 0
    for p in range(s.part_spheres.shape[0]):
        ball = s.part_spheres[p]
        bx, by, bz, r = ball[0] - ox, ball[1] - oy, ball[2] - oz, ball[3]
        distance = math.sqrt(bx * bx + by * by + bz * bz)
        if distance > r:
            cosine = (ax * bx + ay * by + az * bz) / (norm * distance)
            angle = math.acos(min(max(cosine, -1.0), 1.0))
            if angle > half + math.asin(r / distance):
                continue
        parts[count] = p
        count += 1
    return count


@kernel
@no_type_check
def _surroundings(s, ox, oy, oz, dx, dy, dz):
    """Distance to the walls or to ground and sky, the row of its material, and the face's axis."""
    if s.place == ROOM:
        nearest, row, face = FAR, 0, 0
        for i in range(3):
            o, d = (ox, dx) if i == 0 else ((oy, dy) if i == 1 else (oz, dz))
            if abs(d) < 1e-9:
                continue
            side = 1 if d > 0 else 0
            t = (s.room[side, i] - o) / d
            if t < nearest:
                nearest, row, face = t, 2 * i + side, i
        return nearest, row, face
    a, b = dx * dx + dy * dy + dz * dz, ox * dx + oy * dy + oz * dz
    sky = (-b + math.sqrt(b * b + a * (SKY * SKY - ox * ox - oy * oy - oz * oz))) / a
    if dy > 1e-9:
        t = (s.room[1, 1] - oy) / dy
        if t < sky:
            return t, 0, 1
    return sky, 1, 3


@kernel
@no_type_check
def _sky_color(s, x, y, z, out):
    """Clouds over a gradient; rows 1 and 2 of the materials hold the sky and its haze."""
    up = max(-y / SKY, 0.0)
    share = min(up * 2.2, 1.0)
    cloud = step(fractal(s.noise, x * 0.05, z * 0.05 + y * 0.02, y * 0.1, 0.0) - 0.02, 0.35)
    for c in range(3):
        clear = s.materials[2, 6 + c] * (1 - share) + s.materials[1, 6 + c] * share
        out[c] = clear + (s.materials[1, 9 + c] - clear) * cloud * min(up * 5, 0.85)


@kernel
@no_type_check
def _light_at(s, x, y, z, nx, ny, nz, jx, jy):
    """How much of the lamp's or sun's light falls on a surface, shadows counted."""
    light = s.light
    if s.place == ROOM:
        lx, ly, lz = light[0] + jx - x, light[1] - y, light[2] + jy - z
    else:
        lx, ly, lz = light[0] * SKY + 2 * jx, light[1] * SKY, light[2] * SKY + 2 * jy
    distance = math.sqrt(lx * lx + ly * ly + lz * lz)
    cosine = (nx * lx + ny * ly + nz * lz) / distance
    if cosine <= 0:
        return 0.0
    # 4 mm off the surface, or rounding would let it shade itself.
    if _in_shadow(s, x + nx * 4e-3, y + ny * 4e-3, z + nz * 4e-3, lx, ly, lz):
        return 0.0
    return cosine * (1.0 if s.place == GROUND else 1.3 / (1 + 0.035 * distance * distance))


@kernel
@no_type_check
def _color(s, part, row, axis, t, ox, oy, oz, dx, dy, dz, pixel, jx, jy, out):
    """Fill `out` with the color that a ray brings back from distance `t`."""
    x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
    if part < 0 and s.place == GROUND and row == 1:
        _sky_color(s, x, y, z, out)
        return
    if part < 0:
        px, py, pz, face = x, y, z, axis
        nx, ny, nz = 0.0, 0.0, 0.0
        inward = 1.0 if s.place == ROOM and row % 2 == 0 else -1.0
        if axis == 0:
            nx = inward
        elif axis == 1:
            ny = inward
        else:
            nz = inward
    else:
        row, m = s.owners[part], s.to_unit[part]
        ux = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
        uy = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
        uz = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        gx, gy, gz, face = ux, uy, uz, axis
        if axis < 3:  # a flat face
            gx, gy = ux if axis == 0 else 0, uy if axis == 1 else 0
            gz = uz if axis == 2 else 0
        elif s.kinds[part] == 2:
            gy = 0.0
        if axis == 3:
            a, b, c = abs(ux), abs(uy), abs(uz)
            face = 0 if a > b and a > c else (1 if b > c and s.kinds[part] == 1 else 2)
        nx = m[0, 0] * gx + m[1, 0] * gy + m[2, 0] * gz
        ny = m[0, 1] * gx + m[1, 1] * gy + m[2, 1] * gz
        nz = m[0, 2] * gx + m[1, 2] * gy + m[2, 2] * gz
        norm = 1 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
        nx, ny, nz = nx * norm, ny * norm, nz * norm
        px, py, pz = ux * s.sizes[part, 0], uy * s.sizes[part, 1], uz * s.sizes[part, 2]
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    facing = abs(nx * dx + ny * dy + nz * dz) / length
    # A pixel seen at a slant covers more; the bound keeps grazing views from turning into one tone.
    albedo(s.materials[row], px, py, pz, face, t * pixel / max(facing, 0.15), s.noise, out)
    ambient = s.light[6] * (0.8 - 0.2 * ny)
    lit = _light_at(s, x, y, z, nx, ny, nz, jx, jy) * (1 - s.light[6]) * 1.5
    # A third of what is 64 m away is haze, in the color that the sky has at the horizon.
    haze = 0.0 if s.place == ROOM else 1 - math.exp(-length * t / 160)
    for c in range(3):
        value = out[c] * (ambient + lit * s.light[3 + c])
        out[c] = min(value + (s.materials[2, 6 + c] - value) * haze, 1.0)


@kernel
@no_type_check
def cast(s, origin, to_world, fx, fy, cx, cy, samples, frame, depth):
    """Fill `frame` (`3 H W`, mean of samples x samples rays) and `depth` (`H W`, pixel centers)."""
    height, width = depth.shape
    color, out = np.zeros(3), np.zeros(3)
    parts = np.zeros(s.kinds.shape[0], np.int64)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            bottom, right = min(top + TILE, height), min(left + TILE, width)
            count = _parts_in_tile(
                s, origin, to_world,
                (left - cx) / fx, (right - cx) / fx, (top - cy) / fy, (bottom - cy) / fy, parts,
            )  # fmt: skip
            for i in range(top, bottom):
                for j in range(left, right):
                    depth[i, j] = _pixel(
                        s, parts, count, origin, to_world, fx, fy, j - cx, i - cy, samples, color,
                        out,
                    )  # fmt: skip
                    for c in range(3):
                        frame[c, i, j] = out[c]


@kernel
@no_type_check
def _pixel(s, parts, count, origin, to_world, fx, fy, x, y, samples, color, out):
    """Fill `out` with a pixel's mean color; returns the depth at its center."""
    ox, oy, oz = origin[0], origin[1], origin[2]
    pixel = 1 / (fx * samples)
    out[0], out[1], out[2] = 0.0, 0.0, 0.0
    depth = 0.0
    # The last ray goes through the center and tells the depth; a single one tells color, too.
    rays = samples * samples + (0 if samples == 1 else 1)
    for k in range(rays):
        a, b = (k % samples + 0.5) / samples, (k // samples + 0.5) / samples
        if k == rays - 1:
            a, b = 0.5, 0.5
        u, v = (x + a) / fx, (y + b) / fy
        dx = to_world[0, 0] * u + to_world[0, 1] * v + to_world[0, 2]
        dy = to_world[1, 0] * u + to_world[1, 1] * v + to_world[1, 2]
        dz = to_world[2, 0] * u + to_world[2, 1] * v + to_world[2, 2]
        t, row, axis = _surroundings(s, ox, oy, oz, dx, dy, dz)
        part, near, face = _nearest(s, parts, count, ox, oy, oz, dx, dy, dz, t)
        if part >= 0:
            t, axis = near, face
        if k == rays - 1:
            depth = t
        if k < samples * samples:
            # Each ray sees the lamp elsewhere, within 0.5 m, which softens the shadows.
            jx, jy = (a - 0.5) * 0.5, (b - 0.5) * 0.5
            _color(s, part, row, axis, t, ox, oy, oz, dx, dy, dz, pixel, jx, jy, color)
            for c in range(3):
                out[c] += color[c] / (samples * samples)
    return depth
