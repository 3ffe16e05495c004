"""Encoded bytes to the pixels that a network sees. The only preprocessing of the package.

Tagging, training, evaluation and export all call `load`. For an ordinary photo it is no more than: open with Pillow,
draft, load, transpose by EXIF, convert to RGB, resize. ICC profiles are ignored, on purpose: the network was trained
without them, and colour management would cost more than the decoding.
"""

import io
from typing import Any, NamedTuple

import numpy as np

# Pillow would import all of its plugins to find these; the ones we allow are imported by name, which is fast.
from PIL import (
    AvifImagePlugin,  # noqa: F401
    BmpImagePlugin,  # noqa: F401
    ExifTags,
    GifImagePlugin,  # noqa: F401
    JpegImagePlugin,  # noqa: F401
    MpoImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)
from PIL import Image as PillowImage

from cataloger.errors import ImageError
from cataloger.imaging import formats
from cataloger.options import Limits, PreprocessSpec
from cataloger.records import Pixels

# Phones write JPEGs that hold several pictures (MPO); Pillow opens those as JPEG and shows the first.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")

_RESAMPLING = {"bilinear": PillowImage.Resampling.BILINEAR, "bicubic": PillowImage.Resampling.BICUBIC}
_TRANSPOSE = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}
_BOMBS = (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning)
_DEFAULT_LIMITS = Limits()


class Loaded(NamedTuple):
    """pixels: uint8 RGB, size x size x 3, C-contiguous. width, height: upright original, in pixels."""

    pixels: Pixels
    width: int
    height: int


def load(data: bytes, spec: PreprocessSpec, limits: Limits = _DEFAULT_LIMITS) -> Loaded:
    """Decode one image of any allowed format and squash it to the square of `spec`.

    The first frame of an animation counts, EXIF orientation is applied (a broken EXIF block is ignored), transparency
    is flattened onto `spec.background`. The number of pixels is checked before anything is decoded; Pillow's own
    ceiling of 179 million stays in force when `limits` allow more.

    Raises ImageError, code decode.empty, decode.not_image, decode.unsupported, decode.truncated, decode.corrupt or
    decode.too_large.
    """
    if not data:
        raise ImageError("decode.empty", "the file is empty")
    try:
        with _open(data, limits) as image:
            return _decode(image, spec)
    except ImageError:
        raise
    except _BOMBS as error:
        raise _too_large() from error
    except Exception as error:  # a plugin may raise anything at all; it always means that this image is unusable
        raise _broken(data, error) from error


def _open(data: bytes, limits: Limits) -> PillowImage.Image:
    """Read the header. Raises ImageError when the format or the number of pixels is not allowed."""
    try:
        image = PillowImage.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise _unidentified(data) from error
    if image.width * image.height > limits.max_pixels:
        raise _too_large(f"{image.width}x{image.height} pixels; at most {limits.max_pixels} are decoded")
    return image


def _decode(image: PillowImage.Image, spec: PreprocessSpec) -> Loaded:
    width, height = image.size
    if spec.scale == "draft":
        image.draft(None, (spec.size, spec.size))  # only JPEGs can; others ignore it
    image.load()
    orientation = _orientation(image)  # after load(): TIFF turns itself there, and a PNG may keep its EXIF at the end
    rgb = _to_rgb(image, spec.background)
    upright = rgb.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else rgb
    small = upright.resize((spec.size, spec.size), _RESAMPLING[spec.resampling])
    if orientation >= 5:
        width, height = height, width
    return Loaded(np.array(small), width, height)


def _orientation(image: PillowImage.Image) -> int:
    """EXIF orientation, 1 to 8; 1 when there is none or when it cannot be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - metadata never makes a picture bad, whatever the EXIF parser raises
        return 1
    return orientation if orientation in _TRANSPOSE else 1


def _to_rgb(image: PillowImage.Image, background: tuple[int, int, int]) -> PillowImage.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = _to_8_bit(image)
    if image.has_transparency_data:
        return _flatten(image, background)
    if image.mode == "LAB":
        return _lab_to_rgb(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bit(image: PillowImage.Image) -> PillowImage.Image:
    """Scale a grey image of 16 bits or more to mode L, or LA if one value means transparent.

    16 bits: 65535 becomes 255. 32-bit integers and floats have no agreed white, so their range is stretched.
    """
    values = np.asarray(image).astype(np.float64)
    clear = image.info.get("transparency")
    low, high = (0.0, 65535.0) if image.mode.startswith("I;16") else _range(values)
    scaled = np.nan_to_num((values - low) * (255.0 / (high - low)), nan=0.0)
    grey = PillowImage.fromarray(np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8))
    if not isinstance(clear, int):
        return grey
    alpha = PillowImage.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
    return PillowImage.merge("LA", (grey, alpha))


def _range(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """Lowest and highest finite value, made to differ."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return low, high if high > low else low + 1.0


def _flatten(image: PillowImage.Image, background: tuple[int, int, int]) -> PillowImage.Image:
    if image.mode in ("La", "PA"):  # no direct way to RGBA
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    canvas = PillowImage.new("RGBA", image.size, (*background, 255))
    canvas.alpha_composite(image.convert("RGBA"))
    return canvas.convert("RGB")


def _lab_to_rgb(image: PillowImage.Image) -> PillowImage.Image:
    from PIL import ImageCms  # rare, and it loads LittleCMS

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None  # None only for in-place conversion
    return converted


def _too_large(detail: str = "the header claims a size far beyond any photo") -> ImageError:
    return ImageError("decode.too_large", f"too many pixels: {detail}")


def _unidentified(data: bytes) -> ImageError:
    """Why Pillow found no plugin: a damaged header, a format that is not allowed, or no image at all."""
    name = formats.identify(data)
    if name in FORMATS:
        return _broken(data, ValueError(f"{name} header cannot be read"))
    allowed = "supported are JPEG, PNG, WebP, GIF, BMP, TIFF and AVIF"
    if name is not None:
        return ImageError("decode.unsupported", f"{name} is not a supported image format; {allowed}")
    return ImageError("decode.not_image", f"not an image: the content looks like {formats.describe(data)}; {allowed}")


def _broken(data: bytes, error: Exception) -> ImageError:
    """Turn whatever a plugin raised into decode.truncated, decode.unsupported or decode.corrupt."""
    text = " ".join(str(error).split())
    printable = "".join(c if c.isprintable() and c.isascii() else "?" for c in text)[:160] or type(error).__name__
    if "truncated" in text.lower() or isinstance(error, EOFError) or formats.ends_early(data):
        return ImageError("decode.truncated", f"the file ends before the image does ({printable})")
    if text.lower().startswith("unsupported"):
        return ImageError("decode.unsupported", f"a variant of its format that is not supported ({printable})")
    return ImageError("decode.corrupt", f"the image is damaged ({printable})")
