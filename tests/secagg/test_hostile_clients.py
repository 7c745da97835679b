"""What one wrong client can do to the others: nothing to what they keep secret, and a round at most, never unseen."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fedrec.errors import ProtocolError, RefusedError
from fedrec.secagg.keys import KeyPair, advertise
from fedrec.secagg.messages import AckAnswer, AdvertAnswer, MaskAnswer, RevealAnswer, ShareAnswer
from fedrec.secagg.shares import PRIME, SHARE_BYTES
from fedrec.secagg.terms import Stage
from fedrec.secagg.wire import Address, M, packed, unpacked
from tests.secagg import reference
from tests.secagg.cohorts import SESSION, Cohort, identity, parameters, plain_sum

LIAR = 3


def _address(client: int = LIAR) -> Address:
    return Address(session=SESSION.id, client=client)


def _changed(kind: type[M], answer: bytes, change: Callable[[M], M]) -> bytes:
    return packed(change(unpacked(kind, answer, _address())), _address())


def _cohort() -> Cohort:
    """Two surplus shares of each secret when all are there."""
    return Cohort(parameters(8, threshold=5, dropouts=2), size=6, bits=20)


def _run_with(stage: Stage, change: Callable[[bytes], bytes], cohort: Cohort) -> None:
    """A whole run in which the liar's answer to one stage is changed on its way."""
    cohort.run(
        cohort.inputs(),
        change=lambda at, client, answer: change(answer) if (at, client) == (stage, LIAR) else answer,
    )


def _check_exact(cohort: Cohort, survivors: list[int]) -> None:
    found = cohort.server.result()
    assert list(found.survivors) == survivors
    assert found.words.tolist() == plain_sum(cohort.inputs(), clients=survivors, bits=20)


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("garbage", [b"", b"garbage", b"\xff" * 5000])
def test_garbage_is_counted_and_costs_the_others_nothing(stage: Stage, garbage: bytes) -> None:
    cohort = _cohort()
    _run_with(stage, lambda _: garbage, cohort)
    assert cohort.server.refused == {LIAR: 1}
    _check_exact(cohort, [1, 2, 4, 5, 6, 7, 8] if stage <= Stage.MASK else list(range(1, 9)))


@pytest.mark.parametrize("cut", [slice(None, -1), slice(None, -20), slice(1, None), slice(66, None)])
def test_a_masked_input_of_another_length_is_never_added(cut: slice) -> None:
    cohort = _cohort()
    _run_with(Stage.MASK, lambda answer: answer[cut], cohort)
    assert cohort.server.refused == {LIAR: 1}
    _check_exact(cohort, [1, 2, 4, 5, 6, 7, 8])


def _with_words(words: tuple[bytes, ...]) -> Callable[[bytes], bytes]:
    return lambda answer: _changed(MaskAnswer, answer, lambda found: replace(found, words=words))


@pytest.mark.parametrize("words", [(), (bytes(15), bytes(15)), (bytes(24),), (bytes(14),), (bytes(12) + b"\xff" * 4,)])
def test_words_of_another_number_or_width_are_never_added(words: tuple[bytes, ...]) -> None:
    cohort = _cohort()
    _run_with(Stage.MASK, _with_words(words), cohort)
    assert cohort.server.refused == {LIAR: 1}
    _check_exact(cohort, [1, 2, 4, 5, 6, 7, 8])


def test_an_answer_counts_once_and_only_from_those_that_were_asked() -> None:
    cohort, inputs = _cohort(), _cohort().inputs()
    cohort.run(inputs, silent={Stage.SHARE: [8]}, until=Stage.MASK)
    requests = cohort.server.requests()
    answer = cohort.answer(1, Stage.MASK, requests[1], inputs)
    cohort.server.accept(1, answer)
    for client in (1, 2, 8, 99):
        with pytest.raises(ProtocolError):
            cohort.server.accept(client, answer)
    assert cohort.server.refused == {1: 1, 2: 1, 8: 1, 99: 1}
    assert cohort.server.survivors == [1]


def test_answers_of_another_round_or_stage_do_not_count() -> None:
    old = Cohort(parameters(8, threshold=5, dropouts=2), session=reference.session(attempt="second"))
    cohort, inputs = _cohort(), _cohort().inputs()
    answers = {}
    while (stage := old.server.stage) is not None:
        for client, request in old.server.requests().items():
            answer = old.answer(client, stage, request, old.inputs())
            answers[stage] = answer
            old.server.accept(client, answer)
        old.server.close()
    while (stage := cohort.server.stage) is not None:
        requests = cohort.server.requests()
        for answer in answers.values():
            with pytest.raises(ProtocolError):
                cohort.server.accept(8, answer)
        later = {client: cohort.answer(client, stage, request, inputs) for client, request in requests.items()}
        for client, answer in later.items():
            cohort.server.accept(client, answer)
        cohort.server.close()
        if cohort.server.stage is not None:
            with pytest.raises(ProtocolError):
                cohort.server.accept(8, later[8])
    _check_exact(cohort, list(range(1, 9)))


def test_keys_of_another_client_or_without_its_signature_do_not_count() -> None:
    cohort, inputs = _cohort(), _cohort().inputs()
    requests = cohort.server.requests()
    theirs = unpacked(AdvertAnswer, cohort.answer(1, Stage.ADVERTISE, requests[1], inputs), _address(1))
    cohort.server.accept(1, packed(theirs, _address(1)))
    real = unpacked(AdvertAnswer, cohort.answer(LIAR, Stage.ADVERTISE, requests[LIAR], inputs), _address())
    stolen = KeyPair.fresh()
    stolen.public = theirs.mask_key
    copied = advertise(SESSION, client=LIAR, mask=stolen, cipher=KeyPair.fresh(), identity=identity(LIAR))
    for wrong in (
        replace(theirs, drawn=real.drawn),
        replace(real, signature=bytes(64)),
        replace(real, mask_key=real.cipher_key),
        replace(real, mask_key=bytes(32)),
        replace(real, mask_key=copied.mask_key, cipher_key=copied.cipher_key, signature=copied.signature),
        replace(real, drawn=real.drawn[1:]),
        replace(real, drawn=(*real.drawn[1:], 9)),
        replace(real, drawn=tuple(range(1, 8))),
    ):
        with pytest.raises(ProtocolError):
            cohort.server.accept(LIAR, packed(wrong, _address()))
    cohort.server.accept(LIAR, packed(real, _address()))


def _first_two_swapped(found: ShareAnswer) -> ShareAnswer:
    one, other = sorted(found.sealed)[:2]
    return replace(found, sealed={**found.sealed, one: found.sealed[other], other: found.sealed[one]})


def test_shares_for_the_wrong_peers_are_not_opened_and_the_others_are_enough() -> None:
    cohort = _cohort()
    _run_with(Stage.SHARE, lambda answer: _changed(ShareAnswer, answer, _first_two_swapped), cohort)
    _check_exact(cohort, list(range(1, 9)))


def _all_damaged(found: ShareAnswer) -> ShareAnswer:
    return replace(found, sealed={client: bytes(len(sealed)) for client, sealed in found.sealed.items()})


@pytest.mark.parametrize(
    "change", [_all_damaged, lambda found: replace(found, commitment=bytes(32))], ids=["shares", "commitment"]
)
def test_secrets_that_cannot_be_had_refuse_the_round_and_name_their_owner(
    change: Callable[[ShareAnswer], ShareAnswer],
) -> None:
    cohort = _cohort()
    _run_with(Stage.SHARE, lambda answer: _changed(ShareAnswer, answer, change), cohort)
    with pytest.raises(ProtocolError, match=f"client {LIAR} came"):
        cohort.server.result()


def test_shares_for_other_neighbours_than_asked_do_not_count() -> None:
    cohort = _cohort()
    _run_with(
        Stage.SHARE,
        lambda answer: _changed(
            ShareAnswer, answer, lambda found: replace(found, sealed=dict([*found.sealed.items()][1:]))
        ),
        cohort,
    )
    assert cohort.server.refused == {LIAR: 1}
    _check_exact(cohort, [1, 2, 4, 5, 6, 7, 8])


def test_who_does_not_show_that_it_masked_with_its_neighbours_cannot_be_unmasked() -> None:
    cohort = _cohort()

    def forged(found: MaskAnswer) -> MaskAnswer:
        return replace(found, included=dict.fromkeys(found.included, bytes(16)))

    _run_with(Stage.MASK, lambda answer: _changed(MaskAnswer, answer, forged), cohort)
    with pytest.raises(ProtocolError, match=f"^0 shares of a secret of client {LIAR} "):
        cohort.server.result()


def test_forged_acknowledgements_are_not_believed_and_those_of_the_others_are_enough() -> None:
    cohort = _cohort()

    def forged(found: AckAnswer) -> AckAnswer:
        return replace(found, survived=dict.fromkeys(found.survived, bytes(16)))

    _run_with(Stage.ACKNOWLEDGE, lambda answer: _changed(AckAnswer, answer, forged), cohort)
    _check_exact(cohort, list(range(1, 9)))


def _wrong_shares(found: RevealAnswer) -> RevealAnswer:
    wrong = (7).to_bytes(SHARE_BYTES)
    return replace(
        found, seed_shares=dict.fromkeys(found.seed_shares, wrong), mask_shares=dict.fromkeys(found.mask_shares, wrong)
    )


def test_wrong_shares_are_left_out_and_their_sender_is_known() -> None:
    cohort = _cohort()
    _run_with(Stage.REVEAL, lambda answer: _changed(RevealAnswer, answer, _wrong_shares), cohort)
    _check_exact(cohort, list(range(1, 9)))
    assert cohort.server.result().liars == (LIAR,)


def test_a_share_that_is_no_number_of_the_field_does_not_count() -> None:
    cohort = _cohort()

    def outside(found: RevealAnswer) -> RevealAnswer:
        return replace(found, seed_shares=dict.fromkeys(found.seed_shares, PRIME.to_bytes(SHARE_BYTES)))

    _run_with(Stage.REVEAL, lambda answer: _changed(RevealAnswer, answer, outside), cohort)
    assert cohort.server.refused == {LIAR: 1}
    _check_exact(cohort, list(range(1, 9)))


def test_too_many_wrong_shares_refuse_the_round() -> None:
    cohort = Cohort(parameters(5, threshold=4), size=6, bits=20)
    _run_with(Stage.REVEAL, lambda answer: _changed(RevealAnswer, answer, _wrong_shares), cohort)
    with pytest.raises(ProtocolError, match="of a secret of client"):
        cohort.server.result()


def test_both_shares_of_one_peer_do_not_count() -> None:
    cohort = _cohort()

    def both(found: RevealAnswer) -> RevealAnswer:
        return replace(found, mask_shares=found.seed_shares)

    _run_with(Stage.REVEAL, lambda answer: _changed(RevealAnswer, answer, both), cohort)
    assert cohort.server.refused == {LIAR: 1}
    _check_exact(cohort, list(range(1, 9)))


def test_a_server_of_another_cohort_size_than_its_parameters_is_none() -> None:
    with pytest.raises(RefusedError, match="parameters"):
        Cohort(parameters(4, threshold=3), numbers=[1, 2, 3])
