"""When a round may begin: some time after the one before, and within the hours that the operator allows."""

from fedrec.service.config import RoundsConfig

_HOUR, _DAY = 3600, 86_400


def next_start(config: RoundsConfig, *, now: float, last: float | None) -> float:
    """The earliest moment from `now` on at which a round may begin. All times in UTC seconds.

    last: when the round before began; None where none did.

    >>> night = RoundsConfig(between=(22, 4))
    >>> [next_start(night, now=hour * 3600.0, last=None) / 3600 for hour in (3, 4, 12, 23)]
    [3.0, 22.0, 22.0, 23.0]
    """
    earliest = now
    if last is not None:
        # A clock that was set back makes no round wait for longer than it would have.
        earliest = max(now, min(last, now) + config.every)
    return _within(config.between, earliest)


def _within(hours: tuple[int, ...], moment: float) -> float:
    """The first moment from `moment` on in the daily hours; over midnight where the second one is the smaller."""
    if not hours:
        return moment
    first = hours[0] % 24
    length = (hours[1] - first) % 24 or 24
    # The last opening before, or at, this moment; whole seconds, so that rounding shifts no hour.
    opened = (moment - first * _HOUR) // _DAY * _DAY + first * _HOUR
    return moment if moment < opened + length * _HOUR else opened + _DAY
