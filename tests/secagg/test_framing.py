import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.errors import ProtocolError
from fedrec.secagg.framing import framed, require_length, require_number, require_pair, require_roster
from tests.secagg import reference

_PARTS = st.lists(st.binary(max_size=6), max_size=4)


@given(st.sampled_from(["one", "two"]), _PARTS, st.sampled_from(["one", "two"]), _PARTS)
def test_only_the_same_parts_for_the_same_purpose_give_the_same_bytes(
    purpose: str, parts: list[bytes], other_purpose: str, others: list[bytes]
) -> None:
    same = framed(purpose, *parts) == framed(other_purpose, *others)
    assert same == ((purpose, parts) == (other_purpose, others))


def test_what_is_framed_is_written_as_documented() -> None:
    expected = reference.frame(b"example", b"abc", "ä".encode(), reference.number(7))
    assert framed("example", b"abc", "ä", 7) == expected


@pytest.mark.parametrize("given_number", [-1, 2**63, 1.0, True, "1", None])
def test_a_number_that_eight_bytes_do_not_hold_or_that_is_none_is_refused(given_number: object) -> None:
    with pytest.raises(ProtocolError, match="whole number"):
        require_number(given_number, what="client")  # type: ignore[arg-type]


def test_a_client_is_not_its_own_peer() -> None:
    require_pair(0, 2**63 - 1)
    with pytest.raises(ProtocolError, match="meant for itself"):
        require_pair(3, 3)


@pytest.mark.parametrize("roster", [b"", bytes(31), bytes(33), "0" * 32, None])
def test_a_roster_hash_of_another_length_is_refused(roster: object) -> None:
    require_roster(bytes(32))
    with pytest.raises(ProtocolError, match="roster hash has 32 bytes"):
        require_roster(roster)  # type: ignore[arg-type]


def test_a_refusal_says_how_long_something_is_and_not_what_it_holds() -> None:
    with pytest.raises(ProtocolError) as refusal:
        require_length(b"secret", 32, what="private key")
    assert "6 bytes" in str(refusal.value)
    assert "secret" not in str(refusal.value)
