"""Whatever is done in whatever order: no fault but a stated one, and the open engine is what a fresh one would be."""

from collections.abc import Callable, Iterator
from contextlib import suppress

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

Use = Callable[[Engine], object]

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


def recording(event: Event) -> Use:
    return lambda engine: engine.record(event)


def recommending(k: int, context: Context, steering: Steering | None) -> Use:
    return lambda engine: engine.recommend(k, context=context, steering=steering)


def explaining(item_id: str, context: Context) -> Use:
    return lambda engine: engine.explain(item_id, context=context)


def saying(action: Action, item_id: str, value: float | None) -> Use:
    return lambda engine: engine.feedback(Feedback(action=action, item_id=item_id, value=value, time=NOW))


def undoing(number: int | None) -> Use:
    return lambda engine: engine.undo(number)


def muting(place: int, muted: bool) -> Use:
    return lambda engine: engine.mute_cluster(engine.profile().clusters[place % 3].id, muted)


def adding(words: list[str]) -> Use:
    return lambda engine: engine.add_items([Item(item_id="new one", title=" ".join(words))])


def steering_by(steering: Steering) -> Use:
    return lambda engine: engine.steer(steering)


uses = st.one_of(
    st.builds(recording, events),
    st.builds(recommending, st.integers(-1, 50), contexts, st.none() | steerings),
    st.builds(explaining, ITEMS, contexts),
    st.builds(saying, st.sampled_from(list(Action)), ITEMS, st.sampled_from([None, 3.0])),
    st.builds(undoing, st.none() | st.integers(0, 5)),
    st.builds(muting, st.integers(0, 2), st.booleans()),
    st.builds(adding, st.lists(st.sampled_from(WORDS[0]), max_size=2)),
    st.builds(steering_by, steerings),
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
    for use in done:
        # A muted interest may be gone: there is no third of two.
        with suppress(FedrecError, IndexError):
            use(engine)
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
