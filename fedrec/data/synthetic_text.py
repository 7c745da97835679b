"""The words of the synthetic world: themes, and the texts of items, searches and comments.

Real English words, so that a text encoder places the items; the circles of themes that
go together are unrelated in meaning, so that texts alone do not give them away.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

THEMES_PER_CIRCLE = 3

# Each row is a circle: people who like one of its themes like the others, and move through them in this order.
_CIRCLES = """
Astronomy: telescope galaxy nebula comet planet eclipse orbit constellation meteor starlight
Baking: bread pastry cake oven flour dough biscuit cinnamon muffin yeast
Sailing: harbour yacht anchor rigging regatta tide mast hull lighthouse keel

Gardening: seed compost rose greenhouse tomato hedge tulip pruning lawn orchard
Chess: bishop gambit checkmate opening endgame rook knight tournament pawn grandmaster
Motorcycling: engine helmet throttle highway clutch exhaust rider chrome sidecar piston

Birdwatching: owl heron nest feather migration binoculars wren falcon warbler kingfisher
Jazz: saxophone trumpet swing improvisation drummer quartet bassline ballad trombone bebop
Pottery: clay kiln glaze vase porcelain stoneware wheel teapot earthenware ceramic

Mountaineering: summit glacier rope ridge avalanche crampon basecamp altitude cliff expedition
Poetry: sonnet verse rhyme stanza haiku metaphor elegy lyric poet anthology
Robotics: sensor actuator circuit drone gripper microcontroller automation servo motor android

Yoga: posture breath meditation stretching mat balance mindfulness flexibility relaxation spine
Railways: locomotive steam station carriage timetable junction viaduct signal freight platform
Cheesemaking: cheddar brie rind curd dairy gouda rennet goat cellar milk

Dinosaurs: fossil jurassic raptor skeleton extinction triceratops excavation cretaceous paleontologist sauropod
Knitting: yarn wool sweater needle scarf crochet stitch cardigan mitten cable
Football: goalkeeper penalty league striker stadium midfield referee championship coach defender

Investing: stock dividend portfolio bond inflation broker pension interest savings market
Surfing: wave surfboard reef swell wetsuit beach paddle barrel tide lagoon
Opera: soprano aria tenor libretto orchestra overture chorus baritone conductor premiere

Detectives: murder clue alibi inspector suspect forensic burglary witness mystery interrogation
Beekeeping: hive honey queen pollen swarm beeswax nectar apiary drone honeycomb
Architecture: cathedral facade skyscraper column blueprint arch concrete dome balcony renovation
"""
_MOODS = [
    "Quiet",
    "Bold",
    "Gentle",
    "Modern",
    "Vintage",
    "Secret",
    "Golden",
    "Simple",
    "Curious",
    "Northern",
    "Summer",
    "Winter",
    "Patient",
    "Lively",
    "Classic",
    "Hidden",
    "Bright",
    "Honest",
    "Midnight",
    "Practical",
    "Wandering",
    "Little",
    "Grand",
    "Early",
    "Complete",
    "Forgotten",
    "Joyful",
    "Slow",
    "Clever",
    "Deep",
]
_FORMATS = [
    "Guide",
    "Handbook",
    "Stories",
    "Companion",
    "Workshop",
    "Course",
    "Diary",
    "Atlas",
    "Journey",
    "Collection",
    "Almanac",
    "Notebook",
]
_READERS = [
    "beginners",
    "experts",
    "families",
    "curious minds",
    "quiet evenings",
    "long weekends",
    "patient people",
    "busy people",
]
_ITEM = "This {format} covers {first}, {second} and {third}, for {reader}."
_SEARCHES = ("{mood} {first} {theme}", "{first} and {second}", "{theme} {format} for {reader}")
_COMMENTS = (
    "Good on {first} and {second}.",
    "More {first} than I hoped, for {reader}.",
    "I liked the {first} in this {mood} {format}.",
)


@dataclass(frozen=True, slots=True)
class Theme:
    """A theme's name, which is also the items' category, and its words."""

    name: str
    words: tuple[str, ...]


def _read_themes() -> tuple[Theme, ...]:
    lines = (line.partition(":") for line in _CIRCLES.split("\n") if line)
    return tuple(Theme(name, tuple(words.split())) for name, _, words in lines)


THEMES = _read_themes()
CIRCLES = len(THEMES) // THEMES_PER_CIRCLE


def vocabulary() -> frozenset[str]:
    """Every word, in lower case, that a text of the world may hold."""
    texts = [_ITEM, *_SEARCHES, *_COMMENTS, *_MOODS, *_FORMATS, *_READERS]
    texts += [f"{theme.name} {' '.join(theme.words)}" for theme in THEMES]
    return frozenset(re.findall(r"[a-z]+", re.sub(r"{\w+}", " ", " ".join(texts)).lower()))


def item_texts(themes: Sequence[int], rng: np.random.Generator) -> list[tuple[str, str]]:
    """A title and a text for an item of each given theme."""
    made = []
    for number in themes:
        words = _draw(number, rng)
        title = f"{words['mood']} {words['first'].title()} {words['theme']} {words['format']}"
        made.append((title, f"{title}. {_sentence(_ITEM, words)}"))
    return made


def search_texts(theme: int, count: int, rng: np.random.Generator) -> list[str]:
    """What people with this theme in mind type into a search box."""
    return [_SEARCHES[turn % len(_SEARCHES)].format(**_draw(theme, rng)).lower() for turn in range(count)]


def comment_texts(theme: int, count: int, rng: np.random.Generator) -> list[str]:
    """What people write under an item of this theme."""
    return [_sentence(_COMMENTS[turn % len(_COMMENTS)], _draw(theme, rng)) for turn in range(count)]


def _draw(theme: int, rng: np.random.Generator) -> dict[str, str]:
    words = THEMES[theme].words
    first, second, third = rng.choice(len(words), 3, replace=False)
    return {
        "theme": THEMES[theme].name,
        "first": words[first],
        "second": words[second],
        "third": words[third],
        "mood": _MOODS[rng.integers(len(_MOODS))],
        "format": _FORMATS[rng.integers(len(_FORMATS))],
        "reader": _READERS[rng.integers(len(_READERS))],
    }


def _sentence(pattern: str, words: dict[str, str]) -> str:
    small = {name: word.lower() for name, word in words.items()}
    return pattern.format(**small)
