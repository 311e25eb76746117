"""The released splat, one point and one corner at a time."""

import math

import numpy as np

ONE = np.float32(1)


def slow_splat_released(
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    colors: np.ndarray,
    valid: np.ndarray,
    height: int,
    width: int,
):
    """Frame `3 H W`, depth `H W` and visibility `H W` from float32 arrays, pixel centres whole."""
    total = np.zeros((height + 2, width + 2, 4), np.float32)
    weights = np.zeros((height + 2, width + 2), np.float32)
    log_depth = np.log1p(np.clip(z, 0, 1000))
    for i in range(len(z)):
        if not valid[i]:
            continue
        px, py = np.clip(x[i] + ONE, 0, width + 1), np.clip(y[i] + ONE, 0, height + 1)
        near = np.exp(-50 * log_depth[i] / log_depth.max())
        for row in (math.floor(py), math.ceil(py)):
            for column in (math.floor(px), math.ceil(px)):
                weight = (ONE - abs(px - column)) * (ONE - abs(py - row)) * near
                total[row, column] += weight * np.append(colors[i], z[i])
                weights[row, column] += weight
    total, weights = total[1:-1, 1:-1], weights[1:-1, 1:-1]
    visible = weights > 0
    mean = np.where(visible[..., None], total / np.where(visible, weights, 1)[..., None], 0)
    return mean[..., :3].clip(0, 1).transpose(2, 0, 1), mean[..., 3], visible
