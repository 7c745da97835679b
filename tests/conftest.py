"""What every test runs under: quiet libraries and threads that sleep while they wait."""

import gc
import os

from hypothesis import HealthCheck, settings

for name, value in {
    "OMP_WAIT_POLICY": "PASSIVE",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}.items():
    os.environ.setdefault(name, value)

# How long an example takes is the machine's business: a test never asserts a time.
settings.register_profile("fedrec", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fedrec")

# What is imported stays: looking through it for garbage, again and again, took a tenth of the time of all tests.
gc.disable()


def pytest_collection_finish() -> None:
    """What was imported is out of the collector's sight, and the collector is on for the tests."""
    gc.freeze()
    gc.enable()
