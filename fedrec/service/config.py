"""The settings of an aggregation service: `service.toml`, one frozen dataclass per concern."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fedrec.config_file import parse_table
from fedrec.errors import ConfigError
from fedrec.privacy_config import require_positive
from fedrec.service.folder import ServiceFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """names: under which devices reach the proxy, in the certificate. The other ports are loopback's."""

    names: tuple[str, ...] = ("localhost", "127.0.0.1")
    public_port: int = 443
    fleet_port: int = 9443
    front_port: int = 9480


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsConfig:
    """When rounds begin and what they wait for.

    every: seconds from the start of a round to the next; 0 is one after the other. between:
    hours of a day in UTC, such as (1, 5); empty is always. wait: seconds that a round waits
    for its cohort before the service says that it stops. poll: seconds between two looks at
    what came. promotion: who puts a new release into use.
    """

    every: float = 0.0
    between: tuple[int, ...] = ()
    wait: float = 86_400.0
    poll: float = 3.0
    promotion: Literal["operator", "newest"] = "operator"

    def __post_init__(self) -> None:
        require_positive("rounds", wait=self.wait, poll=self.poll)
        if self.every < 0:
            raise ConfigError(f"rounds.every is {self.every:g}. It is a number of seconds, or 0.")
        hours = self.between
        if hours and (len(hours) != 2 or hours[0] == hours[1] or not all(0 <= hour <= 24 for hour in hours)):
            raise ConfigError(
                f"rounds.between is {list(hours)}. Give two different hours from 0 to 24, such as [1, 5]."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentConfig:
    """most: nodes that may be enrolled at all; per_day: of them, new ones in 24 hours."""

    most: int = 100_000
    per_day: int = 1_000

    def __post_init__(self) -> None:
        require_positive("enrolment", most=self.most, per_day=self.per_day)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """database: a SQLAlchemy URL, SQLite in the service's folder if empty. artifacts: an fsspec URL, likewise."""

    database: str = ""
    artifacts: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """Everything that an operator decides. smallest_group: counts below it are shown as fewer than it."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    rounds: RoundsConfig = field(default_factory=RoundsConfig)
    enrolment: EnrolmentConfig = field(default_factory=EnrolmentConfig)
    registry: RegistryConfig = field(default_factory=RegistryConfig)
    smallest_group: int = 5

    def __post_init__(self) -> None:
        require_positive("service", smallest_group=self.smallest_group)


def load_service(folder: ServiceFolder) -> ServiceConfig:
    """The settings of a service's folder.

    Raises ConfigError if it is none, or one line is wrong.
    """
    try:
        table = tomllib.loads(folder.config.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{folder.path} is no service. Make one with `fedrec server init {folder.path}`.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{folder.config} is not TOML: {error}.") from None
    return parse_table(ServiceConfig, table)


def database_url(folder: ServiceFolder, config: ServiceConfig) -> str:
    """Where the registry lies."""
    return config.registry.database or f"sqlite:///{_absolute(folder.path) / 'registry.db'}"


def artifacts_url(folder: ServiceFolder, config: ServiceConfig) -> str:
    """Where the files of releases lie."""
    return config.registry.artifacts or f"file://{_absolute(folder.path) / 'artifacts'}"


def _absolute(path: Path) -> Path:
    return path.resolve()
