"""What an epsilon covers and what it does not, in plain words, for every report."""

from collections.abc import Iterable
from dataclasses import dataclass

from fedrec.errors import ConfigError

MODES = ("none", "local", "central", "distributed")
UNITS = ("USER", "SEGMENT")

SCALE = (
    "Ponomareva et al. 2023, “How to DP-fy ML”, arXiv:2303.00654: up to 1 is strong, up to 10 is reasonable, "
    "above 10 is weak to none, each at a small delta"
)

_TRUST = {
    "none": "No noise is added anywhere: the server reads every client's update.",
    "local": "Each client adds the noise before anything leaves it. Nobody outside the client has to be trusted.",
    "central": "The server adds the noise to the sum of clipped updates. The server has to be trusted.",
    "distributed": (
        "Each client adds its share of the noise under a mask; the server opens only the noised sum. "
        "A stated number of clients has to be honest. The server is not trusted with updates, but with enrolment: "
        "whoever enrols devices of its own passes the number that may collude."
    ),
}

_SERVER = {
    "none": ("every client's update, in clear", "nothing", "everything that an update tells"),
    "local": (
        "one noised vector per client and round, who took part and when",
        "each client's own noise: the epsilon of this report",
        "who took part and when",
    ),
    "central": (
        "every client's clipped update, in clear, before the noise; who took part and when",
        "nothing: it has to be trusted to add the noise and to forget the updates",
        "everything that one clipped update tells",
    ),
    "distributed": (
        "the noised sum of a cohort, who took part and when",
        "masks, and the noise of the honest clients: the epsilon of this report",
        "who took part and when; more, where more clients collude with it than planned, or are its own",
    ),
}

_UNIT = {
    "USER": "everything that one person contributed, over all rounds",
    "SEGMENT": "everything that one person did in one interval of time, not their whole history",
}

_ADJACENCY = {
    "zero-out": "with one unit's contribution, or with zeros in its place",
    "replace-one": "with one unit's contribution, or with any other contribution in its place",
    "add-remove": "with one unit present, or without it",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """A heading in large letters and the sentence under it."""

    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody around a run: what they see, what stands in their way, and what stays open."""

    who: str
    sees: str
    stopped_by: str
    left: str


def warning(mode: str, *, guarantee: bool) -> Notice | None:
    """What has to stand in large letters above a run of this mode; None when its guarantee holds.

    >>> warning("none", guarantee=False).heading
    'NOT PRIVATE'
    >>> warning("central", guarantee=True) is None
    True
    """
    _known("mode", mode, MODES)
    if mode == "none":
        return Notice("NOT PRIVATE", "No noise was added. The adapter may reveal what any single person did.")
    if guarantee:
        return None
    return Notice(
        "NOT A DP GUARANTEE",
        "A condition of the guarantee is not met. In a seeded simulation, whoever knows the seed can subtract the "
        "noise. Epsilon is what the same plan spends where noise comes from the operating system.",
    )


def parties(mode: str, *, served: bool = False, masked: bool = False) -> tuple[Party, ...]:
    """Who sees what in a run of this mode, from the closest to the furthest.

    served: whether devices took part, and not clients of a simulation. masked: whether the server sees sums alone.

    >>> [party.who for party in parties("central")][:2]
    ['whoever runs a client', 'the server']
    """
    _known("mode", mode, MODES)
    noised = mode != "none"
    guarded = "the noise: the epsilon of this report" if noised else "nothing"
    left = "facts about groups" if noised else "whatever the adapter remembers of one person"
    return (
        Party("whoever runs a client", "the raw histories on that client", "nothing here", "everything on it"),
        Party("the server", *(_MASKED if masked and mode == "local" else _SERVER[mode])),
        *((_COLLUDING[mode], _HOSTILE) if masked and mode in _COLLUDING else ()),
        Party("other clients", "the adapter of every round, and popularity where it is released", guarded, left),
        Party("readers of a release", "adapter, item index, model card, ledger head", guarded, left),
        Party(
            "the network",
            "who talks to the server, when, and how much",
            "TLS" if served else "in a deployment TLS; in a simulation there is no network",
            "who takes part and when",
        ),
        _SERVICE[mode] if served else _LABORATORY,
    )


_MASKED = (
    "the sum of a cohort's noised vectors, who took part and when",
    "each client's own noise: the epsilon of this report; masks beside it",
    "who took part and when",
)
_COLLUDING = {
    "local": Party(
        "clients that collude with the server",
        "sums of the others, where they are enough to unmask them",
        "each client's own noise: the epsilon of this report",
        "facts about groups",
    ),
    "distributed": Party(
        "clients that collude with the server",
        "their own shares of the noise, and what they hold of their neighbours' secrets",
        "up to the planned share: the noise of the others, which alone is enough, and a threshold of shares",
        "above the planned share: sums with too little noise, in the end of one client",
    ),
}
_HOSTILE = Party(
    "one hostile client",
    "what every client sees",
    "masks hide it, too: a sum that no honest cohort gives is dropped",
    "it can ruin a round, which is charged and reported, and move a sum within what an honest cohort could give",
)
_LABORATORY = Party(
    "whoever holds the folder of a simulation",
    "client ledgers, stored replies, the server's noise and its key, the data set beside it",
    "file permissions",
    "everything: a simulation is a laboratory, and only its releases may leave it",
)
_HOLDER = "whoever holds the service's folders and databases, or a copy of them"
_TAKING_PART = "who took part and when, by client number, and each number's keys"
_SERVICE = {
    "none": Party(_HOLDER, "what the server sees", "file permissions", "everything that an update tells"),
    "local": Party(_HOLDER, f"{_TAKING_PART}; noised vectors that wait", "file permissions", "who took part and when"),
    "central": Party(
        _HOLDER,
        f"{_TAKING_PART}; clipped updates that wait, in clear; the noise that is kept, beside its key",
        "file permissions",
        "everything that a clipped update tells; releases without the noise that is kept",
    ),
    "distributed": Party(
        _HOLDER, f"{_TAKING_PART}; masked words that wait", "masks; file permissions", "who took part and when"
    ),
}


def trust_sentence(mode: str) -> str:
    """Who adds the noise and who has to be trusted."""
    _known("mode", mode, MODES)
    return _TRUST[mode]


def unit_words(unit: str) -> str:
    """What one privacy unit is.

    >>> unit_words("USER")
    'everything that one person contributed, over all rounds'
    """
    _known("unit", unit, UNITS)
    return _UNIT[unit]


def adjacency_words(adjacency: str) -> str:
    """Which two worlds epsilon compares; the name itself when fedrec has no words for it."""
    return _ADJACENCY.get(adjacency.lower().replace("_", "-"), adjacency)


def epsilon_words(epsilon: float) -> str:
    """One word for the size of an epsilon, on the scale that `SCALE` cites.

    >>> [epsilon_words(epsilon) for epsilon in (0.9, 3.0, 10.5)]
    ['strong', 'reasonable', 'weak to none']
    """
    if epsilon <= 1:
        return "strong"
    return "reasonable" if epsilon <= 10 else "weak to none"


def covers(mode: str, unit: str) -> tuple[str, ...]:
    """What the epsilon of a run holds for, one sentence each; empty for mode `none`."""
    _known("mode", mode, MODES)
    if mode == "none":
        return ()
    whole = "Everything the run releases, taken together: the adapter of every round, not only the last one."
    later = "Whatever is computed from those releases afterwards: merged copies, recommendations, exports."
    return (f"The unit is {unit_words(unit)}.", whole, later, _COVERED_FROM[mode])


def weakest(modes: Iterable[str]) -> str:
    """The mode that has to trust most: what one epsilon over runs of several noised modes can claim.

    >>> weakest(["local", "central", "distributed"])
    'central'
    """
    return max(modes, key=tuple(_COVERED_FROM).index)


def holds_against(mode: str) -> str:
    """Against whom the epsilon of a noised mode holds."""
    return _COVERED_FROM[mode]


def does_not_cover(mode: str, unit: str) -> tuple[str, ...]:
    """What stays outside the epsilon of a run, one sentence each."""
    _known("mode", mode, MODES)
    if mode == "none":
        return ("Anything: without noise there is no bound on what a release reveals.",)
    _known("unit", unit, UNITS)
    numeric = () if mode == "distributed" else (_FLOATING_POINT,)
    return (*_NOT_COVERED_BY_MODE[mode], *_NOT_COVERED_BY_UNIT[unit], *_NEVER_COVERED, *numeric)


def limitations(mode: str, *, served: bool = False, unmasked: bool = False) -> tuple[str, ...]:
    """What a budget report itself cannot do, one sentence each; served: as in `parties`.

    unmasked: whether a simulation added up in clear what its plan has under masks.
    """
    _known("mode", mode, MODES)
    noised = () if mode == "none" else _LIMITS_OF_EPSILON
    first, *others = _LIMITS_OF_RECORDS
    plain = (UNMASKED,) if unmasked else ()
    return (first, *plain, *(_LIMITS_OF_A_SERVICE if served else _LIMITS_OF_A_SIMULATION), *others, *noised)


UNMASKED = (
    "Masks were not exercised: this simulation's engine added up in clear, in one process, the same whole numbers that "
    "masks would hide. What is said of masks here is of the plan, and of a run with devices."
)
_LIMITS_OF_RECORDS = (
    "The report shows what the records say. That the program draws the noise that it records is shown by its tests and "
    "its audit, not here.",
    "The ledger names clients by number and tells who took part when. It is for auditors, not for publication.",
    "The hash of the data is a plain SHA-256. Whoever guesses the whole data set can confirm the guess by it.",
    "Signatures are checked against a key. Unless the reader brings that key from a trusted source, they show damage "
    "and not forgery.",
)
_LIMITS_OF_A_SERVICE = (
    "A client is a number that an operator gave to a device. Who has several devices, or enrols again as a new one, "
    "begins a new count each time: only the device's own ledger, as long as it is not erased, knows of all of them.",
    "What a device shows its operator beside the releases is not in this epsilon: that it is there, when, and what it "
    "refuses. The console hides small groups of it; the registry, the logs and the server do not.",
)
_LIMITS_OF_A_SIMULATION = (
    "In a simulation the operator holds everybody's data: the guarantee is for those who see the releases alone.",
    "The non-private twin of a simulation, in the folder twin, is trained without noise: it must never be published.",
    "In a simulation the embeddings of search and comment texts lie unencrypted in the cache of whoever runs it: "
    "$FEDREC_CACHE, or ~/.cache/fedrec. Deleting the run leaves them there.",
)
_LIMITS_OF_EPSILON = (
    "Epsilon is for the one that took part most; most others have spent less.",
    "Epsilon is an upper bound under the assumptions that are listed; where one fails, so does the bound.",
    "Epsilons of different units are not comparable: one person can be many SEGMENTs.",
)

# From the mode that needs nobody's word to the one that trusts the server.
_COVERED_FROM = {
    "local": (
        "It holds against the server, other clients and every reader of a release: each reply is noised before it is "
        "sent."
    ),
    "distributed": (
        "It holds against the server as well, as long as at least the planned number of honest clients is in every sum "
        "that it can open."
    ),
    "central": "It holds against other clients and every reader of a release.",
}

_NOT_COVERED_BY_MODE = {
    "local": ("Whoever runs the client: it holds the raw histories.",),
    "central": (
        "The server itself: it reads each clipped update before the noise, unless updates are masked as well.",
    ),
    "distributed": (
        "A cohort with fewer honest clients than planned, as where the server has enrolled devices of its own: the "
        "shares of the noise would not add up.",
        "Whoever runs the client: it holds the raw histories.",
        "A device on which a client is not the one that was published: nobody else clips, rounds or noises its update.",
    ),
}

_NOT_COVERED_BY_UNIT = {
    "USER": ("A person who takes part under several identities: each of them is a unit of its own, and they add up.",),
    "SEGMENT": (
        "A habit that lasts longer than one interval: the intervals of one person add up, so a whole history is "
        "protected less than the figure says.",
        "The hold-out of a simulation: which two items of a person are kept for scoring is decided on the whole "
        "history, before it is cut into intervals. A device holds nothing out.",
    ),
}

_NEVER_COVERED = (
    "Who took part, when, from which address, and how much was sent.",
    "How often a client had to begin a round again after an interruption: that number leaves it with its reply.",
    "That a client refused to take part: its owner said no, or the device is in use, on battery or on a network that "
    "costs. Once it has paid it answers with one vector of fixed size, whatever went wrong.",
    "How long a client takes to answer a round that it has paid for: a longer history takes longer.",
    "The choice of settings: trying several on the same people and keeping the best is not charged.",
    "Validation and test figures: the simulator computes them from raw data, without noise.",
    "Facts about groups: what many people have in common is learned with or without any one of them, and people "
    "whose data move together are protected less.",
    "Other runs on the same people: their epsilons add to this one.",
    "What a person typed or did in other systems, and what lies on their own device.",
)

_FLOATING_POINT = "Floating point: the proof is for real numbers, and noise in floating point follows it only nearly."


def _known(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"Unknown privacy {what} `{value}`. Choose from {', '.join(known)}.")
