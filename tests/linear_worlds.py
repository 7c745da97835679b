"""The numpy twin of a small torch model."""

from dataclasses import dataclass

from fedrec.config import ModelConfig
from fedrec.data.sequences import Floats
from fedrec.model.adapter import AdaptedModel
from fedrec.model.linear import Factor, LinearModel, module_of


@dataclass(frozen=True)
class Rows:
    """An index that lies in memory."""

    matrix: Floats

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def width(self) -> int:
        return self.matrix.shape[1]

    def vectors(self, rows):
        return self.matrix[rows]

    def scores(self, query):
        return self.matrix @ query


def linear_of(adapted: AdaptedModel, config: ModelConfig) -> LinearModel:
    """The same numbers in numpy: index, prior, and both factors of every module."""
    pairs: dict[str, dict[str, Floats]] = {}
    for name, parameter in adapted.peft.named_parameters():
        if "lora_" in name:
            pairs.setdefault(module_of(name), {})["b" if "lora_B" in name else "a"] = parameter.detach().numpy().copy()
    return LinearModel(
        config=config,
        index=Rows(adapted.base.items.weight.detach().numpy().copy()),
        prior=adapted.base.prior.numpy().copy(),
        factors={name: Factor(**pair) for name, pair in pairs.items()},
        layout=adapted.layout,
    )
