import stat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.errors import VerificationError
from fedrec.privacy.correlated_noise import BandedToeplitz, CorrelatedNoise, NoiseState
from fedrec.privacy.noise_state import SavedNoise, load_noise_state, noise_key, save_noise_state
from fedrec.privacy.randomness import seeded_source, system_source

RUN = "run-5f2c"


def state_after(rounds, *, bands=4, size=30):
    noise, state = CorrelatedNoise(encoder=BandedToeplitz(bands), noise_std=1.0), NoiseState()
    for _ in range(rounds):
        _, state = noise.draw(state, system_source(), size=size)
    return state


@pytest.fixture
def key(tmp_path):
    return noise_key(tmp_path / "keys" / "noise.key")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "noise.bin"


def opened(path, key, *, run_id=RUN, rounds=(5,)):
    return load_noise_state(path, key=key, run_id=run_id, rounds=rounds)


@pytest.mark.parametrize(("rounds", "bands"), [(0, 4), (1, 4), (5, 4), (5, 1)])
def test_what_is_saved_is_loaded(path, key, rounds, bands):
    state, total = state_after(rounds, bands=bands), np.arange(30.0)
    save_noise_state(path, SavedNoise(state, total), key=key, run_id=RUN)
    loaded = opened(path, key, rounds=[rounds])
    assert loaded.state.round == rounds
    assert len(loaded.state.rows) == len(state.rows)
    assert all(map(np.array_equal, loaded.state.rows, state.rows))
    assert np.array_equal(loaded.noised_sum, total)


def test_a_round_that_released_nothing_has_no_noised_sum(path, key):
    save_noise_state(path, SavedNoise(state_after(5)), key=key, run_id=RUN)
    assert opened(path, key).noised_sum is None


def test_a_run_that_goes_on_from_the_file_draws_what_an_uninterrupted_one_draws(path, key):
    noise, state = CorrelatedNoise(encoder=BandedToeplitz(4), noise_std=1.0), state_after(5)
    save_noise_state(path, SavedNoise(state), key=key, run_id=RUN)
    expected, _ = noise.draw(state, seeded_source(1), size=30)
    resumed, _ = noise.draw(opened(path, key).state, seeded_source(1), size=30)
    assert np.array_equal(expected, resumed)


def test_after_a_stop_the_last_finished_round_and_the_one_under_way_are_allowed(path, key):
    for number in (4, 5):
        save_noise_state(path, SavedNoise(state_after(number)), key=key, run_id=RUN)
        assert opened(path, key, rounds=(4, 5)).state.round == number


def test_the_file_holds_no_plaintext_of_the_noise(path, key):
    state, total = state_after(5), np.arange(1.0, 31.0)
    save_noise_state(path, SavedNoise(state, total), key=key, run_id=RUN)
    content = path.read_bytes()
    for number in (*total, *np.concatenate(state.rows)):
        assert number.tobytes() not in content
    assert key not in content
    assert b"rows" not in content


def test_the_file_looks_random_even_where_the_noise_is_zero(path, key):
    zeros = NoiseState(5, tuple(np.zeros(4096) for _ in range(3)))
    save_noise_state(path, SavedNoise(zeros), key=key, run_id=RUN)
    counts = np.bincount(np.frombuffer(path.read_bytes(), dtype=np.uint8), minlength=256)
    assert counts.max() < 2 * counts.mean()


def test_two_writes_of_the_same_state_differ_from_the_nonce_on(path, key):
    saved = SavedNoise(state_after(5))
    contents = []
    for _ in range(2):
        save_noise_state(path, saved, key=key, run_id=RUN)
        contents.append(path.read_bytes())
    head = len(b"fedrec noise state 1\n") + 8
    assert contents[0][:head] == contents[1][:head]
    assert contents[0][head : head + 12] != contents[1][head : head + 12]
    assert contents[0][head + 12 :] != contents[1][head + 12 :]


def test_only_the_owner_can_read_the_key_and_the_state(path, key, tmp_path):
    save_noise_state(path, SavedNoise(state_after(5)), key=key, run_id=RUN)
    for file in (path, tmp_path / "keys" / "noise.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_save_leaves_no_other_file_behind(path, key):
    for _ in range(2):
        save_noise_state(path, SavedNoise(state_after(5)), key=key, run_id=RUN)
    assert list(path.parent.iterdir()) == [path]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path, key = tmp_path_factory.mktemp("noise") / "noise.bin", bytes(range(32))
    save_noise_state(path, SavedNoise(state_after(5, bands=2, size=3)), key=key, run_id=RUN)
    return path.read_bytes(), key, path.with_name("changed.bin")


@settings(deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_detected(whole, data):
    content, key, changed = whole
    position = data.draw(st.integers(0, len(content) - 1))
    flip = data.draw(st.integers(1, 255))
    changed.write_bytes(content[:position] + bytes([content[position] ^ flip]) + content[position + 1 :])
    with pytest.raises(VerificationError):
        opened(changed, key, rounds=range(2**64))


@settings(deadline=None)
@given(data=st.data())
def test_a_file_that_was_cut_off_is_detected(whole, data):
    content, key, changed = whole
    changed.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(VerificationError):
        opened(changed, key)


def refusal(path, key, **changes):
    with pytest.raises(VerificationError) as raised:
        opened(path, key, **changes)
    text = str(raised.value)
    assert "\n" not in text and "Restore" in text
    return text


def test_a_refusal_is_one_line_that_says_why(path, key):
    assert "no noise state" in refusal(path, key)
    save_noise_state(path, SavedNoise(state_after(5)), key=key, run_id=RUN)
    assert "the noise of round 5, not of round 6 or 7" in refusal(path, key, rounds=(7, 6))
    assert "of another run or key" in refusal(path, key, run_id="run-0000")
    assert "of another run or key" in refusal(path, bytes(32))


def test_an_older_round_cannot_be_passed_off_as_a_newer_one(path, key):
    save_noise_state(path, SavedNoise(state_after(4)), key=key, run_id=RUN)
    content, at = path.read_bytes(), len(b"fedrec noise state 1\n")
    path.write_bytes(content[:at] + (5).to_bytes(8) + content[at + 8 :])
    assert "damaged" in refusal(path, key)


def test_the_key_is_made_once_and_never_the_same_for_two_runs(tmp_path):
    first = noise_key(tmp_path / "a" / "noise.key")
    assert len(first) == 32
    assert noise_key(tmp_path / "a" / "noise.key") == first
    assert noise_key(tmp_path / "b" / "noise.key") != first


def test_a_damaged_key_is_refused_not_replaced(tmp_path):
    path = tmp_path / "noise.key"
    path.write_bytes(b"short")
    with pytest.raises(VerificationError, match="not a key of 32"):
        noise_key(path)
    assert path.read_bytes() == b"short"
