"""Where the real data set lies that some tests need: beside the checkout, or in $FEDREC_DATA."""

import os
from pathlib import Path

import pytest


def latest_small() -> Path:
    """The folder of MovieLens's ml-latest-small; the test is skipped where there is none.

    In CI too: the data are no part of the repository, and no test fetches anything from the internet.
    """
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("FEDREC_DATA", beside)) / "ml-latest-small"
    if not folder.is_dir():
        pytest.skip("no MovieLens data: set FEDREC_DATA to the folder that holds ml-latest-small")
    return folder
