"""Tests of the transforms that give a photo the look of another shop's."""

import pytest
import torch
from torch import Tensor, nn

from cataloger.training.inputs.augmentation import Augmentation
from cataloger.training.inputs.transforms import (
    Blur,
    FigureCut,
    Margins,
    NewBackground,
    WhiteBalance,
    reached_from_border,
)


def garment_on_white(size: int = 64) -> Tensor:
    """A dark square with a white hole, on white."""
    image = torch.full((3, size, size), 255, dtype=torch.uint8)
    image[:, 16:48, 16:48] = 40
    image[:, 28:36, 28:36] = 255
    return image


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(1)


def test_a_new_background_leaves_the_garment_and_the_white_in_it() -> None:
    image = garment_on_white()
    changed = NewBackground(1.0)(image)
    assert torch.equal(changed[:, 18:46, 18:46], image[:, 18:46, 18:46])
    assert (changed[:, :14] != 255).any()


def test_a_photo_that_does_not_stand_on_white_keeps_its_background() -> None:
    image = torch.full((3, 32, 32), 120, dtype=torch.uint8)
    image[:, 8:24, 8:24] = 255
    assert torch.equal(NewBackground(1.0)(image), image)


def test_reached_from_border_stops_at_what_is_no_background() -> None:
    like = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]]).bool()
    reached = reached_from_border(like)
    assert not reached[2, 2]
    assert int(reached.sum()) == 16


def test_backgrounds_are_made_of_the_corners_of_other_photos() -> None:
    photos = torch.zeros(3, 64, 64, 3, dtype=torch.uint8)
    photos[:, 20:44, 20:44] = 250  # what the photo shows; its corners are black
    transform = NewBackground(1.0, photos.numpy())
    backgrounds = [transform(garment_on_white())[:, 0, 0] for _ in range(24)]
    black = sum(bool((background == 0).all()) for background in backgrounds)
    assert 4 <= black <= 20


def test_a_cut_figure_shows_a_part_of_the_height() -> None:
    rows = torch.arange(64, dtype=torch.uint8)[None, :, None].repeat(3, 1, 64)
    shown = [FigureCut(1.0)(rows).float() for _ in range(40)]
    spans = [float(image.max() - image.min() + 1) / 64 for image in shown]
    assert all(image.shape == rows.shape for image in shown)
    assert min(spans) == pytest.approx(0.4, abs=0.1)
    assert max(spans) > 0.8
    assert len({float(image.min()) for image in shown}) > 10


def test_margins_show_all_of_the_image_smaller() -> None:
    image = torch.full((3, 64, 64), 10, dtype=torch.uint8)
    shrunk = Margins(1.0)(image)
    dark = (shrunk == 10).all(dim=0)
    assert 32 * 32 <= int(dark.sum()) < 64 * 64


def test_blur_takes_fine_detail_away_and_keeps_the_mean() -> None:
    stripes = torch.zeros(3, 224, 224, dtype=torch.uint8)
    stripes[:, :, ::2] = 200
    blurred = Blur(1.0)(stripes).float()
    assert blurred.std() < 0.5 * stripes.float().std()
    assert abs(blurred.mean() - stripes.float().mean()) < 5


def test_white_balance_changes_colours_by_no_more_than_told() -> None:
    image = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    changed = WhiteBalance(0.12)(image).float()
    assert 87 <= changed.min() <= changed.max() <= 113
    assert len(changed.unique()) > 1


@pytest.mark.parametrize(
    "transform", [NewBackground(0.0), FigureCut(0.0), Margins(0.0), Blur(0.0)], ids=lambda t: type(t).__name__
)
def test_what_does_not_happen_changes_nothing(transform: nn.Module) -> None:
    image = garment_on_white()
    assert torch.equal(transform(image), image)


def test_a_strong_view_is_repeatable_and_of_the_same_size() -> None:
    pixels = garment_on_white().permute(1, 2, 0).numpy()
    strong = Augmentation(64, 3, strength="strong")
    first, again = (strong.view(pixels, image=5, view=2) for _ in range(2))
    assert first.shape == pixels.shape
    assert (first == again).all()
    assert not all((strong.view(pixels, image=5, view=view) == pixels).all() for view in range(1, 9))
