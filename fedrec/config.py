"""A scenario: what is trained, on whom, under which privacy. One frozen dataclass per concern."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from fedrec.availability_config import AvailabilityConfig
from fedrec.errors import ConfigError
from fedrec.federation_config import FederationConfig
from fedrec.privacy_config import (
    BudgetConfig,
    CorrelatedNoiseConfig,
    PopularityConfig,
    PrivacyConfig,
    ReleasedMetricsConfig,
    SecureAggregationConfig,
    require_positive,
)

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
        require_positive("data", users_per_client=self.users_per_client)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The frozen base model.

    decays, decay_weights: K decayed sums of the history and their weight in the
    zero-shot query. window: entries of the history that are read.
    prior: `none`; `public`, the catalogue's own popularity column; `released`, a charged
    release of popularity (see PopularityConfig); or `counts`, which counts what people did
    and is therefore refused under a private mode.
    titles: how many of a person's latest titles the text tower reads.
    """

    tower: Literal["linear", "text"] = "linear"
    encoder: str = ""
    decays: tuple[float, ...] = (0.0, 0.7, 0.95)
    decay_weights: tuple[float, ...] = (0.2, 0.5, 0.3)
    scale: float = 3.0
    window: int = 300
    prior: Literal["none", "public", "released", "counts"] = "none"
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
        require_positive("model", scale=self.scale, window=self.window, titles=self.titles)


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
            require_positive("adapter.ranks", **{name: rank})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """What one client does in one round.

    positions: targets per example at most (the latest). negatives: 0 for the full
    softmax over the catalogue, else how many shared negatives a round draws.
    logq_correction: whether each of these stands for its part of the catalogue, so that the loss of many negatives is
    the full one's (Blanc and Rendle 2018, arXiv:1712.00527, section 2.2); nothing changes where they are all items.
    heads: weight of each loss: `next_item`, `intent`, `rating`.
    """

    steps: int = 1
    learning_rate: float = 1.0
    positions: int = 50
    negatives: int = 0
    logq_correction: bool = False
    heads: dict[str, float] = field(default_factory=lambda: {"next_item": 1.0})

    def __post_init__(self) -> None:
        require_positive("training", steps=self.steps, learning_rate=self.learning_rate, positions=self.positions)
        if self.negatives < 0:
            raise ConfigError(
                f"training.negatives is {self.negatives}. It is 0 for the full softmax, or a number over 0."
            )
        unknown = set(self.heads) - {"next_item", "intent", "rating"}
        if unknown or not self.heads:
            raise ConfigError(
                f"training.heads names {sorted(unknown) or 'nothing'}. Choose from next_item, intent, rating."
            )
        require_positive("training.heads", **self.heads)

    def log_weight(self, items: int) -> float:
        """What is added to the score of each negative out of so many items: minus the log of its expected count."""
        return math.log(items / min(self.negatives, items)) if self.negatives and self.logq_correction else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """What the simulator measures with its own knowledge of everybody's data.

    every: rounds between two validations. users: how many people are scored, drawn by the seed; 0 for everybody.
    baselines: which to fit and tune.
    """

    every: int = 10
    users: int = 0
    baselines: tuple[str, ...] = ("popularity", "item_knn", "ease", "zero_shot_text", "zero_shot_popularity")
    non_private_twin: bool = True

    def __post_init__(self) -> None:
        require_positive("evaluation", every=self.every)
        if self.users < 0:
            raise ConfigError(
                f"evaluation.users is {self.users}. It is 0 for everybody, or how many people are scored."
            )


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
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    correlated_noise: CorrelatedNoiseConfig = field(default_factory=CorrelatedNoiseConfig)
    popularity: PopularityConfig = field(default_factory=PopularityConfig)
    released_metrics: ReleasedMetricsConfig = field(default_factory=ReleasedMetricsConfig)
    secure_aggregation: SecureAggregationConfig = field(default_factory=SecureAggregationConfig)
    availability: AvailabilityConfig = field(default_factory=AvailabilityConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        self._check_training()
        if self.privacy.mode != "none":
            self._check_private()
        if self.privacy.mode == "local":
            self._check_local()
        if self.privacy.mode != "central":
            self._refuse_what_the_server_noises()
        if self.privacy.mode in ("central", "distributed"):
            self._check_whole_updates()
        if self.federation.sampling_rate is not None:
            self._check_coins()
        if self.is_masked:
            self._check_masked()
        elif self.secure_aggregation.enabled:
            raise ConfigError(
                f'secure_aggregation.enabled hides updates that privacy.mode = "{self.privacy.mode}" needs to see. '
                'Use "distributed" or "local" mode, or set enabled = false.'
            )

    @property
    def is_masked(self) -> bool:
        """Whether the server sees sums alone."""
        mode = self.privacy.mode
        return mode == "distributed" or (mode == "local" and self.secure_aggregation.enabled)

    def _check_private(self) -> None:
        if self.model.prior == "counts":
            raise ConfigError(
                'model.prior = "counts" counts what people did, which privacy.mode = '
                f'"{self.privacy.mode}" would not cover. Use "public" or "none".'
            )
        if self.adapter.train_a:
            raise ConfigError(
                "adapter.train_a averages noised A and B as if the mean of B A were mean B times mean A. "
                "Set train_a = false under a private mode."
            )

    def _check_local(self) -> None:
        if self.data.users_per_client > 1 and self.privacy.unit == "SEGMENT":
            raise ConfigError(
                'privacy.unit = "SEGMENT" is for a client that holds one user. '
                'Use unit = "USER" with data.users_per_client over 1.'
            )
        if self.data.users_per_client == 1 and self.privacy.unit == "USER":
            raise ConfigError(
                'privacy.mode = "local" with one user per client and unit = "USER" would need a client of one example. '
                'Use unit = "SEGMENT", or put many users on a client.'
            )

    def _check_whole_updates(self) -> None:
        mode = self.privacy.mode
        if self.data.users_per_client > 1:
            raise ConfigError(
                f'privacy.mode = "{mode}" clips a whole update, which {self.data.users_per_client} users would share. '
                'Set data.users_per_client = 1, or use mode = "local" on hubs.'
            )
        if self.privacy.unit != "USER":
            raise ConfigError(f'privacy.mode = "{mode}" protects all that a person did. Set privacy.unit = "USER".')
        if self.privacy.sampling_rate != 1:
            raise ConfigError(
                f"privacy.sampling_rate {self.privacy.sampling_rate} is for the steps of a client in local mode. "
                f"In {mode} mode participation is taken as known: set it to 1."
            )
        if self.federation.norm_bound is not None:
            raise ConfigError(
                f"federation.norm_bound is for updates that nobody clips; in {mode} mode they are clipped. "
                "Leave it out: privacy.clip_norm is the bound."
            )
        if self.federation.aggregation != "mean":
            raise ConfigError(
                f'federation.aggregation = "{self.federation.aggregation}" has no bound that noise could be drawn for. '
                f'In {mode} mode use "mean": every client is held to privacy.clip_norm.'
            )
        if self.correlated_noise.bands > 1 and self.federation.server_optimizer == "adam":
            raise ConfigError(
                "correlated_noise cancels over rounds only where the adapter is their sum, and Adam rescales each. "
                'Set federation.server_optimizer = "momentum" or "fedavg".'
            )

    def _check_coins(self) -> None:
        """Secret coins are worth something where the server keeps them, and its noise, to itself."""
        if self.privacy.mode not in ("none", "central"):
            raise ConfigError(
                f"federation.sampling_rate draws by coins that the server keeps secret, and privacy.mode = "
                f'"{self.privacy.mode}" trusts it with nothing. Leave it out, or use "central".'
            )
        if self.correlated_noise.separation > 1:
            raise ConfigError(
                "federation.sampling_rate may draw a client in any round, and correlated_noise.separation lets it "
                "rest. Leave one of them out."
            )

    def _check_masked(self) -> None:
        if self.federation.over_selection:
            raise ConfigError(
                f"federation.over_selection is {self.federation.over_selection}, and a round under masks cannot close "
                "before all are in. Set it to 0; secure_aggregation.drop_out says how many may go."
            )
        if self.federation.aggregation != "mean":
            raise ConfigError(
                f'federation.aggregation = "{self.federation.aggregation}" needs single updates, which masks hide. '
                'Use "mean", or set secure_aggregation.enabled = false.'
            )
        if self.privacy.mode == "local" and self.federation.norm_bound is None:
            raise ConfigError(
                "secure_aggregation.enabled needs federation.norm_bound in local mode: the grid reaches so far. "
                "Set it to a norm that updates with their noise seldom have."
            )

    def _refuse_what_the_server_noises(self) -> None:
        mode = self.privacy.mode
        if self.model.prior == "released":
            raise ConfigError(
                f'model.prior = "released" needs the server\'s noise, and privacy.mode is "{mode}". Use "central", '
                'or prior = "public".'
            )
        if self.released_metrics.noise_multiplier is not None:
            raise ConfigError(
                f'released_metrics needs the server\'s noise, and privacy.mode is "{mode}". Use "central" mode, or '
                "leave the section out."
            )
        if self.correlated_noise != CorrelatedNoiseConfig():
            raise ConfigError(
                f'correlated_noise is drawn by the server, and privacy.mode is "{mode}". Use "central" mode, or leave '
                "the section out."
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
        counted = replace(self.model, prior="counts") if self.model.prior == "released" else self.model
        return replace(
            self,
            name=f"{self.name}-twin",
            model=counted,
            privacy=PrivacyConfig(),
            budget=BudgetConfig(),
            correlated_noise=CorrelatedNoiseConfig(),
            released_metrics=ReleasedMetricsConfig(),
            secure_aggregation=SecureAggregationConfig(),
        )
