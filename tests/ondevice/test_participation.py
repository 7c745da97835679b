"""Taking part: off until the owner says yes, to one plan, under the owner's conditions and limit."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedrec.data.store.store import Store
from fedrec.errors import ConfigError, DataError, RefusedError, VerificationError
from fedrec.ondevice.device_state import DeviceState, current_state, state_from, tell
from fedrec.ondevice.participation import (
    Conditions,
    opt_in,
    opt_out,
    participation,
    pause,
    require_allowed,
    set_conditions,
)
from fedrec.ondevice.privacy_facts import offer_of, privacy_facts
from fedrec.ondevice.releases import active, install
from fedrec.privacy.plan import PopularityRelease
from fedrec.privacy_config import BudgetConfig
from tests.private_devices import CENTRAL, a_device, a_release
from tests.small_worlds import a_plan

READY = DeviceState(idle=True, charging=True, unmetered=True)


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return a_device(tmp_path, a_release(tmp_path, budget=BudgetConfig(epsilon=6.0)))


@pytest.fixture
def store(device: Path):
    with Store.open(device) as opened:
        yield opened


def agree(device: Path, store: Store, **more):
    return opt_in(store, active(device).manifest, now=100.0, **more)


def test_a_new_device_does_not_take_part(store) -> None:
    assert not participation(store).on
    with pytest.raises(RefusedError, match="opt-in"):
        require_allowed(store, active(store.folder).manifest, READY, now=0)


def test_yes_is_yes_to_the_plan_of_the_signed_release(device, store) -> None:
    agree(device, store)
    assert participation(store).plan == CENTRAL
    assert require_allowed(store, active(store.folder).manifest, READY, now=101) == CENTRAL


def test_what_was_decided_survives_a_restart(device, store) -> None:
    decided = agree(device, store, conditions=Conditions(charging=False), epsilon=2.0)
    store.close()
    with Store.open(device) as again:
        assert participation(again) == decided


def test_a_release_without_privacy_cannot_be_agreed_to(tmp_path) -> None:
    device = a_device(tmp_path, a_release(tmp_path, plan=None))
    with Store.open(device) as store, pytest.raises(RefusedError, match="WITHOUT privacy"):
        agree(device, store)


@pytest.mark.parametrize(("asked", "held"), [(None, 6.0), (2.5, 2.5), (50.0, 6.0)])
def test_the_owners_limit_lowers_the_budget_and_never_raises_it(device, store, asked, held) -> None:
    assert agree(device, store, epsilon=asked).limits().epsilon == held


def test_the_owners_limit_outlasts_a_new_yes_to_a_laxer_release(tmp_path) -> None:
    device = a_device(tmp_path, a_release(tmp_path, budget=BudgetConfig(epsilon=6.0)))
    with Store.open(device) as store:
        agree(device, store, epsilon=2.5)
        install(device, a_release(tmp_path, round_number=1, moved=0.1, budget=BudgetConfig(epsilon=20.0)))
        opt_out(store)
        assert agree(device, store).limits().epsilon == 2.5
        assert agree(device, store, epsilon=50.0).limits().epsilon == 20.0


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan")])
def test_a_limit_that_allows_nothing_is_refused(device, store, epsilon) -> None:
    with pytest.raises(ConfigError):
        agree(device, store, epsilon=epsilon)
    assert not participation(store).on


@pytest.mark.parametrize(
    "change",
    [
        {"noise_multiplier": 1e-200},
        {"noise_multiplier": 0},
        {"noise_multiplier": True},
        {"noise_multiplier": "2"},
        {"noise_multiplier": float("nan")},
        {"delta": 0.5},
        {"delta": 5},
        {"clip_norm": 0},
        {"mode": "foo"},
        {"unit": "SEGMENT"},
        {"limits": {"cap": 10**9, "rounds": 100, "separation": 1}},
        {"limits": {"cap": True, "rounds": 100, "separation": 1}},
        {"bands": 4},
        {"metrics_noise": 1e-9},
        {"popularity": {"items": 3, "noise_multiplier": 0.0}},
        {"limits": None},
        {"unheard": 1},
    ],
)
def test_a_plan_that_protects_nobody_cannot_be_agreed_to(device, store, change) -> None:
    manifest = active(device).manifest
    odd = replace(manifest, lineage={**manifest.lineage, "plan": {**CENTRAL.as_table(), **change}})
    with pytest.raises(VerificationError):
        opt_in(store, odd, now=0.0)
    assert not participation(store).on


def test_local_mode_releases_no_popularity(device, store) -> None:
    manifest = active(device).manifest
    local = replace(a_plan(unit="SEGMENT"), popularity=PopularityRelease(items=3, noise_multiplier=4.0))
    odd = replace(manifest, lineage={**manifest.lineage, "plan": local.as_table()})
    with pytest.raises(VerificationError, match="no popularity"):
        opt_in(store, odd, now=0.0)


@pytest.mark.parametrize("budget", [None, [], {"epsilon": "x"}, {"unheard": 1}])
def test_a_budget_that_is_none_cannot_be_agreed_to(device, store, budget) -> None:
    manifest = active(device).manifest
    odd = replace(manifest, lineage={**manifest.lineage, "budget": budget})
    with pytest.raises(VerificationError):
        opt_in(store, odd, now=0.0)


def test_the_owners_limit_outlasts_an_erasure(device, store) -> None:
    agree(device, store, epsilon=0.5)
    store.erase()
    assert not participation(store).on
    assert agree(device, store).limits().epsilon == 0.5


def test_a_record_that_cannot_be_read_lets_nothing_out_and_can_be_decided_anew(device, store) -> None:
    agree(device, store, epsilon=0.5)
    store.set_value("participation", {"on": True})
    with pytest.raises(VerificationError):
        require_allowed(store, active(device).manifest, READY, now=0)
    assert privacy_facts(store).epsilon == 0
    assert not opt_out(store).on
    assert agree(device, store).limits().epsilon == 0.5


def test_a_lost_record_is_told(device) -> None:
    (device / "store.db").write_bytes(b"x" * 9000)
    with pytest.raises(VerificationError):
        Store.open(device)
    with Store.create(device, keys="file") as anew:
        assert "earlier record" in privacy_facts(anew).words


def test_what_a_yes_can_come_to_is_told_before_it() -> None:
    offer = offer_of(CENTRAL)
    assert (offer.participations, offer.delta, offer.exact) == (5, 1e-6, True)
    assert 5 < offer.epsilon < 6


def test_opting_out_stops_at_once_and_keeps_what_was_agreed(device, store) -> None:
    agree(device, store)
    opt_out(store)
    assert participation(store).plan == CENTRAL
    with pytest.raises(RefusedError):
        require_allowed(store, active(store.folder).manifest, READY, now=101)


def test_a_pause_ends_by_itself(device, store) -> None:
    agree(device, store)
    pause(store, until=200.0)
    with pytest.raises(RefusedError, match="paused"):
        require_allowed(store, active(store.folder).manifest, READY, now=199)
    assert require_allowed(store, active(store.folder).manifest, READY, now=200)
    pause(store, until=None)
    assert require_allowed(store, active(store.folder).manifest, READY, now=150)


@pytest.mark.parametrize("name", ["idle", "charging", "unmetered"])
@pytest.mark.parametrize("value", [False, None])
def test_a_condition_that_does_not_hold_or_is_not_known_stops_training(device, store, name, value) -> None:
    agree(device, store)
    state = replace(READY, **{name: value})
    with pytest.raises(RefusedError, match=name):
        require_allowed(store, active(store.folder).manifest, state, now=101)
    set_conditions(store, replace(Conditions(), **{name: False}))
    assert require_allowed(store, active(store.folder).manifest, state, now=101)


def test_what_an_integrator_says_is_believed_for_a_while(store, tmp_path) -> None:
    tell(store, DeviceState(idle=True, charging=False, unmetered=True), now=1000)
    assert current_state(store, now=lambda: 1800, sys=tmp_path).charging is False
    assert current_state(store, now=lambda: 2000, sys=tmp_path).charging is None
    assert current_state(store, now=lambda: 900, sys=tmp_path).charging is None


def test_a_state_of_other_words_is_refused() -> None:
    assert state_from({"idle": True, "charging": None}) == DeviceState(idle=True)
    for wrong in ({"asleep": True}, {"idle": "yes"}, {"idle": 1}):
        with pytest.raises(DataError):
            state_from(wrong)


def a_sys(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return folder


@pytest.mark.parametrize(
    ("files", "charging", "unmetered"),
    [
        ({"power_supply__BAT0__type": "Battery", "power_supply__BAT0__status": "Charging"}, True, None),
        ({"power_supply__BAT0__type": "Battery", "power_supply__BAT0__status": "Discharging"}, False, None),
        ({"power_supply__AC__type": "Mains"}, True, None),
        ({"net__eth0__operstate": "up", "net__eth0__type": "1"}, None, True),
        ({"net__wlan0__operstate": "up", "net__wlan0__type": "1", "net__wlan0__wireless__x": ""}, None, None),
        ({"net__lo__operstate": "up", "net__lo__type": "772"}, None, None),
        ({}, None, None),
    ],
)
def test_linux_is_asked_and_what_it_does_not_say_is_not_known(store, tmp_path, files, charging, unmetered) -> None:
    state = current_state(store, sys=a_sys(tmp_path / "sys", **files))
    assert (state.charging, state.unmetered) == (charging, unmetered)
