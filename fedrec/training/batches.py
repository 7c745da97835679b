"""Examples stacked to one batch of tensors, for the torch model."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fedrec.model.heads import Batch
from fedrec.model.history import USUAL_RATING
from fedrec.training.examples import Example


def collate(examples: Sequence[Example], *, positions: int) -> Batch:
    """Stack examples, padded to `positions`; a padded position has no label and no aim."""
    width = max((len(example.own) for example in examples), default=0)
    inputs = tuple(
        torch.stack([_pad(torch.as_tensor(tensor), positions) for tensor in tensors])
        for tensors in zip(*(example.inputs for example in examples), strict=True)
    )
    nan = float("nan")

    def stacked(name: str, fill: float) -> Tensor:
        return torch.stack([_pad(torch.as_tensor(getattr(example, name)), positions, fill) for example in examples])

    return Batch(
        inputs=inputs,
        targets=stacked("targets", 0),
        aims=stacked("aims", 0.0),
        intents=stacked("intents", nan),
        ratings=stacked("ratings", nan),
        usual=stacked("usual", USUAL_RATING),
        own=torch.stack([_pad(torch.as_tensor(example.own), width, -1) for example in examples]),
    )


def _pad(tensor: Tensor, length: int, fill: float = 0.0) -> Tensor:
    missing = tensor.new_full((length - len(tensor), *tensor.shape[1:]), fill)
    return torch.cat([tensor, missing])
