"""The 99-sampled-negative protocol, only to stand beside figures of papers that used it.

Do not choose a model by it, for two reasons. Ranking among 100 candidates is easy and does
not order models as ranking the catalogue does (Krichene and Rendle 2020,
doi:10.1145/3394486.3403226). And the public code of PFedRec, GPFedRec and FedRAP leaks: it
builds each user's pool of negatives from ALL ratings, validation and test included, and
draws the training negatives and the evaluation negatives from that one pool. The held-out
item is never a training negative, while the evaluation's negatives are, so a scorer that
learns nothing and ranks by minus "how often drawn as a training negative" reaches an HR@10
of 1.000 on their ML-100K file.

Here the evaluation's negatives are drawn as theirs are (outside all of the user's
interactions), because the figures must be comparable; fedrec's training never sees that
pool: it draws negatives from everything outside the user's TRAIN positives.
"""

from dataclasses import dataclass

import numpy as np

from fedrec.data.sequences import Ints
from fedrec.data.splits import Split
from fedrec.errors import DataError
from fedrec.evaluation.metrics import Doubles, Estimate, bootstrap, hit_rate, ndcg, ranks
from fedrec.evaluation.protocol import Held, Scorer, checked_scores, held_out, held_out_users

NEGATIVES = 99


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperCompat:
    """HR@10 and NDCG@10 among 99 sampled negatives; never comparable with full ranking."""

    hr: Estimate
    ndcg: Estimate
    label: str = "paper-compat"

    def as_json(self) -> dict[str, object]:
        """The form of `--json`, under keys that cannot be taken for the headline."""
        return {
            "label": self.label,
            f"{self.label}/hr@10": self.hr.as_json(),
            f"{self.label}/ndcg@10": self.ndcg.as_json(),
        }


def evaluate_paper_compat(scorer: Scorer, split: Split, *, test: bool, seed: int, batch: int = 256) -> PaperCompat:
    """Rank each held-out item among 99 items that the user never touched, drawn by `seed` and user.

    Raises DataError for a user who left fewer than 99 items untouched.
    """
    users = held_out_users(split, test=test)
    found = [
        _ranks_in_sample(scorer, split, held, seed=seed) for held in held_out(split, users, test=test, batch=batch)
    ]
    rank = np.concatenate(found)
    return PaperCompat(hr=bootstrap(hit_rate(rank, 10), seed=seed), ndcg=bootstrap(ndcg(rank, 10), seed=seed))


def sample_negatives(split: Split, user: int, *, seed: int) -> Ints:
    """99 distinct item rows (99,) outside all interactions of `user`, held-out ones included."""
    untouched = np.ones(split.sequences.items, dtype=np.bool_)
    rows = split.sequences.of(user).rows
    untouched[rows[rows < split.sequences.items]] = False
    pool = np.flatnonzero(untouched)
    if len(pool) < NEGATIVES:
        raise DataError(f"A user left only {len(pool)} items untouched. paper-compat needs {NEGATIVES}: use evaluate.")
    return np.random.default_rng([seed, user]).choice(pool, NEGATIVES, replace=False)


def _ranks_in_sample(scorer: Scorer, split: Split, held: Held, *, seed: int) -> Doubles:
    scores = checked_scores(scorer, held.histories, split.sequences.items)
    negatives = np.stack([sample_negatives(split, int(user), seed=seed) for user in held.users])
    candidates = np.column_stack([held.targets, negatives])
    first = np.zeros(len(candidates), dtype=np.int64)
    nothing = [np.empty(0, dtype=np.int64)] * len(candidates)
    return ranks(np.take_along_axis(scores, candidates, axis=1), first, nothing)
