"""Vista4D: an npz archive of camera_to_world matrices and intrinsics.

The archive has no picture size: as in its own tools, the principal point is taken for the center.
"""

import io
from pathlib import Path

import numpy as np

from ..cameras import Cameras
from .checks import finite_numbers, wrong
from .recorded import Recorded, camera_to_world_of


def read(path: Path) -> Recorded:
    """The cameras of an archive."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: expected an npz archive of plain numbers; {error}.") from error
    for name in ("cam_c2w", "intrinsics"):
        if name not in arrays:
            raise wrong(f"{path}: {name}", "an array of that name", f"arrays {sorted(arrays)}")
    matrices = finite_numbers(arrays["cam_c2w"], (-1, 4, 4), f"{path}: cam_c2w")
    numbers = finite_numbers(arrays["intrinsics"], (len(matrices), 4), f"{path}: intrinsics")
    K = np.tile(np.eye(3), (len(matrices), 1, 1))
    K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2] = numbers.T
    size = round(2 * float(numbers[:, 3].mean())), round(2 * float(numbers[:, 2].mean()))
    return Recorded(matrices, K, size)


def encode(cameras: Cameras) -> bytes:
    """An archive, float32."""
    K = cameras.K.numpy()
    numbers = np.stack([K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]], axis=-1)
    matrices = camera_to_world_of(cameras).astype(np.float32)
    archive = io.BytesIO()
    np.savez(archive, cam_c2w=matrices, intrinsics=numbers)
    return archive.getvalue()
