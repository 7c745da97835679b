"""The audit: does the deployed path leak more than it reports, and would the audit notice?

The first question is asked of the path as it is; the second of the path with each known
fault in it. An audit that misses a fault has failed, whatever it found on the path.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch

from fedrec.audit import leaving, neighbours, updates
from fedrec.audit.bench import DELTA
from fedrec.audit.canaries import draw_canaries
from fedrec.audit.checks import Check
from fedrec.audit.evidence import CanaryBounds, canary_bounds
from fedrec.audit.faults import CANARIES, FAULTS, Fault, fault_named, injected
from fedrec.audit.noise import noise_checks
from fedrec.audit.outcome import Audit, Control
from fedrec.audit.path import observe
from fedrec.audit.popularity import popularity_checks
from fedrec.audit.written import written_checks
from fedrec.errors import ConfigError
from fedrec.privacy.accounting import checked_epsilon
from fedrec.privacy_config import Mode

# Enough to tell half the noise from all of it, five standard errors apart.
CANARY_COUNT = 1600
# stage, how much of it is done, how much there is.
Watcher = Callable[[str, int, int], None]


def run_audit(mode: str, *, seed: int, fault: str | None = None, watch: Watcher = lambda *_: None) -> Audit:
    """Audit the path and then the audit itself, or the path with one fault in it.

    seed: of the canaries and their coins; the noise is the operating system's and differs
    every time. Raises ConfigError for a mode, a fault or a seed that does not exist.
    """
    known = _mode_named(mode)
    if seed < 0:
        raise ConfigError(f"The seed is {seed}. Choose 0 or more.")
    planted = {fault: fault_named(fault)} if fault else {}
    controls: Mapping[str, Fault] = planted or FAULTS
    with _one_thread(), ExitStack() as stack:
        for each in planted.values():
            stack.enter_context(injected(each))
        watch("path", 0, 1)
        reported, bounds = ask_canaries(known, seed=seed)
        checks = tuple(exact_checks(known, seed=seed))
        watch("path", 1, 1)
        found = {}
        for number, (name, each) in enumerate(controls.items()):
            watch("planted faults", number, len(controls))
            found[name] = control(each, known, seed=seed)
        watch("planted faults", len(controls), len(controls))
    return Audit(
        mode=known,
        seed=seed,
        canaries=CANARY_COUNT,
        reported_epsilon=reported,
        bounds=bounds,
        checks=checks,
        controls=found,
        fault=fault,
    )


def ask_canaries(mode: Mode, *, seed: int) -> tuple[float, CanaryBounds]:
    """The epsilon that the ledger of the audited rounds comes to, and what canaries show of it."""
    canaries = draw_canaries(seed, count=CANARY_COUNT)
    observed = observe(mode, canaries, seed=seed)
    return checked_epsilon(observed.spending, delta=DELTA).value, canary_bounds(canaries, observed, delta=DELTA)


def control(fault: Fault, mode: Mode, *, seed: int) -> Control:
    """Whether a fault's own detector notices it in a mode's path."""
    with injected(fault):
        if fault.detector == CANARIES:
            reported, bounds = ask_canaries(mode, seed=seed)
            caught, found = bounds.largest > reported, bounds.largest
            if mode == "distributed" and not caught:
                # Shares that are all alike add up to a sum that the server drops, which shows no canary anything.
                failed = [check for check in noise_checks(mode, seed=seed) if not check.passed]
                return Control(detector="noise checks", caught=bool(failed), found=float(len(failed)), what=fault.what)
        else:
            checks = list(unit_checks(seed))
            caught, found = not all(check.passed for check in checks), max(check.found for check in checks)
    return Control(detector=fault.detector, caught=caught, found=found, what=fault.what)


def exact_checks(mode: Mode, *, seed: int) -> Iterator[Check]:
    """Every check of the path that needs no canaries."""
    yield from unit_checks(seed)
    if mode == "central":
        yield from _update_checks(seed)
        yield from popularity_checks()
    yield from noise_checks(mode, seed=seed)
    if mode != "distributed":
        yield from written_checks(mode)
    unnamed, sizes = leaving.unexpected_fields(), leaving.payload_sizes()
    what = "number of things that leave a device and are not on the list"
    yield Check(name="reply_fields", what=f"{what} {unnamed or ''}".strip(), found=len(unnamed), low=0, high=0)
    yield Check(name="reply_size", what="number of sizes that a reply's vector has", found=len(sizes), low=1, high=1)


def unit_checks(seed: int) -> Iterator[Check]:
    """The checks on neighbouring data that differ by one unit of `local` mode."""
    yield _movement("user_unit", "how far one person of a hub moves the clipped sum", neighbours.user_movement(seed))
    yield _movement(
        "segment_unit", "how far one interval of a person moves the clipped sum", neighbours.segment_movement(seed)
    )


def _mode_named(name: str) -> Mode:
    modes: tuple[Mode, ...] = ("central", "distributed", "local")
    for mode in modes:
        if name == mode:
            return mode
    raise ConfigError(f"There is no noise to audit in mode `{name}`. Choose central, distributed or local.")


def _update_checks(seed: int) -> Iterator[Check]:
    """How far one client moves the sums of `central` mode."""
    yield _movement("client_update", "how far one client moves the noised sums", updates.client_movement(seed))
    yield _movement("hostile_client", "how far a client that does not clip moves them", updates.hostile_movement(seed))
    yield _movement("client_clip", "the norm of the longest reply", updates.longest_reply(seed))
    yield _movement("reply_blocks", "how far an outrageous reply moves a block of a sum", updates.block_movement())


def _movement(name: str, what: str, found: float) -> Check:
    return Check(name=name, what=f"{what}, in clip norms", found=found, low=0.0, high=1 + neighbours.TOLERANCE)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Tensors this small take far longer when threads share them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
