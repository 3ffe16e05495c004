"""The other views of a training image."""

import torch
from torchvision.transforms import v2

from cataloger.records import Pixels


class Augmentation:
    """Random crop, flip and colour jitter of decoded pixels, repeatable for a seed and an image.

    Works on the pixels that `preprocess.load` returns, so that no second way of decoding exists.
    crop: smallest share of the area that a view shows.
    """

    def __init__(self, size: int, seed: int, *, crop: float = 0.5) -> None:
        self._seed = seed
        self._transform = v2.Compose(
            [
                v2.RandomResizedCrop(size, scale=(crop, 1.0), ratio=(0.75, 1.3333), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
            ]
        )

    def view(self, pixels: Pixels, *, image: int, view: int) -> Pixels:
        """Return view number `view` of an image, uint8 size x size x 3; view 0 is the image itself."""
        if view == 0:
            return pixels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(hash((self._seed, image, view)) % 2**63)
            augmented = self._transform(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
        result: Pixels = augmented.permute(1, 2, 0).contiguous().numpy()
        return result
