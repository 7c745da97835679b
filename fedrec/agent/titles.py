"""Finding items of the public catalogue by words of their titles."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import accumulate

from fedrec.ondevice.catalogue import DeviceCatalogue


class Titles:
    """Every title, folded, in one text: a search runs through it once, at the speed of `str.find`.

    >>> Titles(["The Sea", "Sea Wolf", "A Boat"]).rows("SEA the", most=5)
    [0]
    """

    def __init__(self, titles: Iterable[str]) -> None:
        folded = [" ".join(title.casefold().split()) for title in titles]
        self._text = "\n".join(folded)
        self._starts = [0, *accumulate(len(title) + 1 for title in folded)]

    def rows(self, query: str, *, most: int) -> list[int]:
        """The rows of titles that hold every word: those that begin like the query first, then the shortest."""
        words = query.casefold().split()
        if not words:
            return []
        wanted = " ".join(words)
        found = [
            (not title.startswith(wanted), len(title), row)
            for row in self._holding(max(words, key=len))
            if all(word in (title := self._title(row)) for word in words)
        ]
        return [row for _, _, row in sorted(found)[:most]]

    def _holding(self, word: str) -> Iterator[int]:
        place = self._text.find(word)
        while place >= 0:
            row = bisect_right(self._starts, place) - 1
            yield row
            place = self._text.find(word, self._starts[row + 1])

    def _title(self, row: int) -> str:
        return self._text[self._starts[row] : self._starts[row + 1] - 1]


@lru_cache(maxsize=1)
def titles_of(catalogue: DeviceCatalogue) -> Titles:
    """The titles of a catalogue; those of the last one stay at hand, for the next letter that is typed."""
    return Titles(catalogue.title(row) for row in range(len(catalogue)))
