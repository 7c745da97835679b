"""A clock that moves only when somebody sleeps, and then does what was planned for that moment."""

from collections.abc import Callable

from fedrec.service.clock import Clock


class FakeClock:
    """Starts on 1 January 2027, 00:00 UTC. plans: what happens at a moment, in seconds from then."""

    START = 1_798_761_600.0

    def __init__(self, plans: dict[float, Callable[[], None]] | None = None) -> None:
        self.elapsed = 0.0
        self.shift = 0.0
        self.plans = dict(plans or {})

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        assert seconds > 0, "a pause of nothing is a busy loop"
        self.elapsed += seconds
        for moment in [moment for moment in self.plans if moment <= self.elapsed]:
            self.plans.pop(moment)()

    def clock(self) -> Clock:
        """As the rounds see it; `shift` is what somebody did to the time of the day."""
        return Clock(utc=lambda: self.START + self.elapsed + self.shift, steady=lambda: self.elapsed, sleep=self.sleep)
