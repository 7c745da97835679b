"""What a run folder says of itself, section by section of a budget report; no arithmetic on epsilons."""

import hashlib
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fedrec
from fedrec.privacy.amplification import amplified_by
from fedrec.privacy.plan import ADJACENCY, PrivacyPlan
from fedrec.privacy.statement import participations
from fedrec.reporting.figures import number
from fedrec.reporting.privacy import words
from fedrec.reporting.privacy.evidence import LEDGER, Evidence, part
from fedrec.reporting.privacy.masks import realised_std

Facts = dict[str, Any]
NOT_STATED = "not stated"
_ADAPTER = "adapter/adapter_model.safetensors"
_PACKAGES = ("fedrec", "dp-accounting", "opacus", "numpy", "scipy", "cryptography")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What only people can say: who answers for the run, what it is for, how to reach them."""

    curator: str = NOT_STATED
    purpose: str = NOT_STATED
    contact: str = NOT_STATED


NOBODY = Stated()


def identity(evidence: Evidence, stated: Stated) -> Facts:
    """Which run this is, by hashes of what it made and what it was made from."""
    last = max(evidence.releases, default=None)
    manifest = evidence.releases[last] if last else None
    lineage = manifest.lineage if manifest else {}
    data = part(evidence.result, "dataset")
    return {
        "run": evidence.path.resolve().name,
        "scenario": evidence.scenario.name,
        **asdict(stated),
        "run_id": lineage.get("run"),
        "release": last,
        "adapter_sha256": manifest.files.get(_ADAPTER) if manifest else None,
        "base_model": lineage.get("base_model"),
        "encoder": lineage.get("encoder"),
        "item_index": lineage.get("index"),
        "layout": evidence.hashes["layout"],
        "dataset": {name: str(data.get(name) or "") for name in ("name", "source", "licence")}
        | {"hash": evidence.hashes["dataset_hash"]},
        "dates": _dates(evidence),
        "made": _iso(datetime.now(tz=UTC).timestamp()),
    }


def setting(mode: str, *, served: bool = False, masked: bool = False) -> Facts:
    """Who has to be trusted, and who sees what."""
    return {
        "mode": mode,
        "trust": words.trust_sentence(mode),
        "parties": [asdict(party) for party in words.parties(mode, served=served, masked=masked)],
    }


def unit(evidence: Evidence, plan: PrivacyPlan) -> Facts:
    """What is protected as one, against what, and how much of it enters at most."""
    whole = plan.unit == "USER" or plan.local is None
    return {
        "name": plan.unit,
        "text": plan.unit_text(),
        "adjacency": ADJACENCY,
        "adjacency_text": words.adjacency_words(ADJACENCY),
        "period": "the whole run"
        if whole or plan.local is None
        else f"{plan.local.segment_days} days, cut at fixed times",
        "caps": list(_caps(evidence, plan)),
    }


def mechanism(evidence: Evidence, plan: PrivacyPlan) -> Facts:
    """What was clipped and noised, as planned and as the ledger has it."""
    stds = [realised_std(event, plan) for event in evidence.events if event["kind"] == "update"]
    local, summed = plan.local, plan.secure_sum
    return {
        "name": _NOISE[plan.mode]
        + (f", correlated over {plan.bands} rounds (DP-FTRL, banded Toeplitz)" if plan.bands > 1 else ""),
        "clipped": "the gradient of each unit, in each step" if local else "the whole update of each client",
        "noised_by": _NOISED_BY[plan.mode],
        "clip_norm": plan.clip_norm,
        "noise_multiplier": plan.noise_multiplier,
        "noise_std": plan.noise_std,
        "noise_std_realised": {"least": min(stds), "most": max(stds), "entries": len(stds)} if stds else None,
        "divided_by": local.expected_batch if local else float(evidence.scenario.federation.cohort),
        "divisor": _DIVISOR[plan.mode],
        "bands": plan.bands,
        "separation": plan.limits.separation,
        "grid": summed.norm / summed.steps if summed else None,
        "modulus": 2**summed.bits if summed else None,
        "n_min": _least(evidence, plan),
        "randomness": _randomness(evidence.scenario.privacy.noise),
        "float_safety": _FLOAT_SAFETY["distributed" if plan.mode == "distributed" else "other"],
    }


_NOISE = {
    "local": "Gaussian noise on a sum of clipped vectors",
    "central": "Gaussian noise on a sum of clipped vectors",
    "distributed": "Skellam noise, in whole numbers, on a sum of clipped vectors that were rounded to a grid",
}
_NOISED_BY = {
    "local": "each client, on each step's sum",
    "central": "the server, on the sum of a round",
    "distributed": "the clients together: each adds a share on the grid, under its mask; n_min shares are enough",
}
_DIVISOR = {
    "local": "the expected batch, a constant of the settings",
    "central": "the cohort, a constant of the settings; how many were asked or replied does not enter",
    "distributed": "the cohort, a constant of the settings; who survived the round does not enter",
}
_FLOAT_SAFETY = {
    "other": (
        "float64 sums and noise; the grid of floating point is not hidden (Mironov 2012), so the proof, which is "
        "for real numbers, holds only nearly"
    ),
    "distributed": (
        "sums and noise are whole numbers, and the proof is for them; what floating point does before the rounding is "
        "held by the clip, and checked in whole numbers after it"
    ),
}


def _least(evidence: Evidence, plan: PrivacyPlan) -> int | None:
    """Clients in a sum at least: honest ones where noise is shared, replies where a server adds it up."""
    if plan.secure_sum is not None:
        return plan.secure_sum.least_honest
    if evidence.scenario.federation.sampling_rate is not None:
        # A round is released whoever replied: that one is left out would tell of the coins.
        return 0
    return None if plan.local else evidence.scenario.federation.min_replies


def sampling(evidence: Evidence, plan: PrivacyPlan) -> Facts:
    """Who took part: what the accounting claims of it, and what happened."""
    scenario, taken = evidence.scenario, participations(evidence.events)
    coins = amplified_by(plan, evidence.events, secret=evidence.scenario.privacy.noise == "system")
    return {
        "claimed": plan.sampling_text(),
        "actual": _drawn(evidence),
        "amplification": _amplification(evidence, plan),
        "amplified": coins.as_json() if coins else None,
        "sampling_rate": plan.participation.sampling_rate,
        "steps": plan.participation.steps,
        "clients": clients(evidence),
        "cohort": scenario.federation.cohort,
        "rounds": len({event["round"] for event in evidence.events if event["kind"] == "update"}),
        "planned_rounds": scenario.federation.rounds,
        "participation_cap": plan.limits.cap,
        "most_participations": max(taken.values(), default=0),
    }


def _drawn(evidence: Evidence) -> str:
    rate = evidence.scenario.federation.sampling_rate
    if rate is None:
        return (
            "the server draws a cohort of fixed size, without repetition, from the clients below their cap, by a "
            "generator that is seeded with the run's seed; whoever knows the seed knows who was asked"
        )
    thrown = _randomness(evidence.scenario.privacy.noise)
    return (
        f"the server throws a coin of rate {rate:g} for every client that is there and below its cap, and asks those "
        f"whose coin shows heads; the coins are drawn from a {thrown}"
    )


def _amplification(evidence: Evidence, plan: PrivacyPlan) -> str:
    if plan.participation.sampling_rate < 1:
        return "by the client's own secret coins within a participation; none by the server's draw"
    if plan.cohort_rate is not None:
        return (
            "none in the headline; what the server's secret coins are worth stands beside it. Releases and result.json "
            "state the epsilon of a client that took part as often as its cap and the rounds allow, which tells "
            "nothing of the coins and is never less; this report's is of whoever the coins let take part most"
        )
    if evidence.scenario.federation.sampling_rate is not None:
        return "none: who is there may depend on what people do, so nothing is claimed for the server's coins"
    return "none"


def verification(evidence: Evidence, *, own_key: bool) -> Facts:
    """What was checked before a word of the report was written."""
    content = (evidence.path / LEDGER).read_bytes() if evidence.events else b""
    return {
        "ledger": {
            "entries": len(evidence.events),
            "head": evidence.head,
            "chain": "whole: every entry continues the one before",
            "sha256": hashlib.sha256(content).hexdigest(),
            "seal": ("signed, and in the ledger" if evidence.sealed else "none: nothing was spent"),
        },
        "rounds_checked": len(evidence.rounds),
        "releases": [
            {
                "folder": name,
                "id": manifest.id,
                "round": manifest.lineage.get("round"),
                "signature": "valid, and every file as it was signed",
                "ledger_head": manifest.lineage.get("ledger_head"),
                "stated_epsilon": number(manifest.privacy.get("epsilon")),
            }
            for name, manifest in evidence.releases.items()
        ],
        "key": "the run's own signing.pub, which shows damage but not forgery" if own_key else "given by the reader",
        "client_ledgers": len(evidence.clients),
        "audit": dict(evidence.audit) if evidence.audit is not None else None,
        "code": _code(),
        "versions": {
            "run": {str(name): str(text) for name, text in part(evidence.result, "versions").items()},
            "report": {"python": platform.python_version(), **_installed()},
        },
    }


def clients(evidence: Evidence) -> int | None:
    """How many clients there were to draw from, where the run's result says so."""
    found = number((evidence.result or {}).get("clients"))
    return None if found is None else int(found)


def _caps(evidence: Evidence, plan: PrivacyPlan) -> Iterable[Facts]:
    budget, training = evidence.scenario.budget, evidence.scenario.training

    def cap(what: str, limit: float, by: str) -> Facts:
        return {"what": what, "limit": limit, "enforced_by": by}

    yield cap(
        "rounds of this run that one client takes part in (k)",
        plan.limits.cap,
        "the client, and the server's own count",
    )
    what = "one unit's gradient in one step" if plan.local else "a client's whole update"
    by = "the client, and again the server" if plan.mode == "central" else "the client"
    yield cap(f"L2 norm of {what} (C)", plan.clip_norm, by)
    yield cap("targets of one example", training.positions, "the client")
    if plan.bands > 1:
        yield cap("rounds between two participations, at least", plan.limits.separation, "the client, and the server")
    if plan.popularity:
        yield cap("items that one person counts for in popularity", plan.popularity.items, "the client")
    for limit, period in ((budget.per_day, "day"), (budget.per_month, "month")):
        if limit is not None:
            yield cap(f"participations in one UTC {period}", limit, "the client; a rate, it bounds no epsilon")


def _randomness(noise: str) -> str:
    if noise == "system":
        return "ChaCha20 key stream under a fresh 256-bit key of the operating system for each use"
    return "ChaCha20 key stream under a key that is computed from the run's seed: anybody can draw it again"


def _dates(evidence: Evidence) -> Facts:
    times = [event["time"] for events in evidence.clients.values() for event in events if "time" in event]
    if times:
        return {"first": _iso(min(times)), "last": _iso(max(times)), "source": "the clients' ledgers"}
    newest = evidence.path / (LEDGER if evidence.events else "rounds.jsonl")
    last = _iso(newest.stat().st_mtime) if newest.exists() else None
    return {"first": None, "last": last, "source": f"the date of {newest.name}, which nothing vouches for"}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _code() -> Facts:
    """The source that this report was made with, where it is a checkout."""
    root = Path(fedrec.__file__).parents[1]
    lock = root / "requirements.lock"
    found: Mapping[str, str | None] = {"commit": None, "lock_file_sha256": None}
    git = shutil.which("git")
    if not (git and lock.exists() and (root / ".git").exists()):
        return dict(found)
    described = subprocess.run(
        [git, "--no-optional-locks", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "commit": described.stdout.strip() or None,
        "lock_file_sha256": hashlib.sha256(lock.read_bytes()).hexdigest(),
    }


def _installed() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
