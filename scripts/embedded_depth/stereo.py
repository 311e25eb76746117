"""Real pictures with disparity from sensors, to measure training on.

`python stereo.py SOURCES OUT` writes `stereo_held_out.npz` from the 13 chessboard pairs of Debian
`opencv-doc`, which are calibrated by their boards and rectified, and `castle_held_out.npz` from
frames of a depth camera before a toy castle, Debian `visp-images-data`.

The one thing a reader would get wrong: these are references, not the truth; what was not matched
or seen with certainty is NaN.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

BOARD = (9, 6)
"""Inner corners of the chessboard."""


def semi_global(left: np.ndarray, right: np.ndarray, most: int = 128) -> np.ndarray:
    """Disparity in pixels of a rectified grey pair (Hirschmueller 2008), NaN where unsure."""
    block = 5
    matcher = cv2.StereoSGBM_create(
        minDisparity=0, numDisparities=most, blockSize=block, P1=8 * block**2, P2=32 * block**2,
        disp12MaxDiff=1, uniquenessRatio=10, speckleWindowSize=150, speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_HH,
    )  # fmt: skip
    found = matcher.compute(left, right).astype(np.float32) / 16
    return np.where(found > 0.5, found, np.nan)


def chessboard_pairs(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rectified grey pairs of opencv-doc's samples."""
    pairs, corners = [], []
    for path in sorted(folder.glob("left[0-9][0-9].jpg")):
        both = [
            cv2.imread(str(path.with_name(path.name.replace("left", side))), 0)
            for side in ("left", "right")
        ]
        found = [cv2.findChessboardCorners(image, BOARD) for image in both]
        if all(ok for ok, _ in found):
            end = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 0.01)
            corners.append(
                [
                    cv2.cornerSubPix(image, c, (5, 5), (-1, -1), end)
                    for image, (_, c) in zip(both, found, strict=True)
                ]
            )
        pairs.append(both)
    board = np.zeros((BOARD[0] * BOARD[1], 3), np.float32)
    board[:, :2] = np.mgrid[: BOARD[0], : BOARD[1]].T.reshape(-1, 2)
    boards, size = [board] * len(corners), pairs[0][0].shape[::-1]
    first, second = ([c[i] for c in corners] for i in (0, 1))
    _, K1, D1, _, _ = cv2.calibrateCamera(boards, first, size, None, None)
    _, K2, D2, _, _ = cv2.calibrateCamera(boards, second, size, None, None)
    error, K1, D1, K2, D2, R, T, _, _ = cv2.stereoCalibrate(
        boards, first, second, K1, D1, K2, D2, size, flags=cv2.CALIB_FIX_INTRINSIC
    )
    print(f"{len(corners)} boards, reprojection error {error:.2f} px")
    R1, R2, P1, P2, *_ = cv2.stereoRectify(K1, D1, K2, D2, size, R, T, alpha=0)
    maps = [
        cv2.initUndistortRectifyMap(K, D, turn, P, size, cv2.CV_32FC1)
        for K, D, turn, P in ((K1, D1, R1, P1), (K2, D2, R2, P2))
    ]
    return [tuple(cv2.remap(i, *m, cv2.INTER_LINEAR) for i, m in zip(both, maps, strict=True))
            for both in pairs]  # fmt: skip


def with_board(disparity: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Its squares fool the matcher: the board's disparity is the plane through its corners."""
    (ok, at), (seen, other) = (cv2.findChessboardCorners(image, BOARD) for image in (left, right))
    if not (ok and seen):
        return disparity
    at, other = at.reshape(-1, 2), other.reshape(-1, 2)
    shift = (at - other)[:, 0]
    plane = np.linalg.lstsq(np.c_[at, np.ones(len(at))], shift, rcond=None)[0]
    hull = cv2.convexHull(at).reshape(-1, 2)
    middle = hull.mean(0)
    inside = cv2.fillConvexPoly(
        np.zeros(left.shape, np.uint8), (middle + 1.25 * (hull - middle)).astype(np.int32), 1
    )
    y, x = np.mgrid[: left.shape[0], : left.shape[1]]
    return np.where(inside > 0, plane[0] * x + plane[1] * y + plane[2], disparity)


def castle_frames(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every fourth grey picture of the castle and its disparity (1/metre) in the same pixels.

    The calibration is the one in the folder's `chateau.xml`, `chateau_depth.xml` and
    `depth_M_color.txt`; the unit of 1/8 mm makes the edges of both cameras meet.
    """
    color = np.array([[615.167, 0, 312.189], [0, 615.168, 243.437], [0, 0, 1]])
    depth_K = np.array([[476.0536, 0, 311.4846], [0, 476.0535, 246.2832], [0, 0, 1]])
    to_color = np.linalg.inv(np.loadtxt(folder / "depth_M_color.txt"))
    out = []
    for path in sorted((folder / "castel").glob("image_*.pgm"))[::4]:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        stored = path.with_name(path.name.replace("image", "depth_image")).with_suffix(".bin")
        # Eight bytes give the size.
        z = np.fromfile(stored, np.uint16, offset=8).reshape(grey.shape) * 0.000125
        y, x = np.nonzero((z > 0.1) & (z < 1.9))
        points = np.linalg.inv(depth_K) @ np.stack([x, y, np.ones_like(x)]) * z[y, x]
        points = to_color[:3, :3] @ points + to_color[:3, 3:]
        u, v, _ = np.rint(color @ points / points[2]).astype(int)
        seen = (u >= 0) & (u < grey.shape[1]) & (v >= 0) & (v < grey.shape[0])
        disparity = np.zeros(grey.shape, np.float32)
        np.maximum.at(disparity, (v[seen], u[seen]), 1 / points[2][seen])
        # The depth camera's pixels are coarser: close the gaps between them.
        disparity = cv2.morphologyEx(disparity, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        out.append((grey, np.where(disparity > 0, disparity, np.nan)))
    return out


def store(path: Path, greys: list[np.ndarray], disparities: list[np.ndarray]) -> None:
    rgb = np.stack([np.repeat(grey[:, :, None], 3, axis=2) for grey in greys])
    np.savez(path, rgb=rgb, disparity=np.stack(disparities).astype(np.float16))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    pairs = chessboard_pairs(args.sources / "deb/usr/share/doc/opencv-doc/examples/data")
    matched = [with_board(semi_global(*p, most=192), *p) for p in pairs]
    store(args.out / "stereo_held_out.npz", [left for left, _ in pairs], matched)
    images = args.sources / "deb/usr/share/visp-images-data/ViSP-images"
    greys, disparities = zip(*castle_frames(images / "mbt-depth/castel"), strict=True)
    store(args.out / "castle_held_out.npz", list(greys), list(disparities))


if __name__ == "__main__":
    main()
