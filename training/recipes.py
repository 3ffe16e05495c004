"""The recipes of training: what each sets, and which one suits a machine and a data set."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from cataloger.errors import UsageError

Strength = Literal["light", "strong"]

RecipeName = Literal["quick", "full", "paper"]

# Images per second and processor with all layers trained, and the minutes that a first model may take on a CPU.
CPU_IMAGES_A_SECOND = 8.0
CPU_MINUTES = 5.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained.

    frozen: the layers that the paper freezes stay as they are, and their output is cached for `views` copies of each
    image, all but the first augmented. Otherwise all layers are trained on images augmented again in each epoch.
    learning_rate: peak; of the convolutions, the layers behind them get head_rate times as much.
    schedule: "cosine" rises for the share `warmup` of all steps and falls to zero; "plateau" starts at the peak
    and takes 0.9 of it after each epoch whose validation loss is not the lowest so far.
    crop: smallest share of an image's area that an augmented copy shows. augmentation: "light" suits one's own
    photos, "strong" those of shops never seen. label_smoothing: share of the target that is spread over all labels.
    ema: decay of the moving average of the weights, 0 for none. patience: epochs without a better validation result
    before training ends. balance: 0 takes the images as they are, 1 draws every category equally often; between them
    an image of a category with n images is drawn in proportion to n ** -balance. progressive: share of all steps,
    the first ones, that see images of 5/7 of the size (160 pixels for 224) and take half the time; only where all
    layers are trained. plain_epochs: the last ones, with light augmentation and without mixup, so that training ends
    on images like those that will be classified. mixup: parameter of the Beta distribution by which two images of a
    batch and their losses are mixed (Zhang et al., arXiv:1710.09412), 0 for none. average_last: share of the steps,
    the last ones, whose weights are averaged, all alike, in place of the moving average (Izmailov et al.,
    arXiv:1803.05407); 0 for none. soft_share: share that soft labels have in the loss of an image that has them.
    """

    name: RecipeName
    frozen: bool
    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["cosine", "plateau"] = "cosine"
    learning_rate: float = 6e-4
    head_rate: float = 1.0
    weight_decay: float = 0.05
    momentum: float = 0.0
    warmup: float = 0.1
    epochs: int = 10
    batch_size: int = 64
    views: int = 3
    crop: float = 0.5
    augmentation: Strength = "light"
    label_smoothing: float = 0.0
    ema: float = 0.0
    patience: int = 5
    balance: float = 0.0
    progressive: float = 0.0
    plain_epochs: int = 0
    mixup: float = 0.0
    average_last: float = 0.0
    soft_share: float = 0.5

    @property
    def first_plain_epoch(self) -> int:
        """Number of the first epoch with light augmentation, counted from 0."""
        return self.epochs - self.plain_epochs

    def __post_init__(self) -> None:
        checks = {
            "--epochs must be at least 1": self.epochs >= 1,
            "--batch-size must be at least 2": self.batch_size >= 2,
            "--learning-rate must be positive": self.learning_rate > 0,
            "--views must be at least 1": self.views >= 1,
            "--weight-decay must not be negative": self.weight_decay >= 0,
            "--patience must be at least 1": self.patience >= 1,
            "--augmentation must be light or strong": self.augmentation in ("light", "strong"),
            "--balance must be between 0 and 1": 0.0 <= self.balance <= 1.0,
            "--progressive must be at least 0 and below 1": 0.0 <= self.progressive < 1.0,
            "--progressive needs all layers trained; add --recipe full": not (self.frozen and self.progressive),
            "--label-smoothing must be at least 0 and below 1": 0.0 <= self.label_smoothing < 1.0,
            "--ema must be at least 0 and below 1": 0.0 <= self.ema < 1.0,
            "--plain-epochs must be between 0 and the number of epochs": 0 <= self.plain_epochs <= self.epochs,
            "--plain-epochs needs all layers trained; add --recipe full": not (self.frozen and self.plain_epochs),
            "--mixup must not be negative": self.mixup >= 0.0,
            "--average-last must be at least 0 and at most 1": 0.0 <= self.average_last <= 1.0,
            "--soft-share must be above 0 and at most 1": 0.0 < self.soft_share <= 1.0,
            "--warmup must be at least 0 and below 1": 0.0 <= self.warmup < 1.0,
        }
        for message, is_valid in checks.items():
            if not is_valid:
                raise UsageError(message)


RECIPES: dict[str, Recipe] = {
    "quick": Recipe(
        "quick", frozen=True, learning_rate=6e-4, epochs=10, views=3, label_smoothing=0.1, ema=0.998, balance=0.5
    ),
    "full": Recipe(
        "full",
        frozen=False,
        learning_rate=3e-4,
        head_rate=2.0,
        epochs=12,
        batch_size=32,
        crop=0.4,
        label_smoothing=0.1,
        ema=0.999,
        balance=0.5,
    ),
    # Stochastic gradient descent, batch 16, rate 1e-4 times 0.9 on a plateau, cross-entropy, early layers frozen.
    "paper": Recipe(
        "paper",
        frozen=True,
        optimizer="sgd",
        schedule="plateau",
        learning_rate=1e-4,
        weight_decay=0.0,
        momentum=0.9,
        warmup=0.0,
        epochs=50,
        batch_size=16,
        views=1,
        patience=10,
    ),
}


def choose_recipe(
    name: str, *, device: str, images: int, processors: int, changes: dict[str, Any] | None = None
) -> tuple[Recipe, str]:
    """Return the recipe of a name, "auto" chooses, with `changes` applied; and one line that says why.

    device: "cpu" or "cuda". images: to train on. processors: of this machine. Raises UsageError.
    """
    if name != "auto" and name not in RECIPES:
        raise UsageError(f"--recipe must be auto, {', '.join(RECIPES)}, not {name!r}")
    chosen, reason = (name, "as asked") if name != "auto" else _fitting(device, images, processors)
    recipe = replace(RECIPES[chosen], **(changes or {}))
    parts = "early layers cached, the rest trained" if recipe.frozen else "all layers trained"
    return recipe, f"recipe {chosen} ({parts}; {recipe.epochs} epochs, batch {recipe.batch_size}): {reason}"


def _fitting(device: str, images: int, processors: int) -> tuple[str, str]:
    if device != "cpu":
        return "full", "this machine has a GPU"
    minutes = images * RECIPES["full"].epochs / (CPU_IMAGES_A_SECOND * processors) / 60
    if minutes <= CPU_MINUTES:
        return "full", f"{images:,} images take all layers about {max(1, round(minutes))} min without a GPU"
    took = f"{minutes:,.0f} min" if minutes < 120 else f"{minutes / 60:,.0f} h"
    return "quick", f"without a GPU {images:,} images would take all layers about {took} (--recipe full does that)"
