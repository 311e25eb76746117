"""Training views with real looks: disparity of video frames out of the camera's own motion.

Needs the ComfyUI template packages (`comfyui-workflow-templates-media-*`) unpacked below SOURCES.
`python parallax_views.py SOURCES OUT` writes a shard per clip, `parallax_train_00001.npz`, with
`rgb` (n, H, W, 3 uint8) and `disparity` (n, H / 2, W / 2 float16, NaN where unknown); every eighth
clip is only measured on, `parallax_held_00000.npz`.

Two frames of a moving camera are a stereo pair (Wang et al. 2019, "Web Stereo Video Supervision"):
optical flow gives the matches, five points the motion, triangulation the disparity. What moves by
itself leaves the epipolar lines, or differs between the pair before and the pair after, and is
left unknown.

The one thing a reader would get wrong: the focal length is guessed, so disparity is right up to
scale and, roughly, shift; where zero lies is not known.
"""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pictures import store
from scipy.stats import spearmanr

FOCAL = (0.8, 1.3)
"""Guesses in frame widths; the one with more inliers is taken."""
PAIRS = (10, -10, 6, -6, 4, -4, 2, -2)
"""How many frames off the second of a pair lies; the first two that work are compared."""
KEY_EVERY = 4


def read_frames(path: Path, side: int = 350) -> list[np.ndarray]:
    """RGB frames of an animated picture, the short side as given."""
    ok, animation = cv2.imreadanimation(str(path))
    if not ok:
        return []
    frames = []
    for frame in animation.frames:
        scale = side / min(frame.shape[:2])
        size = [2 * round(n * scale / 2) for n in frame.shape[1::-1]]
        frames.append(cv2.resize(frame[:, :, 2::-1], size, interpolation=cv2.INTER_AREA))
    return frames


def matches(flow: Any, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of a (gray) lies in b, (H, W, 2), and whether the way back agrees."""
    there, back = flow.calc(a, b, None), flow.calc(b, a, None)
    grid = np.stack(np.meshgrid(*map(np.arange, a.shape[::-1])), -1).astype(np.float32)
    at = grid + there
    returned = cv2.remap(back, at[..., 0], at[..., 1], cv2.INTER_LINEAR)
    inside = ((at >= 1) & (at <= np.array(a.shape[::-1]) - 2)).all(-1)
    return at, inside & (np.linalg.norm(there + returned, axis=-1) < 1.0)


def pair_disparity(at: np.ndarray, sure: np.ndarray) -> np.ndarray | None:
    """Disparity of the first frame from matches, NaN where unknown; None if it fails."""
    h, w = sure.shape
    grid = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).astype(np.float64)
    picked = np.flatnonzero(sure.ravel())
    if len(picked) < 0.4 * h * w:
        return None
    picked = np.random.default_rng(0).choice(picked, 300, replace=False)
    p, q = grid.reshape(-1, 2)[picked], at.reshape(-1, 2)[picked].astype(np.float64)
    # A camera that stands still gives nothing, whatever moves before it.
    if np.median(np.linalg.norm(q - p, axis=1)) < 1:
        return None
    best = None
    for focal in FOCAL:
        lens = np.array([[focal * w, 0, w / 2 - 0.5], [0, focal * w, h / 2 - 0.5], [0, 0, 1]])
        found: Any = cv2.findEssentialMat(p, q, lens, cv2.RANSAC, 0.999, 0.8, 150)
        essential, inlier = found
        if essential is None or essential.shape != (3, 3):
            continue
        if best is None or inlier.sum() > best[2].sum():
            best = lens, essential, inlier
    if best is None or best[2].mean() < 0.5:
        return None
    K, essential, inlier = best
    _, R, t, _ = cv2.recoverPose(essential, p, q, K, mask=inlier.copy())
    rays = np.concatenate([grid, np.ones((h, w, 1))], -1) @ np.linalg.inv(K).T @ R.T
    u = (at - K[:2, 2]) / K[0, 0]
    # u (ray_z + t_z d) = ray_xy + t_xy d, two equations for d.
    a = u * t[2, 0] - t[:2, 0]
    b = rays[..., :2] - u * rays[..., 2:]
    length = np.linalg.norm(a, axis=-1) + 1e-9
    off_line = K[0, 0] * np.abs(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]) / length
    along = K[0, 0] * (a * b).sum(-1) / length  # parallax in pixels
    d = (a * b).sum(-1) / length**2
    valid = sure & (off_line < 0.8) & (d > 0) & (length > 0.25 * np.median(length))
    if valid.mean() < 0.35 or (d[sure] > 0).mean() < 0.9:
        return None
    spread = np.subtract(*np.percentile(along[valid], [90, 10]))
    if np.median(along[valid]) < 2 or spread < 2.5:
        return None
    return np.where(valid, d / np.median(d[valid]), np.nan).astype(np.float32)


def agreed(before: np.ndarray, after: np.ndarray) -> np.ndarray | None:
    """The mean of two disparities where they agree; None if they are of different minds."""
    both = np.isfinite(before) & np.isfinite(after)
    if both.mean() < 0.3:
        return None
    ranks: Any = spearmanr(before[both][::7], after[both][::7])
    if ranks.statistic < 0.8:
        return None
    after = after * np.median(before[both] / after[both])
    mean = (before + after) / 2
    mean[~(np.abs(before - after) < 0.2 * mean)] = np.nan
    return mean if np.isfinite(mean).mean() > 0.25 else None


def views_of(frames: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Key frames with disparity, of a clip without cuts."""
    gray = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in frames]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    out = []
    for key in range(2, len(frames) - 2, KEY_EVERY):
        sides = []
        for off in PAIRS:
            if len(sides) < 2 and 0 <= key + off < len(frames):
                found = pair_disparity(*matches(flow, gray[key], gray[key + off]))
                sides += [] if found is None else [found]
        if len(sides) == 2 and (disparity := agreed(*sides)) is not None:
            size = (disparity.shape[1] // 2, disparity.shape[0] // 2)
            half = cv2.resize(disparity, size, interpolation=cv2.INTER_NEAREST)
            out.append((frames[key], half.astype(np.float16)))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    kept = 0
    for path in sorted(args.sources.glob("whl/comfyui*/*/templates/*.webp")):
        frames = read_frames(path)
        if len(frames) < 20 or frames[0].shape[:2] != (350, 350):
            continue
        views = views_of(frames)
        if not views:
            continue
        use = "held" if kept % 8 == 0 else "train"
        store(args.out / f"parallax_{use}_{kept:05d}.npz", *zip(*views, strict=True))
        kept += 1
        print(f"{path.name}: {len(views)} of {len(frames)} frames, {kept} clips", flush=True)


if __name__ == "__main__":
    main()
