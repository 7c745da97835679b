"""Whatever is done in whatever order: no fault but a stated one, and the open engine is what a fresh one would be."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedrec.data.events import Event, Kind
from fedrec.errors import FedrecError
from fedrec.ondevice.catalogue import Item
from fedrec.ondevice.context import Context
from fedrec.ondevice.engine import Engine
from fedrec.ondevice.feedback import Action, Feedback
from fedrec.ondevice.rerank import Steering
from tests.ondevice.device_worlds import NOW, WORDS, a_device, a_release, a_text_world

ITEMS = st.sampled_from([*(f"i{row}" for row in range(12)), "unheard of", "new one"])
TEXTS = st.one_of(st.none(), st.text(max_size=12), st.sampled_from([word for words in WORDS for word in words]))
SHARES = st.sampled_from([0.0, 0.3, 1.0])

Use = Callable[[Engine], None]

events = st.builds(
    Event,
    user_id=st.sampled_from(["me", "somebody"]),
    item_id=st.one_of(st.none(), ITEMS),
    timestamp=st.one_of(st.integers(NOW - 5, NOW + 5), st.sampled_from([-1, 0, 10**18, NOW + 10**8])),
    kind=st.sampled_from(list(Kind)),
    value=st.sampled_from([None, 0.5, 4.0, float("nan"), float("inf"), -3.0]),
    text=TEXTS,
    context=st.sampled_from([None, "", "evening"]),
)
contexts = st.builds(
    Context,
    text=TEXTS.map(lambda text: text or ""),
    session=st.lists(ITEMS, max_size=3).map(tuple),
    label=TEXTS.map(str),
)
steerings = st.builds(
    Steering,
    diversity=SHARES,
    long_tail_share=SHARES,
    fresh_share=SHARES,
    provider_share=SHARES,
    topic_share=SHARES,
    max_shown=st.integers(0, 2),
)


def record(engine: Engine, event: Event) -> None:
    engine.record(event)


def recommend(engine: Engine, k: int, context: Context, steering: Steering | None) -> None:
    engine.recommend(k, context=context, steering=steering)


def explain(engine: Engine, item_id: str, context: Context) -> None:
    engine.explain(item_id, context=context)


def say(engine: Engine, action: Action, item_id: str, value: float | None) -> None:
    engine.feedback(Feedback(action=action, item_id=item_id, value=value, time=NOW))


def undo(engine: Engine, number: int | None) -> None:
    engine.undo(number)


def mute(engine: Engine, place: int, muted: bool) -> None:
    engine.mute_cluster(engine.profile().clusters[place].id, muted)


def add(engine: Engine, words: list[str]) -> None:
    engine.add_items([Item(item_id="new one", title=" ".join(words))])


def steer(engine: Engine, steering: Steering) -> None:
    engine.steer(steering)


def use(what: Callable[..., None], **options: st.SearchStrategy) -> st.SearchStrategy[Use]:
    return st.builds(partial, st.just(what), **options)


uses = st.one_of(
    use(record, event=events),
    use(recommend, k=st.integers(-1, 50), context=contexts, steering=st.none() | steerings),
    use(explain, item_id=ITEMS, context=contexts),
    use(say, action=st.sampled_from(list(Action)), item_id=ITEMS, value=st.sampled_from([None, 3.0])),
    use(undo, number=st.none() | st.integers(0, 5)),
    use(mute, place=st.integers(0, 2), muted=st.booleans()),
    use(add, words=st.lists(st.sampled_from(WORDS[0]), max_size=2)),
    use(steer, steering=steerings),
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("used")
    release = a_release(folder / "published", a_text_world(folder / "encoder"))
    with Engine.open(a_device(folder / "device", release), keys="file", now=lambda: NOW) as engine:
        yield engine


def check(engine: Engine, done: list[Use]) -> None:
    """Use an engine, and hold it against one that is opened afterwards on the same store."""
    engine.erase()
    for each in done:
        # There may be no third interest to mute.
        with suppress(FedrecError, IndexError):
            each(engine)
    with Engine.open(engine.device, keys="file", now=lambda: NOW) as fresh:
        plain = Steering(diversity=0.5)
        assert fresh.recommend(40, steering=plain).items == engine.recommend(40, steering=plain).items
        assert fresh.profile() == engine.profile()
        assert fresh.steering == engine.steering


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(uses, max_size=12))
def test_an_engine_in_use_is_what_a_fresh_one_would_be(engine: Engine, done: list[Use]) -> None:
    check(engine, done)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(uses, max_size=40))
def test_an_engine_in_long_use_is_what_a_fresh_one_would_be(engine: Engine, done: list[Use]) -> None:
    check(engine, done)
