"""The script that a reader of a budget report runs to check it without fedrec."""

# It reads ledgers and imports dp-accounting; the report prints it word for word, and a test runs it.
SCRIPT = '''\
"""Recompute epsilon from ledgers with dp-accounting alone: no part of fedrec is used.

    python recompute_epsilon.py DELTA LEDGER [EARLIER_LEDGER ...]

Prints, rounded up, the epsilon of whoever spent most in LEDGER; with earlier ledgers, that
of somebody who spent the most in each of them as well.
"""

import functools
import hashlib
import json
import math
import sys
from collections import Counter, defaultdict

from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism


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
        if event["mechanism"] != "poisson_subsampled_gaussian":
            sys.exit(f"{path}: {event['mechanism']} is not accounted here")
        kind = event["noise_multiplier"], event["sampling_rate"], event["steps"]
        for client in event["participants"]:
            spent[client][kind] += 1
    return list(spent.values())


def epsilon(spent, delta):
    """Epsilon of one client, by privacy loss distributions, for one unit zeroed out."""
    kinds = [(noise, rate, steps * times) for (noise, rate, steps), times in spent]
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
