"""Reading and writing clips, against files of many kinds that are made here."""

import errno
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from trajectorycrafter.video import decoding, writing
from trajectorycrafter.video.clip import Video
from trajectorycrafter.video.reading import (
    DEMO_CLIP,
    FrameChoice,
    probe,
    read_video,
)
from trajectorycrafter.video.sound import Sound
from trajectorycrafter.video.timeline import IMAGE_FPS, Timeline
from trajectorycrafter.video.writing import write_video

ROOT = Path(__file__).parents[1]
BARS = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0)]


def encode(
    path: Path,
    frames: list[np.ndarray],
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: int | Fraction = 10,
    source: str = "rgb24",
    container: str | None = None,
    prepare: Callable[[av.VideoStream], None] | None = None,
    times: list[int] | None = None,
    **options: str,
) -> Path:
    """Encode arrays; `prepare` may set fields of the stream, `times` are in thousandths."""
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames[0].shape[:2]
        if source.startswith("yuv444p"):
            stream.height, stream.width = frames[0].shape[1:]
        stream.pix_fmt = pix_fmt
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if prepare is not None:
            prepare(stream)
        for index, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, format=source)
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def numbered(count: int, height: int = 48, width: int = 64, step: int = 4) -> list[np.ndarray]:
    """Grey frames, a bit brighter each, so that a frame tells its index."""
    return [np.full((height, width, 3), 20 + step * i, np.uint8) for i in range(count)]


def indices(video: Video, step: int = 4) -> list[int]:
    grey = video.frames.mean(dim=(1, 2, 3)) * 255
    return ((grey - 20) / step).round().int().tolist()


def corners(height: int = 48, width: int = 64) -> np.ndarray:
    """Red, green, blue and white quarters: every turn and mirroring looks different."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    image[: height // 2, width // 2 :] = (0, 255, 0)
    image[height // 2 :, : width // 2] = (0, 0, 255)
    image[height // 2 :, width // 2 :] = (255, 255, 255)
    return image


def quarters(frame: torch.Tensor) -> list[str]:
    """Colours of the quarters: top left, top right, bottom left, bottom right."""
    names = {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (1, 1, 1): "white"}
    _, height, width = frame.shape
    at = [(y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [names[tuple(frame[:, y, x].round().int().tolist())] for y, x in at]


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean()))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return encode(tmp_path / "clip.mp4", numbered(12))


# ------------------------------------------------------------------------- containers and codecs

KINDS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("a.mp4", "libx264", "yuv420p", {}),
    ("a.mkv", "ffv1", "yuv444p", {}),
    ("b.mkv", "libx265", "yuv420p10le", {"x265-params": "log-level=none"}),
    ("a.webm", "libvpx-vp9", "yuv420p", {"deadline": "realtime"}),
    ("a.avi", "mjpeg", "yuvj420p", {}),
    ("b.avi", "mpeg4", "yuv420p", {}),
    ("a.ts", "libx264", "yuv420p", {}),
    ("a.mov", "prores_ks", "yuv422p10le", {}),
    ("b.mov", "qtrle", "rgb24", {}),
    ("a.mpg", "mpeg2video", "yuv420p", {}),
    ("a.gif", "gif", "rgb8", {}),
    ("a.png", "apng", "rgb24", {}),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "options"), KINDS)
def test_reads_containers_and_codecs(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, options: dict[str, Any]
) -> None:
    """Every frame, in order, at its size and rate; colours as far as the codec keeps them."""
    container = "apng" if codec == "apng" else None
    rate = 25 if codec == "mpeg2video" else 10  # MPEG-2 knows few rates.
    path = encode(
        tmp_path / name, numbered(9, step=24), codec, pix_fmt, rate, container=container, **options
    )
    video = Video.read(path)
    assert video.frames.shape == (9, 3, 48, 64)
    assert video.frames.dtype == torch.float32
    assert indices(video, step=24) == list(range(9))
    assert video.fps == pytest.approx(rate)
    info = probe(path)
    assert (info.frames, info.height, info.width) == (9, 48, 64)
    assert info.fps == pytest.approx(rate)
    assert info.seconds == pytest.approx(9 / rate)


def test_ten_bits_keep_their_steps(tmp_path: Path) -> None:
    """A ramp of 1024 levels comes back as 1024 values: error below half a step of 10 bits."""
    ramp = np.broadcast_to(np.arange(1024, dtype=np.uint16), (16, 1024)) << 6
    frame = np.repeat(ramp[..., None], 3, axis=2)
    path = encode(tmp_path / "deep.mkv", [frame], "ffv1", "gbrp10le", source="rgb48le")
    row = Video.read(path).frames[0, 0, 0]
    assert len(row.unique()) == 1024
    assert (row - torch.arange(1024) / 1023).abs().max() < 0.5 / 1023


def test_odd_sizes_are_kept(tmp_path: Path) -> None:
    path = encode(tmp_path / "odd.mkv", [corners(47, 63)], "ffv1", "yuv420p")
    frame = Video.read(path).frames[0]
    assert frame.shape == (3, 47, 63)
    assert quarters(frame) == ["red", "green", "blue", "white"]


def test_transparency_lies_over_black(tmp_path: Path) -> None:
    """Half-seen white is grey, and colours hidden under zero alpha do not show, even resampled."""
    image = np.full((32, 32, 4), 255, np.uint8)
    image[:, 16:, 3] = 0
    image[16:, :16, 3] = 128
    path = encode(tmp_path / "alpha.mov", [image], "qtrle", "argb", source="rgba")
    Image.fromarray(image).save(tmp_path / "alpha.png")
    for file in (path, tmp_path / "alpha.png"):
        frame = Video.read(file).frames[0]
        assert frame[:, 4, 4].tolist() == [1, 1, 1]
        assert frame[0, 28, 4] == pytest.approx(128 / 255, abs=1 / 255)
        assert frame[:, :, 16:].max() == 0
    small = Video.read(path, FrameChoice(size=(8, 8))).frames[0]
    assert small[0, 1, 6] < 0.01  # Bicubic filtering reaches two small pixels.


def test_pixels_become_square(tmp_path: Path) -> None:
    def wide(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)

    path = encode(tmp_path / "wide.mp4", [corners()] * 2, prepare=wide)
    video = Video.read(path)
    assert (video.height, video.width) == (48, 96)
    assert quarters(video.frames[0]) == ["red", "green", "blue", "white"]
    assert (probe(path).height, probe(path).width) == (48, 96)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        # How telephones store upright films: the picture's right side goes down (a turn clockwise).
        ((0, 1, -1, 0), ["blue", "red", "white", "green"]),
        ((-1, 0, 0, -1), ["white", "blue", "green", "red"]),
        ((0, -1, 1, 0), ["green", "white", "red", "blue"]),
        ((-1, 0, 0, 1), ["green", "red", "white", "blue"]),
        ((1, 0, 0, -1), ["blue", "white", "red", "green"]),
        ((0, 1, 1, 0), ["red", "blue", "green", "white"]),
        ((0, -1, -1, 0), ["white", "green", "blue", "red"]),
    ],
)
def test_all_orientations_of_the_display_matrix(
    tmp_path: Path, matrix: tuple[int, int, int, int], expected: list[str]
) -> None:
    """The matrix is put into the track header by hand, so the direction is not our own idea."""
    path = encode(tmp_path / "turned.mp4", [corners()] * 2)
    data = bytearray(path.read_bytes())
    # Version 0 of the header keeps the matrix 44 bytes after its name, as 16.16 fixed point.
    at = data.index(b"tkhd") + 44
    entries = [int(data[at + i : at + i + 4].hex(), 16) for i in (0, 4, 12, 16)]
    assert entries == [0x10000, 0, 0, 0x10000]
    for offset, value in zip((0, 4, 12, 16), matrix):
        data[at + offset : at + offset + 4] = (value * 0x10000).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    video = Video.read(path)
    turned = matrix[0] == 0
    assert (video.height, video.width) == ((64, 48) if turned else (48, 64))
    assert quarters(video.frames[0]) == expected
    info = probe(path)
    assert (info.height, info.width) == (video.height, video.width)
    fitted = Video.read(path, FrameChoice(size=(32, 48), fit="stretch"))
    assert quarters(fitted.frames[0]) == expected


def test_a_variable_rate_is_made_constant(tmp_path: Path) -> None:
    times = [0, 40, 240, 280, 480, 520, 720, 760]  # gaps of 40 and 200 ms
    for name in ("vfr.mp4", "vfr.mkv"):
        path = encode(tmp_path / name, numbered(8), times=times, rate=25)
        video, info = Video.read(path), probe(path)
        assert video.fps == info.fps == 25 and "frame rate varies" in info.notes[0]
        assert indices(video) == [0, 1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 5, 6, 7]
        assert info.frames == len(video)
        part = Video.read(path, FrameChoice(start=6, stride=2, count=4))
        assert torch.equal(part.frames, video.frames[6:14:2]) and part.fps == 12.5
        slow = Video.read(path, FrameChoice(fps=5))
        assert slow.fps == 5 and indices(slow) == [0, 1, 3, 5]


def test_a_clock_that_jumps_is_played_evenly(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", numbered(4), times=[0, 100, 200, 90_000_000])
    info = probe(path)
    assert info.frames == 4 and "times jump" in info.notes[0]
    assert indices(Video.read(path)) == [0, 1, 2, 3]


@pytest.mark.parametrize("fps", [0.0, -5.0, 1e9, float("nan"), float("inf")])
def test_rates_that_cannot_be_meant(clip: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps is a number above 0"):
        probe(clip, fps)
    with pytest.raises(ValueError, match="fps is a number above 0"):
        FrameChoice(fps=fps)


def test_bursts_of_milliseconds_are_no_frame_rate() -> None:
    line = Timeline([0, 1, 2, 3, 1000, 1001, 1002, 1003], 1e-3, 8, [])
    assert line.varies and line.even_fps == 120 and len(line.retimed(120)) == 120


def test_a_constant_rate_is_resampled_on_demand(clip: Path) -> None:
    assert indices(Video.read(clip, FrameChoice(fps=5))) == [0, 2, 4, 6, 8, 10]
    assert indices(Video.read(clip, FrameChoice(fps=20)))[:5] == [0, 0, 1, 1, 2]
    assert probe(clip).shown is None


def yuv(bars: np.ndarray, red: float, blue: float, full: bool) -> np.ndarray:
    """RGB in [0, 1] to 8-bit planes by the textbook formula with the given luma weights."""
    luma = red * bars[..., 0] + (1 - red - blue) * bars[..., 1] + blue * bars[..., 2]
    chroma_b = (bars[..., 2] - luma) / (2 - 2 * blue)
    chroma_r = (bars[..., 0] - luma) / (2 - 2 * red)
    scale, base, chroma = (255, 0, 255) if full else (219, 16, 224)
    planes = [luma * scale + base, chroma_b * chroma + 128, chroma_r * chroma + 128]
    return np.stack(planes).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "space", "weights", "full"),
    [
        (48, 64, 1, (0.2126, 0.0722), False),
        (48, 64, 1, (0.2126, 0.0722), True),
        (48, 64, 6, (0.299, 0.114), False),
        (48, 64, 9, (0.2627, 0.0593), False),
        (48, 64, 2, (0.299, 0.114), False),  # untagged and small: BT.601
        (48, 1280, 2, (0.2126, 0.0722), False),  # untagged and large: BT.709
    ],
)
def test_colour_matrix_and_range(
    tmp_path: Path,
    height: int,
    width: int,
    space: int,
    weights: tuple[float, float],
    full: bool,
) -> None:
    """Bars written as YUV by formula come back as RGB; 8-bit rounding allows two steps."""
    bars = np.array(BARS, float)[None, np.arange(width) * 8 // width].repeat(height, 0) * 0.75

    def tag(stream: av.VideoStream) -> None:
        stream.codec_context.colorspace = space
        stream.codec_context.color_range = 2 if full else 1

    planes = yuv(bars, *weights, full)
    path = encode(tmp_path / "bars.mkv", [planes], "ffv1", "yuv444p", source="yuv444p", prepare=tag)
    frame = Video.read(path).frames[0].permute(1, 2, 0).numpy()
    assert np.abs(frame - bars).max() < 2.5 / 255


# ------------------------------------------------------------------------------- which frames


def test_start_stride_count(clip: Path) -> None:
    video = Video.read(clip, FrameChoice(start=2, stride=3, count=3))
    assert indices(video) == [2, 5, 8]
    assert video.fps == pytest.approx(10 / 3)
    assert indices(Video.read(clip, FrameChoice(start=2, stride=3))) == [2, 5, 8, 11]
    assert indices(Video.read(clip, FrameChoice(count=1))) == [0]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.ts", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.webm", "libvpx-vp9"),
        ("b.mkv", "libx265"),
    ],
)
def test_a_late_start_gives_the_same_frames(tmp_path: Path, name: str, codec: str) -> None:
    """Reached by a key frame or from the beginning, frame k is frame k, to the last bit."""
    generator = np.random.default_rng(0)
    grain = generator.integers(0, 60, (48, 64, 3), dtype=np.uint8)
    frames = [np.roll(grain, i, axis=1) + np.uint8(i) for i in range(90)]
    options: dict[str, Any] = {
        "libx265": {"x265-params": "log-level=none:keyint=12"},
        "libvpx-vp9": {"deadline": "realtime"},
    }.get(codec, {})

    def groups(stream: av.VideoStream) -> None:
        stream.codec_context.gop_size = 12

    path = encode(tmp_path / name, frames, codec, prepare=groups, **options)
    whole = Video.read(path)
    assert len(whole) == 90
    for start in (33, 47, 48, 60, 89):
        part = Video.read(path, FrameChoice(start=start, stride=2, count=(90 - start + 1) // 2))
        assert torch.equal(part.frames, whole.frames[start::2])


def test_a_late_start_skips_what_comes_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the group of pictures around the start is decoded."""

    def groups(stream: av.VideoStream) -> None:
        stream.codec_context.gop_size = 10

    path = encode(tmp_path / "long.mp4", numbered(200, step=1), prepare=groups)
    decoded = []

    def counting(path: Path, container: object, stream: object) -> Iterator[object]:
        for picture in original(path, container, stream):
            decoded.append(picture)
            yield picture

    original = decoding.decoded
    monkeypatch.setattr(decoding, "decoded", counting)
    video = Video.read(path, FrameChoice(start=150, count=2))
    assert indices(video, step=1) == [150, 151]
    assert len(decoded) < 30


def repeat(path: Path, array: np.ndarray, count: int) -> None:
    """One JPEG, many times: a long file at once."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mjpeg", rate=30)
        stream.height, stream.width = array.shape[:2]
        stream.pix_fmt = "yuvj420p"
        data = bytes(stream.encode(av.VideoFrame.from_ndarray(array, "rgb24"))[0])
        for index in range(count):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, 30)
            packet.pts = packet.dts = index
            packet.is_keyframe = True
            output.mux(packet)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """150 frames of 1080p are 0.9 GB as bytes; reading 9 small ones, and 8K, stays far below."""
    long, huge = tmp_path / "long.avi", tmp_path / "8k.avi"
    repeat(long, np.full((1080, 1920, 3), 90, np.uint8), 150)
    repeat(huge, np.full((4320, 7680, 3), 90, np.uint8), 2)
    script = f"""
import re
from trajectorycrafter.video.reading import FrameChoice, read_video
def megabytes(name):
    # Of this program alone; getrusage would start at the peak of the tests that called it.
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
read_video({str(DEMO_CLIP)!r}, FrameChoice(count=1, size=(64, 64)))
before = megabytes("VmRSS")
video = read_video({str(long)!r}, FrameChoice(start=5, stride=15, count=9, size=(192, 336)))
assert video.frames.shape == (9, 3, 192, 336)
print(megabytes("VmHWM") - before)
video = read_video({str(huge)!r}, FrameChoice(size=(384, 672)))
assert video.frames.shape == (2, 3, 384, 672)
print(megabytes("VmHWM") - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stderr
    long_mb, huge_mb = map(float, done.stdout.split())
    assert long_mb < 100  # measured 10: the result is 7 MB, the rest the decoder's few frames
    assert huge_mb < 400  # measured 106: a decoded 8K frame is 50 MB


# ---------------------------------------------------------------------------------- which size


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_fits_keep_the_middle(tmp_path: Path, fit: Literal["crop", "pad", "stretch"]) -> None:
    """A circle in a 64x128 frame put into 64x64: cut, barred or squeezed."""
    y, x = np.mgrid[:64, :128]
    disc = ((y - 31.5) ** 2 + (x - 63.5) ** 2 < 20**2)[..., None].repeat(3, 2)
    image = (disc * 205 + 50).astype(np.uint8)
    path = encode(tmp_path / "disc.mov", [image], "png", "rgb24")
    frame = Video.read(path, FrameChoice(size=(64, 64), fit=fit)).frames[0]
    assert frame.shape == (3, 64, 64)
    bright = frame[0] > 0.6
    tall, wide = int(bright.any(1).sum()), int(bright.any(0).sum())
    assert (tall, wide) == {"crop": (40, 40), "pad": (20, 20), "stretch": (40, 20)}[fit]
    bars = frame[:, [0, 1, -1, -2]].max()
    assert bars == 0 if fit == "pad" else bars > 0.1


def test_shrinking_does_not_alias(tmp_path: Path) -> None:
    """A one-pixel chequerboard shrinks to grey."""
    board = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    path = encode(tmp_path / "board.mov", [board], "png", "rgb24")
    frame = Video.read(path, FrameChoice(size=(32, 32))).frames[0]
    assert (frame[:, 4:-4, 4:-4] - 0.5).abs().max() < 0.02


def test_own_shape_in_multiples() -> None:
    assert FrameChoice().output_size(99, 101) == (99, 101)
    assert FrameChoice(multiple=16).output_size(994, 1768) == (992, 1760)
    assert FrameChoice(multiple=16, pixels=384 * 672).output_size(994, 1768) == (384, 672)
    assert FrameChoice(multiple=16, pixels=384 * 672).output_size(1920, 1080) == (672, 384)
    assert FrameChoice(pixels=10**9).output_size(20, 30) == (20, 30)
    assert FrameChoice(multiple=16).output_size(9, 40) == (16, 32)
    assert FrameChoice(size=(64, 32), multiple=16).output_size(9, 40) == (64, 32)


def test_rounding_cuts_and_keeps_pixels(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "noise.png")
    frame = Video.read(tmp_path / "noise.png", FrameChoice(multiple=16)).frames[0]
    expected = torch.from_numpy(image[1:49, 3:67]).permute(2, 0, 1) / 255
    assert frame.shape == (3, 48, 64)
    assert torch.equal(frame, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": -1}, "first frame is 0; got start=-1"),
        ({"stride": 0}, "stride is at least 1; got 0"),
        ({"count": 0}, "count is at least 1, or None; got 0"),
        ({"pixels": 0}, "pixels is at least 1"),
        ({"multiple": 0}, "multiple is at least 1"),
        ({"size": (0, 8)}, "height and width in pixels; got 0x8"),
        ({"size": (100, 64), "multiple": 16}, "divisible by 16, got 100x64; use 96x64"),
        ({"size": (64, 64), "pixels": 9}, "size or pixels, not both"),
    ],
)
def test_choices_that_cannot_be_meant(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrameChoice(**settings)


# -------------------------------------------------------------------------------------- images


def test_folder_in_natural_order(tmp_path: Path) -> None:
    for index in (10, 2, 1, 9, 0):
        Image.fromarray(numbered(11)[index]).save(tmp_path / f"frame{index}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image")
    video = Video.read(tmp_path)
    assert indices(video) == [0, 1, 2, 9, 10]
    assert video.fps == IMAGE_FPS
    assert indices(Video.read(tmp_path, FrameChoice(start=1, stride=2, count=2))) == [1, 9]
    info = probe(tmp_path)
    assert (info.frames, info.height, info.width, info.has_audio) == (5, 48, 64, False)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".jpg", ".ppm"])
def test_a_single_image_is_one_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"50%d of%20it{suffix}"
    Image.fromarray(corners()).save(path)
    video = Video.read(path)
    assert video.frames.shape == (1, 3, 48, 64)
    assert quarters(video.frames[0]) == ["red", "green", "blue", "white"]
    assert (video.fps, probe(path).frames) == (IMAGE_FPS, 1)


def test_sixteen_bit_png(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 65535, (16, 16), dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    frame = Video.read(tmp_path / "deep.png").frames[0, 0]
    assert (frame - torch.from_numpy(levels / 65535)).abs().max() < 2 / 65535


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif", ".heic"])
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, ["red", "green", "blue", "white"]),
        (2, ["green", "red", "white", "blue"]),
        (3, ["white", "blue", "green", "red"]),
        (4, ["blue", "white", "red", "green"]),
        (5, ["red", "blue", "green", "white"]),
        (6, ["blue", "red", "white", "green"]),
        (7, ["white", "green", "blue", "red"]),
        (8, ["green", "white", "red", "blue"]),
    ],
)
def test_photographs_stand_upright(
    tmp_path: Path, suffix: str, orientation: int, expected: list[str]
) -> None:
    if suffix == ".heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    path, image = tmp_path / f"photo{suffix}", Image.fromarray(corners())
    image.getexif()[0x0112] = orientation
    # HEIF and AVIF have properties of their own for it, which are made of the image's EXIF.
    options: dict[str, Any] = {} if suffix == ".heic" else {"exif": image.getexif()}
    image.save(path, quality=95, **options)
    video = Video.read(path)
    assert quarters(video.frames[0]) == expected
    assert (video.height, video.width) == ((64, 48) if orientation > 4 else (48, 64))
    assert (probe(path).height, probe(path).width) == (video.height, video.width)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_color_profiles_become_srgb(tmp_path: Path, suffix: str) -> None:
    """A profile with red and blue exchanged: a picture that obeys it shows the other color."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    entries = {bytes(profile[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, blue = entries[b"rXYZ"], entries[b"bXYZ"]
    profile[red + 4 : red + 12], profile[blue + 4 : blue + 12] = (
        profile[blue + 4 : blue + 12],
        profile[red + 4 : red + 12],
    )
    path = tmp_path / f"photo{suffix}"
    image = Image.new("RGB", (32, 32), (200, 60, 20))
    image.save(path, icc_profile=bytes(profile), quality=100)
    seen = Video.read(path).frames[0, :, 16, 16] * 255
    assert seen.tolist() == pytest.approx([20, 60, 200], abs=6)


def test_a_broken_profile_is_said_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.new("RGB", (32, 32), (200, 60, 20)).save(tmp_path / "a.png", icc_profile=b"nonsense")
    assert (Video.read(tmp_path / "a.png").frames[0, :, 5, 5] * 255).tolist() == [200, 60, 20]
    assert "color profile cannot be used" in caplog.text


def test_profiles_leave_deep_gray_and_moving_pictures_whole(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = Image.fromarray(np.full((32, 32), 32768, np.uint16))
    deep.save(tmp_path / "deep.png", icc_profile=profile)
    assert Video.read(tmp_path / "deep.png").frames.mean().item() == pytest.approx(0.5, abs=0.01)
    first, *others = (Image.fromarray(frame) for frame in numbered(4))
    first.save(
        tmp_path / "moving.png",
        save_all=True,
        append_images=others,
        duration=100,
        icc_profile=profile,
    )
    assert indices(Video.read(tmp_path / "moving.png")) == [0, 1, 2, 3]


def hlg(light: np.ndarray) -> np.ndarray:
    """BT.2100's curve, of light in BT.2020 on a screen of 1000 cd/m2, 1 being reference white."""
    luma = (light @ [0.2627, 0.6780, 0.0593])[..., None]
    scene = 0.265 * light * np.where(luma > 0, luma, 1) ** (-1 / 6)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    )


def pq(light: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084, 1 being 203 cd/m2."""
    y = (light * 203 / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


@pytest.mark.parametrize(("number", "curve"), [(18, hlg), (16, pq)])
def test_high_dynamic_range_is_mapped_to_a_standard_screen(
    tmp_path: Path, number: int, curve: Callable[[np.ndarray], np.ndarray]
) -> None:
    colors = np.array([(200, 40, 40), (40, 180, 60), (40, 60, 200), (128, 128, 128)]) / 255
    light = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    to_2020 = np.array(
        [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    )
    wide = np.append(light @ to_2020.T, [[4.0, 4.0, 4.0]], axis=0)  # and a light far above white
    coded = (curve(wide).clip(0, 1) * 65535).round().astype(np.uint16)
    image = np.repeat(np.repeat(coded[None], 32, axis=0), 32, axis=1)

    path = tmp_path / "hdr.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 160, "yuv444p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = number, 9, 9
        frame = av.VideoFrame.from_ndarray(image, format="rgb48le")
        frame = frame.reformat(format="yuv444p10le", dst_colorspace="BT2020")
        output.mux([*stream.encode(frame), *stream.encode(None)])
    seen = Video.read(path).frames[0, :, 16, 16::32].T.numpy()
    assert seen[:4] == pytest.approx(colors, abs=4 / 255)
    assert 0.97 < seen[4].min() <= seen[4].max() <= 1
    assert "HDR" in probe(path).notes[0]


def test_linear_light_gets_the_curve_of_a_screen(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    color = {"R": 0.5776, "G": 0.0212, "B": 2.0}  # of sRGB 200, 40 and more than white
    for kind in (np.float16, np.float32):
        channels = {name: np.full((32, 32), value, kind) for name, value in color.items()}
        path = tmp_path / f"{kind.__name__}.exr"
        openexr.File({"type": openexr.scanlineimage}, channels).write(str(path))
        seen = Video.read(path).frames[0, :, 16, 16] * 255
        assert seen.tolist() == pytest.approx([200, 40, 255], abs=1)


def test_transparent_vp9_lies_over_black(tmp_path: Path) -> None:
    image = np.full((48, 64, 4), 255, np.uint8)
    image[:, 32:, 3] = 0
    frame = av.VideoFrame.from_ndarray(image, format="rgba").reformat(format="yuva420p")
    path = tmp_path / "alpha.webm"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libvpx-vp9", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuva420p"
        stream.metadata.update({"alpha_mode": "1"})
        for index in range(3):
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    seen = Video.read(path).frames[1]
    assert seen[:, 24, 8].min() > 0.97 and seen[:, 24, 56].max() < 0.03


def test_fields_are_joined_to_frames(tmp_path: Path) -> None:
    """A bar that moves between the fields shows no comb: even and odd rows agree."""

    def field(index: int) -> np.ndarray:
        image = np.full((96, 160, 3), 40, np.uint8)
        image[:, 20 + 6 * index : 40 + 6 * index] = 220
        return image

    frames = []
    for index in range(6):
        woven = field(2 * index)
        woven[1::2] = field(2 * index + 1)[1::2]
        frames.append(woven)

    def interlaced(stream: av.VideoStream) -> None:
        stream.codec_context.flags |= 0x20000000 | 0x00040000  # interlaced motion and transform

    options: dict[str, Any] = {"crf": "1", "x264-params": "tff=1"}
    path = encode(tmp_path / "a.ts", frames, prepare=interlaced, **options)
    seen = Video.read(path).frames[3, 0]
    assert len(Video.read(path)) == 6
    assert (seen[10:80:2] - seen[11:81:2]).abs().mean() < 0.01
    assert "interlaced" in probe(path).notes[0]


@pytest.mark.parametrize("name", ["a.avi", "a.mkv"])
def test_what_is_there_counts_and_not_what_the_header_says(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, numbered(30), "mjpeg", "yuvj420p")
    data = bytearray(path.read_bytes())
    if name.endswith("avi"):
        for tag, offset in ((b"avih", 24), (b"strh", 40)):
            at = data.index(tag) + offset
            data[at : at + 4] = (99_999).to_bytes(4, "little")
    else:
        data = data[: len(data) // 2]
    path.write_bytes(data)
    info = probe(path)
    assert info.frames == len(Video.read(path, FrameChoice(count=99, shorter_ok=True))) <= 30
    assert "cut off" in info.notes[0]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["0.png", "1.png", "0.jpg", "1.jpg"], "2 of .jpg, 2 of .png"),
        (["0.png", "1.png", "0_mask.png", "1_mask.png"], "2 of #, 2 of #_mask"),
        (["0.png", "1.png", "cover.png"], "2 of #, 1 of cover"),
    ],
)
def test_two_series_in_a_folder_are_refused(tmp_path: Path, names: list[str], found: str) -> None:
    for name in names:
        Image.fromarray(corners()).save(tmp_path / name)
    with pytest.raises(ValueError, match=found):
        probe(tmp_path)
    with pytest.raises(ValueError, match=found):
        Video.read(tmp_path)


def test_a_folder_plays_at_the_rate_asked_for(tmp_path: Path) -> None:
    for index in range(3):
        Image.fromarray(corners()).save(tmp_path / f"{index}.png")
    assert Video.read(tmp_path, FrameChoice(fps=12.5)).fps == 12.5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://example.org/clip.mp4", "web address"),
        ("-", "standard input"),
        ("frames/%04d.png", "folder of the images"),
        ("frames/*.png", "folder of the images"),
    ],
)
def test_what_is_no_path_is_named(text: str, words: str) -> None:
    with pytest.raises(FileNotFoundError, match=words):
        probe(text)


def test_pictures_of_absurd_size_are_refused_by_their_header(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (15_000, 15_000)).save(path)
    with pytest.raises(ValueError, match="15000x15000 pixels"):
        probe(path)


def test_sound_is_cut_to_the_frames(tmp_path: Path) -> None:
    """A tone that begins after a second is there at the right moment."""
    path, rate = tmp_path / "talk.mp4", 16_000
    with av.open(str(path), "w") as output:
        pictures = output.add_stream("libx264", rate=10)
        pictures.height, pictures.width, pictures.pix_fmt = 48, 64, "yuv420p"
        sound = output.add_stream("aac", rate=rate, layout="mono")
        for array in numbered(30):
            output.mux(pictures.encode(av.VideoFrame.from_ndarray(array, "rgb24")))
        output.mux(pictures.encode(None))
        wave = np.sin(np.arange(3 * rate) * 2 * np.pi * 440 / rate) * (np.arange(3 * rate) > rate)
        frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = rate, 0
        for packets in (sound.encode(frame), sound.encode(None)):
            output.mux(packets)
    made = Video.read(path, FrameChoice(start=5, count=15)).write(
        tmp_path / "made.mp4", sound=Sound(path, 0.5)
    )
    with av.open(str(made)) as container:
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    loud = np.flatnonzero(np.abs(heard) > 0.3)
    assert loud[0] / rate == pytest.approx(0.5, abs=0.1)
    assert len(heard) / rate == pytest.approx(1.5, abs=0.15)


def test_a_broken_sound_is_left_out_and_said(
    tmp_path: Path, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Video.read(clip).write(tmp_path / "made.mp4", sound=Sound(clip, 0))
    assert not probe(made).has_audio and len(Video.read(made)) == 12
    assert "left out" in caplog.text


def test_animated_webp(tmp_path: Path) -> None:
    images = [Image.fromarray(frame) for frame in numbered(5)]
    path = tmp_path / "moving.webp"
    images[0].save(path, save_all=True, append_images=images[1:], duration=50, lossless=True)
    video = Video.read(path, FrameChoice(start=1))
    assert indices(video) == [1, 2, 3, 4]
    assert video.fps == pytest.approx(20)
    assert (probe(path).frames, probe(path).fps) == (5, pytest.approx(20))


# --------------------------------------------------------------------------------- bad input


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def noisy(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (count, 48, 64, 3), dtype=np.uint8))


def test_nothing_there(tmp_path: Path) -> None:
    for use in (Video.read, probe):
        with pytest.raises(FileNotFoundError, match=r"no file or folder .*nowhere\.mp4"):
            use(tmp_path / "nowhere.mp4")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.mp4", b"", "is empty"),
        ("noise.mp4", bytes(range(256)) * 40, "not a video or image that can be read"),
        ("words.png", b"these are words\n" * 9, "no frame that can be decoded"),
        ("words.jpg", b"these are words\n" * 9, "not an image that can be read"),
        ("words.txt", b"these are words\n" * 99, "not a video|is a text"),
        ("words.nfo", b"these are words\n" * 99, "not a video|is a text"),
    ],
)
def test_what_is_no_video(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    for use in (Video.read, probe):
        with pytest.raises(ValueError, match=message):
            use(tmp_path / name)


def test_a_cut_file_serves_up_to_the_cut(tmp_path: Path) -> None:
    """With its index in front (as for the web) a cut mp4 plays up to the cut."""
    whole = encode(tmp_path / "whole.mp4", noisy(40), movflags="+faststart")
    frames = Video.read(whole).frames
    path = Video(frames, 10.0).write(tmp_path / "cut.mp4")
    whole = Video.read(path).frames
    cut(path, 0.5)
    with pytest.raises(ValueError, match=r"cut off: only its first (\d+) frames") as raised:
        Video.read(path)
    readable = int(str(raised.value).split("first ")[1].split()[0])
    assert 10 < readable < 30
    with pytest.raises(ValueError, match="Repair the file or ask for frames before"):
        Video.read(path, FrameChoice(count=40, shorter_ok=True))
    assert torch.equal(Video.read(path, FrameChoice(count=10)).frames, whole[:10])


def test_a_file_without_its_index(tmp_path: Path) -> None:
    path = cut(encode(tmp_path / "plain.mp4", noisy(20)), 0.5)
    with pytest.raises(ValueError, match=r"not a video .* or it is cut off"):
        Video.read(path)


def test_an_unknown_codec(clip: Path) -> None:
    clip.write_bytes(clip.read_bytes().replace(b"avc1", b"zzzz"))
    for use in (Video.read, probe):
        with pytest.raises(ValueError, match="codec that FFmpeg cannot decode"):
            use(clip)


def test_a_broken_middle(tmp_path: Path) -> None:
    path = Video(torch.rand(30, 3, 48, 64), 10.0).write(tmp_path / "broken.mp4")
    whole = Video.read(path).frames
    data = bytearray(path.read_bytes())
    middle = len(data) * 2 // 3
    data[middle : middle + 20000] = b"\xff" * 20000
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged or cut off"):
        Video.read(path)
    assert torch.equal(Video.read(path, FrameChoice(count=5)).frames, whole[:5])


def test_only_sound(tmp_path: Path) -> None:
    for name, codec in (("sound.mp4", "aac"), ("sound.wav", "pcm_s16le")):
        with av.open(str(tmp_path / name), "w") as output:
            stream = output.add_stream(codec, rate=44100, layout="mono")
            assert isinstance(stream, av.AudioStream)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
            frame.rate = 44100
            output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        for use in (Video.read, probe):
            with pytest.raises(ValueError, match="sound but no pictures"):
                use(tmp_path / name)


def test_sound_beside_pictures(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=44100, layout="mono")
        pictures = output.add_stream("libx264", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        for array in numbered(6):
            output.mux(pictures.encode(av.VideoFrame.from_ndarray(array, "rgb24")))
        noise = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        noise.rate = 44100
        output.mux(sound.encode(noise))
        output.mux([*pictures.encode(None), *sound.encode(None)])
    assert probe(path).has_audio
    assert indices(Video.read(path)) == list(range(6))


def test_zero_frames(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "none.mkv"), "w") as output:
        stream = output.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        output.start_encoding()
    for use in (Video.read, probe):
        with pytest.raises(ValueError, match="cut off or without frames"):
            use(tmp_path / "none.mkv")


def test_past_the_end(clip: Path, tmp_path: Path) -> None:
    for start in (12, 500):
        with pytest.raises(ValueError, match=f"start={start} lies past the end: .*has 12 frames"):
            Video.read(clip, FrameChoice(start=start))
    Image.fromarray(corners()).save(tmp_path / "one.png")
    with pytest.raises(ValueError, match=r"start=1 lies past the end: .*has 1 frames"):
        Video.read(tmp_path / "one.png", FrameChoice(start=1))


def test_more_than_there_is(clip: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected 9 frames, but .* has 12 .* leave 5; ask"):
        Video.read(clip, FrameChoice(start=2, stride=2, count=9))
    shorter = Video.read(clip, FrameChoice(start=2, stride=2, count=9, shorter_ok=True))
    assert indices(shorter) == [2, 4, 6, 8, 10]


def test_frames_of_one_pixel(tmp_path: Path) -> None:
    Image.fromarray(corners(1, 1)).save(tmp_path / "dot.png")
    encode(tmp_path / "dot.mov", [corners(1, 1)] * 3, "png", "rgb24")
    for name in ("dot.png", "dot.mov"):
        with pytest.raises(ValueError, match="1x1 pixels; expected at least 8x8"):
            Video.read(tmp_path / name)


def test_more_than_memory_holds(clip: Path) -> None:
    with pytest.raises(ValueError, match=r"need \d+\.\d GB, but .* ask for fewer frames"):
        Video.read(clip, FrameChoice(size=(60000, 60000)))


def test_folders_that_are_no_clip(tmp_path: Path) -> None:
    for use in (Video.read, probe):
        with pytest.raises(ValueError, match="has no images"):
            use(tmp_path)
    Image.fromarray(corners()).save(tmp_path / "0.png")
    Image.fromarray(corners(32, 32)).save(tmp_path / "1.png")
    with pytest.raises(ValueError, match=r"differ in size: 0\.png is 48x64, 1\.png is 32x32"):
        Video.read(tmp_path)


# ------------------------------------------------------------------------------------- writing


def left_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def gradient(frames: int = 4, height: int = 48, width: int = 64) -> Video:
    x = torch.linspace(0, 1, width).expand(frames, 3, height, width).clone()
    return Video(x, 12.5)


def test_colour_bars_survive(tmp_path: Path) -> None:
    """Flat bars lose only 8-bit YUV rounding: within 3/255 away from the edges, where chroma blurs.

    By another reader's eyes too: the tags say BT.709, limited range, and the stored luma is what
    BT.709 prescribes for each colour.
    """
    columns = torch.arange(256) * 8 // 256
    bars = (torch.tensor(BARS, dtype=torch.float32)[columns] * 0.75).T[None, :, None]
    bars = bars.expand(3, 3, 64, 256).contiguous()
    path = Video(bars, 30.0).write(tmp_path / "bars.mp4")
    back = Video.read(path).frames
    flat = (torch.arange(256) % 32 > 3) & (torch.arange(256) % 32 < 28)
    assert (back - bars)[..., flat].abs().max() < 3.5 / 255
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)
        assert context.color_range == 1
        assert context.pix_fmt == "yuv420p"
        luma = frame.to_ndarray()[0, 16:256:32]
    weights = np.array([0.2126, 0.7152, 0.0722])
    assert np.abs(luma - (16 + 219 * 0.75 * (np.array(BARS) @ weights))).max() <= 1.5


def test_pictures_survive(tmp_path: Path) -> None:
    """A real clip without loss in the codec is as good as 8-bit 4:2:0 gets: 39.5 dB here.

    Colour samples off by half a pixel would give 38.1 dB. The default quality gives 36.8 dB.
    """
    video = Video.read(DEMO_CLIP, FrameChoice(count=5, size=(144, 256)))
    lossless = video.write(tmp_path / "lossless.mp4", crf=0)
    assert psnr(Video.read(lossless).frames, video.frames) > 39
    path = video.write(tmp_path / "copy.mp4")
    assert psnr(Video.read(path).frames, video.frames) > 36
    assert path.stat().st_size < lossless.stat().st_size


def test_values_are_clamped_and_rounded(tmp_path: Path) -> None:
    values = torch.tensor([-1.0, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 7.0, 0.5, 254.6 / 255])
    video = Video(values.expand(1, 3, 8, 8).contiguous(), 5.0)
    video.write(tmp_path / "png")
    stored = np.asarray(Image.open(tmp_path / "png" / "00000.png"))
    assert stored[0, :, 0].tolist() == [0, 0, 0, 1, 255, 255, 128, 255]


@pytest.mark.parametrize(("height", "width"), [(47, 63), (48, 63), (47, 64)])
def test_odd_sizes_grow_by_a_repeated_row(tmp_path: Path, height: int, width: int) -> None:
    video = gradient(2, height, width)
    back = Video.read(video.write(tmp_path / "odd.mp4"))
    assert back.frames.shape == (2, 3, 48, 64)
    # 8-bit YUV of a slow grey ramp at this quality: within four steps.
    assert (back.frames[..., :height, :width] - video.frames).abs().max() < 4.5 / 255
    assert (back.frames[..., -1, :] - back.frames[..., -2, :]).abs().max() < 3 / 255


@pytest.mark.parametrize("fps", [24.0, 30000 / 1001, 12.5, 7.49, 1 / 3, 120.0])
def test_rate_survives(tmp_path: Path, fps: float) -> None:
    video = Video(gradient().frames, fps)
    path = video.write(tmp_path / "rate.mp4")
    assert Video.read(path).fps == pytest.approx(fps, rel=1e-6)
    assert probe(path).frames == 4


def test_starts_to_play_before_it_is_loaded(tmp_path: Path) -> None:
    data = gradient().write(tmp_path / "web.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_png_folder_is_exact(tmp_path: Path) -> None:
    levels = torch.randint(0, 256, (11, 3, 9, 10), generator=torch.Generator().manual_seed(0))
    video = Video(levels / 255, 24.0)
    path = write_video(video, tmp_path / "deep" / "frames")
    assert left_in(path)[::10] == ["00000.png", "00010.png"]
    assert torch.equal(read_video(path, FrameChoice()).frames, video.frames)
    shorter = Video(video.frames[:2], 24.0)
    shorter.write(path, overwrite=True)
    assert left_in(path) == ["00000.png", "00001.png"]
    assert left_in(path.parent) == ["frames"]


def test_what_exists_is_kept(tmp_path: Path) -> None:
    path = gradient().write(tmp_path / "taken.mp4")
    folder = gradient().write(tmp_path / "taken")
    before = path.read_bytes()
    for target in (path, folder):
        with pytest.raises(ValueError, match="exists already; pass --overwrite"):
            gradient(6).write(target)
    assert path.read_bytes() == before
    gradient(6).write(path, overwrite=True)
    assert probe(path).frames == 6


def test_foreign_files_are_never_removed(tmp_path: Path) -> None:
    folder = gradient().write(tmp_path / "frames")
    (folder / "diary.txt").write_text("mine")
    with pytest.raises(ValueError, match="other files than numbered PNGs"):
        gradient().write(folder, overwrite=True)
    assert (folder / "diary.txt").read_text() == "mine"
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        gradient().write(tmp_path / "a.mp4", overwrite=True)


@pytest.mark.parametrize(
    ("video", "name", "message"),
    [
        (gradient(), "a.avi", r"ends in \.mp4, or one without suffix"),
        (Video(torch.zeros(0, 3, 8, 8), 10.0), "a.mp4", "nothing to write"),
        (Video(torch.zeros(1, 3, 8, 8), 0.0), "a.mp4", "positive frame rate .* got 0"),
        (Video(torch.zeros(1, 3, 8, 8), float("nan")), "a.mp4", "positive frame rate .* got nan"),
        (Video(torch.full((2, 3, 8, 8), torch.nan), 10.0), "a.mp4", "Frame 0 .* not finite"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, video: Video, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        video.write(tmp_path / name)
    assert left_in(tmp_path) == []


def test_wrong_quality(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="between 0 and 51; got 52"):
        gradient().write(tmp_path / "a.mp4", crf=52)


@pytest.mark.parametrize("name", ["old.mp4", "old"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: type[BaseException]
) -> None:
    """The old result stays whole, and no temporary file with it."""
    path = gradient().write(tmp_path / name)
    before = Video.read(path).frames

    def interrupted(video: Video) -> Iterator[np.ndarray]:
        for frame in video.frames[:2]:
            yield frame.permute(1, 2, 0).numpy()
        raise error

    monkeypatch.setattr(writing, "_arrays_of", interrupted)
    with pytest.raises(error):
        gradient(5).write(path, overwrite=True)
    assert left_in(tmp_path) == [name]
    assert torch.equal(Video.read(path).frames, before)


@pytest.mark.parametrize("name", ["full.mp4", "full"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match=r"Could not write .*No space left.*nothing was kept") as seen:
        gradient().write(tmp_path / name)
    assert seen.value.errno == errno.ENOSPC
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["large.mp4", "large"])
def test_a_write_that_the_system_refuses(tmp_path: Path, name: str) -> None:
    """A real failing write, in the middle of encoding or while closing: files may have 20 kB."""
    video = Video(torch.rand(30, 3, 96, 96), 10.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match=r"Could not write .*large.*too large.*nothing was kept"):
            video.write(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_in(tmp_path) == []


def test_a_folder_that_may_not_be_written() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # The administrator may write anywhere, so be nobody for a moment.
        try:
            for target in (folder / "a.mp4", folder / "frames", folder / "deeper" / "a.mp4"):
                with pytest.raises(PermissionError, match=r"Could not write .*Permission denied"):
                    gradient().write(target)
        finally:
            os.seteuid(user)
            folder.chmod(0o755)
        assert left_in(folder) == []


# ---------------------------------------------------------------------------------- shipped clip


def test_the_shipped_clip() -> None:
    info = probe(DEMO_CLIP)
    assert (info.frames, info.height, info.width, info.fps) == (97, 576, 1024, 30)
    assert DEMO_CLIP.stat().st_size < 3e6
    licence = DEMO_CLIP.with_name("park_walk.LICENSE.txt").read_text()
    assert "BSD 3-Clause" in licence
    assert "Copyright" in licence
