"""Engines by name, and where they compute."""

import pytest
import torch

from fedrec.errors import ConfigError
from fedrec.simulation.engines import ENGINES, engine_named, name_of


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_an_engine_is_found_and_told_by_its_name(name: str) -> None:
    assert name_of(engine_named(name)) == name


def test_an_engine_on_a_device_is_told_by_the_same_name() -> None:
    assert name_of(engine_named("cohort", device="cpu:0")) == "cohort"


def test_an_engine_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="no engine `fast`"):
        engine_named("fast")


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "meta:x", "meta"])
def test_a_device_that_is_not_there_is_refused_in_one_line(device: str) -> None:
    with pytest.raises(ConfigError, match="torch computes on no") as refused:
        engine_named("cohort", device=device)
    assert "\n" not in str(refused.value)


def test_only_the_cohort_engine_computes_elsewhere() -> None:
    with pytest.raises(ConfigError, match="--engine cohort"):
        engine_named("flower", device="cuda" if torch.cuda.is_available() else "cpu:0")


def test_a_precision_is_of_the_cohort_engine_and_has_a_name() -> None:
    assert name_of(engine_named("cohort", precision="bf16")) == "cohort"
    with pytest.raises(ConfigError, match="no precision `half`"):
        engine_named("cohort", precision="half")
    with pytest.raises(ConfigError, match="--engine cohort"):
        engine_named("reference", precision="bf16")
