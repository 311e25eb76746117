"""Measure the embedded depth on real stereo pairs and draw depth of clips.

Needs the `scikit-image==0.17.2` wheel (Motorcycle, Middlebury 2014), Debian `opencv-doc` (Aloe,
Middlebury 2006) and the `stereodemo==0.7` wheel (12 gray OAK-D pairs, no truth: semi-global
matching is the reference), unpacked below SOURCES as for `render_views.py`.
`python evaluate.py SOURCES --clip clip.mp4 --sheet sheet.png`

The one thing a reader would get wrong: scale and shift are fitted to the truth before the error is
taken, so a row ramp (lower is nearer) is the figure to beat, not zero.
"""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pictures import read
from scipy.stats import spearmanr
from stereo import semi_global

from trajectorycrafter.depth.embedded import EmbeddedDepth, joint_upsample, sharpen_steps
from trajectorycrafter.depth.temporal import align_over_time, flicker
from trajectorycrafter.video.clip import Video


def pairs(sources: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pictures with true disparity, NaN where it is unknown."""
    data = next(sources.glob("whl/scikit_image-0.17.2*/skimage/data"))
    motorcycle = read(data / "motorcycle_left.png")[:, :, ::-1]
    truth = np.load(data / "motorcycle_disp.npz")["arr_0"].astype(np.float32)
    docs = sources / "deb/usr/share/doc/opencv-doc/examples/data"
    aloe = read(docs / "aloeL.jpg")[:, :, ::-1]
    aloe_truth = read(docs / "aloeGT.png", cv2.IMREAD_GRAYSCALE).astype(np.float32)
    return {
        "motorcycle": (motorcycle, np.where(np.isfinite(truth) & (truth > 0), truth, np.nan)),
        "aloe": (aloe, np.where(aloe_truth > 0, aloe_truth, np.nan)),
    }


def oak_pairs(sources: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The left pictures of stereodemo's OAK-D pairs with matched disparity, NaN where unsure."""
    folder = next(sources.glob("whl/stereodemo*/stereodemo/datasets/oak-d"))
    out = {}
    for path in sorted(folder.glob("*_left.png")):
        left = read(path, cv2.IMREAD_GRAYSCALE)
        right = read(Path(str(path).replace("_left", "_right")), cv2.IMREAD_GRAYSCALE)
        # Without what rectification filled, by the package's own calibration file.
        rows = slice(round(0.0417 * left.shape[0]), None)
        columns = slice(round(0.9547 * left.shape[1]))
        rgb, disparity = np.repeat(left[:, :, None], 3, axis=2), semi_global(left, right)
        out[path.stem.removesuffix("_left")] = rgb[rows, columns], disparity[rows, columns]
    return out


def figures(predicted: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Spearman correlation and AbsRel of disparity after a least-squares scale and shift."""
    known = np.isfinite(truth)
    p, t = predicted[known].astype(np.float64), truth[known].astype(np.float64)
    scale, shift = np.polyfit(p, t, 1)
    ranks: Any = spearmanr(p, t)
    return float(ranks.statistic), float(np.mean(np.abs(scale * p + shift - t) / t))


def as_video(image: np.ndarray) -> Video:
    return Video(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255, 1.0)


def fine_disparity(estimator: EmbeddedDepth, video: Video) -> torch.Tensor:
    coarse = align_over_time(estimator.disparity(video), video).clamp_min(0)
    return joint_upsample(sharpen_steps(coarse), video.frames)


def colored(disparity: np.ndarray) -> np.ndarray:
    share = (disparity / max(np.percentile(disparity, 99), 1e-9)).clip(0, 1)
    return cv2.applyColorMap((share**0.6 * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)


def read_clip(path: Path, count: int, stride: int, short_side: int = 320) -> Video:
    capture, frames = cv2.VideoCapture(str(path)), []
    index = 0
    while len(frames) < count:
        ok, frame = capture.read()
        if not ok:
            break
        if index % stride == 0:
            scale = short_side / min(frame.shape[:2])
            small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            frames.append(small[:, :, ::-1])
        index += 1
    pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255
    return Video(pixels.contiguous(), 25.0)


def row(picture: torch.Tensor, disparity: torch.Tensor, height: int = 240) -> np.ndarray:
    rgb = (picture.permute(1, 2, 0).numpy()[:, :, ::-1] * 255).astype(np.uint8)
    both = np.hstack([rgb, colored(disparity[0].numpy())])
    return cv2.resize(both, (round(both.shape[1] * height / both.shape[0]), height))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--clip", type=Path, action="append", default=[])
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    estimator = EmbeddedDepth(weights=args.weights)
    rows = []
    wins, ranks = 0, []
    measured, oak = pairs(args.sources), oak_pairs(args.sources)
    for name, (image, truth) in {**measured, **oak}.items():
        video = as_video(image)
        disparity = fine_disparity(estimator, video)
        ramp = np.broadcast_to(np.arange(truth.shape[0])[:, None], truth.shape)
        own, baseline = figures(disparity[0, 0].numpy(), truth), figures(ramp, truth)
        told = "{}: Spearman {:.3f}, AbsRel {:.3f}; row ramp {:.3f}, {:.3f}"
        print(told.format(name, *own, *baseline))
        if name in oak:
            wins, ranks = wins + (own[1] < baseline[1]), [*ranks, own[0]]
        rows.append(row(video.frames[0], disparity[0]))
    print(
        f"OAK-D: lower AbsRel than the ramp in {wins} of {len(oak)}, "
        f"median Spearman {np.median(ranks):.3f}"
    )
    for path in args.clip:
        video = read_clip(path, args.frames, args.stride)
        single = estimator.disparity(video)
        aligned = align_over_time(single, video)
        print(f"{path.name}: flicker {flicker(single, video):.4f} -> {flicker(aligned, video):.4f}")
        disparity = fine_disparity(estimator, video)
        rows += [row(video.frames[i], disparity[i]) for i in (0, len(video) - 1)]
    if args.sheet:
        wide = max(r.shape[1] for r in rows)
        rows = [np.pad(r, ((0, 4), (0, wide - r.shape[1]), (0, 0))) for r in rows]
        half = (len(rows) + 1) // 2
        rows += [np.zeros_like(rows[0])] * (2 * half - len(rows))
        cv2.imwrite(str(args.sheet), np.hstack([np.vstack(rows[:half]), np.vstack(rows[half:])]))


if __name__ == "__main__":
    main()
