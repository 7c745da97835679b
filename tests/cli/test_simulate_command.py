"""The command line end to end on a small world: what is printed, what is written, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedrec.data.synthetic import write_world
from fedrec.release import public_key, verify_release
from tests.cli.commands import fedrec, fedrec_process

SCENARIO = """
seed = 4
[data]
users_per_client = 6
[adapter]
ranks = { history_proj = 8 }
[federation]
rounds = 2
cohort = 4
release_every = 1
[evaluation]
every = 1
"""
PRIVATE = '[privacy]\nmode = "local"\nunit = "USER"\nnoise_multiplier = 4.0\nparticipations = 3\n'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_world(folder / "world", users=36, items=60, seed=8)
    (folder / "plain.toml").write_text(SCENARIO)
    (folder / "private.toml").write_text(SCENARIO + PRIVATE)
    return folder


@pytest.fixture(scope="module")
def private(place: Path) -> dict[str, Any]:
    done = fedrec_process(
        "simulate", place / "private.toml", "--data", place / "world", "--out", place / "run", "--final", "--json"
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_json_is_one_object_with_the_fixed_keys(private: dict[str, Any]) -> None:
    assert {"run", "rounds", "shared_parameters", "adapter_norm", "bytes_per_client_round", "seconds"} <= private.keys()
    for part in (private["validation"], private["test"], private["baselines"]["popularity"]["test"]):
        assert {"ndcg@10", "hr@10", "recall@20", "mrr"} == part.keys()
        assert all(metric["low"] <= metric["value"] <= metric["high"] for metric in part.values())
    assert {"popularity", "item_knn", "ease", "zero_shot_text", "zero_shot_popularity", "non_private_twin"} == private[
        "baselines"
    ].keys()


@pytest.mark.slow
def test_the_privacy_object_says_everything_an_epsilon_needs(private: dict[str, Any]) -> None:
    privacy = private["privacy"]
    assert privacy["mode"] == "local"
    assert privacy["unit"] == "USER"
    assert privacy["guarantee"] is True
    assert privacy["participations"] <= 2
    assert 0 < privacy["epsilon"] < privacy["epsilon_replace_one"]
    for key in ("adjacency", "accountant", "sampling", "covers", "does_not_cover"):
        assert privacy[key]


@pytest.mark.slow
def test_the_run_folder_holds_what_the_design_names(private: dict[str, Any], place: Path) -> None:
    run = place / "run"
    names = {
        "config.toml",
        "rounds.jsonl",
        "ledger.jsonl",
        "releases",
        "report.html",
        "result.json",
        "privacy.md",
        "privacy.json",
    }
    assert names <= {path.name for path in run.iterdir()}
    assert (run / "signing.key").stat().st_mode & 0o777 == 0o600
    for release in (path for path in (run / "releases").iterdir() if not path.name.startswith(".")):
        manifest = verify_release(release, public_key(run / "signing.pub"))
        assert {"MODEL_CARD.md", "privacy.md", "index.safetensors"} <= manifest.files.keys()
        # The release of the start holds nothing of anybody.
        assert (manifest.privacy["epsilon"] > 0) == (manifest.lineage["round"] > 0)
    assert private["run"] == str(run)


@pytest.mark.slow
def test_a_release_scores_exactly_as_its_run_did(private: dict[str, Any], place: Path) -> None:
    (last,) = (place / "run" / "releases").glob("00002-*")
    done = fedrec("evaluate", last, "--data", place / "world", "--json")
    assert done.returncode == 0, done.stderr
    for name, metric in json.loads(done.stdout)["validation"].items():
        assert metric == pytest.approx(private["validation"][name], rel=1e-6)


@pytest.mark.slow
def test_a_changed_release_is_refused_with_exit_code_1(private: dict[str, Any], place: Path) -> None:
    assert private
    (first,) = (place / "run" / "releases").glob("00001-*")
    with (first / "MODEL_CARD.md").open("a") as card:
        card.write("better than it is")
    done = fedrec_process("evaluate", first, "--data", place / "world")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "MODEL_CARD.md" in done.stderr


@pytest.mark.slow
def test_an_existing_run_is_not_overwritten(private: dict[str, Any], place: Path) -> None:
    before = (place / "run" / "result.json").read_bytes()
    done = fedrec("simulate", place / "private.toml", "--data", place / "world", "--out", place / "run")
    assert done.returncode == 2
    assert "--resume" in done.stderr
    assert (place / "run" / "result.json").read_bytes() == before == json.dumps(private, indent=2).encode() + b"\n"


@pytest.mark.slow
def test_a_profile_says_where_the_time_went_and_changes_nothing(place: Path) -> None:
    for name, options in (("profiled", ("--profile", place / "trace.json")), ("not", ())):
        done = fedrec(
            *("simulate", place / "plain.toml", "--data", place / "world", "--out", place / name),
            *("--engine", "cohort", "--set", "evaluation.baselines=[]", *options),
        )
        assert done.returncode == 0, done.stderr
        assert ("ask and add up" in done.stderr) is bool(options)
    stages = {event["name"] for event in json.loads((place / "trace.json").read_text())["traceEvents"]}
    assert {"draw", "ask and add up", "step", "publish", "measure", "commit"} <= stages
    states = [(place / name / "state.safetensors").read_bytes() for name in ("profiled", "not")]
    assert states[0] == states[1]


@pytest.mark.slow
def test_a_trace_that_has_no_place_is_refused_before_anything_is_paid_for(place: Path) -> None:
    done = fedrec(
        *("simulate", place / "plain.toml", "--data", place / "world", "--out", place / "untraced"),
        *("--profile", place),
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "is a folder" in done.stderr
    assert not (place / "untraced").exists()


@pytest.mark.slow
def test_the_reference_engine_and_flower_agree_to_the_last_bit(place: Path) -> None:
    for engine in ("reference", "flower"):
        done = fedrec(
            *("simulate", place / "plain.toml", "--data", place / "world", "--out", place / engine),
            *("--engine", engine, "--set", "evaluation.baselines=[]"),
        )
        assert done.returncode == 0, done.stderr
        assert "NOT PRIVATE" in done.stdout
    states = [(place / engine / "state.safetensors").read_bytes() for engine in ("reference", "flower")]
    assert states[0] == states[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["simulate", "nowhere.toml"], "nowhere.toml does not exist"),
        (["simulate", "{plain}"], "--data"),
        (["simulate", "{plain}", "--data", "nowhere"], "nowhere is not a dataset folder"),
        (["simulate", "{plain}", "--data", "{world}", "--set", "federation.round=3"], "Did you mean `rounds`?"),
        (["simulate", "{plain}", "--data", "{world}", "--set", "federation.rounds=-1"], "federation.rounds"),
        (["simulate", "{plain}", "--data", "{world}", "--set", "privacy.mode=middle"], "privacy.mode"),
        (["simulate", "{plain}", "--data", "{world}", "--set", "privacy.mode=central"], "6 users would share"),
        (["simulate", "{plain}", "--data", "{world}", "--engine", "warp"], "warp"),
        (["simulate", "{plain}", "--data", "{world}", "--set", "adapter.ranks.query=4"], "`query`"),
        (["evaluate", "nowhere", "--data", "{world}"], "nowhere is not a run folder"),
        (["simulate"], "Missing argument"),
        (["frobnicate"], "No such command"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(
    place: Path, arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = [part.format(plain=place / "plain.toml", world=place / "world") for part in arguments]
    done = fedrec(*filled)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert says in errors[0]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_other_heads_are_trained_and_scored_with_their_own_metrics(place: Path) -> None:
    done = fedrec(
        *("simulate", place / "private.toml", "--data", place / "world", "--out", place / "heads", "--json"),
        *("--set", "evaluation.baselines=[]", "--set", "evaluation.non_private_twin=false"),
        *("--set", "training.heads={next_item=1.0, intent=0.5, rating=0.2}"),
        *("--set", "adapter.ranks={history_proj=8, intent_proj=4, rating_proj=4}"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["shared_parameters"] == 384 * (8 + 4 + 4)
    assert {"intent_auc", "intent_f1"} <= found["heads"]["validation"].keys()
    assert {"coverage@10", "novelty@10", "diversity@10", "long_tail@10"} <= found["beyond_accuracy"].keys()
