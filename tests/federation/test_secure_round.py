"""Rounds under masks with real clients over a grid: exact sums, drop-outs, restarts, kills, and what is charged."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrec.errors import ProtocolError, RefusedError
from fedrec.privacy.ledger import read_events
from fedrec.privacy.statement import check_client_ledgers
from fedrec.secagg.client_state import ClientState
from fedrec.secagg.keys import Session
from fedrec.secagg.terms import Stage
from fedrec.secagg.wire import Address, unpacked
from fedrec.training.client import Instruction
from fedrec.training.client_records import FolderRecords
from fedrec.training.masking import MaskedReply
from fedrec.training.participant import Kept, Participant
from tests.federation.masked_fleets import CLIENTS, Fleet, a_masked_plan, gone, gone_after, quiet
from tests.training.central_worlds import PowerCutError


def ledger(fleet: Fleet) -> list[dict[str, Any]]:
    return read_events(fleet.folder.ledger)


def instruction_of(fleet: Fleet) -> Instruction:
    """What the first round asked, whatever its token."""
    recipe = fleet.recipe()
    return Instruction(
        run="run",
        round=1,
        token="twin",  # noqa: S106
        adapter=np.zeros(fleet.model.layout.size, np.float32),
        layout=recipe.layout,
        plan=recipe.plan,
        negatives_seed=_negatives(),
    )


def _negatives() -> int:
    from fedrec.training.recipe import draw_seed

    return draw_seed(1, "negatives", 1)


def require_ledgers_agree(fleet: Fleet) -> None:
    folders = [(number, fleet.folder.client(number) / "ledger.jsonl") for number in range(fleet.clients)]
    check_client_ledgers(ledger(fleet), [(number, path) for number, path in folders if path.exists()])
    charged = Counter(client for event in ledger(fleet) for client in event["participants"])
    for number, path in folders:
        assert len(read_events(path) if path.exists() else []) <= charged[number]


def test_a_round_is_the_sum_of_everybody_and_of_every_share_of_noise(tmp_path: Path) -> None:
    fleet = Fleet(path=tmp_path)
    state = fleet.run()
    expected = fleet.plain_sum(list(range(CLIENTS)), instruction_of(fleet)) / CLIENTS
    assert state.adapter == pytest.approx(expected.astype(np.float32), abs=0)
    (entry,) = ledger(fleet)
    assert (entry["mechanism"], entry["participants"]) == ("distributed_skellam", list(range(CLIENTS)))
    require_ledgers_agree(fleet)


@pytest.mark.slow
@pytest.mark.parametrize("how", [gone, gone_after])
@pytest.mark.parametrize("stage", list(Stage))
def test_whoever_drops_out_at_a_stage_is_left_out_of_the_sum_or_was_in_it_already(
    tmp_path: Path, stage: Stage, how: Any
) -> None:
    fleet = Fleet(path=tmp_path, answers={(2, stage): how})
    state = fleet.run()
    in_it = [client for client in range(CLIENTS) if client != 2 or stage > Stage.MASK]
    expected = fleet.plain_sum(in_it, instruction_of(fleet)) / CLIENTS
    assert state.adapter == pytest.approx(expected.astype(np.float32), abs=0)
    (record,) = fleet.folder.rounds()
    assert (record["replies"], record["failures"]) == (len(in_it), {"crashed": 1})
    # Who may have drawn noise is charged.
    assert (2 in ledger(fleet)[0]["participants"]) is (stage >= Stage.MASK)
    require_ledgers_agree(fleet)


@pytest.mark.slow
@pytest.mark.parametrize("stage", list(Stage))
def test_beyond_the_threshold_a_round_is_refused_and_charged_once_somebody_trained(
    tmp_path: Path, stage: Stage
) -> None:
    fleet = Fleet(path=tmp_path, answers={(client, stage): gone for client in (0, 1, 2)})
    state = fleet.run()
    assert not state.adapter.any()
    (record,) = fleet.folder.rounds()
    assert (record["replies"], record["failures"]["too_few"], record["failures"].get("ruined")) == (0, 1, None)
    events = ledger(fleet)
    if stage < Stage.MASK:
        assert events == []
    else:
        assert [len(event["participants"]) for event in events] == [CLIENTS]
        # Shares are asked for only once their round is paid for; that a sum comes is not said before it is there.
        paid_as = "sum of round 1 asked for" if stage is Stage.REVEAL else "nothing: too few replies in round 1"
        assert events[0]["released"] == paid_as
    require_ledgers_agree(fleet)


def test_a_round_of_which_too_few_come_back_to_reveal_says_that_and_claims_no_adapter(tmp_path: Path) -> None:
    fleet = Fleet(path=tmp_path, answers={(client, Stage.REVEAL): gone for client in range(4)})
    assert not fleet.run().adapter.any()
    assert fleet.folder.rounds()[0]["failures"] == {"crashed": 4, "too_few": 1}
    assert [event["released"] for event in ledger(fleet)] == ["sum of round 1 asked for"]


def test_nobody_is_asked_to_take_a_mask_off_before_the_round_is_paid_for(tmp_path: Path) -> None:
    paid: list[int] = []

    def looking(inner: Participant, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        paid.append(len(ledger(fleet)))
        return inner.answer(instruction, stage, request)

    fleet = Fleet(path=tmp_path, answers={(0, Stage.ACKNOWLEDGE): looking, (0, Stage.REVEAL): looking})
    fleet.run()
    assert paid == [0, 1]


@pytest.mark.parametrize("stage", list(Stage))
def test_a_server_that_was_killed_at_a_stage_begins_another_attempt_and_charges_the_first(
    tmp_path: Path, stage: Stage
) -> None:
    def power_cut(*_: object) -> MaskedReply:
        raise PowerCutError

    fleet = Fleet(path=tmp_path, answers={(3, stage): power_cut})
    with pytest.raises(PowerCutError):
        fleet.run()
    fleet.answers = {}
    state = fleet.run()
    assert state.adapter.any()
    events = ledger(fleet)
    assert len({event["token"] for event in events}) == len(events) == 2
    assert events[-1]["released"] == "sum of round 1 asked for"
    require_ledgers_agree(fleet)


def test_the_noise_of_one_attempt_is_not_that_of_another(tmp_path: Path) -> None:
    """Two sums with the same noise, one of them without a client, would give that client's update away."""
    tokens: list[str] = []

    def noting(inner: Participant, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        tokens.append(instruction.token)
        if len(tokens) == 1:
            inner.answer(instruction, stage, request)
            raise PowerCutError
        return inner.answer(instruction, stage, request)

    fleet = Fleet(path=tmp_path, answers={(0, Stage.MASK): noting})
    with pytest.raises(PowerCutError):
        fleet.run()
    first = fleet.participant(0).client.records.session(tokens[0])
    fleet.run()
    assert tokens[0] != tokens[1]
    assert first is not None
    # The earlier session's words and keys are gone from the disk.
    assert fleet.participant(0).client.records.session(tokens[0]) is None
    assert len(read_events(fleet.folder.client(0) / "ledger.jsonl")) == 2


def test_a_client_that_lost_its_store_between_two_stages_stays_out(tmp_path: Path) -> None:
    def forgetful(inner: Participant, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        (fleet.folder.client(inner.number) / "session.bin").unlink()
        return inner.answer(instruction, stage, request)

    fleet = Fleet(path=tmp_path, answers={(4, Stage.MASK): forgetful})
    fleet.run()
    (record,) = fleet.folder.rounds()
    assert (record["replies"], record["failures"]) == (CLIENTS - 1, {"RefusedError": 1})
    # It said so before it drew noise.
    assert 4 not in ledger(fleet)[0]["participants"]


def test_a_request_that_came_twice_is_answered_alike_and_paid_once(tmp_path: Path) -> None:
    def twice(inner: Participant, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        first = inner.answer(instruction, stage, request)
        again = fleet.participant(inner.number).answer(instruction, stage, request)
        assert first == again
        return again

    fleet = Fleet(path=tmp_path, answers={(1, stage): twice for stage in Stage})
    fleet.run()
    assert len(read_events(fleet.folder.client(1) / "ledger.jsonl")) == 1
    assert fleet.folder.rounds()[0]["replies"] == CLIENTS


def test_a_sum_that_no_honest_cohort_could_give_is_dropped_charged_and_told(tmp_path: Path) -> None:
    def nonsense(inner: Participant, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        honest = Participant.words
        try:
            Participant.words = lambda self, asked: (honest(self, asked)[0] ^ np.uint32(2**20), 1)  # type: ignore[method-assign]
            return inner.answer(instruction, stage, request)
        finally:
            Participant.words = honest  # type: ignore[method-assign]

    fleet = Fleet(path=tmp_path, answers={(5, Stage.MASK): nonsense})
    state = fleet.run()
    assert not state.adapter.any()
    assert fleet.folder.rounds()[0]["failures"] == {"implausible": 1}
    assert ledger(fleet)[0]["participants"] == list(range(CLIENTS))


def test_a_sum_of_fewer_than_the_scenario_asks_for_is_not_released(tmp_path: Path) -> None:
    fleet = Fleet(path=tmp_path, least=CLIENTS, answers={(5, Stage.MASK): gone})
    assert not fleet.run().adapter.any()
    assert fleet.folder.rounds()[0]["failures"] == {"crashed": 1, "too_few": 1}


def test_garbage_in_a_masked_input_counts_as_a_drop_out(tmp_path: Path) -> None:
    def garbage(inner: Participant, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        return MaskedReply(client=inner.number, answer=inner.answer(instruction, stage, request).answer[:-1])

    fleet = Fleet(path=tmp_path, answers={(5, Stage.MASK): garbage})
    fleet.run()
    (record,) = fleet.folder.rounds()
    assert (record["replies"], record["failures"]) == (CLIENTS - 1, {"unsound": 1})


def test_a_client_sends_nothing_in_clear_under_such_a_plan(tmp_path: Path) -> None:
    fleet = Fleet(path=tmp_path)
    with pytest.raises(RefusedError, match="in clear"):
        fleet.participant(0).client.reply(instruction_of(fleet))
    assert not fleet.participant(0).client.records.spent()


def test_a_cohort_that_is_not_full_is_not_asked(tmp_path: Path) -> None:
    """Its noise would be sized for more than there are."""
    fleet = Fleet(path=tmp_path, plan=a_masked_plan(CLIENTS + 1, drop_out=0.2))
    fleet.run()
    assert fleet.seen == []
    assert ledger(fleet) == []
    assert fleet.folder.rounds()[0]["failures"] == {"too_few": 1}


def test_a_sum_that_was_taken_before_a_kill_is_released_as_it_was(tmp_path: Path) -> None:
    def cut(*_: object) -> None:
        raise PowerCutError

    fleet = Fleet(path=tmp_path)
    with pytest.raises(PowerCutError):
        fleet.run(quiet(measure=cut))
    kept = fleet.folder.kept_mean(1)
    asked = len(fleet.seen)
    state = fleet.run()
    assert len(fleet.seen) == asked
    assert kept is not None
    assert np.array_equal(state.adapter, kept.mean.astype(np.float32))
    assert len(ledger(fleet)) == 1


def test_rounds_follow_each_other_under_other_keys_and_other_noise(tmp_path: Path) -> None:
    fleet = Fleet(path=tmp_path, rounds=3)
    fleet.run()
    assert [record["replies"] for record in fleet.folder.rounds()] == [CLIENTS] * 3
    assert len({event["token"] for event in ledger(fleet)}) == 3
    require_ledgers_agree(fleet)


def test_a_request_for_a_masked_input_that_cannot_be_costs_a_client_nothing(tmp_path: Path) -> None:
    def asked_nonsense_first(inner: Participant, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        for nonsense in (request[:-1], request + b"\0", b""):
            with pytest.raises(ProtocolError):
                inner.answer(instruction, stage, nonsense)
        assert not inner.client.records.spent()
        return inner.answer(instruction, stage, request)

    fleet = Fleet(path=tmp_path, answers={(1, Stage.MASK): asked_nonsense_first})
    fleet.run()
    assert len(read_events(fleet.folder.client(1) / "ledger.jsonl")) == 1
    assert fleet.folder.rounds()[0]["replies"] == CLIENTS


class _NoLonger(FolderRecords):
    """Of somebody who takes the yes back while the client trains."""

    def keep_session(self, token: str, content: bytes, *, before: bytes | None) -> None:
        raise RefusedError(f"Nothing is kept any more: {len(token) + len(content)} bytes, nor {before!r}.")


def test_what_a_client_paid_for_is_charged_by_its_server_although_nothing_was_sent(tmp_path: Path) -> None:
    def refusing(inner: Participant, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        client = replace(inner.client, records=_NoLonger(fleet.folder.client(inner.number)))
        return replace(inner, client=client).answer(instruction, stage, request)

    fleet = Fleet(path=tmp_path, answers={(5, Stage.MASK): refusing})
    fleet.run()
    (record,) = fleet.folder.rounds()
    assert (record["replies"], record["failures"]) == (CLIENTS - 1, {"RefusedError": 1})
    assert 5 in ledger(fleet)[0]["participants"]
    require_ledgers_agree(fleet)


def test_a_client_forgets_its_words_and_its_keys_when_its_round_is_over(tmp_path: Path) -> None:
    """Whoever takes a device later, and kept what it had sent, lays no update open."""
    kept: dict[Stage, Kept] = {}
    asked: list[tuple[Instruction, bytes]] = []

    def noting(inner: Participant, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        answer = inner.answer(instruction, stage, request)
        kept[stage] = Kept.unpack(inner.client.records.session(instruction.token) or b"")
        if stage is Stage.MASK:
            asked.append((instruction, request))
        return answer

    fleet = Fleet(path=tmp_path, answers={(1, stage): noting for stage in Stage})
    fleet.run()
    assert [stage for stage in Stage if kept[stage].words is not None] == [Stage.MASK]
    address = Address(session=Session(run="run", round=1, token=asked[0][0].token).id, client=1)
    states = [unpacked(ClientState, kept[stage].state, address) for stage in Stage]
    for secret in (states[0].mask_private, states[0].cipher_private, states[0].seed, *states[3].keys.values()):
        assert secret not in kept[Stage.REVEAL].state
    assert not states[-1].held
    again = fleet.participant(1).answer(asked[0][0], Stage.MASK, asked[0][1])
    assert (again.answer, again.code, again.attempts) == (b"", "RefusedError", 1)
    assert len(read_events(fleet.folder.client(1) / "ledger.jsonl")) == 1


def test_a_session_that_was_paid_for_and_forgotten_is_not_begun_again(tmp_path: Path) -> None:
    first: list[tuple[Instruction, bytes]] = []

    def noting(inner: Participant, instruction: Instruction, stage: Stage, request: bytes) -> MaskedReply:
        first.append((instruction, request))
        return inner.answer(instruction, stage, request)

    fleet = Fleet(path=tmp_path, answers={(0, Stage.ADVERTISE): noting})
    fleet.run()
    (fleet.folder.client(0) / "session.bin").unlink()
    instruction, request = first[0]
    with pytest.raises(RefusedError):
        fleet.participant(0).answer(instruction, Stage.ADVERTISE, request)


def test_no_round_is_begun_under_a_plan_whose_numbers_are_not_those_of_its_rates(tmp_path: Path) -> None:
    plan = a_masked_plan()
    assert plan.secure_sum is not None
    claimed = replace(plan, secure_sum=replace(plan.secure_sum, least_honest=1_000))
    fleet = Fleet(path=tmp_path, plan=claimed)
    fleet.run()
    (record,) = fleet.folder.rounds()
    assert (record["replies"], record["failures"]["VerificationError"]) == (0, CLIENTS)
    assert ledger(fleet) == []
