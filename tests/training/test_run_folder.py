import json

import numpy as np
import pytest

from fedrec.errors import ConfigError, VerificationError
from fedrec.training.aggregation import ServerState
from fedrec.training.run_folder import RunFolder, client_folder

CONFIG = 'name = "toy"\n'


def state(number):
    draw = np.random.default_rng(number)
    return ServerState(number, draw.normal(size=5).astype(np.float32), draw.normal(size=5), draw.normal(size=5), 2)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run", CONFIG, resume=False)


def test_a_new_run_has_no_state_and_its_settings_beside_it(folder):
    assert folder.state() is None
    assert folder.rounds() == []
    assert (folder.path / "config.toml").read_text() == CONFIG


def test_who_took_part_is_for_its_owner_alone_where_the_folder_is_its_own(folder, tmp_path):
    assert folder.path.stat().st_mode & 0o777 == 0o700
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o755)
    there = RunFolder(tmp_path / "shared", CONFIG, resume=False)
    assert there.path.stat().st_mode & 0o777 == 0o755


def test_a_state_is_read_back_bit_for_bit(folder):
    folder.commit(state(1), {"round": 1})
    found = folder.state()
    assert (found.round, found.steps) == (1, 2)
    for name in ("adapter", "first", "second"):
        assert getattr(found, name).dtype == getattr(state(1), name).dtype
        assert np.array_equal(getattr(found, name), getattr(state(1), name))


def test_a_run_is_not_begun_twice_unless_it_is_resumed(folder):
    with pytest.raises(ConfigError, match="Add --resume"):
        RunFolder(folder.path, CONFIG, resume=False)
    assert RunFolder(folder.path, CONFIG, resume=True).state() is None


def test_a_run_with_other_settings_is_not_resumed(folder):
    with pytest.raises(ConfigError, match="other settings or data"):
        RunFolder(folder.path, CONFIG + "seed = 1\n", resume=True)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        RunFolder(tmp_path, CONFIG, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_empty_folder_may_become_a_run(tmp_path):
    assert RunFolder(tmp_path, CONFIG, resume=True).state() is None


def test_a_round_done_again_replaces_its_record(folder):
    folder.commit(state(1), {"round": 1})
    # As after a power cut between the record and the state of round 2.
    lines = (folder.path / "rounds.jsonl").read_text() + json.dumps({"round": 2, "try": 1}) + "\n"
    (folder.path / "rounds.jsonl").write_text(lines)
    folder.commit(state(2), {"round": 2, "try": 2})
    assert folder.rounds() == [{"round": 1}, {"round": 2, "try": 2}]
    assert folder.rounds(before=2) == [{"round": 1}]


def test_a_begun_round_is_remembered_and_no_other(folder):
    pending = {"round": 3, "token": "t", "cohort": [4, 1]}
    folder.begin(pending)
    assert folder.pending(3) == pending
    assert folder.pending(4) is None


def test_every_client_has_a_folder_of_its_own(folder):
    assert folder.client(7) == client_folder(folder.path, 7)
    assert len({folder.client(number) for number in range(20)}) == 20


def test_a_start_that_was_killed_before_its_settings_were_written_can_be_made_again(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.toml.x1y2").write_text("half")
    folder = RunFolder(tmp_path / "run", "name = 'a'", resume=False)
    assert (folder.path / "config.toml").read_text() == "name = 'a'"


@pytest.mark.parametrize("name", ["state.safetensors", "pending.json", "rounds.jsonl"])
def test_a_damaged_file_is_named(tmp_path, name):
    folder = RunFolder(tmp_path / "run", "", resume=False)
    (folder.path / name).write_bytes(b"\x93 not what it was")
    with pytest.raises(VerificationError, match=name):
        {"state.safetensors": folder.state, "pending.json": lambda: folder.pending(1), "rounds.jsonl": folder.rounds}[
            name
        ]()
