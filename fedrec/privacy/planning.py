"""A question about a plan that nobody has run yet: what it would spend, and what has to be true for that."""

from dataclasses import dataclass
from typing import Literal

from fedrec.errors import ConfigError
from fedrec.privacy.spends import GaussianSpend, Spending

_MOST = 10**9
_NO_MODE = {
    "none": "--mode none adds no noise, so there is nothing to plan. Choose central, distributed or local.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Who adds noise, and how often one client's data may enter.

    participations: None where secret coins of the server decide, round by round.
    sampling_rate: of those coins, or of the client's own in `local` mode.
    bands, separation: of correlated noise; None where every round's noise is its own.
    """

    mode: Literal["central", "local"]
    participations: int | None
    rounds: int | None = None
    sampling_rate: float = 1.0
    local_steps: int = 1
    bands: int | None = None
    separation: int | None = None

    def spending(self, noise_multiplier: float) -> Spending:
        """What a client that takes part as often as it may spends at a noise multiplier."""
        steps, count = self.local_steps, self.participations
        if count is None:
            steps, count = self.rounds or 1, 1
        spend = GaussianSpend(noise_multiplier=noise_multiplier, sampling_rate=self.sampling_rate, steps=steps)
        return ((spend, count),)

    def title(self) -> str:
        """The schedule in a few words."""
        if self.participations is None:
            return f"central noise, {self.rounds} rounds, each entered by a secret coin of rate {self.sampling_rate:g}"
        often = f"{self.participations} known participations"
        if self.mode == "central":
            return f"central noise, {often}"
        return f"local noise, {often} of {self.local_steps} steps at sampling rate {self.sampling_rate:g}"

    def assumptions(self) -> list[str]:
        """What has to be true for the figures to hold, and what they leave out; one sentence each."""
        return [*_ADJACENCY[self.mode], *_entering(self), *_noise(self), *_OUTSIDE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked, as it was asked; None where an option was left out."""

    mode: str
    participations: int | None = None
    sampling: str | None = None
    sampling_rate: float | None = None
    rounds: int | None = None
    local_steps: int | None = None
    bands: int | None = None
    separation: int | None = None

    def schedule(self) -> Schedule:
        """What was asked, where it can be accounted; raises ConfigError with the reason where it cannot."""
        if self.mode not in ("central", "local"):
            raise ConfigError(
                _NO_MODE.get(self.mode, f"There is no mode `{self.mode}`. Choose central, distributed or local.")
            )
        self._check_numbers()
        if self.sampling not in (None, "poisson"):
            raise ConfigError(
                f"--sampling {self.sampling} amplifies nothing here: cohorts of a fixed size, shuffled or seen by "
                "others are no secret Poisson coins. Plan known participations: --participations K."
            )
        return self._local() if self.mode == "local" else self._central()

    def _check_numbers(self) -> None:
        for name in ("participations", "rounds", "local_steps", "bands", "separation"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= _MOST:
                raise ConfigError(f"--{name.replace('_', '-')} is {value}. It lies between 1 and {_MOST}.")
        if self.sampling_rate is not None and not 0 < self.sampling_rate <= 1:
            raise ConfigError(f"--sampling-rate is {self.sampling_rate}. It is a probability: over 0, at most 1.")

    def _local(self) -> Schedule:
        if self.bands is not None or self.separation is not None:
            raise ConfigError("--bands and --separation are of central noise, across rounds. Leave them out in local.")
        count = self.participations or self.rounds
        if count is None:
            raise ConfigError("--mode local needs --participations K, or --rounds R for a client that joins them all.")
        self._fits_rounds(count, 1)
        if self.sampling == "poisson" and self.sampling_rate is None:
            raise ConfigError("--sampling poisson needs --sampling-rate Q: the rate of the client's own secret coins.")
        return Schedule(
            mode="local",
            participations=count,
            sampling_rate=1.0 if self.sampling_rate is None else self.sampling_rate,
            local_steps=self.local_steps or 1,
        )

    def _central(self) -> Schedule:
        if self.local_steps is not None:
            raise ConfigError(
                "--local-steps spends nothing in central mode: a client's whole update is clipped and noised once. "
                "Leave it out, or choose --mode local."
            )
        return self._coins() if self.sampling == "poisson" else self._known()

    def _coins(self) -> Schedule:
        if self.bands is not None or self.separation is not None:
            raise ConfigError(
                "Correlated noise (--bands) is accounted without sampling: its rounds are not independent. "
                "Plan --participations K instead of --sampling poisson."
            )
        if self.participations is not None:
            raise ConfigError(
                "--participations (known) and --sampling poisson (secret coins) exclude each other. Give one of them."
            )
        if self.sampling_rate is None or self.rounds is None:
            raise ConfigError("--sampling poisson needs --sampling-rate Q and --rounds R.")
        return Schedule(mode="central", participations=None, rounds=self.rounds, sampling_rate=self.sampling_rate)

    def _known(self) -> Schedule:
        if self.sampling_rate is not None:
            raise ConfigError(
                "--sampling-rate amplifies nothing where participations are known. Leave it out, or add "
                "--sampling poisson --rounds R if the server draws secret coins."
            )
        separation = self._separation()
        count = self.participations
        if count is None and self.bands is not None and self.rounds is not None:
            count = -(-self.rounds // separation)
        if count is None:
            raise ConfigError("Say how often one client takes part: --participations K, the cap that it enforces.")
        self._fits_rounds(count, separation)
        return Schedule(mode="central", participations=count, bands=self.bands, separation=self.separation)

    def _separation(self) -> int:
        if self.bands is None and self.separation is None:
            return 1
        if self.bands is None or self.separation is None:
            raise ConfigError("--bands B and --separation S go together: noise of B bands, rounds at least S apart.")
        if self.separation < self.bands:
            raise ConfigError(
                f"--separation {self.separation} is under --bands {self.bands}: a client's rounds would share noise "
                "and cost more than as many Gaussian releases. Raise the separation or lower the bands."
            )
        return self.separation

    def _fits_rounds(self, count: int, separation: int) -> None:
        if self.rounds is not None and count > -(-self.rounds // separation):
            raise ConfigError(
                f"--participations {count} do not fit into --rounds {self.rounds}"
                + (f" that lie {separation} apart" if separation > 1 else "")
                + ". Lower them or add rounds."
            )


_ADJACENCY = {
    "central": [
        "Adjacency is zero-out of one unit: one client's whole update, clipped to an L2 norm of at most clip_norm, "
        "or zeros in its place; replacing it by another costs epsilon_replace_one.",
    ],
    "local": [
        "Adjacency is zero-out of one unit: its gradient in every step, clipped to an L2 norm of at most clip_norm, "
        "or zeros in its place; replacing it by another costs epsilon_replace_one.",
        "No example holds data of two units, and one unit's data lie on one client.",
    ],
}

_OUTSIDE = [
    "Covered is every adapter that is released, all of them together, and whatever is computed from them.",
    "Not covered: popularity and metrics releases, earlier runs on the same people and tuning on their data, which "
    "spend on top; who took part, when and how often; facts about whole groups.",
]


def _entering(schedule: Schedule) -> list[str]:
    """How often one unit's data enter, and who knows it."""
    if schedule.participations is None:
        return [
            f"Amplified by sampling, only for a simulated study or a server that draws secret coins: in each of "
            f"{schedule.rounds} rounds every client enters by an independent coin of rate {schedule.sampling_rate:g} "
            "that nobody else sees; neither availability nor a cap on participations decides who enters. A run with "
            "`federation.sampling_rate` has a cap, and counts inside delta how likely coins are to pass it.",
        ]
    known = (
        f"Known participation: everybody may know in which rounds a client took part; it enforces the cap of "
        f"{schedule.participations} itself; the server's draw of cohorts amplifies nothing."
    )
    return [known, *_steps(schedule), *_orthogonal(schedule)]


def _steps(schedule: Schedule) -> list[str]:
    if schedule.mode == "central":
        return []
    steps = f"Each participation is {schedule.local_steps} noised steps"
    if schedule.sampling_rate == 1:
        return [f"{steps}, and every unit enters every step."]
    return [
        f"{steps}; a unit enters a step by the client's own secret Poisson coins of rate "
        f"{schedule.sampling_rate:g}, drawn anew each step, a constant that is not read off the data."
    ]


def _orthogonal(schedule: Schedule) -> list[str]:
    if schedule.bands is None:
        return []
    return [
        f"Correlated noise: the encoder has {schedule.bands} bands and columns of norm 1, and a client's rounds lie at "
        f"least {schedule.separation} apart, which it enforces; so its columns are orthogonal and its participations "
        "cost as many independent Gaussian releases."
    ]


def _noise(schedule: Schedule) -> list[str]:
    if schedule.mode == "central":
        return [
            "Secret noise: the server adds Gaussian noise of standard deviation noise_multiplier x clip_norm to the "
            "sum of equally weighted updates, from the operating system's randomness; with seeded noise nothing holds.",
            "The server is trusted: it sees each clipped update before the noise.",
        ]
    return [
        "Secret noise: each client adds Gaussian noise of standard deviation noise_multiplier x clip_norm to every "
        "step's clipped sum, from the operating system's randomness; with seeded noise nothing holds.",
    ]
