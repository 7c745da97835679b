"""Examples in docstrings say what the code does."""

import doctest
import importlib
from pathlib import Path

import pytest

import fedrec

ROOT = Path(fedrec.__file__).parent
WITH_EXAMPLES = sorted(file.relative_to(ROOT.parent) for file in ROOT.rglob("*.py") if ">>> " in file.read_text())


@pytest.mark.parametrize("file", WITH_EXAMPLES, ids=str)
def test_an_example_comes_out_as_it_is_written(file):
    failed, tried = doctest.testmod(importlib.import_module(".".join(file.with_suffix("").parts)))
    assert tried
    assert not failed
