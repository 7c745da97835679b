"""Which scenarios a service can serve: what devices would refuse is refused before anybody waits for them."""

from fedrec.availability_config import AvailabilityConfig
from fedrec.config import Scenario
from fedrec.errors import ConfigError


def require_served(scenario: Scenario) -> None:
    """Raise ConfigError for what only a simulation can run: it has everybody's data, and a service has nobody's."""
    if scenario.privacy.mode == "none":
        raise ConfigError(
            'privacy.mode is "none", and a device takes part only under a plan. '
            'Use "distributed", "central" or "local".'
        )
    if scenario.privacy.noise != "system":
        raise ConfigError('privacy.noise = "seeded" can be reproduced from the seed. Use "system".')
    if scenario.data.users_per_client != 1:
        raise ConfigError(
            f"data.users_per_client is {scenario.data.users_per_client}, and a device is one person's. Set it to 1."
        )
    if scenario.federation.sampling_rate is not None:
        raise ConfigError(
            "federation.sampling_rate draws by secret coins, which a service that shows who was asked cannot keep. "
            "Leave it out: cohorts are of a fixed size then."
        )
    if scenario.availability != AvailabilityConfig():
        raise ConfigError(
            "[availability] says who is there in a simulation; a service's devices do so by themselves. Leave it out."
        )
    if scenario.model.tower != "linear":
        raise ConfigError('model.tower = "text" does not run on devices. Use "linear".')
    if scenario.model.prior == "counts":
        raise ConfigError(
            'model.prior = "counts" counts what people did, which a service never sees. Use "public", or "released".'
        )
