"""Where every part of a scene is at given moments.

All moments are posed at once, along the first axis, since a matrix at a time would cost more than
casting the rays.
"""

import math

import numpy as np

from .things import Solid, Thing, ThingMotion


def thing_to_world(motion: ThingMotion, times: np.ndarray) -> np.ndarray:
    """`T 4 4` from the thing's own frame to the world."""
    wave = motion.rate * times + motion.phase
    bend = motion.bend_rate * times + motion.phase
    place = np.array(motion.place) + np.outer(times, motion.velocity)
    place += np.outer(np.sin(wave), motion.swing)
    place[:, 0] += motion.circle * np.cos(wave)
    place[:, 2] += motion.circle * np.sin(wave)
    place[:, 1] -= motion.bounce * np.abs(np.sin(bend))
    turn = motion.turn + motion.spin * times
    if motion.circle:
        # Forwards is z; the way along the circle is (-sin, cos) of the phase.
        turn = turn + np.where(motion.rate >= 0, 0, math.pi) - wave
    stretch = 1 + motion.squash * np.sin(2 * bend)
    lean = motion.sway * np.sin(bend)
    local = np.zeros((len(times), 4, 4))
    local[:, 0, 0] = local[:, 2, 2] = 1 / np.sqrt(stretch)
    local[:, 1, 1], local[:, 3, 3] = stretch, 1
    local[:, 0, 1] = -lean
    return _moved(place) @ _turned(np.array([0.0, 1.0, 0.0]), turn) @ local


def part_to_thing(part: Solid, times: np.ndarray) -> np.ndarray:
    """`T 4 4` from the unit part to its thing's frame."""
    rest = np.eye(4)
    for axis, angle in zip(np.eye(3), part.turn, strict=True):
        rest = _turned(axis, np.array([angle]))[0] @ rest
    rest = _moved(np.array([part.center]))[0] @ rest @ np.diag([*part.half_size, 1.0])
    matrix = np.broadcast_to(rest, (len(times), 4, 4))
    for hinge in part.hinges:
        angle = hinge.bias + hinge.spin * times
        angle = angle + hinge.swing * np.sin(hinge.rate * times + hinge.phase)
        pivot = np.array([hinge.pivot])
        turn = _moved(pivot) @ _turned(np.array(hinge.axis), angle) @ _moved(-pivot)
        matrix = turn @ matrix
    return matrix


def pose(things: tuple[Thing, ...], times: np.ndarray) -> np.ndarray:
    """`T P 4 4` from unit parts to the world, parts in their order."""
    posed = []
    for thing in things:
        to_world = thing_to_world(thing.motion, times)
        posed += [to_world @ part_to_thing(part, times) for part in thing.parts]
    return np.stack(posed, axis=1) if posed else np.zeros((len(times), 0, 4, 4))


def balls_around(matrices: np.ndarray, ranges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Balls around every part and thing: `T P 4` and `T O 4`, middle and radius."""
    radius = np.sqrt((matrices[..., :3, :3] ** 2).sum((-1, -2)))
    parts = np.concatenate([matrices[..., :3, 3], radius[..., None]], axis=-1)
    things = np.zeros((len(parts), len(ranges), 4))
    for i, (first, last) in enumerate(ranges):
        own = parts[:, first:last]
        middle = own[..., :3].mean(axis=1)
        reach = np.linalg.norm(own[..., :3] - middle[:, None], axis=-1) + own[..., 3]
        things[:, i, :3], things[:, i, 3] = middle, reach.max(axis=1)
    return parts, things


def _moved(shift: np.ndarray) -> np.ndarray:
    matrix = np.tile(np.eye(4), (len(shift), 1, 1))
    matrix[:, :3, 3] = shift
    return matrix


def _turned(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """`T 4 4` rotations about a line through the origin (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    s, c = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    matrix = np.tile(np.eye(4), (len(angle), 1, 1))
    matrix[:, :3, :3] = np.eye(3) + s * cross + (1 - c) * (cross @ cross)
    return matrix
