"""Transforms that give a catalog photo the look of another shop's: framing, background, margins, sharpness.

Each works on uint8 3 x height x width, as the transforms of torchvision do, keeps that size, and draws from torch's
random numbers.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cataloger.records import Pixels

NEARLY_WHITE = 238
WHITE_BORDER = 0.6
"""Share of the border that must be nearly white for the photo to count as one on white."""
COARSEST, FINEST = 2, 24
"""Cells along a side of a made-up background: two are a gradient, many are clutter."""


class Sometimes(nn.Module):
    """A transform that happens with a probability; otherwise the image stays as it is."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, image: Tensor) -> Tensor:
        return self.change(image) if _happens(self.probability) else image

    def change(self, image: Tensor) -> Tensor:
        """Return the changed image."""
        raise NotImplementedError


class FigureCut(Sometimes):
    """Show a part of the height, and of the width at least as large a share, stretched to the size of the image.

    Shops cut people at the knee, the waist or the chin; where the cut lies must say nothing of the category.
    """

    def __init__(self, probability: float, smallest: float = 0.4) -> None:
        super().__init__(probability)
        self.smallest = smallest

    def change(self, image: Tensor) -> Tensor:
        share = _between(self.smallest, 1.0)
        rows, columns = _part(image.shape[1], share), _part(image.shape[2], _between(share, 1.0))
        return _resized(image[:, rows, columns], *image.shape[1:])


class NewBackground(Sometimes):
    """Put photos that stand on white in front of something else: a colour, a gradient, blurred patches, a photo.

    photos: N x height x width x 3, uint8, of whose corners half of the backgrounds are made; None for none.
    """

    def __init__(self, probability: float, photos: Pixels | None = None) -> None:
        super().__init__(probability)
        self.photos = photos

    def change(self, image: Tensor) -> Tensor:
        background = reached_from_border((image >= NEARLY_WHITE).all(dim=0))
        if _border(background).float().mean() < WHITE_BORDER:
            return image
        # A soft edge, so that the network cannot learn the cut.
        share = F.avg_pool2d(background[None, None].float(), 3, 1, 1, count_include_pad=False)[0]
        mixed = image.float() * (1 - share) + self._background(*image.shape[1:]) * share
        return mixed.round().to(torch.uint8)

    def _background(self, height: int, width: int) -> Tensor:
        if self.photos is None or _happens(0.5):
            return _made_up(height, width)
        photo = self.photos[int(torch.randint(len(self.photos), ()))]
        return _corner(torch.from_numpy(np.array(photo)).permute(2, 0, 1), height, width)


class Margins(Sometimes):
    """Shrink the image by up to a half, its sides unequally, onto a canvas of one colour, mostly a light one."""

    def __init__(self, probability: float, smallest: float = 0.5) -> None:
        super().__init__(probability)
        self.smallest = smallest

    def change(self, image: Tensor) -> Tensor:
        size = image.shape[1:]
        height, width = (max(1, int(side * _between(self.smallest, 1.0))) for side in size)
        top, left = (int(_between(0, whole - part + 1)) for whole, part in zip(size, (height, width), strict=True))
        colour = torch.rand(3, 1, 1) * 255 if _happens(0.3) else torch.full((3, 1, 1), _between(225, 256))
        canvas = colour.floor().to(torch.uint8).repeat(1, *size)
        canvas[:, top : top + height, left : left + width] = _resized(image, height, width)
        return canvas


class Blur(Sometimes):
    """Take the image down to a few pixels and up again, as thumbnails are, so that blur says nothing of a class."""

    def __init__(self, probability: float, fewest: int = 56, most: int = 168) -> None:
        super().__init__(probability)
        self.fewest, self.most = fewest, most

    def change(self, image: Tensor) -> Tensor:
        height, width = image.shape[1:]
        share = _between(self.fewest, self.most) / max(height, width)
        small = _resized(image, max(1, int(height * share)), max(1, int(width * share)))
        return _resized(small, height, width)


class WhiteBalance(nn.Module):
    """Multiply each colour by up to 1 +- `most`, as another light does; a change of hue costs ten times as much."""

    def __init__(self, most: float) -> None:
        super().__init__()
        self.most = most

    def forward(self, image: Tensor) -> Tensor:
        gain = 1 + (torch.rand(3, 1, 1) * 2 - 1) * self.most
        return (image * gain).round().clamp(0, 255).to(torch.uint8)


def reached_from_border(like_background: Tensor) -> Tensor:
    """Return which places see a border along a row or column of background; bool height x width, as given.

    White inside a garment is not reached, unless it lies open to a side.
    """
    ones = like_background.int()
    seen = torch.zeros_like(like_background)
    for axis in (0, 1):
        seen |= ones.cumprod(axis).bool() | ones.flip(axis).cumprod(axis).flip(axis).bool()
    return seen


def _made_up(height: int, width: int) -> Tensor:
    cells = int(torch.randint(COARSEST, FINEST, ()))
    contrast = _between(0, 160) if _happens(0.7) else 0.0
    patches = torch.rand(3, 1, 1) * 255 + (torch.rand(3, cells, cells) - 0.5) * contrast
    smooth = F.interpolate(patches[None], (height, width), mode="bilinear", align_corners=False)[0]
    return smooth.clamp(0, 255)


def _corner(photo: Tensor, height: int, width: int) -> Tensor:
    """Enlarge a corner of a photo: floor, wall or street, and little of what the photo shows."""
    sides = [int(side * _between(0.2, 0.4)) + 1 for side in photo.shape[1:]]
    rows, columns = (
        slice(side) if _happens(0.5) else slice(whole - side, whole)
        for side, whole in zip(sides, photo.shape[1:], strict=True)
    )
    return _resized(photo[:, rows, columns], height, width).float()


def _part(side: int, share: float) -> slice:
    """Return a random part of a side, in pixels."""
    length = max(1, int(side * share))
    start = int(_between(0, side - length + 1))
    return slice(start, start + length)


def _border(mask: Tensor) -> Tensor:
    return torch.cat([mask[0], mask[-1], mask[:, 0], mask[:, -1]])


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    resized = F.interpolate(image[None].float(), (height, width), mode="bilinear", antialias=True)[0]
    return resized.round().clamp(0, 255).to(torch.uint8)


def _happens(probability: float) -> bool:
    return bool(torch.rand(()) < probability)


def _between(low: float, high: float) -> float:
    return low + float(torch.rand(())) * (high - low)
