"""Runs side by side in processes of one thread each; when the study is killed, they go with it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import cycle, islice
from multiprocessing.connection import wait
from multiprocessing.queues import SimpleQueue

from fedrec.errors import RefusedError
from fedrec.studies.trial import Trial

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS")


def finish_all(
    trials: Sequence[Trial], *, processes: int, devices: Sequence[str], done: Callable[[Trial], None]
) -> None:
    """Bring every run to its end; `done` hears of each, failed or not.

    One process is this one. Each has a device of its own while there are enough of them. Raises RefusedError if the
    system ended a process; the runs can be gone on with.
    """
    if processes == 1 or len(trials) <= 1:
        for trial in trials:
            trial.finish(device=devices[0])
            done(trial)
        return
    with _one_thread_each(), _pool(min(processes, len(trials)), devices) as pool:
        runs = {pool.submit(_finish, trial): trial for trial in trials}
        for run in as_completed(runs):
            _require_ended(run)
            done(runs[run])


def _finish(trial: Trial) -> None:
    trial.finish(device=_DEVICE[0])


def _require_ended(run: "Future[None]") -> None:
    try:
        run.result()
    except BrokenProcessPool:
        raise RefusedError(
            "The system ended a process of the study, as it does when memory is short. Give the same command again to "
            "go on, with fewer study.processes."
        ) from None


@contextmanager
def _pool(processes: int, devices: Sequence[str]) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this block, in whatever way it is left."""
    spawn = multiprocessing.get_context("spawn")
    shared = spawn.SimpleQueue()
    for device in islice(cycle(devices), processes):
        shared.put(device)
    pool = ProcessPoolExecutor(processes, mp_context=spawn, initializer=_begin, initargs=(shared,))
    try:
        yield pool
    except BaseException:
        # A run that is cut off goes on from its folder; waiting for it would take as long as the run.
        for process in list((pool._processes or {}).values()):
            process.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# Of this process, where it is one of a study's.
_DEVICE = ["cpu"]


def _begin(devices: "SimpleQueue[str]") -> None:
    import torch

    _DEVICE[0] = devices.get()

    torch.set_num_threads(1)
    # Ctrl-C reaches the whole group: the process that started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End when the study was killed: two processes in one run folder would spoil it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """What is started meanwhile computes with one thread."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
