"""The person's interests as clusters of their history: to see, to name, to mute. Private plane.

A cluster keeps its identity while the history grows: each computation starts from the
clusters of the one before. A muted one stays where it is, so that it cannot creep over
other interests.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fedrec.data.sequences import Bools, Floats, Ints
from fedrec.data.store.store import Store
from fedrec.errors import DataError
from fedrec.model.item_index import Whitening
from fedrec.ondevice.kmeans import group, more_centroids, unit_rows

MOST = 8
# Below this cosine an item belongs to no interest, whichever is nearest: nine in ten items
# that ml-latest-small's lists recommend are above it, and half of its catalogue is not.
REACH = 0.1
LONGEST_NAME = 60

_CLUSTERS = "clusters"
_SEED = 7
_WORD = re.compile(r"[^\W\d_]{4,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the profile is made of: the L entries that say something.

    event_ids: (L,). vectors: (L, d). weights: (L,), above 0. categories: of each entry's
    item, None for a text. words: its title, or the text.
    """

    event_ids: Ints
    vectors: Floats
    weights: Floats
    categories: Sequence[str | None]
    words: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One interest. share: of the history's weight. named: by the person. centroid: (d,) of length 1."""

    id: int
    name: str
    share: float = 0.0
    named: bool = False
    muted: bool = False
    event_ids: tuple[int, ...] = ()
    centroid: Floats = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The interests, largest first. space: what the centroids are vectors of; next_id: never given before."""

    space: str
    clusters: tuple[Cluster, ...] = ()
    next_id: int = 1

    @property
    def centroids(self) -> Floats:
        """(k, d)."""
        return np.stack([cluster.centroid for cluster in self.clusters])

    def of(self, vectors: Floats) -> Ints:
        """(M,) the id of the interest that each item belongs to, 0 for none."""
        if not self.clusters:
            return np.zeros(len(vectors), dtype=np.int64)
        near = unit_rows(vectors) @ self.centroids.T
        ids = np.array([cluster.id for cluster in self.clusters])[near.argmax(axis=1)]
        return np.where(near.max(axis=1) >= REACH, ids, 0)

    def muted(self, vectors: Floats) -> Bools:
        """(M,) whether each item belongs to a muted interest."""
        silent = [cluster.id for cluster in self.clusters if cluster.muted]
        return np.isin(self.of(vectors), silent) if silent else np.zeros(len(vectors), dtype=np.bool_)


def space_of(encoder_hash: str, whitening: Whitening) -> str:
    """Names what vectors are made of; the same for releases that only add items."""
    digest = hashlib.sha256(encoder_hash.encode())
    for array in (whitening.mean, whitening.rotation, whitening.scale):
        digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()[:16]


def profile_now(store: Store, told: Told, *, space: str) -> Profile:
    """The interests of the history as it is, kept in the store where they changed."""
    with store.transaction():
        before = stored_profile(store)
        now = renewed(before or Profile(space=space), told, space=space)
        if now != before:
            _keep(store, now)
    return now


def renewed(before: Profile, told: Told, *, space: str) -> Profile:
    """The interests of a history, each under the identity that it had before.

    Where the space is another one, the clusters of before are found again by their entries.
    """
    units = unit_rows(told.vectors)
    known = [cluster for cluster in _moved(before, told, units, space) if len(cluster.centroid)]
    silent = {number for cluster in known if cluster.muted for number in cluster.event_ids}
    heard = sum(number not in silent for number in told.event_ids.tolist())
    known = _fitting(known, _number(heard))
    wanted = _number(heard) + sum(cluster.muted for cluster in known)
    start = np.stack([cluster.centroid for cluster in known]) if known else units[:0]
    centroids = more_centroids(units, told.weights, start, k=wanted, seed=_SEED)
    if not len(centroids):
        return Profile(space=space, next_id=before.next_id)
    frozen = np.array([place < len(known) and known[place].muted for place in range(len(centroids))])
    labels, centroids = group(units, told.weights, centroids, frozen=frozen)
    added = [
        Cluster(id=before.next_id + place, name="", centroid=centroids[len(known) + place])
        for place in range(len(centroids) - len(known))
    ]
    made = [
        _with_entries(cluster, told, labels == place, centroids[place]) for place, cluster in enumerate(known + added)
    ]
    named = _with_names(made, told, labels)
    kept = [cluster for cluster in named if cluster.event_ids or cluster.muted or cluster.named]
    kept.sort(key=lambda cluster: (-cluster.share, cluster.id))
    return Profile(space=space, clusters=tuple(kept), next_id=before.next_id + len(added))


def rename(store: Store, cluster_id: int, name: str) -> Profile:
    """The profile in which a cluster bears the person's own name, or its automatic one again for "".

    Raises DataError for a cluster that is not there or a name over 60 characters.
    """
    line = " ".join(name.split())
    if len(line) > LONGEST_NAME or not line.isprintable():
        raise DataError(f"A name of {len(line)} characters does not fit. Use up to {LONGEST_NAME} that can be printed.")
    return _changed(store, cluster_id, named=bool(line), **({"name": line} if line else {}))


def mute(store: Store, cluster_id: int, *, muted: bool) -> Profile:
    """The profile in which a cluster's items leave the lists, or return; raises DataError where it is not there."""
    return _changed(store, cluster_id, muted=muted)


def stored_profile(store: Store) -> Profile | None:
    """The profile as it was last computed."""
    kept, content = store.value(_CLUSTERS), store.blob(_CLUSTERS)
    if kept is None or content is None:
        return None
    listed = kept["interests"]
    centroids = np.frombuffer(content, dtype="<f4").reshape(len(listed), -1) if listed else np.zeros((0, 0))
    clusters = tuple(
        Cluster(**{**each, "event_ids": tuple(each["event_ids"])}, centroid=centroid.astype(np.float32))
        for each, centroid in zip(listed, centroids, strict=True)
    )
    return Profile(space=kept["space"], clusters=clusters, next_id=kept["next_id"])


def _keep(store: Store, profile: Profile) -> None:
    names = ("id", "name", "share", "named", "muted", "event_ids")
    listed = [{name: getattr(cluster, name) for name in names} for cluster in profile.clusters]
    store.set_value(_CLUSTERS, {"space": profile.space, "next_id": profile.next_id, "interests": listed})
    # Apart from what the person can read in an export.
    store.set_blob(_CLUSTERS, b"".join(cluster.centroid.astype("<f4").tobytes() for cluster in profile.clusters))


def _changed(store: Store, cluster_id: int, **change: Any) -> Profile:
    with store.transaction():
        profile = stored_profile(store)
        if profile is None or cluster_id not in {cluster.id for cluster in profile.clusters}:
            raise DataError("There is no such interest any more. Look at the profile again.")
        changed = tuple(replace(each, **change) if each.id == cluster_id else each for each in profile.clusters)
        profile = replace(profile, clusters=changed)
        _keep(store, profile)
    return profile


def _number(entries: int) -> int:
    """How many clusters a history of this size has."""
    return min(MOST, max(1, round((entries / 2) ** 0.5))) if entries else 0


def _moved(before: Profile, told: Told, units: Floats, space: str) -> list[Cluster]:
    """The clusters with centroids of this space; of length 0 where nothing of one is left."""
    if before.space == space:
        return list(before.clusters)
    found = []
    for cluster in before.clusters:
        mine = np.isin(told.event_ids, cluster.event_ids)
        centroid = unit_rows((told.weights[mine] @ units[mine])[None])[0] if mine.any() else units[:0, 0]
        found.append(replace(cluster, centroid=centroid))
    return found


def _fitting(known: list[Cluster], most: int) -> list[Cluster]:
    """All muted clusters, and of the others the `most` that the person named or that are largest."""
    ranked = sorted((each for each in known if not each.muted), key=lambda each: (not each.named, -each.share))
    kept = {each.id for each in ranked[:most]} | {each.id for each in known if each.muted or each.named}
    return [each for each in known if each.id in kept]


def _with_entries(cluster: Cluster, told: Told, mine: Bools, centroid: Floats) -> Cluster:
    ids = tuple(told.event_ids[mine].tolist())
    # A muted cluster none of whose entries is left is still found again by those that it had.
    ids = cluster.event_ids if cluster.muted and not ids else ids
    share = round(float(told.weights[mine].sum() / told.weights.sum()), 4) if mine.any() else 0.0
    return replace(cluster, event_ids=ids, share=share, centroid=centroid)


def _with_names(clusters: list[Cluster], told: Told, labels: Ints) -> list[Cluster]:
    """Each cluster under its commonest category, with a word of its own where two share one."""
    words = [sorted(set(_WORD.findall(text.lower()))) for text in told.words]
    everywhere = Counter(word for each in words for word in each)
    taken = {cluster.name for cluster in clusters if cluster.named}
    named = list(clusters)
    # The oldest choose first, so that names stay while sizes change.
    for place, cluster in sorted(enumerate(clusters), key=lambda each: each[1].id):
        mine = np.flatnonzero(labels == place).tolist()
        if cluster.named or not mine:
            continue
        category = _commonest(Counter(name for row in mine if (name := told.categories[row])))
        inside = Counter(word for row in mine for word in words[row])
        own = sorted(inside, key=lambda word: (-(inside[word] ** 2) / everywhere[word], word))
        choices = [category] if category else []
        choices += [f"{category}: {word}" if category else word.capitalize() for word in own]
        name = next((choice for choice in choices if choice not in taken), f"Interest {cluster.id}")
        taken.add(name)
        named[place] = replace(cluster, name=name)
    return named


def _commonest(counts: Counter[str]) -> str | None:
    return min(counts, key=lambda name: (-counts[name], name), default=None)
