"""Whatever a node sends as a reply becomes a vector or a code, never an exception."""

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.data.store.connection import DamagedError
from fedrec.errors import UnsafeUpdateError
from fedrec.federation.messages import TRAIN, pack_reply, unpack_reply
from fedrec.training.aggregation import UpdateSum
from fedrec.training.client import Reply

SIZE = 5
SOUND = {"code": "", "attempts": 1}


@pytest.fixture(autouse=True, scope="module")
def _inside_a_task() -> None:
    """Flower builds a message only inside a task."""
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1


def received(content: RecordDict) -> Reply:
    """What the server reads out of a message with this content."""
    return unpack_reply(7, Message(content, 1, TRAIN))


def with_update(record: Any) -> Reply:
    return received(RecordDict({"reply": ConfigRecord(SOUND), "update": record}))


def with_array(array: np.ndarray) -> Reply:
    return with_update(ArrayRecord({"vector": Array(array)}))


def with_bytes(data: bytes) -> Reply:
    return with_update(ArrayRecord({"vector": Array("float32", (SIZE,), "numpy.ndarray", data)}))


def is_malformed(reply: Reply) -> bool:
    return reply == Reply(client=7, code="malformed")


@given(st.integers(0, 3000), st.integers(0, 2**32), st.integers(0, 100))
def test_what_is_packed_is_read_to_the_bit(size: int, seed: int, attempts: int) -> None:
    update = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    found = received(pack_reply(Reply(client=3, update=update, attempts=attempts)))
    assert (found.client, found.code, found.attempts) == (7, "", attempts)
    assert found.update is not None
    assert found.update.dtype == np.float32
    assert found.update.tobytes() == update.tobytes()


def test_what_a_vector_is_called_cannot_be_known_beforehand() -> None:
    """A SuperLink calls an object by its hash: the zeros of who has no data would be known to everybody."""
    zeros = Reply(client=3, update=np.zeros(SIZE, np.float32), attempts=1)
    first, second = (pack_reply(zeros).array_records["update"]["vector"] for _ in range(2))
    assert len(first.data) == len(second.data)
    assert not set(get_all_nested_objects(first)) & set(get_all_nested_objects(second))


NUMBERS = st.lists(st.floats(width=32), min_size=SIZE, max_size=SIZE)


@given(NUMBERS)
def test_nan_infinity_and_subnormal_numbers_arrive_and_only_finite_ones_are_added(numbers: list[float]) -> None:
    found = with_array(np.array(numbers, dtype=np.float32)).update
    assert found is not None
    total = UpdateSum(SIZE)
    if np.isfinite(numbers).all():
        total.add(found)
        assert total.value.tolist() == numbers
    else:
        with pytest.raises(UnsafeUpdateError):
            total.add(found)
        assert not total.value.any()


@pytest.mark.parametrize("kind", ["<f8", ">f4", "<f2", "<i4", "<u4", "|b1", "<c8", "<U3", "|S4"])
def test_another_type_or_byte_order_is_malformed(kind: str) -> None:
    assert is_malformed(with_array(np.zeros(SIZE, dtype=kind)))


@pytest.mark.parametrize("shape", [(), (1, SIZE), (SIZE, 1), (0, SIZE)])
def test_another_shape_is_malformed(shape: tuple[int, ...]) -> None:
    assert is_malformed(with_array(np.zeros(shape, dtype=np.float32)))


def test_a_header_that_promises_more_than_there_is_allocates_nothing() -> None:
    sound = bytes(Array(np.zeros(SIZE, np.float32)).data)
    for promised in (b"(9,)", b"(-1,)", b"(10**12,)", b"(" * 40):
        assert is_malformed(with_bytes(sound.replace(b"(5,), }", promised.ljust(7))))


@given(st.binary(max_size=300))
def test_any_bytes_for_an_array_are_malformed(data: bytes) -> None:
    assert is_malformed(with_bytes(data))


@given(st.integers(0, 147), st.integers(0, 255))
def test_one_changed_byte_is_malformed_or_another_number(place: int, value: int) -> None:
    sound = bytes(Array(np.arange(SIZE, dtype=np.float32)).data)
    found = with_bytes(sound[:place] + bytes([value]) + sound[place + 1 :])
    assert is_malformed(found) if place < 128 and sound[place] != value else found.update is not None


@pytest.mark.parametrize("cut", [-1, -3, -4, -20, -21, 1])
def test_an_array_that_was_cut_or_grew_is_malformed(cut: int) -> None:
    sound = bytes(Array(np.zeros(SIZE, np.float32)).data)
    assert is_malformed(with_bytes(sound[:cut] if cut < 0 else sound + b"\0" * cut))


def test_ten_megabytes_are_one_unsound_update() -> None:
    found = with_array(np.zeros(2_500_000, dtype=np.float32)).update
    assert found is not None
    with pytest.raises(UnsafeUpdateError):
        UpdateSum(SIZE).add(found)


def test_ten_megabytes_of_text_are_malformed() -> None:
    assert is_malformed(received(RecordDict({"reply": ConfigRecord({"code": "x" * 10_000_000, "attempts": 1})})))


VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=5),
    st.booleans(),
    st.binary(max_size=5),
    st.lists(st.integers(-3, 3), min_size=1, max_size=3),
)


@given(VALUES, VALUES)
def test_a_code_and_a_count_of_any_type_are_read_or_malformed(code: Any, attempts: Any) -> None:
    found = received(RecordDict({"reply": ConfigRecord({"code": code, "attempts": attempts})}))
    assert is_malformed(found) or (found.code == code == "" and found.attempts == max(0, attempts))


@pytest.mark.parametrize("code", ["BudgetError", "RefusedError", "crashed", ""])
def test_our_codes_arrive(code: str) -> None:
    assert received(pack_reply(Reply(client=7, code=code))).code == code


def test_an_error_of_a_modules_own_is_told_as_the_kind_that_it_is() -> None:
    error = DamagedError("The store cannot be read.")
    assert type(error).__name__ != error.code == "VerificationError"
    assert received(pack_reply(Reply(client=7, code=error.code))).code == "VerificationError"


@pytest.mark.parametrize("code", ["SecretFilm", "user_17", "budgeterror", "malformed", "timeout", "0"])
def test_words_of_a_clients_own_choosing_do_not_arrive(code: str) -> None:
    assert is_malformed(received(pack_reply(Reply(client=7, code=code))))


def odd_contents() -> dict[str, RecordDict]:
    reply, vector = ConfigRecord(SOUND), Array(np.zeros(SIZE, np.float32))
    update = ArrayRecord({"vector": vector})
    return {
        "nothing": RecordDict(),
        "an update alone": RecordDict({"update": update}),
        "types exchanged": RecordDict({"reply": update, "update": reply}),
        "metrics for a reply": RecordDict({"reply": MetricRecord({"code": 0, "attempts": 1})}),
        "metrics for an update": RecordDict({"reply": reply, "update": MetricRecord({"vector": 1.0})}),
        "metrics beside them": RecordDict({"reply": reply, "update": update, "more": MetricRecord({"loss": 1.0})}),
        "another name": RecordDict({"reply": reply, "gift": update}),
        "two vectors": RecordDict({"reply": reply, "update": ArrayRecord({"vector": vector, "w": vector})}),
        "no vector": RecordDict({"reply": reply, "update": ArrayRecord()}),
        "a vector of another name": RecordDict({"reply": reply, "update": ArrayRecord({"v": vector})}),
        "one key too few": RecordDict({"reply": ConfigRecord({"code": ""})}),
        "one key too many": RecordDict({"reply": ConfigRecord({**SOUND, "who": "me"})}),
        "thousands of keys": RecordDict({"reply": ConfigRecord({**SOUND, **{str(n): n for n in range(5000)}})}),
        "thousands of records": RecordDict({"reply": reply, **{str(n): ConfigRecord() for n in range(5000)}}),
        "thousands of vectors": RecordDict(
            {"reply": reply, "update": ArrayRecord({"vector": vector, **{str(n): vector for n in range(5000)}})}
        ),
    }


@pytest.mark.parametrize("odd", odd_contents())
def test_other_records_than_ours_are_malformed(odd: str) -> None:
    assert is_malformed(received(odd_contents()[odd]))


RECORDS = st.one_of(
    st.dictionaries(st.sampled_from(["code", "attempts", "x"]), VALUES, max_size=3).map(ConfigRecord),
    st.dictionaries(st.sampled_from(["vector", "x"]), st.floats(), max_size=2).map(MetricRecord),
    st.dictionaries(
        st.sampled_from(["vector", "x"]),
        st.binary(max_size=200).map(lambda data: Array("float32", (SIZE,), "numpy.ndarray", data)),
        max_size=2,
    ).map(ArrayRecord),
)


@given(st.dictionaries(st.sampled_from(["reply", "update", "x"]), RECORDS, max_size=3))
@settings(max_examples=200)
def test_any_content_is_a_reply(content: dict[str, Any]) -> None:
    found = received(RecordDict(content))
    assert found.client == 7
    assert found.code in ("", "malformed")
    assert found.attempts >= 0
