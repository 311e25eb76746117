"""Cameras without their tremble: what a stabilized source camera follows.

The one thing a reader would get wrong: the first camera is smoothed as well, so a stabilized path
need not begin where the source began.
"""

import math

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from .cameras import Cameras, rigid, rigid_inverse


def smoothed(cameras: Cameras, sigma: float) -> Cameras:
    """Centres and rotations averaged over time by a Gaussian; lenses are kept.

    Near the ends the weights of missing frames are given to those that are there.

    Args:
        sigma: frames; 0 changes nothing, infinity gives the mean camera in every frame.

    Raises:
        ValueError: sigma < 0 or not a number.
    """
    if math.isnan(sigma) or sigma < 0:
        raise ValueError(f"Smoothing needs a width of at least 0 frames; got {sigma}.")
    if sigma == 0 or len(cameras) == 1:
        return cameras
    to_world = rigid_inverse(cameras.world_to_camera.double().cpu())
    frames = np.arange(len(cameras))
    weights = np.exp(-0.5 * ((frames[:, None] - frames) / sigma) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    turns = Rotation.from_matrix(to_world[:, :3, :3].numpy())
    rotation = np.stack([turns.mean(weights=w).as_matrix() for w in weights])
    centres = weights @ to_world[:, :3, 3].numpy()
    placed = rigid(torch.from_numpy(rotation), torch.from_numpy(centres))
    world_to_camera = rigid_inverse(placed).to(cameras.world_to_camera)
    return Cameras(world_to_camera, cameras.K, cameras.height, cameras.width)
