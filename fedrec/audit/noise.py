"""Exact checks of the noise that is really drawn: its size, its shape, and that none is drawn twice.

The real rounds run over units without data, where what is released is noise alone, and over
canaries, whose sum is known and taken off.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import stats

from fedrec.audit import broken
from fedrec.audit.bench import NOISE, audited_plan
from fedrec.audit.canaries import SIZE, Canaries, draw_canaries
from fedrec.audit.checks import Check
from fedrec.audit.neighbours import QuietSource
from fedrec.audit.path import observe
from fedrec.audit.replacing import replaced
from fedrec.privacy import randomness
from fedrec.privacy.correlated_noise import BandedToeplitz, NoiseState
from fedrec.privacy.gaussian import mu_without_amplification
from fedrec.privacy.mechanism import Doubles
from fedrec.privacy_config import Mode
from fedrec.secagg.skellam import Skellam
from fedrec.training.blocks import blocks_of, total_size
from fedrec.training.server_noise import ServerNoise

# How often sound noise may fail one of these checks.
CHANCE = 1e-6
_COINS, _RATE = 200_000, 0.05
_BANDS, _ROUNDS = 3, 40
# Silent runs of two releases each: enough to tell one coordinate's noise from half of it.
_RUNS, _FEW = 32, 4
# At least the chance that two float32 roundings of unlike normal numbers coincide, or that one comes to 0.
_COINCIDENCE = 2.0**-22


def noise_checks(mode: Mode, *, seed: int) -> Iterator[Check]:
    """The checks of the noise in a mode's releases, and of the coins that draw its batches."""
    everybody = draw_canaries(seed, count=_FEW).with_only(*range(_FEW))
    silent, busy = _noise_of(mode, everybody.with_only(), seed=seed), _noise_of(mode, everybody, seed=seed)
    yield size_check("noise_size", silent.ravel(), of="the noise")
    yield shape_check("noise_shape", silent.ravel())
    yield distinct_check("distinct_noise", silent, of="the noise")
    yield coordinate_check("noise_everywhere", silent, of="the noise")
    yield from sameness_checks(silent, coincidence=_coincidence(mode))
    yield size_check("busy_noise_size", busy.ravel(), of="the noise where there are data")
    yield shape_check("busy_noise_shape", busy.ravel())
    yield coordinate_check("busy_noise_everywhere", busy, of="the noise where there are data")
    yield _coins()
    if mode == "central":
        yield from _kept_noise()


def _noise_of(mode: Mode, canaries: Canaries, *, seed: int) -> Doubles:
    """The noise in all releases of many runs, in units of what the ledger says.

    What the same canaries make without noise is taken off: their gradients are the same
    wherever the adapter is. An entry that claims more noise than was drawn must show.
    """
    runs = [observe(mode, canaries, seed=seed) for _ in range(_RUNS)]
    with replaced(randomness, "system_source", QuietSource), replaced(Skellam, "sample", broken.no_shares):
        signal = observe(mode, canaries, seed=seed).releases - observe(mode, canaries.with_only(), seed=seed).releases
    return np.concatenate([(seen.releases - signal) * mu_without_amplification(seen.spending) for seen in runs])


def size_check(name: str, noise: Doubles, *, of: str) -> Check:
    """The standard deviation, in a chi-square interval."""
    low, high = stats.chi2.interval(1 - CHANCE, len(noise)) / np.float64(len(noise))
    found = float(np.sqrt((noise**2).mean()))
    return Check(
        name=name,
        what=f"standard deviation of {of}, in units of the one that is accounted for",
        found=found,
        low=float(np.sqrt(low)),
        high=float(np.sqrt(high)),
    )


def shape_check(name: str, noise: Doubles) -> Check:
    """The whole distribution against the normal one, by Kolmogorov and Smirnov."""
    found = float(stats.kstest(noise, "norm").pvalue)
    return Check(name=name, what="p-value of the noise being normal", found=found, low=CHANCE, high=1.0)


def coordinate_check(name: str, rows: Doubles, *, of: str) -> Check:
    """Every coordinate has its noise: the sum of its squares over the releases, (R, P), is chi-square."""
    releases, size = rows.shape
    squares = (rows**2).sum(0)
    tails = np.minimum(stats.chi2.cdf(squares, releases), stats.chi2.sf(squares, releases))
    return Check(
        name=name,
        what=f"p-value of {of} on the coordinate where it is oddest, over {releases} releases",
        found=min(1.0, 2 * size * float(tails.min())),
        low=CHANCE,
        high=1.0,
    )


def _coincidence(mode: Mode) -> float:
    """The chance that sound noise is 0, or that two coordinates of it agree up to their sign, at most."""
    summed = audited_plan(mode, clients=_FEW).secure_sum
    if summed is None:
        return _COINCIDENCE
    # Of whole numbers with this standard deviation; the grid of a small cohort, as silent releases have.
    std = (summed.clients * summed.share_variance(NOISE)) ** 0.5
    return float(1 / (std * np.pi**0.5))


def sameness_checks(rows: Doubles, *, coincidence: float = _COINCIDENCE) -> Iterator[Check]:
    """No coordinate of a silent release is exactly 0, or repeats another up to its sign, but by chance or rounding."""
    releases, size = rows.shape
    zeros, most = int((rows == 0).sum()), float(stats.poisson.isf(CHANCE, rows.size * coincidence))
    yield Check(name="noise_zeros", what="number of coordinates without any noise", found=zeros, low=0, high=most)
    repeated = max(size - len(np.unique(np.abs(row))) for row in rows)
    most = float(stats.poisson.isf(CHANCE / releases, size * (size - 1) / 2 * coincidence))
    what = "most coordinates of one release that repeat another's noise"
    yield Check(name="noise_repeats", what=what, found=repeated, low=0, high=most)


def distinct_check(name: str, rows: Doubles, *, of: str) -> Check:
    """No two releases share noise: no pair of them correlates."""
    with np.errstate(invalid="ignore", divide="ignore"):  # noise that is zero correlates with anything
        pairs = np.abs(np.corrcoef(rows))[np.triu_indices(len(rows), 1)]
    chance = CHANCE / (2 * len(pairs))
    return Check(
        name=name,
        what=f"largest correlation of {of} between two releases",
        found=float(np.nan_to_num(pairs, nan=1.0).max()),
        low=0.0,
        high=float(stats.norm.isf(chance)) / rows.shape[1] ** 0.5,
    )


def _coins() -> Check:
    """The rate of the coins that draw Poisson batches."""
    found = float(randomness.noise_source("system", 0).coins(_COINS, probability=_RATE).mean())
    low, high = stats.binom.interval(1 - CHANCE, _COINS, _RATE)
    what = f"share of heads of coins that show them with probability {_RATE:g}"
    return Check(name="secret_coins", what=what, found=found, low=float(low) / _COINS, high=float(high) / _COINS)


def _kept_noise() -> Iterator[Check]:
    """The server's noise when it is correlated over rounds and metrics are released beside the update."""
    encoder = BandedToeplitz(_BANDS)
    plan = replace(audited_plan("central"), bands=_BANDS, metrics_noise=NOISE)
    blocks = blocks_of(plan, "update", size=SIZE // 8)
    with tempfile.TemporaryDirectory() as place:
        noise = ServerNoise(
            blocks=blocks,
            bands=_BANDS,
            file=Path(place) / "noise.bin",
            key=Path(place) / "noise.key",
            run_id="audit",
            source_of=lambda *_: randomness.noise_source("system", 0),
        )
        state, rows = NoiseState(), []
        for number in range(_ROUNDS):
            rows.append(noise.release(np.zeros(total_size(blocks)), state, expected=1))
            state = noise.kept(finished=number, recorded=True).state
    updates, metrics = np.split(np.stack(rows), [blocks[0].size], axis=1)
    length = float(np.linalg.norm(encoder.coefficients))
    yield Check(name="encoder_norm", what="norm of what one round's sum shows as", found=length, low=0.0, high=1 + 1e-9)
    # Whoever sees all releases sees the encoder times them: there the noise must be whole.
    seen = sum(weight * np.roll(updates, lag, axis=0) for lag, weight in enumerate(encoder.coefficients))
    whole = np.asarray(seen)[_BANDS - 1 :] / blocks[0].noise_std
    yield size_check("correlated_noise_size", whole.ravel(), of="correlated noise, decoded")
    yield distinct_check("correlated_noise_distinct", whole, of="correlated noise, decoded,")
    yield coordinate_check("correlated_everywhere", whole, of="correlated noise, decoded,")
    yield coordinate_check("metrics_everywhere", metrics / blocks[1].noise_std, of="the noise on metrics")
    yield size_check("metrics_noise_size", metrics.ravel() / blocks[1].noise_std, of="the noise on metrics")
