"""A scenario: what is trained, on whom, under which privacy. One frozen dataclass per concern."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from fedrec.errors import ConfigError

_LEAST_NOISE = 0.3
_LONGEST_SEGMENT = 36_525

Mode = Literal["none", "local"]
Unit = Literal["USER", "SEGMENT"]

# Which losses reach a module; what is not named here lies in the tower and serves all.
_ALL_HEADS = frozenset({"next_item", "intent", "rating"})
_SERVES = {
    "items": frozenset({"next_item"}),
    "item_proj": frozenset({"next_item", "intent"}),
    "history_proj": frozenset({"next_item", "intent"}),
    "intent_proj": frozenset({"intent"}),
    "rating_proj": frozenset({"rating"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Which events are positives, and how people are spread over clients.

    path: a dataset folder; the command line's `--data` wins over it.
    users_per_client: 1 for a person's own device, more for an edge hub.
    """

    path: str = ""
    users_per_client: int = 1
    positive_kinds: tuple[str, ...] = ("click", "like", "save", "share", "purchase", "rate", "play")
    min_rating: float | None = None
    min_finished: float | None = None
    kind_weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _positive("data", users_per_client=self.users_per_client)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The frozen base model.

    decays, decay_weights: K decayed sums of the history and their weight in the
    zero-shot query. window: entries of the history that are read.
    prior: `none`; `public`, the catalogue's own popularity column; or `counts`, which
    counts what people did and is therefore refused under a private mode.
    titles: how many of a person's latest titles the text tower reads.
    """

    tower: Literal["linear", "text"] = "linear"
    encoder: str = ""
    decays: tuple[float, ...] = (0.0, 0.7, 0.95)
    decay_weights: tuple[float, ...] = (0.2, 0.5, 0.3)
    scale: float = 3.0
    window: int = 300
    prior: Literal["none", "public", "counts"] = "none"
    prior_weight: float = 0.5
    titles: int = 8

    def __post_init__(self) -> None:
        if len(self.decays) != len(self.decay_weights):
            raise ConfigError(
                f"model.decays has {len(self.decays)} entries and model.decay_weights {len(self.decay_weights)}. "
                "Give one weight per decay."
            )
        if not all(0 <= decay <= 1 for decay in self.decays):
            raise ConfigError(f"model.decays are {list(self.decays)}. Each lies between 0 and 1.")
        if not all(math.isfinite(weight) for weight in (*self.decay_weights, self.prior_weight)):
            raise ConfigError("model.decay_weights and model.prior_weight must be finite numbers.")
        _positive("model", scale=self.scale, window=self.window, titles=self.titles)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """The shared LoRA adapter.

    ranks: LoRA rank by module: `history_proj`, `item_proj`, `items`, `intent_proj`,
    `rating_proj` (linear tower), `query`, `value` (text tower).
    train_a: train both factors; never under noise, where only B is trained and
    averaging is exact.
    """

    ranks: dict[str, int] = field(default_factory=lambda: {"history_proj": 384})
    train_a: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.ranks:
            raise ConfigError("adapter.ranks is empty: nothing would be trained. Try ranks = { history_proj = 64 }.")
        for name, rank in self.ranks.items():
            _positive("adapter.ranks", **{name: rank})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """What one client does in one round.

    positions: targets per example at most (the latest). negatives: 0 for the full
    softmax over the catalogue, else how many shared negatives a round draws.
    heads: weight of each loss: `next_item`, `intent`, `rating`.
    """

    steps: int = 1
    learning_rate: float = 1.0
    positions: int = 50
    negatives: int = 0
    heads: dict[str, float] = field(default_factory=lambda: {"next_item": 1.0})

    def __post_init__(self) -> None:
        _positive("training", steps=self.steps, learning_rate=self.learning_rate, positions=self.positions)
        if self.negatives < 0:
            raise ConfigError(
                f"training.negatives is {self.negatives}. It is 0 for the full softmax, or a number over 0."
            )
        unknown = set(self.heads) - {"next_item", "intent", "rating"}
        if unknown or not self.heads:
            raise ConfigError(
                f"training.heads names {sorted(unknown) or 'nothing'}. Choose from next_item, intent, rating."
            )
        _positive("training.heads", **self.heads)


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationConfig:
    """How the server draws clients and what it does with their mean update.

    min_replies: below it a round is dropped and recorded. timeout: seconds that a round
    waits for its clients.
    """

    rounds: int = 50
    cohort: int = 100
    min_replies: int = 1
    timeout: float = 600.0
    server_optimizer: Literal["fedavg", "momentum", "adam"] = "adam"
    server_rate: float = 0.002
    release_every: int = 10

    def __post_init__(self) -> None:
        _positive(
            "federation",
            rounds=self.rounds,
            cohort=self.cohort,
            min_replies=self.min_replies,
            server_rate=self.server_rate,
            timeout=self.timeout,
            release_every=self.release_every,
        )
        if self.min_replies > self.cohort:
            raise ConfigError(
                f"federation.min_replies {self.min_replies} is over federation.cohort {self.cohort}. Lower it."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyConfig:
    """Where the noise is and what it is worth; `fedrec.privacy.plan` turns it into a plan.

    sampling_rate, expected_batch: public constants of the recipe, never read off the data.
    participations: cap k on the rounds that one client takes part in, enforced by the client.
    segment_days: length of the UTC intervals that are a SEGMENT unit.
    noise: `system` draws from the operating system; `seeded` makes a run reproducible
    and is no DP guarantee.
    """

    mode: Mode = "none"
    unit: Unit = "USER"
    clip_norm: float = 1.0
    noise_multiplier: float = 1.0
    sampling_rate: float = 1.0
    expected_batch: float = 1.0
    participations: int = 10
    delta: float = 1e-6
    segment_days: int = 30
    noise: Literal["system", "seeded"] = "system"

    def __post_init__(self) -> None:
        _positive(
            "privacy",
            clip_norm=self.clip_norm,
            noise_multiplier=self.noise_multiplier,
            expected_batch=self.expected_batch,
            participations=self.participations,
            segment_days=self.segment_days,
        )
        if not 0 < self.sampling_rate <= 1:
            raise ConfigError(f"privacy.sampling_rate is {self.sampling_rate}. It is a probability: over 0, at most 1.")
        if not 1e-12 <= self.delta < 1:
            raise ConfigError(f"privacy.delta is {self.delta}. It lies between 1e-12 and 1; 1e-6 is usual.")
        if self.noise_multiplier < _LEAST_NOISE:
            raise ConfigError(
                f"privacy.noise_multiplier is {self.noise_multiplier}. Below {_LEAST_NOISE} no epsilon means anything; "
                'for a run without noise set privacy.mode = "none".'
            )
        if self.segment_days > _LONGEST_SEGMENT:
            raise ConfigError(f"privacy.segment_days is {self.segment_days}. Choose at most {_LONGEST_SEGMENT}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """What the simulator measures with its own knowledge of everybody's data.

    every: rounds between two validations. baselines: which to fit and tune.
    """

    every: int = 10
    baselines: tuple[str, ...] = ("popularity", "item_knn", "ease", "zero_shot_text", "zero_shot_popularity")
    non_private_twin: bool = True

    def __post_init__(self) -> None:
        _positive("evaluation", every=self.every)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that a simulation needs beside the data."""

    name: str
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    federation: FederationConfig = field(default_factory=FederationConfig)
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        self._check_training()
        private = self.privacy.mode != "none"
        if private and self.model.prior == "counts":
            raise ConfigError(
                'model.prior = "counts" counts what people did, which privacy.mode = '
                f'"{self.privacy.mode}" would not cover. Use "public" or "none".'
            )
        if private and self.adapter.train_a:
            raise ConfigError(
                "adapter.train_a averages noised A and B as if the mean of B A were mean B times mean A. "
                "Set train_a = false under a private mode."
            )
        if private and self.data.users_per_client > 1 and self.privacy.unit == "SEGMENT":
            raise ConfigError(
                'privacy.unit = "SEGMENT" is for a client that holds one user. '
                'Use unit = "USER" with data.users_per_client over 1.'
            )
        if private and self.data.users_per_client == 1 and self.privacy.unit == "USER":
            raise ConfigError(
                'privacy.mode = "local" with one user per client and unit = "USER" would need a client of one example. '
                'Use unit = "SEGMENT", or put many users on a client.'
            )

    def _check_training(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}. Choose 0 or more.")
        if self.training.negatives and "items" in self.adapter.ranks:
            raise ConfigError(
                "training.negatives scores single rows of the index, which an adapter on `items` does not allow. "
                "Set training.negatives = 0, or leave `items` out of adapter.ranks."
            )
        for head in set(self.training.heads) - {"next_item"}:
            if f"{head}_proj" not in self.adapter.ranks:
                raise ConfigError(f"training.heads trains `{head}`: add {head}_proj to adapter.ranks.")
        for module in self.adapter.ranks:
            if not _SERVES.get(module, _ALL_HEADS) & set(self.training.heads):
                raise ConfigError(
                    f"adapter.ranks adapts `{module}`, which no head of training.heads trains. "
                    "Leave it out, or add the head."
                )

    def without_privacy(self) -> "Scenario":
        """The same recipe with no noise and no clipping: the non-private twin."""
        return replace(self, name=f"{self.name}-twin", privacy=PrivacyConfig())


def _positive(where: str, /, **values: float) -> None:
    for name, value in values.items():
        if not value > 0 or value == float("inf"):
            raise ConfigError(f"{where}.{name} is {value}. It must be a number over 0.")
