"""The cohort engine on a device that is not the CPU: everything is put there, and copied back before it is read."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch

from fedrec.simulation.engines import engine_named
from fedrec.training.masking import masking_of
from fedrec.training.run_folder import RunFolder
from tests.far_device import far_device
from tests.small_worlds import ALL_HEADS, ALL_RANKS
from tests.training.cohort_worlds import Beside, Here, a_population, a_scenario, a_workbench, updates_of

pytestmark = pytest.mark.slow

SAMPLED = {"training": {"negatives": 15, "logq_correction": True, "steps": 2}}
EVERYTHING = {"training": {"heads": ALL_HEADS, "steps": 2}, "adapter": {"ranks": ALL_RANKS}}
SEVERAL = {"adapter": {"train_a": True}, "data": {"users_per_client": 3}}


@pytest.fixture(scope="module")
def spare():
    """A process of its own: torch cannot forget a device."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def both(path, *, precision, mode, task="update", sections):
    """Each client's reply by the device and by the CPU, or their sums under masks."""
    lengths = [0, 3, 9, 30, 14, 2, 21]
    workbench = a_workbench(a_population(np.random.default_rng(1), lengths), a_scenario(mode, **sections))
    beside, everybody = Beside(workbench=workbench, path=path), range(len(workbench.members))

    def found(device):
        engine_of = engine_named("cohort", device=device, precision=precision)
        with engine_of(workbench, RunFolder(path / device, "", resume=True)) as engine:
            engine._workers = Here()
            if mode == "distributed":
                masking = masking_of(workbench.plan, dict)
                return {0: engine.aggregate(beside.instruction(), everybody, masking, timeout=9, pay=print).total}
            return updates_of(engine, beside.instruction(task), everybody)

    theirs = found("cpu")
    with far_device() as device:
        return found(device), theirs


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(
    ("mode", "sections"),
    [
        ("none", {}),
        ("none", SAMPLED),
        ("none", EVERYTHING),
        ("none", SEVERAL),
        ("central", SAMPLED),
        ("released", {}),
        ("local", EVERYTHING),
        ("segments", SAMPLED),
        ("distributed", {}),
    ],
)
def test_clients_reply_as_they_do_on_the_cpu(spare, tmp_path, mode, sections, precision):
    if mode in ("local", "segments") and precision == "bf16":
        pytest.skip("refused, see test_cohort.py")
    ours, theirs = spare.submit(both, tmp_path, precision=precision, mode=mode, sections=sections).result()
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[client], theirs[client]) for client in theirs)


def test_popularity_is_the_same(spare, tmp_path):
    asked = {"precision": "float32", "mode": "released", "task": "popularity", "sections": {}}
    ours, theirs = spare.submit(both, tmp_path, **asked).result()
    assert all(np.array_equal(ours[client], theirs[client]) for client in theirs)


MIXED_UP = {
    "sum": lambda far: far + torch.ones(2),
    "numpy": lambda far: far.numpy(),
    "array": np.asarray,
    "index": lambda far: torch.ones(2)[far.long()],
}


def mixed_up(how):
    """Whether the device lets that be done."""
    with far_device() as device:
        far = torch.zeros(2, device=device)
        try:
            MIXED_UP[how](far)
        except (RuntimeError, NotImplementedError):
            return (far.cpu() + torch.ones(2)).tolist() != [1.0, 1.0]
    return True


@pytest.mark.parametrize("how", MIXED_UP)
def test_the_device_shares_nothing_with_the_cpu(spare, how):
    assert not spare.submit(mixed_up, how).result()
