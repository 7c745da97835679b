"""Everything that fedrec refuses, as exceptions whose one-line message says what to do.

A message never holds a title, a user id or a key: it may end in a log.
"""


class FedrecError(Exception):
    """A fault that the caller can act on; the command line prints it as one line."""

    exit_code = 2

    @property
    def code(self) -> str:
        """What kind of error it is to another program: the name of the nearest class of this module."""
        return next(kind.__name__ for kind in type(self).__mro__ if kind.__module__ == __name__)


class ConfigError(FedrecError):
    """A setting is unknown, missing, or contradicts another."""


class DataError(FedrecError):
    """Input data cannot be read or breaks a contract; names the file and the line."""


class LayoutError(FedrecError):
    """Two sides hold adapters of different shapes, bases or base models."""


class UnsafeUpdateError(FedrecError):
    """An update is not finite, has the wrong size, or was not trained."""


class OverNormError(UnsafeUpdateError):
    """An update is longer than the operator lets one count."""


class RefusedError(FedrecError):
    """A budget, a cap or a verification says no; nothing was released."""

    exit_code = 1


class BudgetError(RefusedError):
    """The privacy budget or the participation cap would be passed."""


class ProtocolError(RefusedError):
    """Another party's message of a secure aggregation is wrong, repeated, or of another round or stage."""


class UnknownClientError(RefusedError):
    """The pinned directory of identity keys does not name who is to take part; a later one may."""


class VerificationError(RefusedError):
    """A hash, a signature or a chain does not match what it vouches for."""
