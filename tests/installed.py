"""Programs that some tests need and not every machine has; CI installs them where it can, and says so."""

import os
import shutil

import pytest

ALL_ARE_THERE = os.environ.get("FEDREC_PROGRAMS") == "all"

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


def needs(there: object, program: str) -> pytest.MarkDecorator:
    """A test is skipped where a program is absent; where all are said to be there it runs nevertheless, and fails."""
    return pytest.mark.skipif(not there and not ALL_ARE_THERE, reason=f"{program} is not installed here")


def absent(program: str) -> None:
    """What a fixture says where its program is absent: skipped, or failed where all are said to be there."""
    if ALL_ARE_THERE:
        pytest.fail(f"{program} is not found, and .ci/run said that it is there")
    pytest.skip(f"{program} is not installed here")
