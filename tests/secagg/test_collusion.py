"""What the server and all other clients together know of the last one, before and after its sum is unmasked."""

import numpy as np
from scipy.stats import chisquare

from fedrec.secagg.masks import Words, add_mask, mask, self_mask_key, subtract_mask
from fedrec.secagg.shares import SHARE_BYTES, combine
from fedrec.secagg.words import unpacked_words
from tests.secagg import reference
from tests.secagg.cohorts import SESSION, Cohort, parameters
from tests.secagg.hostile import HostileServer

VICTIM = 2


def _view_of_all_but_the_victim() -> tuple[HostileServer, Words]:
    """A run up to the masked inputs, and the victim's without the masks that it shares with anybody."""
    cohort = Cohort(parameters(5, threshold=3, dropouts=0), size=20_000, bits=32)
    server = HostileServer(cohort, cohort.inputs())
    server.collect_shares()
    for client in cohort.roster.clients:
        others = [other for other in cohort.roster.clients if other != client]
        server.mask(client, present=others, drawn_by=others)
    left = unpacked_words(server.masked[VICTIM].words[0], size=20_000, bits=32)
    for other, party in cohort.clients.items():
        if other != VICTIM:
            key = party._peers(party._state).pair_key(VICTIM)
            (subtract_mask if other > VICTIM else add_mask)(left, key=key, bits=32)
    return server, left


def test_pair_masks_that_all_others_give_away_leave_the_input_under_its_own_mask() -> None:
    server, left = _view_of_all_but_the_victim()
    assert chisquare(np.bincount(left & 0xFF, minlength=256)).pvalue > 1e-9
    seed = server.cohort.clients[VICTIM]._state.seed
    own = mask(self_mask_key(seed, session=SESSION, client=VICTIM), size=20_000, bits=32)
    assert (left - own).tolist() == server.inputs[VICTIM].tolist()


def test_one_share_too_few_of_its_seed_fits_every_seed() -> None:
    server, _ = _view_of_all_but_the_victim()
    held = {
        server.cohort.roster.point(other): party._state.held[VICTIM][SHARE_BYTES:]
        for other, party in server.cohort.clients.items()
        if other != VICTIM
    }
    two = {point: held[point] for point in (1, 3)}
    for claimed in (bytes(32), b"\xff" * 32, server.cohort.clients[VICTIM]._state.seed):
        values = {0: int.from_bytes(claimed), **{point: int.from_bytes(share) for point, share in two.items()}}
        third = reference.value_at(4, values)
        assert combine({**two, 4: third.to_bytes(SHARE_BYTES)}, threshold=3) == claimed
    assert third.to_bytes(SHARE_BYTES) == held[4]


def test_after_the_round_all_others_know_the_words_that_it_sent_so_its_noise_has_to_be_in_them() -> None:
    cohort = Cohort(parameters(5, threshold=3), bits=20)
    inputs = cohort.inputs()
    total = cohort.sum_of(inputs)
    assert total is not None
    others = sum(inputs[client].astype(np.int64) for client in cohort.roster.clients if client != VICTIM)
    assert ((total.words - others) % 2**20).tolist() == inputs[VICTIM].tolist()
