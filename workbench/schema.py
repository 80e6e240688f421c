"""The store's tables, its version with migrations, and the engine that opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from workbench.errors import InputError, StoreError
from workbench.records import as_json

SCHEMA_VERSION = 4

SCHEMA = sa.MetaData()
META = sa.Table(
    "workbench_meta",
    SCHEMA,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
RUNS = sa.Table(
    "runs",
    SCHEMA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("experiment", sa.JSON, nullable=False),
    sa.Column("environment", sa.JSON, nullable=False),
    sa.Column("note", sa.Text, nullable=False, default=""),
    sa.Column("owner", sa.String(200)),
    sa.Column("heartbeat", sa.Float),
    sa.Column("request", sa.String(16)),
)
TRIALS = sa.Table(
    "trials",
    SCHEMA,
    sa.Column("run_id", sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("configuration", sa.String(16), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("axes", sa.JSON, nullable=False),
    sa.Column("fingerprints", sa.JSON, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("index_facts", sa.JSON(none_as_null=True)),
    sa.Column("expected_cost", sa.Float, nullable=False, server_default="0"),
    sa.Column("stand", sa.Integer, nullable=False, server_default="0"),  # goes up with every change of its answers
)
QUESTIONS = sa.Table(
    "questions",
    SCHEMA,
    sa.Column("run_id", sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("question", sa.String(200), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("record", sa.JSON, nullable=False),
)
ANSWERS = sa.Table(
    "answers",
    SCHEMA,
    sa.Column("run_id", sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("configuration", sa.String(16), primary_key=True),
    sa.Column("question", sa.String(200), primary_key=True),
    sa.Column("repeat", sa.Integer, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("completion", sa.Text),
    sa.Column("failure", sa.JSON(none_as_null=True)),
    sa.Column("failure_kind", sa.String(16)),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("seconds_to_first_token", sa.Float),
    sa.Column("finish_reason", sa.String(40), nullable=False),
    sa.Column("undisturbed", sa.Boolean, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("prompt", sa.String(32)),
    sa.Column("passages", sa.JSON, nullable=False),
    sa.Column("retrieved", sa.JSON(none_as_null=True)),
    sa.Column("citations", sa.JSON, nullable=False),
    sa.Column("reused", sa.JSON, nullable=False),
    sa.Column("ledger", sa.JSON, nullable=False),
    sa.Column("scores", sa.JSON, nullable=False),
    sa.Column("loss", sa.String(24)),
)
TEXTS = sa.Table(
    "texts", SCHEMA, sa.Column("digest", sa.String(32), primary_key=True), sa.Column("text", sa.Text, nullable=False)
)
ONE_OFFS = sa.Table(
    "one_offs",
    SCHEMA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("record", sa.JSON, nullable=False),
)
TALLIES = sa.Table(  # what a configuration's answers came to at some stand; can always be made anew
    "tallies",
    SCHEMA,
    sa.Column("run_id", sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("configuration", sa.String(16), primary_key=True),
    sa.Column("terms", sa.String(32), nullable=False),
    sa.Column("stand", sa.Integer, nullable=False),
    sa.Column("sums", sa.Text, nullable=False),
    sa.Column("numbers", sa.LargeBinary, nullable=False),
)
CLAIMS = sa.Table(  # what splits have been used for; it outlives the runs, as the questions stay used
    "claims",
    SCHEMA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("evalset", sa.String(32), nullable=False, index=True),
    sa.Column("split", sa.String(200), nullable=False),
    sa.Column("run", sa.String(200), nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("claim", sa.JSON, nullable=False),
    sa.Column("alpha", sa.Float, nullable=False),
)


def _places_instead_of_documents(connection: Connection) -> None:
    """Version 1 kept rankings as document ids; what place in them was found is not known any more."""
    for table, column in (
        ("trials", "index_facts JSON"),
        ("answers", "completion TEXT"),
        ("answers", "loss VARCHAR(24)"),
    ):
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column}")
    key = (ANSWERS.c.run_id, ANSWERS.c.configuration, ANSWERS.c.question, ANSWERS.c.repeat)
    ranked = connection.execute(sa.select(*key, ANSWERS.c.retrieved).where(ANSWERS.c.retrieved.is_not(None))).all()
    for *values, documents in ranked:
        here = [column == value for column, value in zip(key, values, strict=True)]
        places = [[document, 0, 0] for document in documents]
        connection.execute(ANSWERS.update().where(*here).values(retrieved=places))


def _expected_costs(connection: Connection) -> None:
    """Version 2 knew of no race; the table of claims is made with every other that is missing."""
    connection.exec_driver_sql("ALTER TABLE trials ADD COLUMN expected_cost FLOAT NOT NULL DEFAULT 0")


def _stands(connection: Connection) -> None:
    """Version 3 kept no tallies."""
    connection.exec_driver_sql("ALTER TABLE trials ADD COLUMN stand INTEGER NOT NULL DEFAULT 0")


MIGRATIONS: dict[int, Callable[[Connection], None]] = {1: _places_instead_of_documents, 2: _expected_costs, 3: _stands}
"""From version n to n+1: what to do; applied in order when an older store is opened."""

_VERSION = sa.select(META.c.value).where(META.c.key == "schema")


def open_engine(url: str) -> Engine:
    """An engine for a database URL, with SQLite set up for one writer and many readers."""
    try:
        engine = sa.create_engine(url, json_serializer=as_json)
    except (sa.exc.ArgumentError, ModuleNotFoundError, sa.exc.NoSuchModuleError) as error:
        raise InputError(f"--store {url.split('@')[-1]!r} is not a usable database URL or file: {error}") from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _sqlite_connect)
        sa.event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _sqlite_begin
    for pragma in ("busy_timeout=30000", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: Connection) -> None:
    # A writer takes its lock at once: upgrading a read lock later fails instead of waiting.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")


def prepare(engine: Engine, shown: str) -> None:
    """Make the schema in an empty database, migrate an older one; refuse what is not ours or newer than we know."""
    with engine.connect() as connection:
        tables = set(sa.inspect(connection).get_table_names())
        version = connection.execute(_VERSION).scalar() if META.name in tables else None
    if version is None and tables:
        names = ", ".join(sorted(tables)[:5])
        raise StoreError(f"{shown} is a database of something else (tables: {names}); name another with --store")
    if version is not None and int(version) > SCHEMA_VERSION:
        raise StoreError(
            f"{shown} has schema {version}, this version knows up to {SCHEMA_VERSION}; upgrade rag-workbench"
        )
    if version is None and engine.dialect.name == "sqlite":
        with closing(engine.raw_connection()) as plain:  # outside any transaction
            plain.cursor().execute("PRAGMA journal_mode=WAL")  # kept in the file: readers never wait for a writer
    if version is None or int(version) < SCHEMA_VERSION:
        with engine.connect().execution_options(write=True) as connection, connection.begin():
            _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    """Under the write lock, so that of two processes that open the same store only one does the work."""
    SCHEMA.create_all(connection)
    version = connection.execute(_VERSION).scalar()
    if version is None:
        connection.execute(META.insert().values(key="schema", value=str(SCHEMA_VERSION)))
        return
    for step in range(int(version), SCHEMA_VERSION):
        MIGRATIONS[step](connection)
    connection.execute(META.update().where(META.c.key == "schema").values(value=str(SCHEMA_VERSION)))


@contextmanager
def explained(store: str) -> Iterator[None]:
    """Turn the database's errors into ``StoreError`` that says what to do."""
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip()
        if "is not a database" in reason or "malformed" in reason:
            raise StoreError(
                f"{store} is damaged or not a database ({reason}); move it away, or name another with --store"
            ) from error
        if "full" in reason:
            raise StoreError(
                f"{store}: the disk is full; free some space and run the same command again: what was stored is safe"
            ) from error
        if "locked" in reason:
            raise StoreError(f"{store} stayed locked by another process for 30 s; try again when it is done") from error
        raise StoreError(f"{store}: {reason}") from error
    except SQLAlchemyError as error:
        raise StoreError(f"{store}: {error}") from error
    except OSError as error:
        raise StoreError(f"{store}: {error.strerror or error}") from error
