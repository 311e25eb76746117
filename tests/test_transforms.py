"""Rigid motion: group axioms, inverses and values worked out by hand."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trajectorycrafter.geometry.cameras import (
    look_at,
    rigid,
    rigid_inverse,
    rotation_x,
    rotation_y,
    rotation_z,
    transform_points,
)

# float64 throughout: products of a few unit-size numbers, so rounding stays far below this.
exact = partial(torch.testing.assert_close, rtol=0, atol=1e-10)

angles = st.floats(-360, 360)
coordinates = st.floats(-10, 10)


motions = st.tuples(angles, angles, angles, coordinates, coordinates, coordinates)


def transform(motion: tuple[float, ...]) -> torch.Tensor:
    x, y, z = torch.tensor(motion[:3], dtype=torch.float64)[:, None]
    shift = torch.tensor([motion[3:]], dtype=torch.float64)
    return rigid(rotation_z(z) @ rotation_y(y) @ rotation_x(x), shift)


@given(motions)
def test_inverse_undoes_from_both_sides(motion: tuple[float, ...]) -> None:
    a = transform(motion)
    identity = torch.eye(4, dtype=torch.float64)[None]
    exact(a @ rigid_inverse(a), identity)
    exact(rigid_inverse(a) @ a, identity)
    exact(rigid_inverse(rigid_inverse(a)), a)


@given(motions, motions)
def test_inverse_of_a_product_is_the_product_of_inverses_reversed(first: Any, second: Any) -> None:
    a, b = transform(first), transform(second)
    torch.testing.assert_close(
        rigid_inverse(a @ b), rigid_inverse(b) @ rigid_inverse(a), rtol=0, atol=1e-9
    )


@given(motions, motions, st.lists(coordinates, min_size=3, max_size=3))
def test_points_compose_like_matrices(first: Any, second: Any, point: list[float]) -> None:
    a, b = transform(first), transform(second)
    points = torch.tensor([[point]], dtype=torch.float64)
    one_by_one = transform_points(a, transform_points(b, points))
    torch.testing.assert_close(transform_points(a @ b, points), one_by_one, rtol=0, atol=1e-9)


@given(angles, angles, st.sampled_from([rotation_x, rotation_y, rotation_z]))
def test_rotations_about_one_axis_add_up(
    first: Any, second: Any, rotation: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    a, b = torch.tensor(first).double(), torch.tensor(second).double()
    exact(rotation(a) @ rotation(b), rotation(a + b))
    assert torch.linalg.det(rotation(a)).item() == pytest.approx(1, abs=1e-12)


def test_quarter_turns_by_hand() -> None:
    quarter = torch.tensor(90.0, dtype=torch.float64)
    x, y, z = torch.eye(3, dtype=torch.float64)
    exact(rotation_x(quarter) @ y, z)
    exact(rotation_y(quarter) @ z, x)
    exact(rotation_z(quarter) @ x, y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_batch_shape_and_dtype_are_kept(batch: tuple[int, ...], dtype: torch.dtype) -> None:
    angle = torch.full(batch, 30.0, dtype=dtype)
    matrix = rigid(rotation_y(angle), torch.ones(*batch, 3, dtype=dtype))
    assert matrix.shape == (*batch, 4, 4) and matrix.dtype == dtype
    moved = transform_points(matrix, torch.zeros(*batch, 5, 3, dtype=dtype))
    assert moved.shape == (*batch, 5, 3)
    assert (moved == 1).all()


@given(st.tuples(coordinates, coordinates, st.floats(1, 10)))
@settings(max_examples=50)
def test_look_at_sees_its_target_in_the_middle(target: Any) -> None:
    eye = torch.zeros(1, 3, dtype=torch.float64)
    target = torch.tensor([target], dtype=torch.float64)
    matrix = look_at(eye, target)
    seen = transform_points(matrix, target[:, None])[0, 0]
    expected = torch.tensor([0, 0, float(target.norm())], dtype=torch.float64)
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-9)
    assert torch.linalg.det(matrix[0, :3, :3]).item() == pytest.approx(1)


def test_look_at_by_hand() -> None:
    """From 2 to the right, looking at the origin: forward is -x, the picture's right is +z."""
    matrix = look_at(torch.tensor([[2.0, 0, 0]]), torch.zeros(1, 3))
    expected = torch.tensor([[[0.0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 2], [0, 0, 0, 1]]])
    torch.testing.assert_close(matrix, expected)


@pytest.mark.parametrize("target", [[0.0, 0, 0], [0.0, -3, 0]])
def test_look_at_refuses_views_without_a_direction(target: Any) -> None:
    with pytest.raises(ValueError, match="apart from its target and a view not along"):
        look_at(torch.zeros(1, 3), torch.tensor([target]))


def test_half_turn_is_exact_enough_in_float32() -> None:
    half = rotation_y(torch.tensor(180.0))
    torch.testing.assert_close(half, torch.diag(torch.tensor([-1.0, 1, -1])), atol=1e-6, rtol=0)
    assert math.isclose(float(half[0, 0]), -1, abs_tol=1e-7)
