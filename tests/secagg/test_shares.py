import secrets
from itertools import combinations
from math import isqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from fedrec.errors import ProtocolError
from fedrec.secagg.shares import LARGEST_POINT, PRIME, SHARE_BYTES, combine, share_value, split
from tests.secagg import reference

_secrets = st.one_of(
    st.binary(min_size=32, max_size=32), st.sampled_from([bytes(32), b"\xff" * 32, bytes(31) + b"\x01"])
)
_some_points = st.lists(
    st.one_of(st.integers(1, 200), st.integers(1, LARGEST_POINT)), min_size=1, max_size=20, unique=True
)


@st.composite
def _splits(draw: st.DrawFn) -> tuple[bytes, int, list[int]]:
    points = draw(_some_points)
    return draw(_secrets), draw(st.integers(1, len(points))), points


def _encoded(value: int) -> bytes:
    return value.to_bytes(SHARE_BYTES, "big")


def _decoded(shares: dict[int, bytes]) -> dict[int, int]:
    return {point: int.from_bytes(share, "big") for point, share in shares.items()}


def _is_prime(number: int) -> bool:
    """Miller and Rabin's test; wrong with a probability under 4^-40."""
    twos = ((number - 1) & (1 - number)).bit_length() - 1
    odd = (number - 1) >> twos
    for _ in range(40):
        power = pow(secrets.randbelow(number - 3) + 2, odd, number)
        if power in (1, number - 1):
            continue
        if not any(pow(power, 2**step, number) == number - 1 for step in range(1, twos)):
            return False
    return True


def test_the_field_is_that_of_the_least_prime_that_holds_every_secret() -> None:
    assert [number for number in range(2**256, PRIME + 1) if number % 2 and _is_prime(number)] == [PRIME]
    assert [number for number in range(2, 50) if number > 3 and number % 2 and _is_prime(number)] == [
        number for number in range(5, 50, 2) if all(number % low for low in range(2, isqrt(number) + 1))
    ]


@given(_splits(), st.randoms(use_true_random=False))
def test_any_threshold_of_the_shares_give_the_secret(split_: tuple[bytes, int, list[int]], random: object) -> None:
    secret, threshold, points = split_
    shares = split(secret, threshold=threshold, points=points)
    assert list(shares) == points
    chosen = random.sample(points, threshold)  # type: ignore[attr-defined]
    assert combine({point: shares[point] for point in chosen}, threshold=threshold) == secret
    assert combine(shares, threshold=threshold) == secret


@pytest.mark.parametrize("threshold", [1, 2, 3, 4, 5])
def test_every_set_of_enough_shares_gives_the_secret_and_a_lagrange_sum_does(threshold: int) -> None:
    secret = secrets.token_bytes(32)
    shares = split(secret, threshold=threshold, points=[1, 2, 3, 8, 1_000])
    for chosen in combinations(shares, threshold):
        some = {point: shares[point] for point in chosen}
        assert combine(some, threshold=threshold) == secret
        assert reference.value_at(0, _decoded(some)) == int.from_bytes(secret, "big")


def test_shares_of_a_known_polynomial_give_its_constant() -> None:
    constant, linear, square = int.from_bytes(bytes(range(32)), "big"), PRIME - 5, 2**255 + 12345
    values = {point: (constant + linear * point + square * point**2) % PRIME for point in (2, 5, 7, 4_000_000_000)}
    shares = {point: _encoded(value) for point, value in values.items()}
    for chosen in combinations(shares, 3):
        assert combine({point: shares[point] for point in chosen}, threshold=3) == bytes(range(32))


@given(_splits(), _secrets)
def test_one_share_too_few_is_consistent_with_every_secret(split_: tuple[bytes, int, list[int]], other: bytes) -> None:
    secret, threshold, points = split_
    assume(threshold > 1)
    shares = split(secret, threshold=threshold, points=points)
    known, last = points[: threshold - 1], points[threshold - 1]
    seen = {point: shares[point] for point in known}
    # Some value of the share that was not seen makes any secret come out, so what was seen rules none out.
    value = reference.value_at(last, {0: int.from_bytes(other, "big"), **_decoded(seen)})
    assert combine({**seen, last: _encoded(value)}, threshold=threshold) == other


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_a_share_is_uniform_whatever_the_secret(secret: bytes) -> None:
    values = [share_value(split(secret, threshold=2, points=[1, 2])[1]) for _ in range(4_000)]
    for sixteenth in ([value >> 252 for value in values], [value & 15 for value in values]):
        # Values from 2^256 on, of which there are 297, do not come in 4,000 draws.
        assert chisquare(np.bincount(sixteenth, minlength=16)).pvalue > 1e-9


def test_the_same_secret_is_never_split_the_same_way_twice() -> None:
    first, second = (split(bytes(32), threshold=3, points=range(1, 6)) for _ in range(2))
    assert all(first[point] != second[point] for point in first)


def test_with_a_threshold_of_one_each_share_is_the_secret() -> None:
    secret = secrets.token_bytes(32)
    assert set(split(secret, threshold=1, points=[1, 9]).values()) == {b"\x00" + secret}


def test_a_large_neighbourhood_gives_its_secret_back() -> None:
    secret = secrets.token_bytes(32)
    shares = split(secret, threshold=120, points=range(1, 201))
    assert combine({point: shares[point] for point in range(81, 201)}, threshold=120) == secret


def test_a_wrong_share_gives_another_secret() -> None:
    secret = secrets.token_bytes(32)
    shares = split(secret, threshold=3, points=[1, 2, 3])
    wrong = {**shares, 2: shares[3]}
    try:
        assert combine(wrong, threshold=3) != secret
    except ProtocolError as refusal:
        assert "do not fit" in str(refusal)


def test_shares_whose_sum_is_no_secret_are_refused() -> None:
    # 2^256 is in the field, and no 32 bytes.
    with pytest.raises(ProtocolError, match="do not fit"):
        combine({1: _encoded(2**256), 2: _encoded(2**256)}, threshold=2)


def test_a_share_of_the_value_zero_counts_like_any_other() -> None:
    # f(x) = 6 - 3 x.
    assert combine({2: _encoded(0), 1: _encoded(3)}, threshold=2) == bytes(31) + b"\x06"


@pytest.mark.parametrize("value", [PRIME, PRIME + 1, 2**257, 2**264 - 1])
def test_a_share_that_is_not_below_the_prime_is_refused(value: int) -> None:
    with pytest.raises(ProtocolError, match="below its prime"):
        combine({1: _encoded(value), 2: _encoded(1)}, threshold=2)


@pytest.mark.parametrize("share", [b"", bytes(32), bytes(34), "0" * 33, None, 5])
def test_a_share_of_another_length_or_kind_is_refused(share: object) -> None:
    with pytest.raises(ProtocolError, match="33 bytes"):
        combine({1: share, 2: _encoded(1)}, threshold=2)  # type: ignore[dict-item]


@pytest.mark.parametrize("point", [0, -1, LARGEST_POINT + 1, PRIME, PRIME + 1, True, 1.5, "1", None])
def test_a_share_at_a_point_that_gives_the_secret_away_or_is_none_is_refused(point: object) -> None:
    with pytest.raises(ProtocolError, match="point"):
        combine({point: _encoded(1), 2: _encoded(1)}, threshold=2)  # type: ignore[dict-item]


@pytest.mark.parametrize(("count", "threshold"), [(0, 1), (1, 2), (59, 60), (3, 0)])
def test_too_few_shares_are_refused(count: int, threshold: int) -> None:
    with pytest.raises(ProtocolError, match=f"{count} shares"):
        combine({point: _encoded(1) for point in range(1, count + 1)}, threshold=threshold)


@pytest.mark.parametrize(
    ("secret", "threshold", "points"),
    [
        (bytes(31), 1, [1]),
        (bytes(33), 1, [1]),
        (bytes(32), 0, [1]),
        (bytes(32), 3, [1, 2]),
        (bytes(32), 1, []),
        (bytes(32), 2, [1, 2, 1]),
        (bytes(32), 2, [0, 1]),
        (bytes(32), 2, [-1, 1]),
        (bytes(32), 2, [1, LARGEST_POINT + 1]),
        (bytes(32), 2, [1, True]),
    ],
)
def test_a_split_that_would_give_the_secret_away_or_lose_it_is_refused(
    secret: bytes, threshold: int, points: list[int]
) -> None:
    with pytest.raises(ValueError, match=r"point"):
        split(secret, threshold=threshold, points=points)
