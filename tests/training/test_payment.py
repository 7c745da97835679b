"""What the server's ledger is charged where a round is asked again."""

from pathlib import Path
from typing import Any

import pytest

from fedrec.privacy.ledger import Ledger
from fedrec.privacy.plan import PrivacyPlan
from fedrec.privacy.statement import participations
from fedrec.training.blocks import blocks_of
from fedrec.training.collecting import Asked
from fedrec.training.payment import complete, pay, settle
from tests.small_worlds import a_central_plan, a_plan

TOKEN = "t"  # noqa: S105


def asked(replies: dict[int, str], *, interrupted: list[tuple[int, int]] | None = None) -> Asked:
    who = sorted(replies)
    return Asked(round=1, token=TOKEN, cohort=who, spent=who, interrupted=interrupted or [], replies=replies)


def paid(ledger: Ledger, plan: PrivacyPlan, *attempts: Asked) -> list[dict[str, Any]]:
    for attempt in attempts:
        pay(ledger, plan, attempt, blocks_of(plan, "update", size=3), guarantee=True, dropped=False)
    return ledger.entries


def test_a_reply_that_is_noised_anew_after_it_was_charged_is_one_participation_more(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        entries = paid(
            ledger,
            a_plan(cap=9),
            asked({1: "aa", 2: "bb"}),
            asked({1: "cc", 2: "bb"}, interrupted=[(1, 1)]),
            asked({1: "dd", 2: "bb"}, interrupted=[(1, 1), (1, 2)]),
        )
    assert participations(entries) == {1: 3, 2: 1}


def test_attempts_before_and_after_a_reply_on_record_are_each_charged_once(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        entries = paid(
            ledger,
            a_plan(cap=9),
            asked({1: "bb"}, interrupted=[(1, 1)]),
            asked({1: "dd"}, interrupted=[(1, 1), (1, 2), (1, 3)]),
        )
    assert participations(entries) == {1: 4}


def test_a_reply_that_was_settled_unheard_is_not_taken_for_the_next(tmp_path: Path) -> None:
    plan = a_plan(cap=9)
    blocks = blocks_of(plan, "update", size=3)
    with Ledger(tmp_path / "ledger") as ledger:
        settle(ledger, plan, blocks, number=1, token=TOKEN, cohort=[1], guarantee=True)
        entries = paid(ledger, plan, asked({1: "cc"}, interrupted=[(1, 1)]))
    assert participations(entries) == {1: 2}


@pytest.mark.parametrize("rate", [None, 0.5])
def test_entries_of_secret_coins_cannot_be_tried_out_on_the_heads_that_releases_name(
    rate: float | None, tmp_path: Path
) -> None:
    plan = a_central_plan(cap=9, cohort_rate=rate)
    blocks = blocks_of(plan, "update", size=3)
    with Ledger(tmp_path / "ledger") as ledger:
        settle(ledger, plan, blocks, number=1, token=TOKEN, cohort=[1], guarantee=True)
        complete(ledger, plan, TOKEN, blocks)
        entries = paid(ledger, plan, asked({1: "", 2: ""}))
    salts = {entry.get("salt") for entry in entries}
    assert salts == {None} if rate is None else len(salts) == len(entries) and None not in salts
