"""A question about sums of many under masks that nobody has asked for yet: what they would spend and rest on."""

from dataclasses import dataclass
from typing import ClassVar

from fedrec.errors import ConfigError
from fedrec.privacy.plan import SecureSum
from fedrec.privacy.spends import Spending
from fedrec.privacy_config import SecureAggregationConfig
from fedrec.secagg.planned import parameters_of, secure_sum_for

_MOST = 10**4


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureSchedule:
    """A cohort of so many, and how often one client takes part. size: numbers of an update, at most."""

    clients: int
    participations: int
    drop_out: float
    corruption: float
    size: int

    mode: ClassVar[str] = "distributed"

    def secure_sum(self, noise_multiplier: float) -> SecureSum:
        """How it is summed; the grid is in clip norms."""
        return secure_sum_for(
            self.clients,
            drop_out=self.drop_out,
            corruption=self.corruption,
            size=self.size,
            norm=1.0,
            noise_multiplier=noise_multiplier,
        )

    def spending(self, noise_multiplier: float) -> Spending:
        """What a client that takes part as often as it may spends at a noise multiplier."""
        return ((self.secure_sum(noise_multiplier).spend(noise_multiplier), self.participations),)

    def title(self) -> str:
        """The schedule in a few words."""
        return f"noise of {self.clients} clients together, {self.participations} known participations"

    def assumptions(self) -> list[str]:
        """What has to be true for the figures to hold, and what they leave out; one sentence each."""
        summed = self.secure_sum(0.0)
        least, corrupt = summed.least_honest, parameters_of(summed).corrupt
        return [
            "Adjacency is zero-out of one unit: one client's whole update, clipped to an L2 norm of at most clip_norm "
            "and rounded within a bound that is accounted, or zeros in its place; replacing it by another costs "
            "epsilon_replace_one.",
            "Known participation: everybody may know in which rounds a client took part; it enforces the cap of "
            f"{self.participations} itself; the server's draw of cohorts amplifies nothing.",
            f"At most {corrupt} of all clients collude with the server, {self.corruption:.0%} of a cohort of "
            f"{self.clients}: it draws the cohorts and may ask its friends. Then any sum that it can learn holds the "
            f"noise of at least {least} honest clients, whom it cannot tell apart.",
            "Secret noise: each client adds Skellam noise of variance (noise_multiplier x clip_norm)^2 / "
            f"{least}, from the operating system's randomness; with seeded noise nothing holds.",
            "Delta includes that a small sum may come about after all, and what the sampler may be wrong by.",
            "Covered is every adapter that is released, all of them together, and whatever is computed from them; and "
            "every sum that the server learns.",
            "Not covered: earlier runs on the same people and tuning on their data, which spend on top; who took part, "
            "when and how often; facts about whole groups.",
        ]


def secure_schedule(
    *,
    cohort: int | None,
    participations: int | None,
    drop_out: float | None,
    corruption: float | None,
    size: int | None,
) -> SecureSchedule:
    """What was asked, where it can be accounted; None where an option was left out. Raises ConfigError."""
    if cohort is None or participations is None:
        raise ConfigError(
            "--mode distributed needs --cohort N, who add up together, and --participations K, the cap that a client "
            "enforces."
        )
    for name, value in (("cohort", cohort), ("participations", participations)):
        if not 1 <= value <= _MOST:
            raise ConfigError(f"--{name} is {value}. It lies between 1 and {_MOST}.")
    usual = SecureAggregationConfig()
    settings = SecureAggregationConfig(
        drop_out=usual.drop_out if drop_out is None else drop_out,
        corruption=usual.corruption if corruption is None else corruption,
        size=usual.size if size is None else size,
    )
    return SecureSchedule(
        clients=cohort,
        participations=participations,
        drop_out=settings.drop_out,
        corruption=settings.corruption,
        size=settings.size,
    )
