"""Real pictures with disparity from sensors, to measure training on.

`python stereo.py SOURCES OUT` writes `stereo_held_out.npz` from the 13 chessboard pairs of Debian
`opencv-doc`, which are calibrated by their boards and rectified, and `castle_held_out.npz` from
frames of a depth camera before a toy castle, Debian `visp-images-data`.

The one thing a reader would get wrong: these are references, not the truth; what was not matched
or seen with certainty is NaN.
"""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pictures import read, store

BOARD = (9, 6)
"""Inner corners of the chessboard."""


def semi_global(left: np.ndarray, right: np.ndarray, most: int = 128) -> np.ndarray:
    """Disparity in pixels of a rectified gray pair (Hirschmueller 2008), NaN where unsure."""
    block = 5
    matcher = cv2.StereoSGBM.create(
        minDisparity=0, numDisparities=most, blockSize=block, P1=8 * block**2, P2=32 * block**2,
        disp12MaxDiff=1, uniquenessRatio=10, speckleWindowSize=150, speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_HH,
    )  # fmt: skip
    found = matcher.compute(left, right).astype(np.float32) / 16
    return np.where(found > 0.5, found, np.nan)


def chessboard_pairs(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rectified gray pairs of opencv-doc's samples."""
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    corners: list[list[np.ndarray]] = []
    for path in sorted(folder.glob("left[0-9][0-9].jpg")):
        left = read(path, cv2.IMREAD_GRAYSCALE)
        right = read(path.with_name(path.name.replace("left", "right")), cv2.IMREAD_GRAYSCALE)
        both = (left, right)
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
    boards, (height, width) = [board] * len(corners), pairs[0][0].shape
    size = (width, height)
    first, second = ([c[i] for c in corners] for i in (0, 1))
    # OpenCV's types do not know that it guesses what is None.
    guess: Any = None
    (k1, d1), (k2, d2) = (
        cv2.calibrateCamera(boards, seen, size, guess, guess)[1:3] for seen in (first, second)
    )
    error, k1, d1, k2, d2, R, T, _, _ = cv2.stereoCalibrate(
        boards, first, second, k1, d1, k2, d2, size, flags=cv2.CALIB_FIX_INTRINSIC
    )
    print(f"{len(corners)} boards, reprojection error {error:.2f} px")
    R1, R2, P1, P2, *_ = cv2.stereoRectify(k1, d1, k2, d2, size, R, T, alpha=0)
    x1, y1 = cv2.initUndistortRectifyMap(k1, d1, R1, P1, size, cv2.CV_32FC1)
    x2, y2 = cv2.initUndistortRectifyMap(k2, d2, R2, P2, size, cv2.CV_32FC1)
    return [
        (cv2.remap(left, x1, y1, cv2.INTER_LINEAR), cv2.remap(right, x2, y2, cv2.INTER_LINEAR))
        for left, right in pairs
    ]


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
    """Every fourth gray picture of the castle and its disparity (1/meter) in the same pixels.

    The calibration is the one in the folder's `chateau.xml`, `chateau_depth.xml` and
    `depth_M_color.txt`; the unit of 1/8 mm makes the edges of both cameras meet.
    """
    color = np.array([[615.167, 0, 312.189], [0, 615.168, 243.437], [0, 0, 1]])
    depth_K = np.array([[476.0536, 0, 311.4846], [0, 476.0535, 246.2832], [0, 0, 1]])
    to_color = np.linalg.inv(np.loadtxt(folder / "depth_M_color.txt"))
    out = []
    for path in sorted((folder / "castel").glob("image_*.pgm"))[::4]:
        gray = read(path, cv2.IMREAD_GRAYSCALE)
        stored = path.with_name(path.name.replace("image", "depth_image")).with_suffix(".bin")
        # Eight bytes give the size.
        z = np.fromfile(stored, np.uint16, offset=8).reshape(gray.shape) * 0.000125
        y, x = np.nonzero((z > 0.1) & (z < 1.9))
        points = np.linalg.inv(depth_K) @ np.stack([x, y, np.ones_like(x)]) * z[y, x]
        points = to_color[:3, :3] @ points + to_color[:3, 3:]
        u, v, _ = np.rint(color @ points / points[2]).astype(int)
        seen = (u >= 0) & (u < gray.shape[1]) & (v >= 0) & (v < gray.shape[0])
        disparity = np.zeros(gray.shape, np.float32)
        np.maximum.at(disparity, (v[seen], u[seen]), 1 / points[2][seen])
        # The depth camera's pixels are coarser: close the gaps between them.
        disparity = cv2.morphologyEx(disparity, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        out.append((gray, np.where(disparity > 0, disparity, np.nan)))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    pairs = chessboard_pairs(args.sources / "deb/usr/share/doc/opencv-doc/examples/data")
    boards = [(left, with_board(semi_global(left, right, most=192), left, right))
              for left, right in pairs]  # fmt: skip
    images = args.sources / "deb/usr/share/visp-images-data/ViSP-images"
    castle = castle_frames(images / "mbt-depth/castel")
    for name, views in (("stereo", boards), ("castle", castle)):
        rgb = [np.repeat(gray[:, :, None], 3, axis=2) for gray, _ in views]
        disparity = [found.astype(np.float16) for _, found in views]
        store(args.out / f"{name}_held_out.npz", rgb, disparity)


if __name__ == "__main__":
    main()
