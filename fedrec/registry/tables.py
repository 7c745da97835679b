"""The registry's tables. What was published, promoted or finished is never changed: the database refuses it.

Times are whole seconds in UTC. No table holds anything of a person.
"""

from typing import Any

from sqlalchemy import DDL, JSON, BigInteger, ForeignKeyConstraint, Index, LargeBinary, Table, UniqueConstraint, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = 1


class Base(DeclarativeBase):
    """Everything that lies in one registry."""

    type_annotation_map = {int: BigInteger, bytes: LargeBinary, dict[str, Any]: JSON}  # noqa: RUF012


class SchemaRow(Base):
    """Which version of these tables a database has."""

    __tablename__ = "schema_version"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class StoredRelease(Base):
    """A release. number: in the order of publishing. size, new_size: bytes, and those that no earlier one had."""

    __tablename__ = "releases"
    __table_args__ = (UniqueConstraint("catalogue", "number"),)
    catalogue: Mapped[str] = mapped_column(primary_key=True)
    manifest_hash: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    id: Mapped[str] = mapped_column(index=True)
    run: Mapped[str]
    round: Mapped[int]
    published_at: Mapped[int]
    size: Mapped[int]
    new_size: Mapped[int]
    # Read where it is asked for, not with every list of releases.
    manifest: Mapped[bytes] = mapped_column(deferred=True)
    signature: Mapped[bytes]
    privacy: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]


class StoredFile(Base):
    """A file of a release, by the hash under which its content lies in the artifacts."""

    __tablename__ = "release_files"
    __table_args__ = (
        ForeignKeyConstraint(
            ["catalogue", "manifest_hash"], ["releases.catalogue", "releases.manifest_hash"], name="file_of_release"
        ),
    )
    catalogue: Mapped[str] = mapped_column(primary_key=True)
    manifest_hash: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(index=True)
    size: Mapped[int]


class StoredPromotion(Base):
    """One signed pointer of a catalogue's channel; the one with the highest serial counts."""

    __tablename__ = "promotions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["catalogue", "manifest_hash"], ["releases.catalogue", "releases.manifest_hash"], name="pointer_to_release"
        ),
    )
    catalogue: Mapped[str] = mapped_column(primary_key=True)
    serial: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    manifest_hash: Mapped[str]
    reason: Mapped[str]
    document: Mapped[bytes]


class StoredWish(Base):
    """What the operator wished of a catalogue's rounds, and why; the last one counts."""

    __tablename__ = "wishes"
    catalogue: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    wish: Mapped[str]
    by: Mapped[str]
    at: Mapped[int]
    reason: Mapped[str]


class StoredStatus(Base):
    """How a catalogue's round stands: written anew as it goes on."""

    __tablename__ = "round_status"
    catalogue: Mapped[str] = mapped_column(primary_key=True)
    phase: Mapped[str]
    round: Mapped[int]
    rounds: Mapped[int]
    needed: Mapped[int]
    connected: Mapped[int]
    replies: Mapped[int]
    message: Mapped[str]
    since: Mapped[int]
    updated_at: Mapped[int]


class StoredRound(Base):
    """A finished round: counts and sums, never anything of one device. facts: as `FinishedRound` holds them."""

    __tablename__ = "finished_rounds"
    catalogue: Mapped[str] = mapped_column(primary_key=True)
    run: Mapped[str] = mapped_column(primary_key=True)
    round: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    finished_at: Mapped[int]
    facts: Mapped[dict[str, Any]]


class StoredDocument(Base):
    """A signed document that devices fetch, such as the directory of identity keys; its serial only rises."""

    __tablename__ = "documents"
    name: Mapped[str] = mapped_column(primary_key=True)
    serial: Mapped[int]
    sha256: Mapped[str]
    content: Mapped[bytes]


class StoredAction(Base):
    """An action, numbered within its catalogue."""

    __tablename__ = "actions"
    catalogue: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    act: Mapped[str]
    release: Mapped[str]
    by: Mapped[str]
    at: Mapped[int]
    reason: Mapped[str]


class StoredNode(Base):
    """A node as it is kept: by its key, which is taken once."""

    __tablename__ = "nodes"
    node_key: Mapped[str] = mapped_column(primary_key=True)
    identity_key: Mapped[str] = mapped_column(unique=True)
    catalogue: Mapped[str]
    client: Mapped[int]
    state: Mapped[str]
    asked_at: Mapped[int]
    ended_at: Mapped[int | None]


_enrolled = StoredNode.state == "enrolled"
# Whatever goes wrong above it: a client has one node at a time.
Index(
    "one_node_per_client",
    StoredNode.catalogue,
    StoredNode.client,
    unique=True,
    sqlite_where=_enrolled,
    postgresql_where=_enrolled,
)

_SQLITE_REFUSAL = """
CREATE TRIGGER %(table)s_no_{verb} BEFORE {verb} ON %(table)s
BEGIN SELECT RAISE(ABORT, '%(table)s never change'); END
"""
_POSTGRES_REFUSAL = """
CREATE FUNCTION %(table)s_never_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '%(table)s never change' USING ERRCODE = 'integrity_constraint_violation'; END $$
"""
_POSTGRES_TRIGGER = """
CREATE TRIGGER %(table)s_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON %(table)s
FOR EACH STATEMENT EXECUTE FUNCTION %(table)s_never_change()
"""


def never_changes(table: Table) -> None:
    """Rows of a table can be added, and neither changed nor removed, by whoever speaks to the database."""
    refusals = {
        "sqlite": [_SQLITE_REFUSAL.format(verb=verb) for verb in ("UPDATE", "DELETE")],
        "postgresql": [_POSTGRES_REFUSAL, _POSTGRES_TRIGGER],
    }
    for dialect, statements in refusals.items():
        for statement in statements:
            refusal = DDL(statement)  # type: ignore[no-untyped-call]
            event.listen(table, "after_create", refusal.execute_if(dialect=dialect))


for _stored in (StoredRelease, StoredFile, StoredPromotion, StoredWish, StoredRound, StoredAction):
    never_changes(Base.metadata.tables[_stored.__tablename__])
