"""A run as one zip file: the rows it holds, the texts they name, what its eval set was used for, and the SHA-256 of each file.

A bundle comes from anywhere. Nothing of it is written under a name that it brings; its files, their sizes and their digests
are checked while they are read; and only rows that the store itself could have written are let in.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.engine import Connection

from workbench.coefficients import restore
from workbench.errors import InputError
from workbench.records import as_json, digest
from workbench.schema import ANSWERS, CLAIMS, RUNS, SCHEMA, SCHEMA_VERSION, TALLIES, TEXTS
from workbench.specification import Goal
from workbench.store import AT_WORK, RunRecord, Store, problems_of_name

FORMAT = 1
MOST_BYTES = 4 * 2**30
"""A bundle that unpacks to more than this is refused."""

_MOST_OF_LINE = 64 * 2**20
_MOST_OF_HEAD = 16 * 2**20
_MOST_RATIO, _RATIO_FROM = 200, 16 * 2**20  # how far a file of so many bytes may have been compressed
_ROWS = 500
_MANIFEST, _RUN, _TEXTS, _CLAIMS = "manifest.json", "run.json", "texts.jsonl", "claims.jsonl"
_RUN_COLUMNS = ("name", "created", "updated", "state", "note", "experiment", "environment")
_TABLES = {
    f"{table.name}.jsonl": table for table in SCHEMA.sorted_tables if "run_id" in table.c and table is not TALLIES
}
_KINDS: dict[type, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float), bool: (bool,)}
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


def pack(run: str, path: str | Path, *, store: Store | None = None) -> int:
    """Export a run of the store to a bundle, row by row; returns its size in bytes. The same run gives the same bytes."""
    store = store or Store(create=False)
    record = store.get(run)
    if record.state in AT_WORK:
        raise InputError(
            f"run {record.name!r} is {record.state}; wait for its end, or stop it first: workbench stop {record.name}"
        )
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file, store.reading() as connection:
            _write(file, connection, record)
        temporary.replace(path)
        return path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; name another file") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    """A bundle's run in a store of its own, which is gone afterwards; ``InputError`` for a bundle that cannot be trusted."""
    folder = Path(tempfile.mkdtemp(prefix="workbench-bundle-"))
    store = Store(f"sqlite:///{folder / 'bundle.db'}")
    try:
        _read(path, store)
        yield store
    finally:
        store.close()
        shutil.rmtree(folder, ignore_errors=True)


def unpack(path: str | Path, *, name: str | None = None, store: Store | None = None) -> str:
    """Import a bundle's run into the store under its own name, or another; returns that name."""
    store = store or Store()
    with opened(Path(path)) as source:
        record = source.get("latest")
        name = name or record.name
        if problems := problems_of_name(name):
            raise InputError(problems)
        if store.find(name) is not None:
            raise InputError(f"a run cannot be imported as {name!r}: that name is taken; choose another with --name")
        with source.reading() as connection:
            run_id = _create(store, {**_run_row(record), "name": name})
            try:
                _insert_texts(store, _rows_of(connection, sa.select(TEXTS)))
                for table in _TABLES.values():
                    _insert(store, table, run_id, _rows_of(connection, _select(table, record.id)))
                claims = _rows_of(connection, sa.select(*_columns(CLAIMS)).order_by(CLAIMS.c.id))
                _insert_claims(store, (_renamed(row, record.name, name) for row in claims))
            except BaseException:
                store.delete(run_id)
                raise
    return name


# ----------------------------------------------------------------------------------------------------------- writing


def _write(file: zipfile.ZipFile, connection: Connection, record: RunRecord) -> None:
    manifest: dict[str, Any] = {"bundle": FORMAT, "schema": SCHEMA_VERSION, "run": record.name, "files": {}}

    def add(name: str, lines: Iterable[str]) -> None:
        state, size = hashlib.sha256(), 0
        entry = zipfile.ZipInfo(name)  # dated 1980, so that the same run gives the same bytes
        entry.compress_type = zipfile.ZIP_DEFLATED
        with file.open(entry, "w", force_zip64=True) as out:
            for line in lines:
                data = line.encode()
                out.write(data)
                state.update(data)
                size += len(data)
        manifest["files"][name] = {"bytes": size, "sha256": state.hexdigest()}

    texts: set[str] = set()

    def lines(table: sa.Table) -> Iterator[str]:
        for row in _rows_of(connection, _select(table, record.id)):
            if table is ANSWERS:
                texts.update(passage[0] for passage in row["passages"])
                texts.update([row["prompt"]] if row["prompt"] else [])
            yield as_json(row) + "\n"

    add(_RUN, [json.dumps(_run_row(record), ensure_ascii=False, indent=1)])
    for name, table in _TABLES.items():
        add(name, lines(table))
    evalset = record.environment.get("evalset", {}).get("digest")
    used = sa.select(*_columns(CLAIMS)).where(CLAIMS.c.evalset == evalset).order_by(CLAIMS.c.created, CLAIMS.c.id)
    add(_CLAIMS, (as_json(row) + "\n" for row in _rows_of(connection, used)))
    add(_TEXTS, _texts(connection, sorted(texts)))
    add(_MANIFEST, [json.dumps(manifest, indent=1)])


def _texts(connection: Connection, wanted: list[str]) -> Iterator[str]:
    for start in range(0, len(wanted), _ROWS):
        chosen = sa.select(TEXTS).where(TEXTS.c.digest.in_(wanted[start : start + _ROWS])).order_by(TEXTS.c.digest)
        for row in _rows_of(connection, chosen):
            yield as_json(row) + "\n"


def _run_row(record: RunRecord) -> dict[str, Any]:
    return {column: getattr(record, column) for column in _RUN_COLUMNS}


def _columns(table: sa.Table) -> list[sa.Column[Any]]:
    """A table's columns without those that belong to one store: the run's number, the row's own, how often it was changed."""
    return [column for column in table.c if column.name not in ("id", "run_id", "stand")]


def _select(table: sa.Table, run_id: int) -> sa.Select[Any]:
    return sa.select(*_columns(table)).where(table.c.run_id == run_id).order_by(*table.primary_key.columns)


def _rows_of(connection: Connection, query: sa.Select[Any]) -> Iterator[dict[str, Any]]:
    for rows in connection.execution_options(stream_results=True).execute(query).mappings().partitions(_ROWS):
        yield from map(dict, rows)


# ----------------------------------------------------------------------------------------------------------- reading


def _read(path: Path, store: Store) -> None:
    """A bundle's rows into an empty store, checked on the way and as a whole."""
    try:
        with zipfile.ZipFile(path) as file:
            manifest = _manifest(file, path)
            run = _checked_row(
                RUNS, _object(b"".join(_lines(file, _RUN, manifest, _MOST_OF_HEAD)), f"{path}: {_RUN}"), _RUN
            )
            run_id = _create(store, run)
            for name, table in _TABLES.items():
                if name in manifest:
                    _insert(store, table, run_id, _parsed(file, name, table, manifest))
            if _CLAIMS in manifest:
                _insert_claims(store, _parsed(file, _CLAIMS, CLAIMS, manifest))
            _insert_texts(store, _parsed(file, _TEXTS, TEXTS, manifest))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such bundle; make one with: workbench runs export RUN {path}") from error
    except InputError as error:
        raise InputError([f"{path}: {problem.removeprefix(f'{path}: ')}" for problem in error.problems]) from error
    except _BROKEN as error:
        raise InputError(f"{path}: not a readable bundle: {error}") from error
    _check(store, path)


def _manifest(file: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """What each file of a bundle must be, by name; nothing else may be in it."""
    names = [entry.filename for entry in file.infolist()]
    strange = sorted({name for name in names if name not in {_MANIFEST, _RUN, _TEXTS, _CLAIMS, *_TABLES}})
    if strange:
        raise InputError(f"holds {', '.join(map(repr, strange[:5]))}, which no bundle does")
    if len(set(names)) < len(names):
        raise InputError("holds a file twice")
    if any(entry.flag_bits & 1 for entry in file.infolist()):
        raise InputError("is encrypted; a bundle is not")
    if sum(entry.file_size for entry in file.infolist()) > MOST_BYTES:
        raise InputError(f"unpacks to more than {MOST_BYTES / 2**30:g} GiB, which is not read")
    if _MANIFEST not in names:
        raise InputError("has no manifest.json, so it is no bundle; make one with: workbench runs export RUN FILE")
    with file.open(_MANIFEST) as opened_file:
        content = _object(opened_file.read(_MOST_OF_HEAD), _MANIFEST)
    made, schema, files = content.get("bundle"), content.get("schema"), content.get("files")
    if made != FORMAT or type(schema) is not int or not isinstance(files, dict):
        raise InputError(f"manifest.json is not of a bundle of version {FORMAT}")
    if schema > SCHEMA_VERSION:
        raise InputError(f"has schema {schema}, this version knows up to {SCHEMA_VERSION}; upgrade rag-workbench")
    if {*files, _MANIFEST} != set(names) or not {_RUN, _TEXTS, "answers.jsonl"} <= set(files):
        raise InputError("holds other files than its manifest.json lists")
    if not all(isinstance(each, dict) for each in files.values()):
        raise InputError("manifest.json must give bytes and sha256 of each file")
    return files


def _lines(file: zipfile.ZipFile, name: str, manifest: Mapping[str, Any], longest: int) -> Iterator[bytes]:
    """A file's lines, with its size, its compression and its digest checked as they come."""
    entry = file.getinfo(name)
    size, state = 0, hashlib.sha256()
    if entry.file_size > max(_RATIO_FROM, _MOST_RATIO * entry.compress_size):
        raise InputError(f"{name} is compressed more than {_MOST_RATIO} times, which is not read")
    with file.open(entry) as lines:
        while line := lines.readline(longest + 1):
            size += len(line)
            if len(line) > longest:
                raise InputError(f"{name} has a line of more than {longest // 2**20} MiB")
            if size > entry.file_size:
                raise InputError(f"{name} is longer than it says")
            state.update(line)
            yield line
    if {"bytes": size, "sha256": state.hexdigest()} != manifest[name]:
        raise InputError(f"{name} is not what manifest.json says: it was changed, or damaged on the way")


def _parsed(file: zipfile.ZipFile, name: str, table: sa.Table, manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_lines(file, name, manifest, _MOST_OF_LINE), start=1):
        where = f"{name}:{number}"
        row = _checked_row(table, _object(line, where), where)
        if table is TEXTS and row["digest"] != digest(row["text"]):
            raise InputError(f"{where}: the text is not the one its digest names")
        yield row


def _object(data: bytes, where: str) -> dict[str, Any]:
    try:
        content = json.loads(data.decode(), parse_constant=_refuse)
        as_json(content)  # neither too deep nor made of half characters
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{where}: expected a mapping of columns to values")
    return content


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no value of a bundle")


def _checked_row(table: sa.Table, row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A row with exactly the columns of its table and values of their types."""
    columns = [table.c[name] for name in _RUN_COLUMNS] if table is RUNS else _columns(table)
    if strange := sorted(row.keys() - {column.name for column in columns}):
        raise InputError(f"{where}: {', '.join(map(repr, strange[:5]))} is no column of {table.name}")
    problems = [f"{where}: {column.name} {problem}" for column in columns if (problem := _problem(column, row))]
    if problems:
        raise InputError(problems)
    return {column.name: row.get(column.name) for column in columns}


def _problem(column: sa.Column[Any], row: Mapping[str, Any]) -> str:
    value = row.get(column.name)
    if value is None:
        return "" if column.nullable else "is missing"
    if isinstance(column.type, sa.JSON):
        return ""
    if type(value) not in _KINDS[column.type.python_type]:
        return f"is {type(value).__name__}; expected {column.type.python_type.__name__}"
    if isinstance(value, int) and abs(value) >= 2**63:
        return "is too large a number"
    if isinstance(column.type, sa.String) and column.type.length is not None and len(value) > column.type.length:
        return f"is longer than {column.type.length} characters"
    return ""


def _check(store: Store, path: Path) -> None:
    """Read everything back as a report would: rows of the right columns may still hold what no run does."""
    try:
        record = store.get("latest")
        Goal.model_validate(record.experiment["goal"])
        restore(record.environment["coefficients"])
        questions = {question.id for question in store.questions(record.id)}
        trials = store.trials(record.id)
        configurations = {trial.configuration.id for trial in trials if trial.configuration.label}
        bounds = [trial.configuration.is_bound for trial in trials]
        store.one_offs(record.id)
        for scored in store.answers(record.id):
            if scored.answer.configuration not in configurations or scored.answer.question not in questions:
                raise InputError(f"{path}: answers.jsonl names a configuration or question that the run does not have")
        if not bounds:
            raise InputError(f"{path}: the run has no configuration")
    except (ValidationError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: holds what no run does: {type(error).__name__}: {error}") from error


# ------------------------------------------------------------------------------------------------------------ storing


def _create(store: Store, row: Mapping[str, Any]) -> int:
    with store.writing() as connection:
        connection.execute(RUNS.insert().values(**row))
        found = connection.execute(sa.select(RUNS.c.id).where(RUNS.c.name == row["name"])).scalar_one()
    return int(found)


def _insert(store: Store, table: sa.Table, run_id: int, rows: Iterable[dict[str, Any]]) -> None:
    for batch in _batches(rows):
        with store.writing() as connection:
            connection.execute(table.insert(), [{"run_id": run_id, **row} for row in batch])


def _insert_texts(store: Store, rows: Iterable[dict[str, Any]]) -> None:
    for batch in _batches(rows):
        with store.writing() as connection:
            here = set(
                connection.execute(
                    sa.select(TEXTS.c.digest).where(TEXTS.c.digest.in_([row["digest"] for row in batch]))
                ).scalars()
            )
            if new := [row for row in batch if row["digest"] not in here]:
                connection.execute(TEXTS.insert(), new)


def _insert_claims(store: Store, rows: Iterable[dict[str, Any]]) -> None:
    """What the eval set's splits have been used for, by this run and those before it; what is known already stays once."""
    for row in rows:
        with store.writing() as connection:
            known = connection.execute(
                sa.select(*_columns(CLAIMS)).where(CLAIMS.c.evalset == row["evalset"])
            ).mappings()
            if row not in map(dict, known):
                connection.execute(CLAIMS.insert().values(**row))


def _renamed(claim: dict[str, Any], before: str, after: str) -> dict[str, Any]:
    return {**claim, "run": after} if claim["run"] == before else claim


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
