"""Run folders as a simulation leaves them, written by hand: no model, no data, every record in its place."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from fedrec.config import Scenario
from fedrec.config_file import parse_scenario
from fedrec.privacy.ledger import Ledger
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.seal import Seal
from fedrec.privacy.spends import Spend
from fedrec.privacy.statement import privacy_statement
from fedrec.release import publish_release, signing_key
from fedrec.secagg.planned import plan_of

Json = dict[str, Any]

CENTRAL: Json = {
    "name": "central",
    "privacy": {"mode": "central", "clip_norm": 0.5, "noise_multiplier": 4.0, "participations": 4},
    "federation": {"rounds": 4, "cohort": 3},
}
HUBS: Json = {
    "name": "hubs",
    "data": {"users_per_client": 25},
    "privacy": {"mode": "local", "clip_norm": 0.5, "noise_multiplier": 3.0, "participations": 4},
    "federation": {"rounds": 4, "cohort": 3},
}
SEGMENTS: Json = {
    "name": "segments",
    "training": {"steps": 3},
    "privacy": {
        "mode": "local",
        "unit": "SEGMENT",
        "noise_multiplier": 1.5,
        "sampling_rate": 0.2,
        "participations": 4,
    },
    "federation": {"rounds": 4, "cohort": 3},
}
DISTRIBUTED: Json = {
    "name": "distributed",
    "privacy": {"mode": "distributed", "clip_norm": 0.5, "noise_multiplier": 4.0, "participations": 4},
    "secure_aggregation": {"drop_out": 0.2, "corruption": 0.2, "size": 4096},
    "federation": {"rounds": 4, "cohort": 5, "min_replies": 4},
}
MASKED: Json = {
    **HUBS,
    "name": "masked",
    "secure_aggregation": {"enabled": True, "drop_out": 0.0, "corruption": 0.0, "size": 4096},
    "federation": {"rounds": 4, "cohort": 3, "norm_bound": 1.0},
}
PLAIN: Json = {"name": "plain", "federation": {"rounds": 4, "cohort": 3}}
ROUNDS = ((0, 1, 2), (1, 2, 3), (2, 3, 4), (0, 1, 2))


def changed(table: Mapping[str, Any], **sections: Mapping[str, Any]) -> Json:
    """The scenario with some settings replaced."""
    return {**table, **{name: {**table.get(name, {}), **section} for name, section in sections.items()}}


def a_run(
    folder: Path,
    table: Mapping[str, Any] = CENTRAL,
    *,
    rounds: Sequence[Sequence[int]] = ROUNDS,
    events: Sequence[Json] | None = None,
    result: Mapping[str, Any] | None = None,
    guarantee: bool | None = None,
) -> Path:
    """A run whose rounds had these cohorts, or whose ledger holds these events; returns its folder.

    guarantee: what the entries say of their noise; as the scenario has it, if None.
    """
    scenario = parse_scenario(json.loads(json.dumps(table)))
    plan = plan_of(scenario)
    folder.mkdir(parents=True)
    settings = {"dataset_hash": "d" * 64, "layout": "1" * 64, **_without_none(asdict(scenario))}
    (folder / "config.toml").write_text(tomli_w.dumps(settings))
    key = signing_key(folder / "signing.key")
    secret = scenario.privacy.noise == "system" if guarantee is None else guarantee
    if plan and events is None:
        events = [an_event(plan, number, cohort, guarantee=secret) for number, cohort in enumerate(rounds, start=1)]
    records: dict[int, str] = {}
    with Ledger(folder / "ledger.jsonl", seal=Seal(folder / "ledger.seal", key)) as ledger:
        for event in events or ():
            ledger.append(event)
            records[event["round"]] = ledger.head
        head = ledger.head
        privacy = privacy_statement(plan, ledger.entries, system_noise=secret)
    if plan is None:
        (folder / "ledger.jsonl").unlink()
        records = dict.fromkeys(range(1, len(rounds) + 1), head)
    lines = ({"round": number, "ledger_head": paid} for number, paid in records.items() if number)
    (folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    a_release(folder, head, privacy, number=max(records))
    for event in (events or ()) if plan else ():
        for client in event["participants"]:
            a_client_entry(folder, client, event)
    whole = {"ledger_head": head, "privacy": privacy, **a_result(), **(result or {})}
    (folder / "result.json").write_text(json.dumps(whole))
    return folder


def an_event(
    plan: PrivacyPlan,
    number: int,
    participants: Sequence[int],
    *,
    guarantee: bool = True,
    kind: str = "update",
    spend: Spend | None = None,
    **more: Any,
) -> Json:
    """An entry of the server's ledger."""
    released = {"update": f"adapter of round {number}", "metrics": f"metrics of round {number}"}.get(kind, kind)
    return {
        **plan.event(spend or plan.participation, kind=kind, clip_norm=None if kind == "update" else 1.0),
        "round": number,
        "token": f"{number:032x}",
        "guarantee": guarantee,
        "participants": list(participants),
        "replies": {},
        "released": released,
        **more,
    }


def a_client_entry(folder: Path, client: int, event: Mapping[str, Any], **more: Any) -> None:
    """What the client writes of an event that it is charged for."""
    own = {name: value for name, value in event.items() if name not in ("participants", "replies", "released")}
    with Ledger(folder / "clients" / str(client) / "ledger.jsonl") as ledger:
        ledger.append({**own, "attempt": 1, "time": 1_790_000_000 + 60 * event["round"], **more})


def a_release(folder: Path, head: str, privacy: Mapping[str, Any], *, number: int, adapter: bytes = b"adapter") -> Path:
    """A signed release that vouches for a head of the ledger."""

    def write_files(draft: Path) -> None:
        (draft / "adapter").mkdir()
        (draft / "adapter" / "adapter_model.safetensors").write_bytes(adapter)

    lineage = {"run": "r" * 32, "round": number, "ledger_head": head, "base_model": "b" * 64, "index": "i" * 64}
    return publish_release(
        folder / "releases",
        write_files,
        round_number=number,
        lineage=lineage,
        privacy=privacy,
        key=signing_key(folder / "signing.key"),
    )


def a_result() -> Json:
    """What a simulation measured, with a group that is too small to show."""
    measured = {name: {"value": 0.3, "low": 0.25, "high": 0.35} for name in ("ndcg@10", "hr@10", "recall@20", "mrr")}
    better = {name: {"value": 0.4, "low": 0.35, "high": 0.45} for name in measured}
    return {
        "clients": 6,
        "users": 150,
        "dataset": {"name": "world", "source": "a synthetic world", "licence": "CC0-1.0"},
        "validation": measured,
        "baselines": {"non_private_twin": {"validation": better}},
        "groups": {
            "most_active": {"users": 60, "ndcg@10": measured["ndcg@10"]},
            "cold": {"users": 19, "ndcg@10": {"value": 0.0123, "low": 0.0, "high": 0.1}},
        },
        "versions": {"fedrec": "0.1.0", "torch": "2.13.0"},
    }


def the_plan(table: Mapping[str, Any] = CENTRAL) -> PrivacyPlan:
    """The plan of a scenario that has one."""
    scenario: Scenario = parse_scenario(json.loads(json.dumps(table)))
    plan = plan_of(scenario)
    assert plan is not None
    return plan


def _without_none(table: Mapping[str, Any]) -> Json:
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in table.items()
        if value is not None
    }
