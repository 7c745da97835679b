import math
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.config import Scenario, TrainingConfig
from fedrec.config_file import load_scenario, parse_scenario
from fedrec.errors import ConfigError
from fedrec.studies.study_file import is_study

FILES = sorted((Path(__file__).parents[1] / "simulations").rglob("*.toml"))
SCENARIOS = [path for path in FILES if not is_study(path)]
SECTIONS = ["data", "model", "adapter", "training", "federation", "privacy", "evaluation"]


def parse(*overrides, **table):
    return parse_scenario({"name": "toy", **table}, overrides)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_of_the_repository_loads(path):
    assert load_scenario(path).name


def test_an_empty_scenario_has_the_defaults_and_no_privacy():
    assert parse() == Scenario(name="toy")
    assert parse().privacy.mode == "none"


def test_a_scenario_is_named_after_its_file(tmp_path):
    (tmp_path / "small.toml").write_text("seed = 3\n")
    scenario = load_scenario(tmp_path / "small.toml")
    assert (scenario.name, scenario.seed) == ("small", 3)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"privacy": {"noise_multiplyer": 2.0}}, r"Unknown setting `privacy.noise_multiplyer`.*`noise_multiplier`"),
        ({"privcy": {}}, r"Unknown setting `privcy`.*`privacy`"),
        ({"federation": {"cohrt": 5}}, r"`federation.cohrt`.*Did you mean `cohort`"),
        ({"training": {"zzz": 5}}, r"`training.zzz`. Known: steps"),
    ],
)
def test_an_unknown_setting_names_the_nearest_one(table, message):
    with pytest.raises(ConfigError, match=message):
        parse(**table)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("federation", "rounds", "ten"),
        ("federation", "rounds", 1.5),
        ("federation", "rounds", True),
        ("federation", "timeout", "soon"),
        ("model", "decays", 0.5),
        ("model", "decays", ["a"]),
        ("model", "tower", "conv"),
        ("data", "path", 3),
        ("data", "min_rating", "high"),
        ("data", "positive_kinds", "click"),
        ("adapter", "ranks", [4]),
        ("adapter", "ranks", {"history_proj": 1.5}),
        ("adapter", "train_a", 1),
        ("privacy", "mode", "locale"),
        ("privacy", "unit", ["USER"]),
    ],
)
def test_a_value_of_another_type_is_refused_and_named(section, key, value):
    with pytest.raises(ConfigError, match=rf"`{section}\.{key}"):
        parse(**{section: {key: value}})


def test_a_section_that_is_no_table_is_refused():
    with pytest.raises(ConfigError, match="`privacy` is a table"):
        parse(privacy="local")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("privacy", "noise_multiplier", 0),
        ("privacy", "noise_multiplier", -1.0),
        ("privacy", "noise_multiplier", float("nan")),
        ("privacy", "noise_multiplier", float("inf")),
        ("privacy", "clip_norm", 0),
        ("privacy", "clip_norm", float("inf")),
        ("privacy", "expected_batch", 0),
        ("privacy", "sampling_rate", 0),
        ("privacy", "sampling_rate", 1.01),
        ("privacy", "sampling_rate", float("nan")),
        ("privacy", "delta", 0),
        ("privacy", "delta", 1),
        ("privacy", "delta", float("nan")),
        ("privacy", "participations", 0),
        ("budget", "epsilon", 0),
        ("budget", "epsilon", float("nan")),
        ("budget", "per_day", 0),
        ("popularity", "items", 0),
        ("popularity", "noise_multiplier", 0.1),
        ("released_metrics", "noise_multiplier", 0),
        ("correlated_noise", "bands", 0),
        ("training", "steps", 0),
        ("training", "negatives", -1),
        ("training", "learning_rate", float("nan")),
        ("training", "heads", {}),
        ("training", "heads", {"next_item": 0}),
        ("training", "heads", {"nextitem": 1.0}),
        ("adapter", "ranks", {}),
        ("adapter", "ranks", {"history_proj": 0}),
        ("adapter", "ranks", {"where": 0}),
        ("federation", "cohort", 0),
        ("federation", "rounds", -3),
        ("federation", "min_replies", 101),
        ("federation", "norm_bound", 0),
        ("federation", "norm_bound", float("nan")),
        ("federation", "aggregation", "krum"),
        ("federation", "hostile_clients", -1),
        ("evaluation", "every", 0),
        ("data", "users_per_client", 0),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(section, key, value):
    with pytest.raises(ConfigError):
        parse(**{section: {key: value}})


HUB = {"data": {"users_per_client": 10}, "privacy": {"mode": "local"}}


def hub(**changes):
    return {**HUB, **{name: {**HUB.get(name, {}), **table} for name, table in changes.items()}}


def test_a_private_hub_is_accepted():
    assert parse(**HUB).privacy.mode == "local"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"prior": "counts"}}, "counts what people did"),
        ({"adapter": {"ranks": {"history_proj": 4}, "train_a": True}}, "train_a"),
        ({"privacy": {"unit": "SEGMENT"}}, "for a client that holds one user"),
        ({"data": {"users_per_client": 1}}, "client of one example"),
    ],
)
def test_what_a_private_mode_would_not_cover_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        parse(**hub(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"users_per_client": 3}}, "3 users would share"),
        ({"privacy": {"mode": "central", "unit": "SEGMENT"}}, "privacy.unit"),
        ({"privacy": {"mode": "central", "sampling_rate": 0.1}}, "for the steps of a client in local mode"),
        ({"correlated_noise": {"bands": 4, "separation": 4}}, "Adam rescales"),
        ({"adapter": {"ranks": {"history_proj": 4}, "train_a": True}}, "train_a"),
    ],
)
def test_what_central_mode_cannot_account_is_refused_with_the_reason(changes, message):
    with pytest.raises(ConfigError, match=message):
        parse(**{"privacy": {"mode": "central"}, **changes})


@pytest.mark.parametrize("mode", ["none", "local", "distributed"])
@pytest.mark.parametrize(
    "section",
    [
        {"model": {"prior": "released"}},
        {"released_metrics": {"noise_multiplier": 4.0}},
        {"correlated_noise": {"bands": 2, "separation": 2}},
    ],
)
def test_what_only_a_server_noises_is_refused_elsewhere(mode, section):
    with pytest.raises(ConfigError, match=f'privacy.mode is "{mode}"'):
        parse(**{**({} if mode == "distributed" else HUB), "privacy": {"mode": mode}, **section})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"users_per_client": 3}}, "3 users would share"),
        ({"privacy": {"mode": "distributed", "unit": "SEGMENT"}}, "privacy.unit"),
        ({"privacy": {"mode": "distributed", "sampling_rate": 0.1}}, "In distributed mode participation"),
        ({"federation": {"norm_bound": 1.0}}, "in distributed mode they are clipped"),
        ({"federation": {"aggregation": "median_of_means", "hostile_clients": 1}}, "distributed mode use .mean."),
        ({"federation": {"over_selection": 0.1}}, "cannot close before all are in"),
        ({"adapter": {"ranks": {"history_proj": 4}, "train_a": True}}, "train_a"),
    ],
)
def test_what_distributed_mode_cannot_account_or_sum_is_refused_with_the_reason(changes, message):
    with pytest.raises(ConfigError, match=message):
        parse(**{"privacy": {"mode": "distributed"}, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"privacy": {"mode": "central"}}, "central. needs to see"),
        ({"privacy": {"mode": "none"}}, "none. needs to see"),
        ({"privacy": {"mode": "local", "unit": "SEGMENT"}}, "needs federation.norm_bound"),
        (
            {
                "privacy": {"mode": "local", "unit": "SEGMENT"},
                "federation": {"norm_bound": 1.0, "aggregation": "median_of_means", "hostile_clients": 1},
            },
            "needs single updates, which masks hide",
        ),
    ],
)
def test_masks_that_nothing_can_be_done_under_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        parse(**{"secure_aggregation": {"enabled": True}, **changes})


@pytest.mark.parametrize("wrong", [{"drop_out": 0.5}, {"corruption": -0.1}, {"size": 0}, {"size": 2**25}])
def test_a_secure_aggregation_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"secure_aggregation\."):
        parse(secure_aggregation=wrong)


@pytest.mark.parametrize(
    ("federation", "message"),
    [
        ({"norm_bound": 1.0}, "privacy.clip_norm is the bound"),
        ({"aggregation": "median_of_means", "hostile_clients": 2}, "no bound that noise could be drawn for"),
    ],
)
def test_defences_of_the_other_modes_are_refused_where_the_server_clips_and_noises(federation, message):
    with pytest.raises(ConfigError, match=message):
        parse(privacy={"mode": "central"}, federation=federation)
    assert parse(federation=federation).federation


@pytest.mark.parametrize(
    ("federation", "message"),
    [
        ({"hostile_clients": 1}, "a mean withstands none"),
        ({"aggregation": "median_of_means"}, "1 or more"),
        ({"aggregation": "median_of_means", "hostile_clients": 5, "cohort": 10}, "needs 11 groups"),
    ],
)
def test_a_median_of_means_says_how_many_it_withstands_and_needs_a_group_more_than_twice_as_many(federation, message):
    with pytest.raises(ConfigError, match=message):
        parse(federation=federation)


def test_noise_that_a_clients_rounds_would_share_is_refused():
    with pytest.raises(ConfigError, match=r"separation 3 is under correlated_noise\.bands 4"):
        parse(privacy={"mode": "central"}, correlated_noise={"bands": 4, "separation": 3})


def test_the_twin_of_a_released_popularity_counts_it():
    scenario = parse(
        privacy={"mode": "central"}, model={"prior": "released"}, released_metrics={"noise_multiplier": 4.0}
    )
    assert scenario.without_privacy().model.prior == "counts"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"negatives": 10}, "adapter": {"ranks": {"items": 4}}}, "single rows of the index"),
        ({"training": {"heads": {"intent": 1.0}}}, "add intent_proj"),
        ({"adapter": {"ranks": {"history_proj": 4, "rating_proj": 4}}}, "adapts `rating_proj`, which no head"),
        (
            {"training": {"heads": {"intent": 1.0}}, "adapter": {"ranks": {"intent_proj": 4, "items": 4}}},
            "adapts `items`, which no head",
        ),
    ],
)
def test_heads_and_adapters_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        parse(**changes)


def test_a_corrected_negative_stands_for_its_part_of_the_catalogue():
    corrected = TrainingConfig(negatives=10, logq_correction=True)
    assert [corrected.log_weight(items) for items in (40, 10, 4)] == pytest.approx([math.log(4), 0.0, 0.0])
    assert TrainingConfig(negatives=10).log_weight(40) == 0.0
    assert TrainingConfig(logq_correction=True).log_weight(40) == 0.0


def test_the_twin_differs_in_privacy_alone():
    scenario = parse(**HUB)
    twin = scenario.without_privacy()
    assert twin.privacy.mode == "none"
    assert twin.name == "toy-twin"
    assert (twin.data, twin.training, twin.federation) == (scenario.data, scenario.training, scenario.federation)


def test_settings_are_overridden_from_the_command_line():
    scenario = parse(
        "federation.rounds=7",
        "model.tower=text",
        'data.path="a b"',
        "adapter.ranks.history_proj=12",
        "model.decays=[0.0, 0.5, 0.9]",
        "adapter.train_a=true",
        " seed = 5",
        adapter={"ranks": {"item_proj": 3}},
    )
    assert scenario.federation.rounds == 7
    assert scenario.model.tower == "text"
    assert scenario.data.path == "a b"
    assert scenario.adapter.ranks == {"item_proj": 3, "history_proj": 12}
    assert scenario.model.decays == (0.0, 0.5, 0.9)
    assert scenario.adapter.train_a
    assert scenario.seed == 5


@pytest.mark.parametrize(
    "override", ["rounds", "", "=3", " =3", "seed.more=1", "federation.rouns=1", "federation.rounds=x"]
)
def test_an_override_that_makes_no_sense_is_refused(override):
    with pytest.raises(ConfigError):
        parse(override, seed=1)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_scenario(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_scenario(tmp_path)
    (tmp_path / "broken.toml").write_text("seed = ")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_scenario(tmp_path / "broken.toml")
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_scenario(tmp_path / "latin.toml")


VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["local", "SEGMENT", "items", "next_item", "text"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = {
    section: st.sampled_from(list(Scenario.__dataclass_fields__[section].default_factory.__dataclass_fields__))
    for section in SECTIONS
}
TABLES = st.fixed_dictionaries(
    {},
    optional={
        section: st.dictionaries(keys | st.text(max_size=5), VALUES, max_size=4) for section, keys in KEYS.items()
    }
    | {"name": VALUES, "seed": VALUES, "odd": VALUES},
)


@settings(max_examples=80, deadline=None)
@given(TABLES)
def test_any_table_gives_a_scenario_or_a_config_error(table):
    try:
        assert isinstance(parse_scenario(table), Scenario)
    except ConfigError as error:
        assert str(error)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_any_override_gives_a_scenario_or_a_config_error(override):
    try:
        parse(override)
    except ConfigError as error:
        assert str(error)


def test_a_scenario_without_a_name_is_refused():
    with pytest.raises(ConfigError, match="`name` is missing"):
        parse_scenario({})


def test_a_huge_integer_is_refused_and_not_an_overflow(tmp_path):
    (tmp_path / "huge.toml").write_text(f"[model]\nscale = 1{'0' * 400}\n")
    with pytest.raises(ConfigError, match=r"`model.scale`.*too large"):
        load_scenario(tmp_path / "huge.toml")


def test_a_scenario_survives_being_written_and_read(tmp_path):
    table = {"name": "toy", **HUB, "model": {"decays": [0.0, 0.5], "decay_weights": [0.4, 0.6]}}
    (tmp_path / "toy.toml").write_text(tomli_w.dumps(table))
    assert load_scenario(tmp_path / "toy.toml") == parse_scenario(table)


def test_distributed_mode_without_masks_is_refused_and_not_ignored(tmp_path):
    asked = "[privacy]\nmode = 'distributed'\n[secure_aggregation]\nenabled = false\n"
    (tmp_path / "study.toml").write_text(asked)
    with pytest.raises(ConfigError, match="always has masks"):
        load_scenario(tmp_path / "study.toml")
