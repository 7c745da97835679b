"""Programs that some tests need and not every machine has; CI installs them, and must not do without."""

import os
import shutil

import pytest

IN_CI = os.environ.get("CI", "") not in ("", "0", "false")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


def needs(there: object, program: str) -> pytest.MarkDecorator:
    """A test is skipped where a program is absent; in CI it runs nevertheless, and fails."""
    return pytest.mark.skipif(not there and not IN_CI, reason=f"{program} is not installed here")


def absent(program: str) -> None:
    """What a fixture says where its program is absent: skipped, and failed in CI."""
    if IN_CI:
        pytest.fail(f"{program} is not installed, and CI must not do without: see .ci/run")
    pytest.skip(f"{program} is not installed here")
