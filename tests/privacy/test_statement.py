import pytest

from fedrec.errors import ConfigError, VerificationError
from fedrec.privacy.accounting import epsilon_of
from fedrec.privacy.ledger import Ledger
from fedrec.privacy.statement import check_client_ledgers, participations, privacy_statement
from tests.small_worlds import a_plan

PLAN = a_plan(noise_multiplier=4.0)


def entry(participants, *, guarantee=True):
    return {**PLAN.participation.as_event(), "kind": "update", "participants": participants, "guarantee": guarantee}


def test_a_run_without_noise_says_that_it_is_not_private():
    found = privacy_statement(None, [], system_noise=True)
    assert found["statement"].startswith("NOT PRIVATE")
    assert (found["guarantee"], found["epsilon"], found["mode"]) == (False, None, "none")


def test_secret_noise_gives_a_guarantee_for_the_client_that_took_part_most():
    found = privacy_statement(PLAN, [entry([1, 2]), entry([2]), entry([2, 3])], system_noise=True)
    expected = epsilon_of(((PLAN.participation, 3),), delta=PLAN.delta)
    assert found["guarantee"] is True
    assert found["epsilon"] == pytest.approx(expected, abs=1e-4)
    assert found["epsilon_replace_one"] > found["epsilon"]
    assert (found["participations"], found["participation_cap"]) == (3, 5)
    assert "NOT" not in found["statement"]
    assert f"epsilon {expected:.2f} at delta 1e-06" in found["statement"]


@pytest.mark.parametrize(
    ("entries", "system_noise"),
    [
        ([entry([1])], False),
        ([entry([1], guarantee=False)], True),
        ([entry([1]), entry([2], guarantee=False), entry([1])], True),
    ],
)
def test_seeded_noise_anywhere_is_no_guarantee_and_says_so(entries, system_noise):
    found = privacy_statement(PLAN, entries, system_noise=system_noise)
    assert found["guarantee"] is False
    assert found["statement"].startswith("NOT A DP GUARANTEE")


def test_a_run_that_has_spent_nothing_says_epsilon_zero():
    found = privacy_statement(PLAN, [], system_noise=True)
    assert (found["epsilon"], found["participations"]) == (0, 0)


def test_a_ledger_that_cannot_be_accounted_gives_no_statement():
    with pytest.raises(ConfigError):
        privacy_statement(PLAN, [{**entry([1]), "mechanism": "new"}], system_noise=True)


def test_participations_count_updates_and_nothing_else():
    events = [entry([1, 2]), entry([1]), {**entry([1]), "kind": "metrics"}]
    assert participations(events) == {1: 2, 2: 1}


def client_ledger(tmp_path, client, entries):
    path = tmp_path / str(client) / "ledger.jsonl"
    with Ledger(path) as ledger:
        for _ in range(entries):
            ledger.append({"kind": "update"})
    return client, path


def test_a_client_that_spent_more_than_the_server_knows_of_is_a_fault(tmp_path):
    clients = [client_ledger(tmp_path, 1, 1), client_ledger(tmp_path, 2, 3)]
    with pytest.raises(VerificationError, match=r"holds 3 participations and the server's 2"):
        check_client_ledgers([entry([1, 2]), entry([2])], clients)


def test_a_client_that_the_server_never_charged_is_a_fault(tmp_path):
    with pytest.raises(VerificationError, match="server's 0"):
        check_client_ledgers([entry([1])], [client_ledger(tmp_path, 7, 1)])


def test_a_client_that_spent_as_much_or_less_passes(tmp_path):
    clients = [client_ledger(tmp_path, 1, 1), client_ledger(tmp_path, 2, 1), (9, tmp_path / "never" / "ledger.jsonl")]
    check_client_ledgers([entry([1, 2]), entry([2])], clients)
