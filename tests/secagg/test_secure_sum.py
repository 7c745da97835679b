"""The heart of the matter: the unmasked sum is the plain sum of the survivors, or there is none."""

import tracemalloc
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from fedrec.errors import ConfigError, ProtocolError, RefusedError
from fedrec.secagg.masks import word_type
from fedrec.secagg.parameters import Parameters, parameters_for
from fedrec.secagg.terms import Stage, Terms
from fedrec.secagg.words import unpacked_words
from tests.secagg.cohorts import SESSION, Cohort, parameters, plain_sum

_numbers = st.integers(0, 2**63 - 1)
_bits = st.sampled_from([16, 17, 20, 23, 24, 27, 31, 32])


@st.composite
def _silences(draw: st.DrawFn, clients: Sequence[int], most: int) -> dict[Stage, list[int]]:
    """Who drops out at which stage: `most` at most."""
    gone = draw(st.integers(0, most))
    silent: dict[Stage, list[int]] = {stage: [] for stage in Stage}
    for client in draw(st.permutations(clients))[:gone]:
        silent[draw(st.sampled_from(Stage))].append(client)
    return silent


@st.composite
def _parameters(draw: st.DrawFn, least: int, most: int) -> Parameters:
    """The complete graph, or a sparse one with a threshold of just over half: as fragile as can be."""
    clients = draw(st.integers(least, most))
    neighbours = draw(st.sampled_from([clients - 1, clients - 1, max(2, 2 * clients // 3)]))
    threshold = draw(st.integers(neighbours // 2 + 1, neighbours))
    return parameters(clients, neighbours=neighbours, threshold=threshold, dropouts=clients - threshold)


def _check(data: st.DataObject, given_parameters: Parameters) -> None:
    size, bits = data.draw(st.integers(1, 40)), data.draw(_bits)
    clients = sorted(data.draw(st.sets(_numbers, min_size=given_parameters.clients, max_size=given_parameters.clients)))
    silent = data.draw(_silences(clients, given_parameters.dropouts + 1))
    cohort = Cohort(given_parameters, size=size, bits=bits, numbers=clients)
    inputs = cohort.inputs(seed=data.draw(st.integers(0, 99)))
    found = cohort.sum_of(inputs, silent=silent)
    planned = sum(map(len, silent.values())) <= given_parameters.clients - 1 - given_parameters.threshold
    if found is None:
        assert not (given_parameters.is_complete and planned)
        return
    gone = {*silent[Stage.ADVERTISE], *silent[Stage.SHARE], *silent[Stage.MASK]}
    assert set(found.survivors) <= set(clients) - gone
    assert found.words.tolist() == plain_sum(inputs, clients=found.survivors, bits=bits)
    assert found.liars == ()


@settings(max_examples=80)
@given(st.data(), _parameters(3, 9))
def test_the_sum_is_that_of_the_survivors_or_there_is_none(data: st.DataObject, given_parameters: Parameters) -> None:
    _check(data, given_parameters)


@pytest.mark.slow
@settings(max_examples=8)
@given(st.data(), _parameters(10, 40))
def test_so_it_is_in_larger_cohorts(data: st.DataObject, given_parameters: Parameters) -> None:
    _check(data, given_parameters)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.data(), _parameters(3, 40))
def test_so_it_is_in_many_cohorts(data: st.DataObject, given_parameters: Parameters) -> None:
    _check(data, given_parameters)


@pytest.mark.parametrize("stage", Stage)
def test_as_many_as_planned_may_drop_out_at_any_stage(stage: Stage) -> None:
    given_parameters = parameters_for(12, drop_out=0.25, corruption=0.1)
    assert given_parameters.dropouts == 3
    cohort = Cohort(given_parameters, bits=24)
    inputs = cohort.inputs()
    found = cohort.sum_of(inputs, silent={stage: [2, 5, 12]})
    assert found is not None
    survivors = sorted(set(range(1, 13)) - {2, 5, 12}) if stage <= Stage.MASK else list(range(1, 13))
    assert found.survivors == tuple(survivors)
    assert found.words.tolist() == plain_sum(inputs, clients=survivors, bits=24)


@pytest.mark.parametrize("stage", Stage)
def test_one_more_than_planned_refuses_the_round(stage: Stage) -> None:
    cohort = Cohort(parameters_for(12, drop_out=0.25, corruption=0.1))
    with pytest.raises(RefusedError):
        cohort.run(cohort.inputs(), silent={stage: [2, 5, 11, 12]})
        cohort.server.result()


def test_nothing_is_revealed_where_too_few_survive() -> None:
    cohort = Cohort(parameters(6, threshold=4, dropouts=1))
    with pytest.raises(RefusedError, match="nothing"):
        cohort.run(cohort.inputs(), silent={Stage.MASK: [1, 2]})
    assert cohort.server.stage is None
    assert all(client.stage in (Stage.MASK, Stage.ACKNOWLEDGE) for client in cohort.clients.values())
    with pytest.raises(RefusedError, match="masked"):
        cohort.server.result()


@given(st.integers(0, 9))
@settings(max_examples=3)
def test_a_sparse_graph_draws_only_so_many(seed: int) -> None:
    cohort = Cohort(parameters(14, neighbours=7, threshold=4, dropouts=3), bits=16)
    inputs = cohort.inputs(seed)
    found = cohort.sum_of(inputs, silent={Stage.MASK: [3]})
    if found is not None:
        assert found.words.tolist() == plain_sum(inputs, clients=found.survivors, bits=16)


def test_one_masked_input_cannot_be_told_from_random_words() -> None:
    cohort = Cohort(parameters(3, threshold=2), size=50_000, bits=32)
    zeros = dict.fromkeys(cohort.roster.clients, np.zeros(50_000, dtype=word_type(32)))
    cohort.run(zeros, until=Stage.MASK)
    for client, request in cohort.server.requests().items():
        answer = cohort.clients[client].masked(request, zeros[client])
        words = unpacked_words(answer[-200_000:], size=50_000, bits=32)
        for part in (words & 0xFF, words >> 24, words[1:] - words[:-1] & 0xFF):
            counts = np.bincount(part, minlength=256)
            assert chisquare(counts).pvalue > 1e-9


def test_the_sum_of_all_but_one_masked_input_is_still_random() -> None:
    cohort = Cohort(parameters(4, threshold=3), size=20_000, bits=16)
    zeros = dict.fromkeys(cohort.roster.clients, np.zeros(20_000, dtype=word_type(16)))
    cohort.run(zeros, until=Stage.MASK)
    answers = {
        client: cohort.clients[client].masked(request, zeros[client])
        for client, request in cohort.server.requests().items()
    }
    total = sum(unpacked_words(answers[client][-40_000:], size=20_000, bits=16) for client in (1, 2, 3))
    assert chisquare(np.bincount(np.asarray(total) >> 8, minlength=256)).pvalue > 1e-9


def test_no_two_sessions_mask_alike() -> None:
    sessions = [SESSION, type(SESSION)(run=SESSION.run, round=SESSION.round, token=SESSION.token + "again")]
    masked = []
    for session in sessions:
        cohort = Cohort(parameters(3, threshold=2), size=1000, session=session)
        inputs = cohort.inputs()
        cohort.run(inputs, until=Stage.MASK)
        masked.append(cohort.clients[1].masked(cohort.server.requests()[1], inputs[1])[-4000:])
    assert len({*masked[0], *masked[1]}) == 256
    assert sum(one == other for one, other in zip(*masked, strict=True)) < 100


def _requests(cohort: Cohort, inputs: Mapping[int, np.ndarray], client: int) -> dict[Stage, bytes]:
    """What the client is asked at each stage of a whole run, which restarts it between any two."""
    asked = {}
    while (stage := cohort.server.stage) is not None:
        requests = cohort.server.requests()
        asked[stage] = requests[client]
        for each, request in requests.items():
            cohort.clients[each] = cohort.restarted(each)
            cohort.server.accept(each, cohort.answer(each, stage, request, inputs))
        cohort.server.close()
    return asked


def test_clients_that_restart_between_stages_give_the_same_sum_and_the_same_bytes() -> None:
    cohort = Cohort(parameters(6, neighbours=4, threshold=3), bits=18, size=9)
    inputs = cohort.inputs()
    asked = _requests(cohort, inputs, 2)
    assert cohort.server.result().words.tolist() == plain_sum(inputs, clients=cohort.roster.clients, bits=18)
    masking = asked.pop(Stage.MASK)
    for stage, request in asked.items():
        before = cohort.answer(2, stage, request, inputs)
        cohort.clients[2] = cohort.restarted(2)
        assert cohort.answer(2, stage, request, inputs) == before
    assert cohort.clients[2].stage is None
    # Its keys are forgotten with the last answer.
    with pytest.raises(RefusedError):
        cohort.answer(2, Stage.MASK, masking, inputs)


@pytest.mark.parametrize("restart", [False, True])
def test_a_second_input_is_never_masked(restart: bool) -> None:
    cohort = Cohort(parameters(4, threshold=3))
    inputs = cohort.inputs()
    cohort.run(inputs, until=Stage.MASK)
    request = cohort.server.requests()[1]
    first = cohort.clients[1].masked(request, inputs[1])
    if restart:
        cohort.clients[1] = cohort.restarted(1)
    with pytest.raises(RefusedError, match="another input"):
        cohort.clients[1].masked(request, inputs[2])
    assert cohort.clients[1].masked(request, inputs[1]) == first


@pytest.mark.parametrize("stage", Stage)
def test_a_stage_out_of_order_is_refused_and_changes_nothing(stage: Stage) -> None:
    cohort = Cohort(parameters(4, threshold=3))
    inputs = cohort.inputs()
    asked = _requests(cohort, inputs, 1)
    fresh = Cohort(parameters(4, threshold=3))
    before = fresh.clients[1].pack()
    for later in list(Stage)[1:]:
        with pytest.raises(ProtocolError):
            fresh.answer(1, later, asked[stage], inputs)
    assert fresh.clients[1].pack() == before


def test_words_that_are_not_the_terms_are_no_input() -> None:
    cohort = Cohort(parameters(4, threshold=3), bits=20)
    inputs = cohort.inputs()
    cohort.run(inputs, until=Stage.MASK)
    request = cohort.server.requests()[1]
    for words in (inputs[1][:-1], inputs[1].astype(np.uint16), inputs[1] + np.uint32(2**20), inputs[1][None]):
        with pytest.raises(ValueError, match="one row"):
            cohort.clients[1].masked(request, words)


def test_a_kept_state_of_other_terms_is_refused() -> None:
    cohort = Cohort(parameters(4, threshold=3))
    other = Cohort(parameters(4, threshold=3), size=5)
    cohort.terms = other.terms
    with pytest.raises(ProtocolError, match="other terms"):
        cohort.restarted(1)


@pytest.mark.parametrize("threshold", [0, 1, 2, 5])
def test_a_threshold_that_both_secrets_reach_is_no_term(threshold: int) -> None:
    with pytest.raises(ConfigError):
        Terms(session=SESSION, parameters=parameters(5, threshold=threshold), size=1, bits=32)


def test_printing_a_client_shows_no_secret() -> None:
    cohort = Cohort(parameters(4, threshold=3))
    cohort.run(cohort.inputs())
    state = cohort.clients[1]._state
    assert "0x" in repr(state)
    assert repr(state.seed) not in repr(state)


def test_the_server_keeps_one_sum_and_no_clients_words() -> None:
    cohort = Cohort(parameters(6, threshold=4), size=200_000)
    inputs = cohort.inputs()
    cohort.run(inputs, until=Stage.MASK)
    answers = {
        client: cohort.clients[client].masked(request, inputs[client])
        for client, request in cohort.server.requests().items()
    }
    tracemalloc.start()
    for client, answer in answers.items():
        cohort.server.accept(client, answer)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000
    assert peak < 4 * 800_000
