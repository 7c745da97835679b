"""The threat model claims nothing that no test shows."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
SHOWN = re.findall(r'\[shown\]\((\S+) "(\w+)"\)', (DOCS / "threat_model.md").read_text())


def test_every_defence_names_a_test():
    assert len(SHOWN) > 20


@pytest.mark.parametrize(("file", "name"), SHOWN)
def test_a_named_test_exists(file, name):
    assert f"def {name}(" in (DOCS / file).resolve().read_text()
