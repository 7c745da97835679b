"""What everybody of a federation has in common, and nothing of anybody: items, model, plan.

A service trains on a foundation alone; a simulation adds everybody's data to it (workbench.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedrec.config import Scenario
from fedrec.data.dataset import Dataset
from fedrec.data.sequences import Floats
from fedrec.errors import ConfigError, DataError
from fedrec.model.adapter import AdaptedModel
from fedrec.model.build import adapt, base_model_hash, build_recommender, encoder_path
from fedrec.model.catalogue_index import index_for
from fedrec.model.item_index import ItemIndex
from fedrec.model.text_encoder import TextEncoder
from fedrec.privacy.budget import Budget
from fedrec.privacy.plan import PrivacyPlan
from fedrec.secagg.planned import plan_of

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Foundation:
    """A scenario with its catalogue, index and model loaded.

    dataset: of its folder only the public part is read. plan, budget: what a client agrees to
    and holds itself to; None where nothing is spent.
    """

    scenario: Scenario
    dataset: Dataset
    index: ItemIndex
    model: AdaptedModel
    plan: PrivacyPlan | None
    budget: Budget | None = None

    @property
    def base_hash(self) -> str:
        """Identifies the frozen part of the model."""
        return base_model_hash(self.scenario.model, self.index, self.model.base.prior.numpy())


def open_foundation(scenario: Scenario, data: Path, progress: Progress | None = None) -> Foundation:
    """Load a catalogue, with or without events beside it, and build the scenario's model on it.

    Raises ConfigError where the scenario's prior would need to know what people did.
    """
    if scenario.model.prior == "counts":
        raise ConfigError(
            'model.prior = "counts" counts what people did, and here is only a catalogue. Use "public", "released" '
            'or "none".'
        )
    dataset = Dataset.open(data)
    dataset.verify()
    index = index_for(dataset, TextEncoder.open(encoder_path(scenario.model)), progress)
    return Foundation(
        scenario=scenario,
        dataset=dataset,
        index=index,
        model=adapted_model(scenario, dataset, index, prior=public_prior(scenario, dataset)),
        plan=plan_of(scenario),
        budget=budget_of(scenario),
    )


def adapted_model(
    scenario: Scenario,
    dataset: Dataset,
    index: ItemIndex,
    *,
    prior: Floats | None,
    texts: Sequence[str] = (),
    query_vectors: Floats | None = None,
) -> AdaptedModel:
    """The scenario's base model under a zero adapter.

    prior: (N,) log popularity. texts, query_vectors: (T, d), of the queries in the histories that it reads.
    """
    titles = dataset.catalogue()["title"].to_list()
    base = build_recommender(
        scenario.model, index, texts=(titles, list(texts)), query_vectors=query_vectors, prior=prior
    )
    return adapt(base, scenario.model, scenario.adapter, index)


def budget_of(scenario: Scenario) -> Budget | None:
    """What a scenario's client holds itself to; None where nothing is spent."""
    return Budget.of(scenario.budget, delta=scenario.privacy.delta) if scenario.privacy.mode != "none" else None


def public_prior(scenario: Scenario, dataset: Dataset) -> Floats | None:
    """(N,) log popularity as the catalogue itself says it; None where the scenario does not ask for that."""
    if scenario.model.prior != "public":
        return None
    column = dataset.catalogue()["popularity"]
    if column.null_count() == len(column):
        raise ConfigError(
            'model.prior = "public" needs a popularity column in the catalogue, and this one has none. Use "none".'
        )
    published: Floats = column.fill_null(0.0).to_numpy().astype(np.float32)
    if not (np.isfinite(published) & (published >= 0)).all():
        raise DataError("The catalogue's popularity has negative or non-finite entries. Import it again.")
    return np.log1p(published)
