"""Everything of one scenario on one data set, ready to train and to score: a laboratory's view.

A simulation knows everybody's data; a deployed client builds the same parts from its own.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from fedrec.config import DataConfig, Scenario
from fedrec.data.dataset import Dataset
from fedrec.data.entries import PositiveRule
from fedrec.data.packed import LARGE, open_split
from fedrec.data.sequences import Floats, Ints, Sequences
from fedrec.data.splits import Split, leave_one_out, load_sequences, train_counts
from fedrec.model.build import encoder_path
from fedrec.model.catalogue_index import encode_queries, index_for
from fedrec.model.scorer import ModelScorer
from fedrec.model.text_encoder import TextEncoder
from fedrec.privacy.randomness import RandomSource, noise_source
from fedrec.privacy.statement import composed_epsilon
from fedrec.secagg.planned import plan_of
from fedrec.training.client import Client
from fedrec.training.client_records import FolderRecords
from fedrec.training.examples import Example, Shape, examples_of
from fedrec.training.foundation import Foundation, Progress, adapted_model, budget_of, public_prior
from fedrec.training.local import TorchLearner


@dataclass(frozen=True, eq=False, kw_only=True)
class Workbench(Foundation):
    """A foundation, and everybody's data.

    members: users of each client; a user belongs to one client. query_vectors: (T, d).
    """

    split: Split
    query_vectors: Floats
    members: Sequence[Ints]

    def client(self, client: int, store: Path) -> Client:
        """A simulated client; `store` is the folder that stands for its device."""
        scenario = self.scenario

        def source_for(round_number: int) -> RandomSource:
            return noise_source(scenario.privacy.noise, scenario.seed, "client", client, "round", round_number)

        return Client(
            id=client,
            learner=TorchLearner(self.model),
            training=scenario.training,
            examples=lambda: self.examples(client),
            plan=self.plan,
            source_for=source_for,
            records=FolderRecords(store),
            epsilon_of=composed_epsilon,
            budget=self.budget,
        )

    def examples(self, client: int) -> list[Example]:
        """What a client trains on: the training part of its users' histories, unit by unit."""
        histories = [self.split.train(int(user)) for user in self.members[client]]
        return examples_of(histories, self.model.base.tower, self.shape, items=self.split.sequences.items)

    @property
    def shape(self) -> Shape:
        """How histories become examples."""
        scenario = self.scenario
        return Shape(
            positions=scenario.training.positions,
            window=scenario.model.window,
            unit=scenario.privacy.unit if self.plan else "USER",
            segment_days=scenario.privacy.segment_days,
        )

    def scorer(self) -> ModelScorer:
        """The model with the adapter that it holds now."""
        batch = 8 if self.scenario.model.tower == "text" else 64
        return ModelScorer(self.model.base, window=self.scenario.model.window, batch=batch)


class Members(Sequence[Ints]):
    """The users of each client: so many in turn of `order` (U,), of the last one those that are left."""

    def __init__(self, order: Ints, size: int) -> None:
        self._order = order
        self._size = size

    def __len__(self) -> int:
        return -(-len(self._order) // self._size)

    @overload
    def __getitem__(self, client: int) -> Ints: ...
    @overload
    def __getitem__(self, client: slice) -> list[Ints]: ...
    def __getitem__(self, client: int | slice) -> Ints | list[Ints]:
        if isinstance(client, slice):
            return [self[each] for each in range(*client.indices(len(self)))]
        start = range(len(self))[client] * self._size
        return self._order[start : start + self._size]


def open_workbench(scenario: Scenario, data: Path, progress: Progress | None = None) -> Workbench:
    """Load a data set and build the scenario's model on it."""
    dataset = Dataset.open(data)
    dataset.verify()
    split = split_of(dataset, scenario.data, seed=scenario.seed)
    sequences = split.sequences
    encoder = TextEncoder.open(encoder_path(scenario.model))
    index = index_for(dataset, encoder, progress)
    query_vectors = encode_queries(encoder, index, sequences.texts, cache=True)
    model = adapted_model(
        scenario,
        dataset,
        index,
        prior=_counted(split) if scenario.model.prior == "counts" else public_prior(scenario, dataset),
        texts=sequences.texts,
        query_vectors=query_vectors,
    )
    return Workbench(
        scenario=scenario,
        dataset=dataset,
        split=split,
        index=index,
        query_vectors=query_vectors,
        model=model,
        plan=plan_of(scenario),
        members=_members(sequences, scenario),
        budget=budget_of(scenario),
    )


def split_of(dataset: Dataset, config: DataConfig, *, seed: int) -> Split:
    """The histories of a data set with two entries of each held out; of a large one they stay on the disk."""
    rule = PositiveRule(kinds=config.positive_kinds, min_rating=config.min_rating, min_finished=config.min_finished)
    if dataset.info.events >= LARGE:
        return open_split(dataset, positives=rule, weights=config.kind_weights, seed=seed)
    return leave_one_out(load_sequences(dataset, positives=rule, weights=config.kind_weights, seed=seed))


def _members(sequences: Sequences, scenario: Scenario) -> Members:
    """Spread users over clients by a seeded shuffle."""
    seed = int.from_bytes(hashlib.sha256(f"members|{scenario.seed}".encode()).digest()[:8], "big")
    return Members(np.random.default_rng(seed).permutation(sequences.users), scenario.data.users_per_client)


def _counted(split: Split) -> Floats:
    """(N,) log popularity, counted on training data."""
    counted: Floats = np.log1p(train_counts(split)).astype(np.float32)
    return counted
