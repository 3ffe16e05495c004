"""Encoded bytes to the pixels that a network sees. The only preprocessing of the package.

Tagging, training, evaluation and export all call `load`. For an ordinary photo it is no more than: open with Pillow,
draft, load, transpose by EXIF, convert to RGB, resize. ICC profiles are ignored, on purpose: the network was trained
without them, and colour management would cost more than the decoding.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

# Pillow would import all of its plugins to find these; the ones we allow are imported by name, which is fast.
from PIL import (
    AvifImagePlugin,
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
from PIL.ImageFile import ImageFile

from cataloger.errors import ImageError
from cataloger.image_options import Limits, PreprocessSpec
from cataloger.imaging import formats
from cataloger.imaging.loaded import Loaded, LoadedBytes
from cataloger.imaging.memory_need import (
    BAND_PIXELS,
    MOST_PER_PIXEL,
    WHOLE_PIXELS,
    bytes_to_decode,
    bytes_to_squash,
    is_deep_grey,
)

if TYPE_CHECKING:
    import numpy as np

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
_SMALL_BYTES = 16_000_000
"""An image that cannot need more is decoded without a closer look at its need."""

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each thread holds frames of its own, and images are decoded side by side

Range = tuple[float, float]
"""Of grey values: those that become black and white."""
Reserve = Callable[[int], AbstractContextManager[None]]
"""Waits until so many bytes may be used, and sets them aside."""


def _unshared(need: int) -> AbstractContextManager[None]:
    del need
    return nullcontext()


reserve: Reserve = _unshared
"""Of this process; decoding processes set one that they share with others."""


def load(data: bytes, spec: PreprocessSpec, limits: Limits = _DEFAULT_LIMITS) -> Loaded:
    """Decode one image of any allowed format and squash it to the square of `spec`.

    The first frame of an animation counts, EXIF orientation is applied (a broken EXIF block is ignored), transparency
    is flattened onto `spec.background`. The number of pixels, and the memory that decoding needs, are checked before
    anything is decoded; Pillow's own ceiling of 179 million pixels stays in force when `limits` allow more.

    Raises ImageError, code decode.empty, decode.not_image, decode.unsupported, decode.truncated, decode.corrupt or
    decode.too_large.
    """
    import numpy as np  # only now: decoding processes call `load_bytes`

    small, width, height = _squash(data, spec, limits)
    return Loaded(np.array(small), width, height)


def load_bytes(data: bytes, spec: PreprocessSpec, limits: Limits = _DEFAULT_LIMITS) -> LoadedBytes:
    """Do what `load` does, without numpy unless the image is grey with 16 bits or more."""
    small, width, height = _squash(data, spec, limits)
    return LoadedBytes(memoryview(small.tobytes()).cast("B", (*small.size, 3)), width, height)


def _squash(data: bytes, spec: PreprocessSpec, limits: Limits) -> tuple[PillowImage.Image, int, int]:
    """Return the square picture, and the width and height of the upright original."""
    if not data:
        raise ImageError("decode.empty", "the file is empty")
    try:
        with _open(data, limits) as image:
            return _decode(image, data, spec, limits)
    except ImageError:
        raise
    except _BOMBS as error:
        raise _too_many_pixels() from error
    except MemoryError as error:
        raise _too_hungry(limits) from error
    except Exception as error:  # a plugin may raise anything at all; it always means that this image is unusable
        if "out of memory" in str(error):
            raise _too_hungry(limits) from error
        raise _broken(data, error) from error


def _open(data: bytes, limits: Limits) -> ImageFile:
    """Read the header. Raises ImageError when the format or the number of pixels is not allowed."""
    try:
        image = PillowImage.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise _unidentified(data) from error
    if image.width * image.height > limits.max_pixels:
        raise _too_many_pixels(f"{image.width}x{image.height} pixels; at most {limits.max_pixels} are decoded")
    return image


def _decode(
    image: ImageFile, data: bytes, spec: PreprocessSpec, limits: Limits
) -> tuple[PillowImage.Image, int, int]:
    width, height = image.size
    if spec.scale == "draft":
        image.draft(None, (spec.size, spec.size))  # only JPEGs can; others ignore it
    with reserve(_need(image, data, spec, limits, (width, height))):
        image.load()
        orientation = _orientation(image)  # after load(): TIFF turns itself there, a PNG may keep its EXIF at the end
        small = _squashed(image, orientation, spec)
    if orientation >= 5:
        width, height = height, width
    return small, width, height


def _need(image: ImageFile, data: bytes, spec: PreprocessSpec, limits: Limits, full: tuple[int, int]) -> int:
    """Return the bytes that decoding takes, 0 for few. Raises ImageError when it takes more than allowed."""
    pixels = full[0] * full[1]
    if pixels * 2 * MOST_PER_PIXEL + bytes_to_squash(image, spec.size) + 2 * len(data) <= _SMALL_BYTES:
        return 0
    need = bytes_to_decode(image, data, spec.size, pixels)
    if need > limits.max_decode_bytes:
        raise _too_hungry(limits, f"about {_megabytes(need)} for {full[0]}x{full[1]} pixels")
    return need


def _squashed(image: PillowImage.Image, orientation: int, spec: PreprocessSpec) -> PillowImage.Image:
    """Return the upright picture as RGB, size x size.

    By bands, the rows are resized first and the columns then; Pillow may do it in the other order, which changes a
    value by one at most.
    """
    size, resampling = (spec.size, spec.size), _RESAMPLING[spec.resampling]
    grey = _grey_range(image)
    is_ready = image.mode == "RGB" and orientation == 1 and not image.has_transparency_data
    if is_ready or image.width * image.height <= WHOLE_PIXELS:
        return _upright(image, orientation, spec, grey).resize(size, resampling)
    height = image.width if orientation >= 5 else image.height
    narrow = PillowImage.new("RGB", (spec.size, height))
    for top, bottom in _bands(image, height):
        band = image.crop(_place_of(top, bottom, orientation, image.size))
        rgb = _upright(band, orientation, spec, grey)
        narrow.paste(rgb.resize((spec.size, bottom - top), resampling), (0, top))
    return narrow.resize(size, resampling)


def _bands(image: PillowImage.Image, height: int) -> Iterator[tuple[int, int]]:
    """Yield the first row of each band of the upright picture, and the one behind its last."""
    rows = max(1, BAND_PIXELS * height // (image.width * image.height))
    return ((top, min(top + rows, height)) for top in range(0, height, rows))


def _place_of(top: int, bottom: int, orientation: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return where the rows of the upright picture lie in the picture as it was saved."""
    width, height = size
    if orientation in (3, 4):
        return 0, height - bottom, width, height - top
    if orientation in (5, 6):
        return top, 0, bottom, height
    if orientation in (7, 8):
        return width - bottom, 0, width - top, height
    return 0, top, width, bottom


def _upright(image: PillowImage.Image, orientation: int, spec: PreprocessSpec, grey: Range) -> PillowImage.Image:
    rgb = _to_rgb(image, spec.background, grey)
    return rgb.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else rgb


def _orientation(image: PillowImage.Image) -> int:
    """EXIF orientation, 1 to 8; 1 when there is none or when it cannot be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - metadata never makes a picture bad, whatever the EXIF parser raises
        return 1
    return orientation if orientation in _TRANSPOSE else 1


def _to_rgb(image: PillowImage.Image, background: tuple[int, int, int], grey: Range) -> PillowImage.Image:
    if is_deep_grey(image):
        image = _to_8_bit(image, grey)
    if image.has_transparency_data:
        return _flatten(image, background)
    if image.mode == "LAB":
        return _lab_to_rgb(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bit(image: PillowImage.Image, grey: Range) -> PillowImage.Image:
    """Scale a grey image of 16 bits or more to mode L, or LA if one value means transparent."""
    import numpy as np

    clear = image.info.get("transparency")
    level = PillowImage.new("LA" if isinstance(clear, int) else "L", image.size)
    for top, bottom in _bands(image, image.height):
        values = np.asarray(image.crop((0, top, image.width, bottom))).astype(np.float64)
        band = _scaled(values, grey)
        if isinstance(clear, int):
            alpha = PillowImage.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
            band = PillowImage.merge("LA", (band, alpha))
        level.paste(band, (0, top))
    return level


def _scaled(values: "np.ndarray[Any, np.dtype[np.float64]]", grey: Range) -> PillowImage.Image:
    import numpy as np

    low, high = grey
    scaled = np.nan_to_num((values - low) * (255.0 / (high - low)), nan=0.0)
    return PillowImage.fromarray(np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8))


def _grey_range(image: PillowImage.Image) -> Range:
    """Return the values of a grey image of 16 bits or more that become 0 and 255; they differ.

    16 bits: 65535 becomes 255. 32-bit integers and floats have no agreed white, so their range is stretched: the
    lowest and highest finite value, of the whole picture.
    """
    if image.mode not in ("I", "F"):
        return 0.0, 65535.0
    import numpy as np

    low, high = float("inf"), float("-inf")
    for top, bottom in _bands(image, image.height):
        values = np.asarray(image.crop((0, top, image.width, bottom)), dtype=np.float64)
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        return 0.0, 1.0
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


def _too_many_pixels(detail: str = "the header claims a size far beyond any photo") -> ImageError:
    return ImageError("decode.too_large", f"too many pixels: {detail}")


def _too_hungry(limits: Limits, need: str = "more") -> ImageError:
    allowed = _megabytes(limits.max_decode_bytes)
    return ImageError("decode.too_large", f"decoding needs too much memory: {need}; at most {allowed} are used")


def _megabytes(count: int) -> str:
    return f"{-(-count // 1_000_000):,} MB"


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
