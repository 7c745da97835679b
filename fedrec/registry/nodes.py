"""The nodes of a service: which device is which client. A number is given once and never again.

A device asks, is enrolled once the SuperLink knows its node key, and is replaced by its
own later keys or revoked. No key is ever taken twice, whatever became of it.
"""

from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from fedrec.enrolment import EnrolmentRequest, flower_key
from fedrec.errors import RefusedError
from fedrec.registry.database import Database
from fedrec.registry.tables import StoredNode

State = Literal["asked", "enrolled", "replaced", "revoked"]
_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One pair of keys of a client. Times in UTC seconds."""

    catalogue: str
    client: int
    state: State
    node_key: str
    identity_key: str
    asked_at: int
    ended_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """How many devices may be enrolled: at all, and new ones within 24 hours."""

    most: int
    per_day: int


_ENROLLED = StoredNode.state == "enrolled"


def ask(
    database: Database, request: EnrolmentRequest, *, catalogue: str, places: Places, now: int, first: int = 0
) -> Node:
    """The place of a request: a new client's, or that of the client whose keys it replaces; asked again, the same.

    first: the least number for a new client, where lower ones were given by a registry that was lost.
    Raises RefusedError where there is no place, or a key of the request has been here before.
    """

    def work(session: Session) -> Node:
        known = session.get(StoredNode, request.node_key)
        if known is not None:
            return _same(known, request, catalogue)
        _require_unused(session, request.identity_key)
        row = StoredNode(
            node_key=request.node_key,
            identity_key=request.identity_key,
            catalogue=catalogue,
            client=_replaced(session, request.replaces, catalogue)
            if request.replaces
            else max(first, _next_client(session, catalogue, places, now)),
            state="asked",
            asked_at=now,
            ended_at=None,
        )
        session.add(row)
        return _node(row)

    return database.write(work)


def confirm(database: Database, node_key: str, *, now: int) -> Node:
    """The SuperLink admits this node: it is its client's from now on, in place of an earlier one.

    Raises RefusedError if the node was revoked or replaced meanwhile.
    """

    def work(session: Session) -> Node:
        row = _row(session, node_key)
        if row.state not in ("asked", "enrolled"):
            raise RefusedError(f"The node of client {row.client} was {row.state} meanwhile. It stays so.")
        for other in _enrolled(session, row.catalogue, row.client):
            if other.node_key != node_key:
                other.state, other.ended_at = "replaced", now
        session.flush()  # the index allows one enrolled node of a client at any moment
        row.state = "enrolled"
        return _node(row)

    return database.write(work)


def revoke(database: Database, catalogue: str, client: int, *, now: int) -> list[Node]:
    """The client takes part no more, nor with keys that it asked to change to; its nodes, ended.

    Raises RefusedError if there is no such client.
    """

    def work(session: Session) -> list[Node]:
        rows = _of_client(session, catalogue, client)
        if not rows:
            raise RefusedError(f"There is no client {client} of catalogue {catalogue}. See `fedrec server nodes`.")
        for row in rows:
            if row.state in ("asked", "enrolled"):
                row.state, row.ended_at = "revoked", now
        return [_node(row) for row in rows]

    return database.write(work)


def nodes(database: Database, catalogue: str | None = None) -> list[Node]:
    """Every node that ever asked, of a catalogue or of all, by client and time."""
    order = (StoredNode.catalogue, StoredNode.client, StoredNode.asked_at, StoredNode.node_key)
    query = select(StoredNode).order_by(*order)
    if catalogue is not None:
        query = query.where(StoredNode.catalogue == catalogue)
    return database.read(lambda session: [_node(row) for row in session.scalars(query)])


def enrolled_nodes(database: Database, catalogue: str) -> dict[bytes, int]:
    """The client of each enrolled node, by its public key as Flower's node list has it."""
    query = select(StoredNode.node_key, StoredNode.client).where(StoredNode.catalogue == catalogue, _ENROLLED)
    found = database.read(lambda session: [(key, client) for key, client in session.execute(query)])
    return {flower_key(key): client for key, client in found}


def identities(database: Database, catalogue: str) -> dict[int, str]:
    """The identity key of each enrolled client."""
    query = select(StoredNode.client, StoredNode.identity_key).where(StoredNode.catalogue == catalogue, _ENROLLED)
    return dict(database.read(lambda session: [(client, key) for client, key in session.execute(query)]))


def _same(known: StoredNode, request: EnrolmentRequest, catalogue: str) -> Node:
    """A request that was taken before, on its way or done."""
    if (known.identity_key, known.catalogue) != (request.identity_key, catalogue):
        raise RefusedError(_USED)
    if known.state not in ("asked", "enrolled"):
        raise RefusedError(f"The keys of this request were {known.state}. The device has to ask with new ones.")
    return _node(known)


_USED = "A key of this request has been here before, in another request. The device has to ask with new ones."


def _require_unused(session: Session, identity_key: str) -> None:
    if session.scalar(select(StoredNode.client).where(StoredNode.identity_key == identity_key)) is not None:
        raise RefusedError(_USED)


def _replaced(session: Session, identity_key: str, catalogue: str) -> int:
    """The client whose keys these are."""
    row = session.scalar(select(StoredNode).where(StoredNode.identity_key == identity_key))
    if row is None or row.state != "enrolled" or row.catalogue != catalogue:
        raise RefusedError(
            f"The keys that this request replaces are of no enrolled device of catalogue {catalogue}. "
            "A revoked or unknown device enrols anew, as another client: `fedrec client enrol --new`."
        )
    return row.client


def _next_client(session: Session, catalogue: str, places: Places, now: int) -> int:
    """The next number; a number that was given counts for ever, whatever became of its client."""
    client = select(StoredNode.catalogue, StoredNode.client)
    present = client.where(StoredNode.state.in_(("asked", "enrolled"))).distinct()
    if _count(session, present) >= places.most:
        raise RefusedError(f"{places.most} devices are enrolled, as many as enrolment.most allows.")
    lately = client.group_by(StoredNode.catalogue, StoredNode.client).having(func.min(StoredNode.asked_at) > now - _DAY)
    if _count(session, lately) >= places.per_day:
        raise RefusedError(
            f"{places.per_day} devices were enrolled in the last 24 hours, as many as enrolment.per_day allows. "
            "Whoever enrols many devices of their own outvotes the others: look whose these are before raising it."
        )
    last = session.scalar(select(func.max(StoredNode.client)).where(StoredNode.catalogue == catalogue))
    return 0 if last is None else last + 1


def _count(session: Session, query: Select[Any, Any]) -> int:
    return session.scalar(select(func.count()).select_from(query.subquery())) or 0


def _enrolled(session: Session, catalogue: str, client: int) -> list[StoredNode]:
    return [row for row in _of_client(session, catalogue, client) if row.state == "enrolled"]


def _of_client(session: Session, catalogue: str, client: int) -> list[StoredNode]:
    query = select(StoredNode).where(StoredNode.catalogue == catalogue, StoredNode.client == client)
    return list(session.scalars(query.order_by(StoredNode.asked_at, StoredNode.node_key)))


def _row(session: Session, node_key: str) -> StoredNode:
    row = session.get(StoredNode, node_key)
    if row is None:
        raise RefusedError("There is no such node in the registry.")
    return row


def _node(row: StoredNode) -> Node:
    """A row as a value."""
    return Node(
        catalogue=row.catalogue,
        client=row.client,
        state=cast(State, row.state),
        node_key=row.node_key,
        identity_key=row.identity_key,
        asked_at=row.asked_at,
        ended_at=row.ended_at,
    )
