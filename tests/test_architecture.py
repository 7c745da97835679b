"""What a device imports must not drag a gigabyte behind it; asked of a fresh interpreter."""

import subprocess
import sys

import pytest

HEAVY = ["torch", "polars", "flwr", "scipy", "transformers", "peft", "opacus", "dp_accounting", "sentence_transformers"]
LIGHT = [
    "fedrec.release",
    "fedrec.config",
    "fedrec.files",
    "fedrec.model.item_index",
    "fedrec.privacy.device_ledger",
    "fedrec.privacy.ledger",
    "fedrec.privacy.plan",
    "fedrec.privacy.budget",
    "fedrec.privacy.correlated_noise",
    "fedrec.privacy.gaussian",
    "fedrec.privacy.mechanism",
    "fedrec.privacy.noise_state",
    "fedrec.privacy.seal",
    "fedrec.privacy.randomness",
    "fedrec.data.events",
    "fedrec.data.store.store",
    "fedrec.model.catalogue_file",
    "fedrec.model.device_index",
    "fedrec.model.linear",
    "fedrec.model.onnx_encoder",
    "fedrec.ondevice.engine",
    "fedrec.ondevice.releases",
]
# What is opened when the first text, or the first large catalogue, comes.
LATE = ["onnxruntime", "tokenizers", "usearch", "onnx"]


@pytest.mark.parametrize("module", LIGHT)
def test_what_a_device_needs_reaches_no_heavy_package(module):
    script = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["fedrec.ondevice.engine", "fedrec.ondevice.releases", "fedrec.model.onnx_encoder"])
def test_what_few_devices_need_is_not_loaded_by_all(module):
    script = f"import sys, {module}; print([name for name in {LATE!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
