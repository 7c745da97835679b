"""The sentences about what an epsilon covers: present, apart, and no more than is true."""

import itertools

import pytest

from fedrec.errors import ConfigError
from fedrec.reporting.privacy import words

NOISED = [mode for mode in words.MODES if mode != "none"]


@pytest.mark.parametrize(("mode", "unit"), list(itertools.product(NOISED, words.UNITS)))
def test_every_noised_mode_says_what_it_covers_and_what_not(mode: str, unit: str) -> None:
    covered, open_ = words.covers(mode, unit), words.does_not_cover(mode, unit)
    assert "every round" in " ".join(covered)
    for said in ("Who took part", "choice of settings", "Validation", "groups", "Other runs", "other systems"):
        assert said in " ".join(open_)
    assert not set(covered) & set(open_)
    assert all(line.endswith(".") for line in covered + open_)


@pytest.mark.parametrize(("mode", "unit"), list(itertools.product(NOISED, words.UNITS)))
def test_the_number_of_interruptions_is_named_among_what_leaves_a_client(mode: str, unit: str) -> None:
    assert "begin a round again after an interruption" in " ".join(words.does_not_cover(mode, unit))


@pytest.mark.parametrize("mode", words.MODES)
@pytest.mark.parametrize("said", ["embeddings of search and comment texts", "guesses the whole data set"])
def test_what_a_run_leaves_readable_beside_its_releases_is_named(mode: str, said: str) -> None:
    assert said in " ".join(words.limitations(mode))


def test_no_noise_covers_nothing() -> None:
    assert words.covers("none", "USER") == ()
    assert len(words.does_not_cover("none", "")) == 1


def test_only_a_mode_that_hides_updates_claims_to_hold_against_the_server() -> None:
    assert "against the server" not in " ".join(words.covers("central", "USER"))
    assert "The server itself" in words.does_not_cover("central", "USER")[0]
    for mode in ("local", "distributed"):
        assert "against the server" in " ".join(words.covers(mode, "USER"))


def test_a_segment_is_not_called_a_whole_history() -> None:
    assert "not their whole history" in words.covers("local", "SEGMENT")[0]
    assert "intervals of one person add up" in " ".join(words.does_not_cover("local", "SEGMENT"))


def test_noise_in_integers_has_no_floating_point_gap_to_report() -> None:
    assert "Floating point" in words.does_not_cover("central", "USER")[-1]
    assert "Floating point" not in " ".join(words.does_not_cover("distributed", "USER"))


@pytest.mark.parametrize(
    ("epsilon", "word"),
    [(0.5, "strong"), (1.0, "strong"), (1.01, "reasonable"), (10.0, "reasonable"), (11, "weak to none")],
)
def test_the_word_follows_the_cited_scale(epsilon: float, word: str) -> None:
    assert words.epsilon_words(epsilon) == word


def test_warnings_stand_where_the_guarantee_does_not() -> None:
    assert words.warning("local", guarantee=True) is None
    for mode in NOISED:
        notice = words.warning(mode, guarantee=False)
        assert notice is not None and notice.heading == "NOT A DP GUARANTEE"
    plain = words.warning("none", guarantee=True)
    assert plain is not None and plain.heading == "NOT PRIVATE"


@pytest.mark.parametrize("call", [words.trust_sentence, words.unit_words])
def test_an_unknown_word_is_refused_with_the_known_ones(call: object) -> None:
    with pytest.raises(ConfigError, match="Choose from"):
        call("other")  # type: ignore[operator]


def test_adjacency_is_explained_where_it_is_known() -> None:
    assert "zeros in its place" in words.adjacency_words("ZERO_OUT")
    assert words.adjacency_words("bounded") == "bounded"
