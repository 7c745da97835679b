"""Finding items by words of their titles."""

from hypothesis import given
from hypothesis import strategies as st

from fedrec.agent.titles import Titles

WORDS = st.text(alphabet="abcß \n", max_size=12)


@given(titles=st.lists(WORDS, max_size=12), query=WORDS)
def test_exactly_the_titles_with_every_word_are_found(titles: list[str], query: str) -> None:
    folded = [" ".join(title.casefold().split()) for title in titles]
    words = query.casefold().split()
    expected = {row for row, title in enumerate(folded) if words and all(word in title for word in words)}
    found = Titles(titles).rows(query, most=100)
    assert set(found) == expected
    assert len(found) == len(expected)


def test_what_begins_like_the_query_comes_first_and_then_the_shortest() -> None:
    titles = Titles(["In the deep sea", "The deep", "A deep", "Deep", "Deep blue sea"])
    assert titles.rows("deep", most=4) == [3, 4, 2, 1]


def test_a_catalogue_without_titles_finds_nothing() -> None:
    assert Titles([]).rows("a", most=3) == []
    assert Titles(["", ""]).rows("a", most=3) == []
