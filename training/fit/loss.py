"""What training minimises."""

import torch
from torch import Tensor


def partial_label_losses(logits: Tensor, accepted: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Return -log(summed probability of the accepted labels) of each image: N.

    With one accepted label it is the categorical cross-entropy. smoothing: share of the target that is spread evenly
    over all labels (Szegedy et al., arXiv:1512.00567). logits: N x labels; accepted: bool N x labels.
    """
    total = logits.logsumexp(dim=1)
    right = logits.masked_fill(~accepted, -torch.inf).logsumexp(dim=1)
    loss = total - right
    if smoothing > 0.0:
        loss = (1.0 - smoothing) * loss + smoothing * (total - logits.mean(dim=1))
    return loss


def losses_with_no_products(logits: Tensor, accepted: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Return the loss of each image of a batch in which those without an accepted label show no product: N.

    It is that of `partial_label_losses` with one label more, "no product", whose score is zero for every image. That
    is an output of its own, subtracted from all others: since a softmax does not change when all scores move, nothing
    is added to the network, and the probability that an image shows a product is the sigmoid of the log of the summed
    exponentials of the other scores, which every result keeps. logits: N x labels; accepted: bool N x labels.
    """
    scores = torch.cat([logits, torch.zeros_like(logits[:, :1])], dim=1)
    right = torch.cat([accepted, ~accepted.any(dim=1, keepdim=True)], dim=1)
    return partial_label_losses(scores, right, smoothing=smoothing)


def with_soft_labels(losses: Tensor, logits: Tensor, soft: Tensor, share: float) -> Tensor:
    """Return the losses of images of which another model has said something: N.

    The cross-entropy with its probabilities takes `share` of the loss of each image that has them. losses: N, by the
    accepted labels. logits: N x labels. soft: N x labels, rows of sum 1, or of zeros for an image without them.
    """
    said = share * soft.sum(dim=1)
    return (1.0 - said) * losses - share * (soft * logits.log_softmax(dim=1)).sum(dim=1)
