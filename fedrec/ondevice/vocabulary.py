"""Plain words for what a person did and for where a recommendation comes from."""

from collections.abc import Mapping

from fedrec.data.events import Kind

SAID: Mapping[Kind, str] = {
    Kind.VIEW: "you looked at {}",
    Kind.CLICK: "you opened {}",
    Kind.LIKE: "you liked {}",
    Kind.SAVE: "you saved {}",
    Kind.SHARE: "you shared {}",
    Kind.PURCHASE: "you bought {}",
    Kind.RATE: "you rated {}",
    Kind.PLAY: "you played {}",
    Kind.SKIP: "you skipped {}",
    Kind.HIDE: "you hid {}",
    Kind.BLOCK: "you blocked {}",
    Kind.SEARCH: "you searched for {}",
    Kind.COMMENT: "you wrote {}",
}
LOOKING_AT = "you are looking at {}"
ASKING_FOR = "you are asking for {}"
POPULAR = "popular with others"
UNPOPULAR = "less popular with others"
PERSONAL = "fits your habits so far"
AGAINST_HABITS = "does not fit your habits so far"
FORGOTTEN = "something you did before"

TO_BEGIN_WITH = "to begin with"

_LONGEST = 80


def said(kind: Kind, what: str) -> str:
    """What the person did, in words; `what` as `shortened` or `quoted` give it.

    >>> said(Kind.SAVE, "Alien")
    'you saved Alien'
    """
    return SAID[kind].format(what)


def quoted(text: str) -> str:
    """A text of the person's own, as they wrote it, on one line.

    >>> quoted("calm  sea")
    '“calm sea”'
    """
    return f"“{shortened(text)}”"


def shortened(text: str, longest: int = _LONGEST) -> str:
    """The text on one line, cut at a word where it is longer than `longest`.

    >>> shortened("a boat on the sea", longest=10)
    'a boat on…'
    """
    line = " ".join(text.split())
    if len(line) <= longest:
        return line
    head = line[: longest - 1]
    return (head.rpartition(" ")[0] if " " in head and line[longest - 1] != " " else head).rstrip() + "…"
