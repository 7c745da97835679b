"""A run folder, read and verified: what a budget report rests on, and nothing else.

Reading changes no file. Whatever contradicts the ledger stops the report here.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fedrec.config import Scenario
from fedrec.config_file import read_run_config
from fedrec.errors import ConfigError, DataError, VerificationError
from fedrec.privacy.chain import GENESIS
from fedrec.privacy.ledger import read_events
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.seal import require_sealed
from fedrec.privacy.spends import SkellamSpend, Spend, spend_of
from fedrec.release import Manifest, public_key, verify_release
from fedrec.secagg.planned import plan_of

LEDGER = "ledger.jsonl"
KINDS = ("update", "metrics", "popularity")
Event = dict[str, Any]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a verified run folder says.

    events, heads: the server's ledger and the hash of each entry, oldest first. clients: the
    client ledgers that lie in the folder. releases: verified, by folder name. sealed: whether
    the ledger's head is signed. result, audit: None where the run has none. asked: the round
    that was begun and is not charged, None where there is none; asked_token: of that attempt.
    """

    path: Path
    scenario: Scenario
    hashes: Mapping[str, str]
    events: Sequence[Event]
    heads: Sequence[str]
    rounds: Sequence[Mapping[str, Any]]
    releases: Mapping[str, Manifest]
    clients: Mapping[int, Sequence[Event]]
    sealed: bool
    result: Mapping[str, Any] | None
    audit: Mapping[str, Any] | None
    asked: int | None = None
    asked_token: str | None = None

    @property
    def served(self) -> bool:
        """Whether devices took part, and not clients of a simulation."""
        # A simulation's run has a key of its own and is named by it.
        return (self.path / "run.id").exists()

    @property
    def plan(self) -> PrivacyPlan | None:
        """What the run was to do; None where it asked for no privacy."""
        return plan_of(self.scenario)

    @property
    def head(self) -> str:
        """The hash that vouches for the whole ledger."""
        return self.heads[-1] if self.heads else GENESIS

    def until(self, head: str) -> Sequence[Event]:
        """The events up to a head, which the ledger must have had.

        Raises VerificationError if it never had it.
        """
        if head == GENESIS:
            return ()
        if head not in self.heads:
            raise VerificationError(
                f"{self.path / LEDGER} lacks the entry {head[:16]} that this run has vouched for: entries were cut off "
                "or exchanged. Restore the ledger from a copy; no report is made on this one."
            )
        return self.events[: self.heads.index(head) + 1]


def part(facts: Mapping[str, Any] | None, *names: str) -> Mapping[str, Any]:
    """What lies under these names, one in the other; empty where that is no table.

    >>> part({"a": {"b": {"c": 1}}}, "a", "b"), part({"a": 1}, "a", "b"), part(None, "a")
    ({'c': 1}, {}, {})
    """
    found: object = facts
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def is_interrupted(event: Event) -> bool:
    """Whether an entry is for an attempt that gave nothing."""
    return "attempt" in event or str(event.get("released", "")).startswith("nothing")


def read_evidence(run: Path, *, key: Path | None = None, result: Mapping[str, Any] | None = None) -> Evidence:
    """Everything that the folder of a run holds on its privacy, verified.

    key: the signer's public key from a source that is trusted; the run's own signing.pub,
    which shows damage but not forgery, if None. result: in place of the file's.
    Raises ConfigError if this is no run folder or `key` is no key, DataError if nothing has happened in it yet,
    VerificationError if a record is damaged or contradicts another.
    """
    trusted = _key(run, key)
    scenario, hashes = _settings(run)
    events = read_events(run / LEDGER)
    heads = _heads(run / LEDGER, len(events))
    asked, asked_token = _asked(run, events)
    evidence = Evidence(
        path=run,
        scenario=scenario,
        hashes=hashes,
        events=events,
        heads=heads,
        rounds=_intact(run / "rounds.jsonl", _json_lines) or [],
        releases=_releases(run, trusted),
        clients=_client_ledgers(run),
        sealed=_sealed(run, heads, trusted),
        result=_intact(run / "result.json", _json_object) if result is None else result,
        audit=_intact(run / "audit.json", _json_object),
        asked=asked,
        asked_token=asked_token,
    )
    if not (events or evidence.rounds or evidence.releases):
        raise DataError(f"{run} has not finished a round yet: there is nothing to report. Run it first.")
    _check_events(evidence)
    _check_heads(evidence)
    _check_releases(evidence)
    _check_clients(evidence)
    _check_separation(evidence)
    return evidence


def _asked(run: Path, events: Sequence[Event]) -> tuple[int | None, str | None]:
    """The round that was begun and that nobody was charged for yet, and the token of that attempt."""
    begun = _intact(run / "pending.json", _json_object)
    rounds = (event for event in events if "attempt" not in event)
    if begun is None or any(event.get("token") == begun.get("token") for event in rounds):
        return None, None
    number, token = begun.get("round"), begun.get("token")
    return (number if isinstance(number, int) else None), (token if isinstance(token, str) else None)


def _settings(run: Path) -> tuple[Scenario, dict[str, str]]:
    try:
        return read_run_config(run)
    except RecursionError:
        raise ConfigError(f"{run / 'config.toml'} is damaged (nested too deeply). Restore it from a copy.") from None


def _key(run: Path, key: Path | None) -> Path:
    """The file of the key to trust; a given one is looked at even where nothing was signed."""
    if key is None:
        return run / "signing.pub"
    try:
        public_key(key)
    except VerificationError as error:
        raise ConfigError(str(error)) from None
    return key


def _heads(path: Path, entries: int) -> list[str]:
    """The hash of every entry of a ledger whose chain was just verified."""
    lines = path.read_bytes().split(b"\n")[:entries] if entries else []
    return [str(json.loads(line)["hash"]) for line in lines]


def _intact(path: Path, read: Callable[[str], _T]) -> _T | None:
    """What a file holds, None if it is absent; raises VerificationError if it cannot be read."""
    if not path.exists():
        return None
    try:
        return read(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, RecursionError) as error:
        raise VerificationError(f"{path} is damaged ({type(error).__name__}). Restore it from a copy.") from None


def _json_object(text: str) -> dict[str, Any]:
    return dict(json.loads(text))


def _json_lines(text: str) -> list[dict[str, Any]]:
    return [dict(json.loads(line)) for line in text.splitlines()]


def _sealed(run: Path, heads: Sequence[str], key: Path) -> bool:
    """Whether the ledger leads to the head that was signed last; False where nothing was spent yet.

    Raises VerificationError if it does not, or if the seal of its entries is gone.
    """
    seal = run / "ledger.seal"
    if not seal.exists():
        if len(heads) > 1:  # the first entry may lack its seal: it is written after the entry
            raise VerificationError(
                f"{seal} is missing, and the ledger has {len(heads)} entries: nothing shows whether some were cut off. "
                "Restore the seal from a copy; no report is made without it."
            )
        return False
    require_sealed(run / LEDGER, {GENESIS, *heads}, seal, public_key(key))
    return True


def _releases(run: Path, key: Path) -> dict[str, Manifest]:
    folders = sorted(path for path in (run / "releases").glob("*") if not path.name.startswith("."))
    if not folders:
        return {}
    trusted = public_key(key)
    return {folder.name: verify_release(folder, trusted) for folder in folders}


def _client_ledgers(run: Path) -> dict[int, list[dict[str, Any]]]:
    paths = (run / "clients").glob(f"*/{LEDGER}")
    return {int(path.parent.name): read_events(path) for path in sorted(paths) if path.parent.name.isdecimal()}


def _check_events(evidence: Evidence) -> None:
    """Raise VerificationError for an entry that cannot be accounted under this run's settings."""
    plan = evidence.plan
    if plan is None:
        if evidence.events:
            raise VerificationError(
                f"{evidence.path} is set to no privacy, and its ledger holds {len(evidence.events)} entries. "
                "One of the two was exchanged; no report is made on them."
            )
        return
    for number, event in enumerate(evidence.events):
        if fault := _fault(event, plan):
            raise VerificationError(f"{evidence.path / LEDGER}: entry {number} {fault}. No report is made on it.")


def _fault(event: Event, plan: PrivacyPlan) -> str:
    """What makes an entry impossible to account; empty if nothing does."""
    try:
        spend = spend_of(event)
    except KeyError as error:
        return f"lacks {error}"
    if isinstance(spend, SkellamSpend) and not _is_accountable(spend):
        return "holds a variance, a norm, a size or a probability of distributed noise that cannot be"
    numbers = (spend.noise_multiplier, spend.sampling_rate, event.get("clip_norm"))
    if not all(isinstance(value, int | float) and math.isfinite(value) and value > 0 for value in numbers):
        return "holds a noise, a rate or a bound that is no number over 0"
    if spend.sampling_rate > 1 or not isinstance(spend.steps, int) or spend.steps < 1:
        return f"holds a sampling rate of {spend.sampling_rate} and {spend.steps} steps"
    if event.get("unit") != plan.unit or event.get("mode", plan.mode) != plan.mode:
        return f"is of another unit or mode than the run's {plan.unit} and {plan.mode}"
    if event.get("kind") not in KINDS or not isinstance(event.get("round"), int):
        return f"is of the unknown kind {event.get('kind')}, or of no round"
    if not isinstance(event.get("guarantee"), bool) or not isinstance(event.get("participants"), list):
        return "does not say who took part, or whether its noise was secret"
    return ""


def _is_accountable(spend: SkellamSpend) -> bool:
    whole = (spend.variance, spend.norm_squared, spend.size)
    chances = (spend.failure, spend.total_variation)
    return all(type(value) is int and value > 0 for value in whole) and all(
        type(value) in (int, float) and 0 <= value < 1 for value in chances
    )


def _check_heads(evidence: Evidence) -> None:
    """Raise VerificationError if a round, a release or the result rests on entries that are gone or never were."""
    vouched = [(record.get("ledger_head"), record.get("round")) for record in evidence.rounds]
    vouched += [(each.lineage.get("ledger_head"), each.lineage.get("round")) for each in evidence.releases.values()]
    if evidence.result is not None:
        vouched.append((evidence.result.get("ledger_head"), None))
    last = {head: event["round"] for head, event in zip(evidence.heads, evidence.events, strict=True)}
    for head, number in vouched:
        evidence.until(str(head))
        if evidence.plan and isinstance(number, int) and last.get(str(head), 0) < number:
            raise VerificationError(
                f"Round {number} of {evidence.path} was released before it was paid for: its ledger head stands at "
                f"round {last.get(str(head), 0)}. No report is made on it."
            )


def _check_releases(evidence: Evidence) -> None:
    """Raise VerificationError if a round has two releases: its noise was drawn twice, and their difference is free."""
    known: dict[object, str] = {}
    for manifest in evidence.releases.values():
        number = manifest.lineage.get("round")
        if known.setdefault(number, manifest.id) != manifest.id:
            raise VerificationError(
                f"{evidence.path} holds two different releases of round {number}, {known[number]} and {manifest.id}: "
                "the ledger pays for one. No report is made on it."
            )


def _check_clients(evidence: Evidence) -> None:
    """Raise VerificationError if a client has spent more, or under other noise, than the server's ledger says."""
    charged: dict[int, Counter[Spend]] = {}
    for event in evidence.events:
        for client in event["participants"]:
            charged.setdefault(client, Counter())[spend_of(event)] += 1
    for client, events in evidence.clients.items():
        known = charged.get(client, Counter())
        # A client pays before its server does: a round that is under way is said to be, and is no contradiction.
        over = [event for event in events if evidence.asked_token is None or event.get("token") != evidence.asked_token]
        spent = Counter(spend_of(event) for event in over)
        if spent.total() > known.total():
            raise VerificationError(
                f"A client's ledger holds {spent.total()} entries and the server's {known.total()} for it. "
                "Do not publish an epsilon for this run; report it as a fault."
            )
        if any(count > known[spend] for spend, count in spent.items()):
            raise VerificationError(
                "A client's ledger and the server's disagree on the noise of its entries. "
                "Do not publish an epsilon for this run; report it as a fault."
            )


def _check_separation(evidence: Evidence) -> None:
    """Raise VerificationError if correlated noise was spent by a client whose rounds share it."""
    last: dict[int, tuple[float, object]] = {}
    for event in evidence.events:
        bands, attempt = event.get("bands", 1), (event["round"], event.get("token"))
        if event["kind"] != "update" or bands == 1 or is_interrupted(event):
            continue
        for client in event["participants"]:
            before = last.get(client, (-math.inf, None))
            # A second entry of the same attempt pays for another reply to the same noised sum.
            if attempt != before and event["round"] - before[0] < bands:
                raise VerificationError(
                    f"A client took part in rounds {before[0]} and {event['round']} under noise that is correlated "
                    f"over {bands}. What it spent cannot be accounted; report it as a fault."
                )
            last[client] = attempt
