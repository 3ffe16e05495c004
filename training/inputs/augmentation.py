"""The other views of a training image."""

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from cataloger.records import Pixels
from cataloger.training.inputs.transforms import Blur, FigureCut, Margins, NewBackground, WhiteBalance
from cataloger.training.recipes import Strength


class Augmentation:
    """Random views of decoded pixels, repeatable for a seed and an image.

    Works on the pixels that `preprocess.load` returns, so that no second way of decoding exists.
    crop: smallest share of the area that a view shows. strength: "light" crops, flips and changes colours; "strong"
    also changes framing, backgrounds, margins and sharpness and hides patches, for photos of shops never seen.
    photos: N x size x size x 3, uint8, of whose corners "strong" makes backgrounds; None for none.
    """

    def __init__(
        self, size: int, seed: int, *, crop: float = 0.5, strength: Strength = "light", photos: Pixels | None = None
    ) -> None:
        self._seed = seed
        steps = _light(size, crop) if strength == "light" else _strong(size, crop, photos)
        self._transform = v2.Compose(steps)

    def view(self, pixels: Pixels, *, image: int, view: int) -> Pixels:
        """Return view number `view` of an image, uint8 size x size x 3; view 0 is the image itself."""
        if view == 0:
            return pixels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(hash((self._seed, image, view)) % 2**63)
            augmented: Tensor = self._transform(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
        result: Pixels = augmented.permute(1, 2, 0).contiguous().numpy()
        return result


def _light(size: int, crop: float) -> list[nn.Module]:
    return [
        v2.RandomResizedCrop(size, scale=(crop, 1.0), ratio=(0.75, 1.3333), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
    ]


def _strong(size: int, crop: float, photos: Pixels | None) -> list[nn.Module]:
    """Background before crop, so that it is cropped too; sharpness late, so that it applies to all that was drawn."""
    return [
        NewBackground(0.4, photos),
        FigureCut(0.3),
        Margins(0.25),
        v2.RandomResizedCrop(size, scale=(crop, 1.0), ratio=(0.6667, 1.5), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4),
        WhiteBalance(0.12),
        v2.RandomGrayscale(0.05),
        Blur(0.35),
        v2.RandomErasing(0.15, scale=(0.02, 0.15), value=127),
    ]
