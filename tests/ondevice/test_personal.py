"""Personal weights: a user vector that is trained as written, renewed when it must be, and never sent."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.entries import PositiveRule, history_of, kind_weights
from fedrec.data.events import Event, Kind
from fedrec.data.sequences import Floats, History
from fedrec.data.store.store import Store
from fedrec.federation.device_client import device_client
from fedrec.federation.messages import pack_reply
from fedrec.model.layout import Layout
from fedrec.model.linear import Factor, LinearModel
from fedrec.ondevice.device_state import DeviceState
from fedrec.ondevice.loaded import load
from fedrec.ondevice.own_examples import own_history
from fedrec.ondevice.participation import opt_in
from fedrec.ondevice.personal import (
    PERSONAL,
    RETRAIN_AFTER,
    Training,
    lesson_of,
    personal_weights,
    switch,
    switched_on,
    trained,
)
from fedrec.ondevice.releases import active
from fedrec.training.client import Instruction, Reply
from tests.ondevice.device_worlds import a_world
from tests.private_devices import CENTRAL, a_device, a_release, an_event

WIDTH = 16
NO_TEXTS = np.zeros((0, WIDTH), np.float32)


class Rows:
    """An index held in memory."""

    def __init__(self, table: Floats) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    @property
    def width(self) -> int:
        return int(self.table.shape[1])

    def vectors(self, rows: np.ndarray | slice) -> Floats:
        return self.table[rows]

    def scores(self, query: Floats) -> Floats:
        return self.table @ query


def a_model(*, layout: str = "one", items_rank: int = 2) -> LinearModel:
    world, draw = a_world(width=WIDTH), np.random.default_rng(5)
    residual = Factor(
        a=np.eye(items_rank, WIDTH, dtype=np.float32),
        b=0.2 * draw.normal(size=(len(world), items_rank)).astype(np.float32),
    )
    return LinearModel(
        config=world.config,
        index=Rows(world.index.vectors),
        prior=np.zeros(len(world), np.float32) if world.prior is None else world.prior,
        factors={"items": residual},
        layout=Layout((), (), layout),
    )


def a_history(rows: list[int]) -> History:
    events = [
        Event(user_id="me", item_id=f"i{row}", timestamp=1000 + place, kind=Kind.SAVE) for place, row in enumerate(rows)
    ]
    return history_of(events, np.array(rows, dtype=np.int64), rule=PositiveRule(), weights=kind_weights({}))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "device", keys="file") as made:
        switch(made, on=True)
        yield made


@given(st.lists(st.integers(0, 59), min_size=2, max_size=20), st.integers(0, 100))
def test_the_gradient_is_that_of_finite_differences(rows: list[int], seed: int) -> None:
    lesson = lesson_of(a_model(), a_history(rows), NO_TEXTS)
    if lesson is None:
        assert len(set(rows)) == 1
        return
    doubled = replace(
        lesson, **{name: getattr(lesson, name).astype(np.float64) for name in ("targets", "levels", "others", "rivals")}
    )
    draw = np.random.default_rng(seed)
    vector, direction = draw.normal(size=WIDTH), draw.normal(size=WIDTH)
    step = 1e-5
    slope = (doubled.loss(vector + step * direction) - doubled.loss(vector - step * direction)) / (2 * step)
    assert slope == pytest.approx(float(doubled.gradient(vector) @ direction), rel=1e-4, abs=1e-5)


def test_the_loss_at_zero_is_that_of_the_model_itself() -> None:
    model, history = a_model(), a_history([3, 7, 11])
    lesson = lesson_of(model, history, NO_TEXTS, negatives=10_000)
    assert lesson is not None
    # By hand, position after position: the whole catalogue but what the person chose competes.
    costs = []
    for place, target in ((1, 7), (2, 11)):
        past = a_history([3, 7, 11][:place])
        ages = np.arange(place)[::-1]
        sums = np.stack([(decay**ages) @ model.index.vectors(past.rows) for decay in model.config.decays])
        scores = model.scores(model.query(sums.astype(np.float32)))
        rivals = [row for row in range(60) if row not in (3, 7, 11) or row == target]
        costs.append(np.log(np.exp(scores[rivals]).sum()) - scores[target])
    assert lesson.loss(np.zeros(WIDTH, np.float32)) == pytest.approx(np.mean(costs), rel=1e-5)


def test_training_lowers_the_loss_and_is_the_same_every_time() -> None:
    model, history = a_model(), a_history([3, 7, 11, 15, 19])
    vector = trained(model, history, NO_TEXTS)
    lesson = lesson_of(model, history, NO_TEXTS)
    assert lesson is not None
    assert lesson.loss(vector) < lesson.loss(np.zeros(WIDTH, np.float32))
    assert vector.tobytes() == trained(model, history, NO_TEXTS).tobytes()


def test_what_the_person_chooses_again_and_again_scores_higher() -> None:
    model = a_model()
    vector = trained(model, a_history([3, 7, 11, 15, 19, 23]), NO_TEXTS, how=Training(steps=20))
    gains = model.index.scores(vector)
    assert gains[3::4].mean() > np.delete(gains, np.s_[3::4]).mean()


@pytest.mark.parametrize("rows", [[], [4], [4, 4, 4]])
def test_a_history_without_anything_to_predict_trains_nothing(rows: list[int]) -> None:
    assert not trained(a_model(), a_history(rows), NO_TEXTS).any()


@pytest.mark.parametrize("rate", [1e4, 1e38])
def test_weights_that_do_not_help_on_what_they_saw_are_not_kept(rate: float) -> None:
    assert not trained(a_model(), a_history([3, 8, 11, 2]), NO_TEXTS, how=Training(rate=rate)).any()


def test_they_are_off_until_turned_on_and_forgotten_when_turned_off(tmp_path: Path) -> None:
    with Store.create(tmp_path / "device", keys="file") as store:
        assert not switched_on(store)
        assert personal_weights(store, a_model(), a_history([3, 7]), NO_TEXTS, release="r") is None
        assert store.blob(PERSONAL) is None
        switch(store, on=True)
        assert personal_weights(store, a_model(), a_history([3, 7]), NO_TEXTS, release="r") is not None
        switch(store, on=False)
        assert store.blob(PERSONAL) is None


def test_an_erasure_while_they_are_trained_leaves_none(store: Store) -> None:
    class Erasing(Rows):
        """Erases the store from another process while it is read, as a person may."""

        def vectors(self, rows: np.ndarray | slice) -> Floats:
            with Store.open(store.folder, keys="file") as other:
                for name in other.values():
                    other.delete_value(name)
            return super().vectors(rows)

    model = a_model()
    slow = replace(model, index=Erasing(model.index.vectors(slice(None))))
    assert personal_weights(store, slow, a_history([3, 7, 11]), NO_TEXTS, release="r") is None
    assert store.blob(PERSONAL) is None


def _again(store: Store, rows: list[int], *, layout: str = "one", release: str = "r") -> Floats:
    vector = personal_weights(store, a_model(layout=layout), a_history(rows), NO_TEXTS, release=release)
    assert vector is not None
    return vector


def _marked(store: Store, rows: list[int]) -> Floats:
    """Stored weights that no training would give, so that a later training shows."""
    vector = _again(store, rows)
    content = store.blob(PERSONAL)
    assert content is not None
    head = content.partition(b"\n")[0]
    store.set_blob(PERSONAL, head + b"\n" + (vector + 1).astype("<f4").tobytes())
    return (vector + 1).astype(np.float32)


def test_they_stay_until_enough_entries_came(store: Store) -> None:
    rows = [3, 7, 11]
    marked = _marked(store, rows)
    few = rows + list(range(20, 20 + RETRAIN_AFTER - 1))
    np.testing.assert_array_equal(_again(store, few), marked)
    assert not np.array_equal(_again(store, [*few, 50]), marked)


@pytest.mark.parametrize("change", [{"release": "the next"}, {"layout": "another"}])
def test_a_release_or_a_layout_of_another_name_trains_them_anew(store: Store, change: dict[str, str]) -> None:
    marked = _marked(store, [3, 7, 11])
    assert not np.array_equal(_again(store, [3, 7, 11], **change), marked)


@pytest.mark.parametrize("rows", [[3, 7], [3, 8, 11], [7, 11], []])
def test_an_entry_that_is_gone_is_unlearned(store: Store, rows: list[int]) -> None:
    _marked(store, [3, 7, 11])
    np.testing.assert_array_equal(_again(store, rows), trained(a_model(), a_history(rows), NO_TEXTS))


@pytest.mark.parametrize("content", [b"", b"{}\n", b'{"layout": 1}\nabcd', b"\xff\n\xff"])
def test_bytes_that_cannot_be_read_are_trained_anew(store: Store, content: bytes) -> None:
    store.set_blob(PERSONAL, content)
    np.testing.assert_array_equal(_again(store, [3, 7, 11]), trained(a_model(), a_history([3, 7, 11]), NO_TEXTS))


def _reply(device: Path, store: Store) -> Reply:
    layout = load(device, active(device)).model.layout
    asked = Instruction(
        run="run",
        round=1,
        token="token-1",  # noqa: S106
        adapter=np.zeros(layout.size, np.float32),
        layout=layout.hash,
        plan=CENTRAL,
        negatives_seed=0,
    )
    ready = DeviceState(idle=True, charging=True, unmetered=True)
    return device_client(device, store, number=3, state=ready).reply(asked)


def _device(folder: Path) -> tuple[Path, Store]:
    folder.mkdir()
    device = a_device(folder, a_release(folder, plan=CENTRAL))
    store = Store.open(device)
    for number in range(6):
        store.add_event(an_event(number * 3, time=1_700_000_000 + 86_400 * number))
    opt_in(store, active(device).manifest, now=0.0)
    return device, store


def test_nothing_of_them_is_in_what_a_device_sends(tmp_path: Path) -> None:
    device, store = _device(tmp_path / "with")
    switch(store, on=True)
    released = load(device, active(device)).released
    vector = personal_weights(store, released.model, *own_history(store, released), release="r")
    assert vector is not None
    assert vector.any()
    content = pack_reply(_reply(device, store))
    # The list of everything that may leave: one vector, a code, how often its noise was paid for.
    assert set(content) == {"reply", "update"}
    assert set(content.config_records["reply"]) == {"code", "attempts"}
    assert set(content.array_records["update"]) == {"vector"}
    other, other_store = _device(tmp_path / "without")
    assert other_store.blob(PERSONAL) is None
    plain = _reply(other, other_store)
    assert content.array_records["update"]["vector"].numpy().tobytes() == plain.update.tobytes()
    assert content["reply"] == pack_reply(plain)["reply"]
    for each in (store, other_store):
        each.close()
