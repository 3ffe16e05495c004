"""How an image is decoded, and what it may cost; decoding processes load no other options."""

from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from cataloger.option_checks import require as _require
from cataloger.option_checks import require_choices


@dataclass(frozen=True, slots=True)
class PreprocessSpec:
    """How encoded bytes become the pixels that a network was trained on.

    size: side of the square output, pixels. scale: "draft" decodes large JPEGs at the smallest of 1/1, 1/2,
    1/4, 1/8 that is not below `size`. background: RGB that transparent pixels are flattened onto.
    """

    size: int = 224
    decoder: Literal["pillow"] = "pillow"
    scale: Literal["draft", "full"] = "draft"
    resampling: Literal["bilinear", "bicubic"] = "bilinear"
    aspect: Literal["squash"] = "squash"
    background: tuple[int, int, int] = (255, 255, 255)

    def __post_init__(self) -> None:
        require_choices(self)
        _require(8 <= self.size <= 2048, f"size must be between 8 and 2048 pixels, not {self.size}")

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Read the `preprocess` object of a bundle.json. Raises TypeError for an unknown key."""
        values = dict(values)
        if "background" in values:
            values["background"] = tuple(values["background"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one image may cost.

    max_pixels: width x height, checked before decoding. max_bytes: encoded size. decode_timeout: seconds.
    bytes_in_flight: encoded bytes fetched and not yet decoded, over all images together. max_decode_bytes: memory
    that decoding may take, of one image, and of all that are decoded at once together.
    """

    max_pixels: int = 64_000_000
    max_bytes: int = 64_000_000
    decode_timeout: float = 30.0
    bytes_in_flight: int = 128_000_000
    max_decode_bytes: int = 500_000_000

    def __post_init__(self) -> None:
        for field in fields(self):
            _require(getattr(self, field.name) > 0, f"{field.name} must be positive")
