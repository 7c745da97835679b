"""The script that a reader of a budget report runs to check it without fedrec."""

# It reads ledgers and imports dp-accounting; the report prints it word for word, and a test runs it.
SCRIPT = '''\
"""Recompute epsilon from ledgers with dp-accounting alone: no part of fedrec is used.

    python recompute_epsilon.py DELTA LEDGER [EARLIER_LEDGER ...]

Prints, rounded up, the epsilon of whoever spent most in LEDGER; with earlier ledgers, that
of somebody who spent the most in each of them as well. Skellam noise that clients add
together has bounds on its Renyi divergences alone: whoever is charged for it is told by RDP.
"""

import functools
import hashlib
import json
import math
import sys
from collections import Counter, defaultdict

from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism
from dp_accounting.rdp import RdpAccountant
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon

GAUSSIAN, SKELLAM = "poisson_subsampled_gaussian", "distributed_skellam"
TERMS = {
    GAUSSIAN: ("noise_multiplier", "sampling_rate", "steps"),
    SKELLAM: ("variance", "norm_squared", "size", "failure", "total_variation"),
}
ORDERS = [*(1 + n / 10 for n in range(1, 100)), *range(11, 64), 128, 256, 512, 1024]


def spent_by_client(path):
    """How often each client's data entered each mechanism; stops where the chain is broken."""
    spent, previous = defaultdict(Counter), "0" * 64
    with open(path, encoding="utf-8") as file:
        entries = [json.loads(line) for line in file]
    for entry in entries:
        digest = entry.pop("hash")
        body = json.dumps(entry, sort_keys=True).encode()
        if entry["prev"] != previous or hashlib.sha256(body).hexdigest() != digest:
            sys.exit(f"{path}: entry {entry['seq']} does not continue the chain")
        previous, event = digest, entry["event"]
        if event["mechanism"] not in TERMS:
            sys.exit(f"{path}: {event['mechanism']} is not accounted here")
        kind = (event["mechanism"], *(event[name] for name in TERMS[event["mechanism"]]))
        for client in event["participants"]:
            spent[client][kind] += 1
    return list(spent.values())


def skellam_rdp(order, variance, norm_squared, size):
    """The Renyi divergence of one release, at most, for one client's update zeroed out.

    At whole orders by Agarwal, Kairouz and Liu 2021 (arXiv:2110.04995); at any order by
    fedrec's own bound, which is derived in fedrec/privacy/skellam.py. The smaller counts.
    """
    l1 = min(math.sqrt(size * norm_squared), norm_squared)
    found = []
    if order == int(order):
        more = ((2 * order - 1) * norm_squared + 6 * l1) / (4 * variance**2)
        found.append(order * norm_squared / (2 * variance) + min(more, 1.5 * l1 / variance))
    a = order * (1 + 2 / variance)
    longest = a * math.sqrt(norm_squared) / variance
    if variance >= 1 and longest <= 100:
        bend = (2 * math.sinh(longest / 2) / longest) ** 2
        moved = norm_squared / (2 * variance) * a * (a * bend - 1)
        rest = 2 * l1 / variance**1.5 + norm_squared / variance**2 + norm_squared**2 / variance**3
        found.append((moved + order * rest) / (order - 1))
    return min(found, default=math.inf)


def epsilon_by_divergences(spent, delta):
    """Epsilon of one client in whose spending there is Skellam noise."""
    gaussians, skellams = RdpAccountant(ORDERS), []
    for (mechanism, *terms), times in spent:
        if mechanism == GAUSSIAN:
            noise, rate, steps = terms
            gaussians.compose(PoissonSampledDpEvent(rate, GaussianDpEvent(noise)), steps * times)
        else:
            skellams.append((terms, times))
    divergences = [
        rest + sum(times * skellam_rdp(order, *terms[:3]) for terms, times in skellams)
        for order, rest in zip(ORDERS, gaussians._rdp)
    ]

    def at(left):
        return compute_epsilon(ORDERS, divergences, left)[0] if left > 0 else math.inf

    # Of delta come off: too few honest shares in a sum, and noise that is not quite Skellam's.
    delta -= sum(times * terms[3] for terms, times in skellams)
    wrong = sum(times * terms[4] for terms, times in skellams)
    about = at(delta)
    if not wrong or math.isinf(about):
        return about
    found = at(delta - (1 + math.exp(min(about + 1, 700))) * wrong)
    return found if found <= about + 1 else math.inf


def epsilon(spent, delta):
    """Epsilon of one client, by privacy loss distributions, for one unit zeroed out."""
    if any(mechanism == SKELLAM for (mechanism, *_), _ in spent):
        return epsilon_by_divergences(spent, delta)
    kinds = [(noise, rate, steps * times) for (_, noise, rate, steps), times in spent]
    steps = sum(count for _, rate, count in kinds if rate < 1)
    spread = math.sqrt(sum(count * (rate / noise) ** 2 for noise, rate, count in kinds))
    # So fine that what rounding to the grid adds, never less than 0, is under four decimals.
    grid = min(max(5e-3 * math.sqrt(spread / (steps + 1)), 1e-5), 1e-3)
    loss_of = functools.partial(from_gaussian_mechanism, value_discretization_interval=grid)
    losses = [
        loss_of(noise, sampling_prob=rate).self_compose(count)
        for noise, rate, count in kinds
        if rate < 1
    ]
    # Gaussians without sampling add up to one, of mu^2 = sum 1 / noise^2.
    mu = math.sqrt(sum(count / noise**2 for noise, rate, count in kinds if rate == 1))
    losses += [loss_of(1 / mu)] if mu else []
    return functools.reduce(lambda total, loss: total.compose(loss), losses).get_epsilon_for_delta(delta)


delta, (ledger, *earlier) = float(sys.argv[1]), sys.argv[2:]
most = Counter()  # of every kind, the most that anybody spent in each earlier run
for path in earlier:
    clients = spent_by_client(path)
    most.update({kind: max(each[kind] for each in clients) for kind in set().union(*clients)})
distinct = {tuple(sorted((each + most).items())) for each in spent_by_client(ledger)}
worst = max((epsilon(spent, delta) for spent in distinct if spent), default=0.0)
print(f"{math.ceil(worst * 1e4) / 1e4:.4f}")
'''
