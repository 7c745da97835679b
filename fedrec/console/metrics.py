"""The service in Prometheus' words: from what the console shows, so that nothing more can be read here than there."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from fedrec.console import rows, wire
from fedrec.console.view import View
from fedrec.console.words import PHASES
from fedrec.registry.status import finished_rounds
from fedrec.registry.tables import StoredRelease, StoredRound

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LEFT_OUT = "Groups of devices that are smaller than the service's smallest group are left out."


@dataclass(slots=True)
class Totals:
    """Sums over the finished rounds of one catalogue, each counted once."""

    rounds: int = 0
    replies: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    bytes: int = 0
    last: int = 0
    _counted: set[tuple[str, int]] = field(default_factory=set)

    def add(self, record: wire.FinishedRound) -> None:
        """Count a round, unless it is counted."""
        if (record.run, record.round) in self._counted:
            return
        self._counted.add((record.run, record.round))
        self.rounds += 1
        self.replies += record.replies.at_least
        self.bytes += record.bytes or 0
        self.last = max(self.last, record.finished_at)
        for failed in record.failures or ():
            self.failures[failed.code] = self.failures.get(failed.code, 0) + failed.devices.at_least
        for part in record.seconds:
            self.seconds[part.phase] = self.seconds.get(part.phase, 0.0) + part.seconds


@dataclass(slots=True, eq=False)
class Metrics(Collector):
    """Collects from a view at each scrape; finished rounds are read once."""

    view: View
    _totals: dict[str, Totals] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def text(self) -> bytes:
        """All metrics, in the text format, from a registry object of their own."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def describe(self) -> list[Metric]:
        """Nothing is collected before somebody asks."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family, a sample per catalogue."""
        names = self.view.folder.names()
        with self._lock:
            totals = {name: self._total(name) for name in names}
        yield from _of_rounds(totals)
        yield from self._of_now({name: self.view.line(name) for name in names}, totals)
        yield from self._of_budgets(names)

    def _total(self, name: str) -> Totals:
        """The sums of a catalogue, with the rounds that finished since they were asked for last."""
        total = self._totals.setdefault(name, Totals())
        there = self._count(StoredRound, name)
        if there > total.rounds:
            for last in (there - total.rounds, there):
                for record in finished_rounds(self.view.registry, name, last=last):
                    total.add(rows.finished(record, smallest=self.view.smallest))
                if total.rounds >= there:
                    break
        return total

    def _of_now(self, lines: dict[str, wire.Line], totals: dict[str, Totals]) -> Iterator[Metric]:
        now = self.view.clock()
        phase = _gauge("fedrec_phase", "1 for the phase that the rounds are in.", "phase")
        needed = _gauge("fedrec_nodes_needed", "Devices that a round waits for.")
        connected = _gauge("fedrec_nodes_connected", f"Devices that are there. {_LEFT_OUT}")
        heard = _gauge("fedrec_status_age_seconds", "Since the rounds were heard of last.")
        last = _gauge("fedrec_last_round_age_seconds", "Since the last round finished.")
        releases = _counter("fedrec_releases", "Published releases.")
        serial = _gauge("fedrec_channel_serial", "Of the pointer that devices are given.")
        for name, line in lines.items():
            releases.add_metric([name], self._count(StoredRelease, name))
            if line.in_use:
                serial.add_metric([name], line.in_use.serial)
            if totals[name].last:
                last.add_metric([name], max(0.0, now - totals[name].last))
            if line.now:
                for each in PHASES:
                    phase.add_metric([name, each], line.now.phase == each)
                needed.add_metric([name], line.now.needed)
                heard.add_metric([name], max(0.0, now - line.now.updated_at))
                if line.now.connected.value is not None:
                    connected.add_metric([name], line.now.connected.value)
        yield from (phase, needed, connected, heard, last, releases, serial)

    def _of_budgets(self, names: list[str]) -> Iterator[Metric]:
        spent = _gauge("fedrec_epsilon_spent", "Of the client that spent most, rounded up.")
        limit = _gauge("fedrec_epsilon_budget", "What may be spent over a lifetime.")
        known = _gauge("fedrec_ledger_readable", "0 where the ledger or the scenario cannot be read.")
        for name in names:
            budget = self.view.budgets.of(self.view.folder.catalogue(name))
            known.add_metric([name], not budget.fault)
            if budget.epsilon is not None:
                spent.add_metric([name], budget.epsilon)
            if budget.budget is not None:
                limit.add_metric([name], budget.budget)
        yield from (spent, limit, known)

    def _count(self, table: type[StoredRound] | type[StoredRelease], name: str) -> int:
        query = select(func.count()).select_from(table).where(table.catalogue == name)
        return self.view.registry.read(lambda session: session.scalar(query) or 0)


def _of_rounds(totals: dict[str, Totals]) -> Iterator[Metric]:
    rounds = _counter("fedrec_rounds_finished", "Finished rounds.")
    replies = _counter("fedrec_round_replies", f"Replies that counted, at least. {_LEFT_OUT}")
    failures = _counter("fedrec_round_failures", f"Replies that did not count, at least. {_LEFT_OUT}", "code")
    seconds = _counter("fedrec_round_seconds", "Time that finished rounds took, by phase.", "phase")
    size = _counter("fedrec_round_bytes", "Bytes of rounds of which every count is shown.")
    for name, total in totals.items():
        rounds.add_metric([name], total.rounds)
        replies.add_metric([name], total.replies)
        size.add_metric([name], total.bytes)
        for code, times in sorted(total.failures.items()):
            failures.add_metric([name, code], times)
        for phase, spent in sorted(total.seconds.items()):
            seconds.add_metric([name, phase], spent)
    yield from (rounds, replies, failures, seconds, size)


def _gauge(name: str, words: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, labels=["catalogue", *labels])


def _counter(name: str, words: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, words, labels=["catalogue", *labels])
