"""Runs in a database: SQLAlchemy Core, SQLite unless another database URL is given.

Answers are stored once per (run, configuration, question, repeat), each with its scores, in short transactions; texts
(prompts, passages) once per content. One writer per run, by a lease with a heartbeat. The schema carries its version.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from workbench.errors import InputError, StoreError
from workbench.records import (
    Answer,
    Chunk,
    Configuration,
    Failure,
    Ledger,
    OneOff,
    Passage,
    Question,
    Score,
    ScoredAnswer,
    Trial,
    TrialState,
    as_json,
    digest,
)

SCHEMA_VERSION = 1
HEARTBEAT_SECONDS = 5.0
LEASE_SECONDS = 30.0

_schema = sa.MetaData()
_meta = sa.Table("workbench_meta", _schema, sa.Column("key", sa.String(64), primary_key=True), sa.Column("value", sa.Text, nullable=False))
_runs = sa.Table(
    "runs",
    _schema,
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
_trials = sa.Table(
    "trials",
    _schema,
    sa.Column("run_id", sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("configuration", sa.String(16), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("axes", sa.JSON, nullable=False),
    sa.Column("fingerprints", sa.JSON, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)
_questions = sa.Table(
    "questions",
    _schema,
    sa.Column("run_id", sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("question", sa.String(200), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("record", sa.JSON, nullable=False),
)
_answers = sa.Table(
    "answers",
    _schema,
    sa.Column("run_id", sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("configuration", sa.String(16), primary_key=True),
    sa.Column("question", sa.String(200), primary_key=True),
    sa.Column("repeat", sa.Integer, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
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
)
_texts = sa.Table("texts", _schema, sa.Column("digest", sa.String(32), primary_key=True), sa.Column("text", sa.Text, nullable=False))
_one_offs = sa.Table(
    "one_offs",
    _schema,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("record", sa.JSON, nullable=False),
)

MIGRATIONS: dict[int, Callable[[Connection], None]] = {}
"""From version n to n+1: what to do; applied in order when an older store is opened."""

_LEDGER: TypeAdapter[Ledger] = TypeAdapter(Ledger)
_ONE_OFF: TypeAdapter[OneOff] = TypeAdapter(OneOff)
_QUESTION: TypeAdapter[Question] = TypeAdapter(Question)
_FAILURE: TypeAdapter[Failure] = TypeAdapter(Failure)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run as it stands in the store. ``state`` is running, finished, stopped or interrupted (its process is gone)."""

    id: int
    name: str
    created: float
    updated: float
    state: str
    note: str
    experiment: dict[str, Any]
    environment: dict[str, Any]


def default_url() -> str:
    """The store in force: ``WORKBENCH_STORE`` (a database URL or a file), or ``runs/workbench.db`` in the current folder."""
    return os.environ.get("WORKBENCH_STORE") or "runs/workbench.db"


class Store:
    """Reads and writes runs. Opening creates the file, its folder and the schema unless ``create`` is false."""

    def __init__(self, url: str | None = None, *, create: bool = True) -> None:
        given = url or default_url()
        if "://" not in given:
            path = Path(given)
            if not create and not path.exists():
                raise InputError(f"there is no store at {path}; start with: workbench demo, or workbench run EXPERIMENT")
            with _explained(given):
                path.parent.mkdir(parents=True, exist_ok=True)
            given = f"sqlite:///{path}"
        self.url = given
        self._lock = threading.Lock()
        self._written: set[str] = set()
        with _explained(self._shown):
            self.engine = _engine(given)
            self._prepare()

    @property
    def _shown(self) -> str:
        return self.url if self.url.startswith("sqlite") else str(sa.make_url(self.url).render_as_string(hide_password=True))

    def _prepare(self) -> None:
        with self.reading() as connection:
            tables = set(sa.inspect(connection).get_table_names())
            found = connection.execute(sa.select(_meta.c.value).where(_meta.c.key == "schema")).scalar() if _meta.name in tables else None
        if found is None and tables:
            raise StoreError(f"{self._shown} is a database of something else (tables: {', '.join(sorted(tables)[:5])}); name another with --store")
        if found is None:
            with self.writing() as connection:
                _schema.create_all(connection)
                if connection.execute(sa.select(_meta.c.value).where(_meta.c.key == "schema")).scalar() is None:
                    connection.execute(_meta.insert().values(key="schema", value=str(SCHEMA_VERSION)))
            return
        version = int(found)
        if version > SCHEMA_VERSION:
            raise StoreError(f"{self._shown} has schema {version}, this version knows up to {SCHEMA_VERSION}; upgrade rag-workbench")
        if version < SCHEMA_VERSION:
            with self.writing() as connection:
                for step in range(version, SCHEMA_VERSION):
                    MIGRATIONS[step](connection)
                connection.execute(_meta.update().where(_meta.c.key == "schema").values(value=str(SCHEMA_VERSION)))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for reading."""
        with _explained(self._shown), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A short transaction: committed when the block ends, undone when it fails."""
        with _explained(self._shown), self.engine.connect().execution_options(write=True) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    # ------------------------------------------------------------------------------------------------------- runs

    def runs(self) -> list[RunRecord]:
        """Every run, newest first."""
        with self.reading() as connection:
            rows = connection.execute(sa.select(_runs).order_by(_runs.c.created.desc(), _runs.c.id.desc())).mappings().all()
        return [_run_record(row) for row in rows]

    def find(self, name: str) -> RunRecord | None:
        """The run of a name; ``latest`` is the newest."""
        query = sa.select(_runs).order_by(_runs.c.created.desc(), _runs.c.id.desc()).limit(1)
        if name != "latest":
            query = query.where(_runs.c.name == name)
        with self.reading() as connection:
            row = connection.execute(query).mappings().first()
        return _run_record(row) if row else None

    def get(self, name: str) -> RunRecord:
        """The run of a name, or ``InputError`` naming those there are."""
        found = self.find(name)
        if found is None:
            names = [run.name for run in self.runs()]
            there = f"runs in this store: {', '.join(names[:10])}" if names else "this store is empty; start with: workbench demo"
            raise InputError(f"there is no run {name!r}; {there}")
        return found

    def create(self, name: str, experiment: dict[str, Any], environment: dict[str, Any]) -> RunRecord:
        """A new run without trials or answers."""
        now = time.time()
        with self.writing() as connection:
            connection.execute(
                _runs.insert().values(
                    name=name, created=now, updated=now, state="stopped", experiment=experiment, environment=environment, note=""
                )
            )
        return self.get(name)

    def update(self, run_id: int, **columns: Any) -> None:
        """Change a run's own columns (state, note, experiment)."""
        with self.writing() as connection:
            connection.execute(_runs.update().where(_runs.c.id == run_id).values(updated=time.time(), **columns))

    def delete(self, run_id: int) -> None:
        """Remove a run with everything it holds; texts that no other run needs go too."""
        with self.writing() as connection:
            for table in (_answers, _trials, _questions, _one_offs):
                connection.execute(table.delete().where(table.c.run_id == run_id))
            connection.execute(_runs.delete().where(_runs.c.id == run_id))
            if not connection.execute(sa.select(sa.func.count()).select_from(_runs)).scalar():
                connection.execute(_texts.delete())
        self._written.clear()

    # ------------------------------------------------------------------------------------------------------ lease

    @contextmanager
    def lease(self, run: RunRecord) -> Iterator[None]:
        """Be the one writer of a run; ``StoreError`` if another living process is."""
        me = _identity()
        with self.writing() as connection:
            owner, heartbeat = connection.execute(sa.select(_runs.c.owner, _runs.c.heartbeat).where(_runs.c.id == run.id)).one()
            if owner and _alive(owner, heartbeat):
                raise StoreError(f"run {run.name!r} is being written by another process ({owner.split('|')[1]}); wait for it, or stop it first")
            connection.execute(
                _runs.update().where(_runs.c.id == run.id).values(owner=me, heartbeat=time.time(), request=None, state="running")
            )
        ended = threading.Event()
        beat = threading.Thread(target=self._beat, args=(run.id, me, ended), daemon=True)
        beat.start()
        try:
            yield
        finally:
            ended.set()
            beat.join()
            with self.writing() as connection:
                connection.execute(_runs.update().where(_runs.c.id == run.id, _runs.c.owner == me).values(owner=None, heartbeat=None))

    def _beat(self, run_id: int, me: str, ended: threading.Event) -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            try:
                with self.writing() as connection:
                    connection.execute(_runs.update().where(_runs.c.id == run_id, _runs.c.owner == me).values(heartbeat=time.time()))
            except StoreError:
                continue  # the run's own next write reports it; a missed beat only ages the lease

    def request(self, run_id: int, what: str | None) -> None:
        """Ask the process that writes a run for something (``stop``)."""
        with self.writing() as connection:
            connection.execute(_runs.update().where(_runs.c.id == run_id).values(request=what))

    def requested(self, run_id: int) -> str | None:
        """What was asked of the process that writes a run."""
        with self.reading() as connection:
            asked: str | None = connection.execute(sa.select(_runs.c.request).where(_runs.c.id == run_id)).scalar()
        return asked

    # ------------------------------------------------------------------------------------- trials, questions, work

    def add_trials(self, run_id: int, configurations: Sequence[Configuration]) -> None:
        """Add the configurations that the run does not hold yet, after those it does."""
        known = {trial.configuration.id for trial in self.trials(run_id)}
        rows = [
            {
                "run_id": run_id,
                "configuration": configuration.id,
                "position": len(known) + number,
                "axes": dict(configuration.axes),
                "fingerprints": dict(configuration.fingerprints),
                "state": "racing",
                "reason": "",
            }
            for number, configuration in enumerate(each for each in configurations if each.id not in known)
        ]
        self._insert(_trials, rows)

    def trials(self, run_id: int) -> list[Trial]:
        """The run's trials in the order they were added."""
        with self.reading() as connection:
            rows = connection.execute(sa.select(_trials).where(_trials.c.run_id == run_id).order_by(_trials.c.position)).all()
        return [
            Trial(configuration=Configuration(row.axes, row.fingerprints, row.configuration), state=row.state, reason=row.reason)
            for row in rows
        ]

    def set_trial(self, run_id: int, configuration: str, state: TrialState, reason: str = "") -> None:
        """Record how a trial stands."""
        with self.writing() as connection:
            connection.execute(
                _trials.update()
                .where(_trials.c.run_id == run_id, _trials.c.configuration == configuration)
                .values(state=state, reason=reason)
            )

    def add_questions(self, run_id: int, questions: Sequence[Question]) -> None:
        """Add the questions that the run does not hold yet."""
        known = {question.id for question in self.questions(run_id)}
        rows = [
            {"run_id": run_id, "question": question.id, "position": len(known) + number, "record": json.loads(as_json(question))}
            for number, question in enumerate(each for each in questions if each.id not in known)
        ]
        self._insert(_questions, rows)

    def questions(self, run_id: int) -> list[Question]:
        """The run's questions in the order they are asked."""
        with self.reading() as connection:
            rows = connection.execute(
                sa.select(_questions.c.record).where(_questions.c.run_id == run_id).order_by(_questions.c.position)
            ).scalars()
            return [_QUESTION.validate_python(row) for row in rows]

    def add_one_off(self, run_id: int, work: OneOff) -> None:
        """Book a piece of one-off work."""
        self._insert(_one_offs, [{"run_id": run_id, "record": json.loads(as_json(work))}])

    def one_offs(self, run_id: int) -> list[OneOff]:
        """The run's one-off work in the order it was done."""
        with self.reading() as connection:
            rows = connection.execute(sa.select(_one_offs.c.record).where(_one_offs.c.run_id == run_id).order_by(_one_offs.c.id)).scalars()
            return [_ONE_OFF.validate_python(row) for row in rows]

    def _insert(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            with self.writing() as connection:
                connection.execute(table.insert(), rows)

    # ---------------------------------------------------------------------------------------------------- answers

    def add_answers(self, run_id: int, answers: Sequence[ScoredAnswer]) -> None:
        """Store answers in one transaction; an answer that is there already is an error, never a second row."""
        texts: dict[str, str] = {}
        rows = [_answer_row(run_id, scored, texts) for scored in answers]
        new = [{"digest": key, "text": text} for key, text in texts.items() if key not in self._written]
        with self.writing() as connection:
            if new:
                present = connection.execute(sa.select(_texts.c.digest).where(_texts.c.digest.in_([row["digest"] for row in new]))).scalars()
                here = set(present)
                missing = [row for row in new if row["digest"] not in here]
                if missing:
                    connection.execute(_texts.insert(), missing)
            connection.execute(_answers.insert(), rows)
        self._written.update(texts)

    def answered(self, run_id: int) -> dict[tuple[str, str, int], str | None]:
        """(configuration, question, repeat) of every stored answer → its failure's kind, or ``None``."""
        columns = (_answers.c.configuration, _answers.c.question, _answers.c.repeat, _answers.c.failure_kind)
        with self.reading() as connection:
            rows = connection.execute(sa.select(*columns).where(_answers.c.run_id == run_id)).all()
        return {(row.configuration, row.question, row.repeat): row.failure_kind for row in rows}

    def count_answers(self, run_id: int) -> int:
        """How many answers are stored."""
        with self.reading() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(_answers).where(_answers.c.run_id == run_id)).scalar() or 0)

    def drop_failed(self, run_id: int) -> int:
        """Forget infrastructure failures so that they are tried again; returns how many."""
        with self.writing() as connection:
            failed = (_answers.c.run_id == run_id, _answers.c.failure_kind == "infrastructure")
            count = connection.execute(sa.select(sa.func.count()).select_from(_answers).where(*failed)).scalar()
            connection.execute(_answers.delete().where(*failed))
            connection.execute(
                _trials.update().where(_trials.c.run_id == run_id, _trials.c.state == "incomplete").values(state="racing", reason="")
            )
        return int(count or 0)

    def answers(
        self, run_id: int, *, configuration: str | None = None, question: str | None = None, texts: bool = True
    ) -> Iterator[ScoredAnswer]:
        """Stored answers with their scores, by configuration, question and repeat; without ``texts``, prompts and passages are blank."""
        query = sa.select(_answers).where(_answers.c.run_id == run_id)
        if configuration is not None:
            query = query.where(_answers.c.configuration == configuration)
        if question is not None:
            query = query.where(_answers.c.question == question)
        query = query.order_by(_answers.c.configuration, _answers.c.question, _answers.c.repeat)
        with self.reading() as connection:
            for rows in connection.execution_options(stream_results=True).execute(query).partitions(1000):
                known = self._texts(connection, rows) if texts else {}
                yield from (_scored_answer(row, known) for row in rows)

    def _texts(self, connection: Connection, rows: Iterable[Any]) -> dict[str, str]:
        wanted = sorted({row.prompt for row in rows if row.prompt} | {passage[0] for row in rows for passage in row.passages})
        found: dict[str, str] = {}
        for start in range(0, len(wanted), 500):
            query = sa.select(_texts).where(_texts.c.digest.in_(wanted[start : start + 500]))
            found.update({row.digest: row.text for row in connection.execute(query)})
        return found


# ------------------------------------------------------------------------------------------------------ rows ↔ records


def _answer_row(run_id: int, scored: ScoredAnswer, texts: dict[str, str]) -> dict[str, Any]:
    answer = scored.answer
    prompt = None
    if answer.prompt:
        prompt = digest(answer.prompt)
        texts[prompt] = answer.prompt
    passages = []
    for passage in answer.passages:
        chunk = passage.chunk
        key = digest(chunk.text)
        texts[key] = chunk.text
        passages.append([key, chunk.id, chunk.document_id, chunk.start, chunk.end, chunk.title, passage.score, passage.rank])
    return {
        "run_id": run_id,
        "configuration": answer.configuration,
        "question": answer.question,
        "repeat": answer.repeat,
        "text": answer.text,
        "failure": answer.failure and {"kind": answer.failure.kind, "code": answer.failure.code, "message": answer.failure.message},
        "failure_kind": answer.failure and answer.failure.kind,
        "seconds": answer.seconds,
        "seconds_to_first_token": answer.seconds_to_first_token,
        "finish_reason": answer.finish_reason,
        "undisturbed": answer.undisturbed,
        "attempts": answer.attempts,
        "prompt": prompt,
        "passages": passages,
        "retrieved": answer.retrieved,
        "citations": answer.citations,
        "reused": answer.reused,
        "ledger": answer.ledger,
        "scores": {score.metric: [score.value, score.reason] for score in scored.scores},
    }


def _scored_answer(row: Any, texts: dict[str, str]) -> ScoredAnswer:
    passages = tuple(
        Passage(
            chunk=Chunk(id=key, document_id=document, start=start, end=end, title=title, text=texts.get(content, "")), score=score, rank=rank
        )
        for content, key, document, start, end, title, score, rank in row.passages
    )
    answer = Answer(
        configuration=row.configuration,
        question=row.question,
        repeat=row.repeat,
        text=row.text,
        citations=tuple(row.citations),
        passages=passages,
        retrieved=None if row.retrieved is None else tuple(row.retrieved),
        prompt=texts.get(row.prompt or "", ""),
        finish_reason=row.finish_reason,
        seconds=row.seconds,
        seconds_to_first_token=row.seconds_to_first_token,
        ledger=_LEDGER.validate_python(row.ledger),
        reused=tuple(row.reused),
        undisturbed=row.undisturbed,
        attempts=row.attempts,
        failure=None if row.failure is None else _FAILURE.validate_python(row.failure),
    )
    scores = tuple(Score(metric=metric, value=value, reason=reason) for metric, (value, reason) in row.scores.items())
    return ScoredAnswer(answer=answer, scores=scores)


def _run_record(row: Any) -> RunRecord:
    state = row["state"]
    if state == "running" and not (row["owner"] and _alive(row["owner"], row["heartbeat"])):
        state = "interrupted"
    return RunRecord(
        id=row["id"],
        name=row["name"],
        created=row["created"],
        updated=row["updated"],
        state=state,
        note=row["note"],
        experiment=row["experiment"],
        environment=row["environment"],
    )


# ------------------------------------------------------------------------------------------------------------- engine


def _engine(url: str) -> Engine:
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
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: Connection) -> None:
    # A writer takes its lock at once: upgrading a read lock later fails instead of waiting.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")


@contextmanager
def _explained(store: str) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip()
        if "is not a database" in reason or "malformed" in reason:
            raise StoreError(f"{store} is damaged or not a database ({reason}); move it away, or name another with --store") from error
        if "full" in reason:
            raise StoreError(f"{store}: the disk is full; free some space and run the same command again: what was stored is safe") from error
        if "locked" in reason:
            raise StoreError(f"{store} stayed locked by another process for 30 s; try again when it is done") from error
        raise StoreError(f"{store}: {reason}") from error
    except SQLAlchemyError as error:
        raise StoreError(f"{store}: {error}") from error
    except OSError as error:
        raise StoreError(f"{store}: {error.strerror or error}") from error


def _identity() -> str:
    return f"{socket.gethostname()}|process {os.getpid()}|{psutil.Process().create_time():.2f}"


def _alive(owner: str, heartbeat: float | None) -> bool:
    """Whether a lease still holds: on this host by its process, elsewhere by its heartbeat."""
    host, process, created = owner.split("|")
    if host == socket.gethostname():
        try:
            return f"{psutil.Process(int(process.split()[1])).create_time():.2f}" == created
        except psutil.Error:
            return False
    return heartbeat is not None and time.time() - heartbeat < LEASE_SECONDS
