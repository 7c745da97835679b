"""What clients were charged for, kept up with a ledger, held against counting its entries one by one."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import ConfigError
from fedrec.privacy.ledger import Ledger
from fedrec.privacy.spends import GaussianSpend, spend_of
from fedrec.privacy.tally import Tally

ENTRIES = st.lists(
    st.builds(
        lambda kind, noise, people, number: {
            **GaussianSpend(noise_multiplier=noise).as_event(),
            "kind": kind,
            "participants": people,
            "round": number,
        },
        st.sampled_from(["update", "metrics"]),
        st.sampled_from([1.0, 2.0, 3.0]),
        st.lists(st.integers(0, 12) | st.just(2**40), max_size=6),
        st.integers(1, 20),
    ),
    max_size=10,
)


@given(ENTRIES, st.integers(0, 10))
def test_a_tally_is_what_counting_one_by_one_gives(entries: list[dict], read_first: int) -> None:
    tally = Tally()
    tally.read(entries[:read_first])
    tally.read(entries)
    taken, last, spent = Counter(), {}, {}
    for entry in entries:
        for client in entry["participants"]:
            spent.setdefault(client, Counter())[spend_of(entry)] += 1
        if entry["kind"] == "update":
            taken.update(entry["participants"])
            last.update(dict.fromkeys(entry["participants"], entry["round"]))
    ids = tally.ids.tolist()
    assert ids == sorted(spent)
    assert tally.taken.tolist() == [taken[client] for client in ids]
    assert tally.last.tolist() == [last.get(client, -1) for client in ids]
    distinct, which = tally.spendings()
    assert len(set(distinct)) == len(distinct)
    assert [Counter(dict(distinct[place])) for place in which.tolist()] == [spent[client] for client in ids]


def test_a_ledger_keeps_its_tally_up(tmp_path: Path) -> None:
    event = {**GaussianSpend(noise_multiplier=1.0).as_event(), "kind": "update", "round": 1, "participants": [7, 3]}
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        ledger.append(event)
        assert ledger.tally.ids.tolist() == [3, 7]
        ledger.append({**event, "round": 4, "participants": [7]})
        assert ledger.tally.taken.tolist() == [1, 2]
    with Ledger(tmp_path / "ledger.jsonl") as again:
        assert again.tally.last.tolist() == [1, 4]


def test_a_mechanism_that_cannot_be_accounted_is_refused() -> None:
    with pytest.raises(ConfigError, match="`magic`"):
        Tally.of([{"mechanism": "magic", "participants": [], "kind": "update", "round": 1}])


def test_an_empty_ledger_has_charged_nobody() -> None:
    distinct, which = Tally().spendings()
    assert distinct == []
    assert len(which) == 0
