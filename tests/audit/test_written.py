"""Clients with unlike data: does anything but a vector's numbers tell them apart, or get written down?"""

from dataclasses import replace

import numpy as np
import pytest

from fedrec.audit import written
from fedrec.audit.crowd import nothing, people, witness
from fedrec.audit.neighbours import QuietSource
from fedrec.audit.replacing import replaced
from fedrec.audit.written import written_checks
from fedrec.federation import messages
from fedrec.privacy import randomness
from fedrec.privacy.ledger import Ledger
from fedrec.training import collecting, payment, server_round
from fedrec.training import round as rounds
from fedrec.training.client import Client
from fedrec.training.client_records import FolderRecords
from fedrec.training.run_folder import RunFolder

pytestmark = pytest.mark.slow

MODES = ["central", "local"]


def failed(mode):
    return [check.name for check in written_checks(mode) if not check.passed]


def count_of(client):
    try:
        return len(client.examples())
    # Whatever a person's data raise, on purpose or not: this client has none that could be counted.
    except Exception:
        return -1


@pytest.mark.parametrize("mode", MODES)
def test_the_deployed_code_passes(mode):
    assert failed(mode) == []


def test_the_clients_differ_in_what_they_have_to_say():
    with replaced(randomness, "system_source", QuietSource):
        seen = witness("central", people())
    for asked in ("update of round 1, first asked", "popularity of round 0, first asked"):
        vectors = [reply.update for kind, reply in seen.replies if kind == asked]
        assert len(vectors) == len(people())
        assert len({vector.tobytes() for vector in vectors}) >= 3


def test_a_run_without_anybodys_data_releases_everything_that_the_mode_has():
    seen = witness("central", [nothing] * 3)
    assert {event["kind"] for event in seen.events} == {"update", "metrics", "popularity"}
    assert {"bands", "separation"} <= {name for event in seen.events for name in event}
    assert any(event["released"].startswith("nothing: too few") for event in seen.events)
    assert seen.prior is not None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", ["update", "popularity"])
def test_attempts_that_count_examples_are_noticed(mode, task):
    def telling(self, instruction):
        answer = reply(self, instruction)
        return replace(answer, attempts=answer.attempts + (count_of(self) > 1) * (instruction.task == task))

    reply = Client.reply
    with replaced(Client, "reply", telling):
        assert ("reply_alike" in failed(mode)) is (mode == "central" or task == "update")


@pytest.mark.parametrize("mode", MODES)
def test_attempts_of_a_stored_reply_that_depend_on_it_are_noticed(mode):
    def telling(self, token):
        kept = stored(self, token)
        return kept and (kept[0], kept[1] + int(np.abs(kept[0]).sum() * 1e6) % 7)

    stored = FolderRecords.reply
    with replaced(FolderRecords, "reply", telling):
        assert "reply_alike" in failed(mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_client_whose_code_tells_that_training_broke_is_noticed(mode):
    def unguarded(self, instruction, source):
        return self._vector(instruction, source, self.examples())

    with replaced(Client, "contribution", unguarded):
        assert "reply_alike" in failed(mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_client_without_data_that_declines_is_noticed(mode):
    def declining(self, instruction):
        answer = reply(self, instruction)
        return answer if count_of(self) else replace(answer, update=None, code="RefusedError")

    reply = Client.reply
    with replaced(Client, "reply", declining):
        assert {"reply_alike", "written_alike"} <= set(failed(mode))


@pytest.mark.parametrize("mode", MODES)
def test_a_vector_whose_size_depends_on_the_data_is_noticed(mode):
    def shorter(self, instruction):
        answer = reply(self, instruction)
        return replace(answer, update=answer.update[: -1 - max(0, count_of(self))])

    reply = Client.reply
    with replaced(Client, "reply", shorter):
        assert "reply_alike" in failed(mode)


def test_a_packed_form_that_tells_is_noticed():
    def telling(reply):
        return pack(replace(reply, code="x" if np.abs(reply.update).sum() > 1e-3 else ""))

    pack = messages.pack_reply
    with replaced(messages, "pack_reply", telling):
        assert "reply_alike" in failed("central")


@pytest.mark.parametrize("mode", MODES)
def test_one_more_figure_in_a_record_is_noticed(mode):
    commit = RunFolder.commit
    with replaced(RunFolder, "commit", lambda self, state, record: commit(self, state, {**record, "loss": 0.7})):
        assert failed(mode) == ["written_fields"]


@pytest.mark.parametrize("mode", MODES)
def test_one_more_figure_in_a_ledger_entry_is_noticed(mode):
    append = Ledger.append
    with replaced(Ledger, "append", lambda self, event: append(self, {**event, "examples": 7})):
        assert failed(mode) == ["written_fields"]


def test_one_more_released_metric_is_noticed():
    released = server_round.released_metrics

    def more(noised, *, noise_std):
        return {**(released(noised, noise_std=noise_std) or {}), "accuracy": {"value": 0.5, "noise_std": 0.1, "n": 3}}

    with replaced(server_round, "released_metrics", more):
        found = {name for name in written.unlisted(witness("central", people())) if name.startswith("released")}
    assert found == {"released_metrics/accuracy", "released_metrics/accuracy/n"}


def test_a_failure_count_that_depends_on_data_is_noticed():
    def counting(engine, instruction, cohort, **settings):
        collected = ask(engine, instruction, cohort, **settings)
        collected.failures["clipped"] += int(np.abs(collected.total.value).sum() > 1e-3)
        return collected

    ask = server_round.ask
    with replaced(server_round, "ask", counting):
        assert failed("central") == ["written_alike"]


def test_a_hash_of_an_update_without_noise_is_noticed():
    digest = collecting._digest
    with replaced(collecting, "_digest", lambda update, plan: digest(update, replace(plan, mode="local"))):
        assert failed("central") == ["written_alike"]


def test_a_charge_that_depends_on_data_is_noticed():
    def sparing(collected, *rest):
        everybody, replies = owing(collected, *rest)
        return everybody - {0} if np.abs(collected.total.value).sum() > 1e-3 else everybody, replies

    owing = payment._owing
    with replaced(payment, "_owing", sparing):
        assert failed("central") == ["written_alike"]


@pytest.mark.parametrize("mode", MODES)
def test_a_norm_on_record_that_is_not_the_releases_is_noticed(mode):
    def before_the_noise(state, result, federation):
        advanced, norm = step(state, result, federation)
        return advanced, 0.9 * norm

    step = rounds._step
    with replaced(rounds, "_step", before_the_noise):
        assert failed(mode) == ["update_norm"]
