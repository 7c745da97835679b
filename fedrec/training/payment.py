"""Charging the server's ledger for a round, before anything of it is used."""

import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any

from fedrec.privacy.ledger import Ledger
from fedrec.privacy.plan import PrivacyPlan
from fedrec.training.blocks import Block
from fedrec.training.collecting import Asked

_INTERRUPTED = "interrupted"
# Under masks a sum is paid for before it is opened, and may not come out.
_ASKED = "sum of round {} asked for"
_RELEASED = {"update": "adapter of round {}", "metrics": "metrics of round {}", "popularity": "popularity"}


def pay(
    ledger: Ledger, plan: PrivacyPlan, asked: Asked, blocks: Sequence[Block], *, guarantee: bool, dropped: bool
) -> None:
    """Write what an attempt at a round spent, once per token, and each attempt that an interruption wasted.

    guarantee: whether the noise is secret. dropped: too few replied, and nothing is released.
    """
    for block in blocks:
        event = {
            **_event(plan, block),
            "round": asked.round,
            "token": asked.token,
            "guarantee": guarantee,
        }
        written = [entry for entry in ledger.entries if entry["token"] == asked.token and entry["kind"] == block.kind]
        _pay_interrupted(ledger, event, asked, written, cap=plan.limits.cap)
        rounds = [entry for entry in written if "attempt" not in entry]
        owing, unseen = _owing(asked, rounds)
        ended = [entry for entry in rounds if not entry["released"].startswith(_INTERRUPTED)]
        if owing or unseen or not ended:
            masked = plan.secure_sum is not None and block.kind == "update"
            released = (_ASKED if masked else _RELEASED[block.kind]).format(asked.round)
            if dropped:
                released = f"nothing: too few replies in round {asked.round}"
            ledger.append({**event, "participants": sorted(owing), "replies": unseen, "released": released})


def settle(
    ledger: Ledger,
    plan: PrivacyPlan,
    blocks: Sequence[Block],
    *,
    number: int,
    token: str,
    cohort: Sequence[int],
    guarantee: bool,
) -> None:
    """Charge everybody who was asked for a round that was cut off while replies came in, once.

    It is owed whether or not the round goes on; where it does, `pay` writes what is still missing. An attempt of
    one client that was charged before the power went pays for nobody's reply.
    """
    charged = {entry["kind"] for entry in ledger.entries if entry["token"] == token and "attempt" not in entry}
    for block in blocks:
        if block.kind not in charged:
            event = _event(plan, block)
            same = {"round": number, "token": token, "guarantee": guarantee, "participants": sorted(cohort)}
            ledger.append({**event, **same, "replies": {}, "released": f"{_INTERRUPTED}: round {number} was asked"})


def complete(ledger: Ledger, plan: PrivacyPlan, token: str, blocks: Sequence[Block]) -> None:
    """Write the entries that an interruption kept from an attempt that was only partly charged.

    Every client of it has paid for all its blocks.
    """
    written = {entry["kind"]: entry for entry in ledger.entries if entry["token"] == token and "attempt" not in entry}
    for block in blocks:
        if written and block.kind not in written:
            first = next(iter(written.values()))
            same = {name: first[name] for name in ("round", "token", "guarantee", "participants", "replies")}
            ledger.append({**_event(plan, block), **same, "released": "nothing: interrupted"})


def _event(plan: PrivacyPlan, block: Block) -> dict[str, Any]:
    """What an entry says of a block. Under secret coins it holds what nobody can guess: a release names the ledger's
    head, and whoever knows all else that an entry says could try out on it who was drawn.
    """
    event = plan.event(block.spend, kind=block.kind, clip_norm=block.clip_norm)
    return event if plan.cohort_rate is None else {**event, "salt": secrets.token_hex(16)}


def paid(ledger: Ledger, token: str) -> bool:
    """Whether an attempt was charged."""
    return any(entry["token"] == token and "attempt" not in entry for entry in ledger.entries)


def _pay_interrupted(
    ledger: Ledger, event: dict[str, Any], asked: Asked, written: Sequence[dict[str, Any]], *, cap: int
) -> None:
    """Charge attempts that gave nothing; no honest client comes to more than its cap, so no claim does.

    Those before them are charged already: as interrupted, or by the reply that is on record.
    """
    claimants = {client for client, _ in asked.interrupted}
    if not claimants:
        return
    charged = Counter(entry["client"] for entry in written if "attempt" in entry)
    charged.update(int(client) for entry in written if "attempt" not in entry for client in entry["replies"])
    others = (entry for entry in ledger.entries if entry["kind"] == event["kind"] and entry["token"] != asked.token)
    taken = Counter(client for entry in others for client in entry["participants"] if client in claimants)
    for client, attempt in asked.interrupted:
        if attempt > charged[client] and taken[client] + attempt < cap:
            wasted = {"participants": [client], "client": client, "attempt": attempt}
            ledger.append({**event, **wasted, "released": "nothing: interrupted"})


def _owing(asked: Asked, rounds: Sequence[dict[str, Any]]) -> tuple[set[int], dict[str, str]]:
    """Who is not charged yet for what it sent, and the replies that are not on record.

    A client that refused before an interruption may have taken part after it; and another
    reply to the same round is other noise, as from a client that lost what it had stored.
    """
    charged = {client for entry in rounds for client in entry["participants"]}
    seen = {(int(client), digest) for entry in rounds for client, digest in entry["replies"].items()}
    unseen = {client: digest for client, digest in asked.replies.items() if (client, digest) not in seen}
    again = {client for client, _ in seen} & unseen.keys()
    owing = {client for client in asked.spent if client not in charged or client in again}
    return owing, {str(client): digest for client, digest in unseen.items()}
