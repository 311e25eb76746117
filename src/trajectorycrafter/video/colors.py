"""From a decoded frame to the RGB that a standard screen shows: profiles, HDR, linear light, alpha.

The one thing a reader would get wrong: "as a player shows it" means sRGB on a standard screen. High
dynamic range is mapped down (ITU-R BT.2408: the reference white of HLG and PQ becomes white, what
is brighter is rolled off), wide primaries are cut to those of BT.709.
"""

import io
import logging
from typing import TypeAlias

import av
import numpy as np
from jaxtyping import Float, UInt8, UInt16
from PIL import Image, ImageCms

logger = logging.getLogger(__name__)

Pixels: TypeAlias = UInt8[np.ndarray, "_ _ 3"] | UInt16[np.ndarray, "_ _ 3"]
RGB: TypeAlias = Float[np.ndarray, "_ _ 3"]

HDR = {16: "PQ", 18: "HLG"}
"""FFmpeg's number of a transfer curve to its name."""
LINEAR = 8
"""FFmpeg's number of the linear curve."""
# Bicubic (widened when shrinking, so that nothing aliases), full chroma both ways, exact rounding.
SCALING = 0x4 | 0x2000 | 0x4000 | 0x40000
_UNTAGGED = 2
_BT2020_TO_BT709 = np.array(
    [
        [1.660491, -0.587641, -0.072850],
        [-0.124550, 1.132900, -0.008349],
        [-0.018151, -0.100579, 1.118730],
    ]
)
_BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593])


def is_deep(frame: av.VideoFrame) -> bool:
    """Whether it has more than 8 bits a color."""
    return max(part.bits for part in frame.format.components) > 8


def matrix_of(frame: av.VideoFrame) -> str | None:
    """The color matrix of a file that does not name it: BT.709 from HD on, as players assume."""
    untagged = frame.colorspace == _UNTAGGED and not frame.format.is_rgb
    return "ITU709" if untagged and (frame.width >= 1280 or frame.height > 576) else None


def standard(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame in standard RGB where it is anything else, over black where it is transparent.

    A frame in a usual YUV format comes back as it is: it is converted when it is resampled.
    """
    if frame.color_trc == LINEAR:
        return _shown(srgb_curve(_floats(frame)))
    if frame.color_trc in HDR and not frame.format.is_rgb:
        coded = frame.reformat(format="rgb48le", interpolation=SCALING).to_ndarray() / 65535.0
        return _shown(srgb_curve(tone_mapped(coded, HDR[frame.color_trc])))
    if any(part.is_alpha for part in frame.format.components) or frame.format.has_palette:
        # Blended before resampling, so that hidden colors do not bleed into visible ones.
        deep = is_deep(frame)
        rgba = frame.reformat(format="rgba64le" if deep else "rgba").to_ndarray()
        shares = rgba / (65535.0 if deep else 255.0)
        return _shown(shares[..., :3] * shares[..., 3:])
    return frame


def _floats(frame: av.VideoFrame) -> RGB:
    """A frame in linear light as numbers; colors of EXR files are multiplied by their alpha."""
    name = frame.format.name
    if "f16" not in name and "f32" not in name:
        return frame.reformat(format="rgb48le", interpolation=SCALING).to_ndarray() / 65535.0
    wanted = "grayf32le" if name.startswith("gray") else "gbrpf32le"
    if name not in (wanted, "gbrapf32le"):
        frame = frame.reformat(format=wanted)
    planes = [
        np.frombuffer(bytes(plane), np.float32).reshape(frame.height, -1)[:, : frame.width]
        for plane in frame.planes
    ]
    # FFmpeg's planes are green, blue, red.
    chosen = planes * 3 if len(planes) == 1 else [planes[2], planes[0], planes[1]]
    return np.nan_to_num(np.stack(chosen, axis=-1), posinf=1.0)


def srgb_curve(light: RGB) -> RGB:
    """Linear light, 1 being white, as sRGB in [0, 1] (IEC 61966-2-1)."""
    x = np.clip(light, 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


def tone_mapped(coded: RGB, kind: str) -> RGB:
    """Coded HDR in BT.2020 as light of a standard screen: linear, BT.709, 1 being white.

    Args:
        coded: in [0, 1].
        kind: "HLG" (BT.2100, its display light for 1000 cd/m2) or "PQ" (SMPTE ST 2084).
    """
    if kind == "HLG":
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12)
        # Reference white is coded as 75 %, which is 0.265 of the scene's light.
        scene = scene / 0.265
        light = scene * (scene @ _BT2020_LUMA)[..., None] ** 0.2
    else:
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        root = np.clip(coded, 0, 1) ** (1 / m2)
        # In units of reference white, 203 cd/m2.
        light = (np.clip(root - c1, 0, None) / (c2 - c3 * root)) ** (1 / m1) * 10000 / 203
    light = np.clip(light @ _BT2020_TO_BT709.T, 0, None)
    # Up to 0.85 (93 % of sRGB's code) light stays; what is brighter nears white without reaching
    # it, all three colors by the same factor, so that hues stay.
    knee = 0.85
    peak = light.max(axis=-1, keepdims=True)
    rolled = knee + (1 - knee) * (1 - np.exp(-(np.maximum(peak, knee) - knee) / (1 - knee)))
    return light * np.where(peak > knee, rolled / np.maximum(peak, knee), 1)


def in_srgb(image: Image.Image, profile: bytes | None, name: str) -> Image.Image:
    """A still in RGB or RGBA with its embedded color profile applied.

    A profile that cannot be used is said and left out.
    """
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode not in ("RGB", "CMYK", "L"):
        image = image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            image = converted or image
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            logger.warning("%s: its color profile cannot be used (%s).", name, error)
    image = image.convert("RGB")
    if alpha is not None:
        image.putalpha(alpha)
    return image


def _shown(colors: RGB) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(
        (np.clip(colors, 0, 1) * 65535).round().astype(np.uint16), format="rgb48le"
    )
