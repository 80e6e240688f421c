"""Runs in a database: SQLAlchemy Core, SQLite unless another database URL is given.

Answers are stored once per (run, configuration, question, repeat), each with its scores, in short transactions; texts
(prompts, passages) once per content. One writer per run, by a lease with a heartbeat. The schema carries its version.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.engine import Connection

from workbench.errors import InputError, StoreError
from workbench.leases import HEARTBEAT_SECONDS, alive, identity, process_here
from workbench.records import (
    Configuration,
    IndexFacts,
    OneOff,
    Question,
    ScoredAnswer,
    Trial,
    TrialState,
    as_json,
)
from workbench.rows import BESIDES, answer_row, scored_answer
from workbench.schema import (
    ANSWERS,
    CLAIMS,
    ONE_OFFS,
    QUESTIONS,
    RUNS,
    TALLIES,
    TEXTS,
    TRIALS,
    explained,
    open_engine,
    prepare,
)

AT_WORK = ("running", "paused")  # states in which a living process writes the run

_LONGEST_NAME = 200  # of a run, in characters

_ONE_OFF: TypeAdapter[OneOff] = TypeAdapter(OneOff)
_QUESTION: TypeAdapter[Question] = TypeAdapter(Question)
_INDEX_FACTS: TypeAdapter[IndexFacts] = TypeAdapter(IndexFacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run as it stands in the store. ``state`` is running, paused, finished, stopped or interrupted (its process is gone)."""

    id: int
    name: str
    created: float
    updated: float
    state: str
    note: str
    experiment: dict[str, Any]
    environment: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A claim that a split was used for, and the error ``alpha`` spent on it; it stays when its run is deleted."""

    run: str
    split: str
    created: float
    claim: dict[str, Any]
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTally:
    """What a configuration's answers came to at a stand of them: numbers as bytes, sums as JSON."""

    configuration: str
    stand: int
    numbers: bytes
    sums: str


def problems_of_name(name: str) -> list[str]:
    """What is wrong with a name for a run, each with the rule."""
    if not name.strip():
        return ["a run has no name; give it one"]
    if name == "latest":
        return [
            "a run cannot be named 'latest': that word means the newest run; choose another, with --name on the command line"
        ]
    if len(name) > _LONGEST_NAME or not name.isprintable():
        return [
            f"a run cannot be named {name[:40]!r}: a name has at most {_LONGEST_NAME} characters, all of them printable"
        ]
    return []


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
                raise InputError(
                    f"there is no store at {path}; start with: workbench demo, or workbench run EXPERIMENT"
                )
            with explained(given):
                path.parent.mkdir(parents=True, exist_ok=True)
            given = f"sqlite:///{path}"
        self.url = given
        self._lock = threading.Lock()
        self._written: set[str] = set()
        with explained(self._shown):
            self.engine = open_engine(given)
            prepare(self.engine, self._shown)

    @property
    def _shown(self) -> str:
        return (
            self.url
            if self.url.startswith("sqlite")
            else str(sa.make_url(self.url).render_as_string(hide_password=True))
        )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for reading."""
        with explained(self._shown), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A short transaction: committed when the block ends, undone when it fails."""
        with (
            explained(self._shown),
            self.engine.connect().execution_options(write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    # ------------------------------------------------------------------------------------------------------- runs

    def runs(self) -> list[RunRecord]:
        """Every run, newest first."""
        with self.reading() as connection:
            rows = (
                connection.execute(sa.select(RUNS).order_by(RUNS.c.created.desc(), RUNS.c.id.desc())).mappings().all()
            )
        return [_run_record(row) for row in rows]

    def find(self, name: str) -> RunRecord | None:
        """The run of a name; ``latest`` is the newest."""
        query = sa.select(RUNS).order_by(RUNS.c.created.desc(), RUNS.c.id.desc()).limit(1)
        if name != "latest":
            query = query.where(RUNS.c.name == name)
        with self.reading() as connection:
            row = connection.execute(query).mappings().first()
        return _run_record(row) if row else None

    def get(self, name: str) -> RunRecord:
        """The run of a name, or ``InputError`` naming those there are."""
        found = self.find(name)
        if found is None:
            names = [run.name for run in self.runs()]
            there = (
                f"runs in this store: {', '.join(names[:10])}"
                if names
                else "this store is empty; start with: workbench demo"
            )
            raise InputError(f"there is no run {name!r}; {there}")
        return found

    def create(self, name: str, experiment: dict[str, Any], environment: dict[str, Any]) -> RunRecord:
        """A new run without trials or answers."""
        now = time.time()
        try:
            with self.writing() as connection:
                connection.execute(
                    RUNS.insert().values(
                        name=name,
                        created=now,
                        updated=now,
                        state="stopped",
                        experiment=experiment,
                        environment=environment,
                        note="",
                    )
                )
        except StoreError as error:
            if self.find(name) is None:
                raise
            raise StoreError(
                f"run {name!r} has just been begun by another process; run it again to see where it is"
            ) from error
        return self.get(name)

    def update(self, run_id: int, **columns: Any) -> None:
        """Change a run's own columns (state, note, experiment)."""
        with self.writing() as connection:
            connection.execute(RUNS.update().where(RUNS.c.id == run_id).values(updated=time.time(), **columns))

    def delete(self, run_id: int) -> None:
        """Remove a run with everything it holds; texts that no other run needs go too."""
        with self.writing() as connection:
            texts = sorted(_texts_of(connection, ANSWERS.c.run_id == run_id))
            for table in (ANSWERS, TALLIES, TRIALS, QUESTIONS, ONE_OFFS):
                connection.execute(table.delete().where(table.c.run_id == run_id))
            connection.execute(RUNS.delete().where(RUNS.c.id == run_id))
            needed = _texts_of(connection, ANSWERS.c.run_id != run_id)
            unneeded = [text for text in texts if text not in needed]
            for start in range(0, len(unneeded), 500):
                connection.execute(TEXTS.delete().where(TEXTS.c.digest.in_(unneeded[start : start + 500])))
        self._written.clear()

    # ------------------------------------------------------------------------------------------------------ lease

    @contextmanager
    def lease(self, run: RunRecord) -> Iterator[None]:
        """Be the one writer of a run; ``StoreError`` if another living process is."""
        me = identity()
        with self.writing() as connection:
            owner, heartbeat = connection.execute(
                sa.select(RUNS.c.owner, RUNS.c.heartbeat).where(RUNS.c.id == run.id)
            ).one()
            if owner and alive(owner, heartbeat):
                raise StoreError(
                    f"run {run.name!r} is being written by another process ({owner.split('|')[1]}); wait for it, or stop it first"
                )
            connection.execute(
                RUNS.update()
                .where(RUNS.c.id == run.id)
                .values(owner=me, heartbeat=time.time(), request=None, state="running")
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
                connection.execute(
                    RUNS.update().where(RUNS.c.id == run.id, RUNS.c.owner == me).values(owner=None, heartbeat=None)
                )

    def _beat(self, run_id: int, me: str, ended: threading.Event) -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            try:
                with self.writing() as connection:
                    connection.execute(
                        RUNS.update().where(RUNS.c.id == run_id, RUNS.c.owner == me).values(heartbeat=time.time())
                    )
            except StoreError:
                continue  # the run's own next write reports it; a missed beat only ages the lease

    def writer(self, run_id: int) -> int | None:
        """The number of the process on this machine that writes a run; ``None`` where none does."""
        with self.reading() as connection:
            owner, heartbeat = connection.execute(
                sa.select(RUNS.c.owner, RUNS.c.heartbeat).where(RUNS.c.id == run_id)
            ).one()
        return process_here(owner) if owner and alive(owner, heartbeat) else None

    def request(self, run_id: int, what: str | None) -> None:
        """Ask the process that writes a run for something (``stop``, ``pause``); ``None`` takes it back."""
        with self.writing() as connection:
            connection.execute(RUNS.update().where(RUNS.c.id == run_id).values(request=what))

    def requested(self, run_id: int) -> str | None:
        """What was asked of the process that writes a run."""
        with self.reading() as connection:
            asked: str | None = connection.execute(sa.select(RUNS.c.request).where(RUNS.c.id == run_id)).scalar()
        return asked

    def steering(self, run_id: int) -> tuple[str | None, dict[str, Any]]:
        """What is asked of the process that writes a run, and the budget in force."""
        with self.reading() as connection:
            row = connection.execute(sa.select(RUNS.c.request, RUNS.c.experiment).where(RUNS.c.id == run_id)).one()
        return row.request, row.experiment["budget"]

    def set_budget(self, run_id: int, budget: dict[str, Any]) -> None:
        """Change the budget in a run's experiment; when the run itself last wrote stays as it is."""
        with self.writing() as connection:
            experiment = connection.execute(sa.select(RUNS.c.experiment).where(RUNS.c.id == run_id)).scalar_one()
            changed = {**experiment, "budget": budget}
            connection.execute(RUNS.update().where(RUNS.c.id == run_id).values(experiment=changed))

    # ------------------------------------------------------------------------------------- trials, questions, work

    def add_trials(
        self, run_id: int, configurations: Sequence[Configuration], expected_costs: Sequence[float] = ()
    ) -> None:
        """Add the configurations that the run does not hold yet, after those it does, each with what it may cost."""
        expected = dict(zip((each.id for each in configurations), expected_costs, strict=False))
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
                "expected_cost": float(expected.get(configuration.id, 0.0)),
            }
            for number, configuration in enumerate(each for each in configurations if each.id not in known)
        ]
        self._insert(TRIALS, rows)

    def trials(self, run_id: int) -> list[Trial]:
        """The run's trials in the order they were added."""
        with self.reading() as connection:
            rows = connection.execute(
                sa.select(TRIALS).where(TRIALS.c.run_id == run_id).order_by(TRIALS.c.position)
            ).all()
        return [
            Trial(
                configuration=Configuration(row.axes, row.fingerprints, row.configuration),
                state=row.state,
                reason=row.reason,
                index=None if row.index_facts is None else _INDEX_FACTS.validate_python(row.index_facts),
                expected_cost=row.expected_cost,
            )
            for row in rows
        ]

    def set_trial(self, run_id: int, configuration: str, state: TrialState, reason: str = "") -> None:
        """Record how a trial stands."""
        with self.writing() as connection:
            connection.execute(
                TRIALS.update()
                .where(TRIALS.c.run_id == run_id, TRIALS.c.configuration == configuration)
                .values(state=state, reason=reason)
            )

    def set_index_facts(self, run_id: int, configuration: str, facts: IndexFacts) -> None:
        """Record what is known of the index that a trial searches."""
        with self.writing() as connection:
            connection.execute(
                TRIALS.update()
                .where(TRIALS.c.run_id == run_id, TRIALS.c.configuration == configuration)
                .values(index_facts=json.loads(as_json(facts)))
            )

    def add_questions(self, run_id: int, questions: Sequence[Question]) -> None:
        """Add the questions that the run does not hold yet."""
        known = {question.id for question in self.questions(run_id)}
        rows = [
            {
                "run_id": run_id,
                "question": question.id,
                "position": len(known) + number,
                "record": json.loads(as_json(question)),
            }
            for number, question in enumerate(each for each in questions if each.id not in known)
        ]
        self._insert(QUESTIONS, rows)

    def questions(self, run_id: int, *, among: Collection[str] | None = None) -> list[Question]:
        """The run's questions in the order they are asked, or those of some ids."""
        query = sa.select(QUESTIONS.c.record).where(QUESTIONS.c.run_id == run_id).order_by(QUESTIONS.c.position)
        if among is not None:
            query = query.where(QUESTIONS.c.question.in_(among))
        with self.reading() as connection:
            rows = connection.execute(query).scalars()
            return [_QUESTION.validate_python(row) for row in rows]

    def count_questions(self, run_id: int, *, split: str | None = None) -> int:
        """How many questions the run holds, in all or of a split."""
        query = sa.select(sa.func.count()).select_from(QUESTIONS).where(QUESTIONS.c.run_id == run_id)
        if split is not None:
            query = query.where(QUESTIONS.c.record["split"].as_string() == split)
        with self.reading() as connection:
            return int(connection.execute(query).scalar() or 0)

    def count_trials(self, run_id: int) -> int:
        """How many configurations the run holds."""
        return self._count(TRIALS, run_id)

    def _count(self, table: sa.Table, run_id: int) -> int:
        query = sa.select(sa.func.count()).select_from(table).where(table.c.run_id == run_id)
        with self.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def add_one_off(self, run_id: int, work: OneOff) -> None:
        """Book a piece of one-off work."""
        self._insert(ONE_OFFS, [{"run_id": run_id, "record": json.loads(as_json(work))}])

    def one_offs(self, run_id: int) -> list[OneOff]:
        """The run's one-off work in the order it was done."""
        with self.reading() as connection:
            rows = connection.execute(
                sa.select(ONE_OFFS.c.record).where(ONE_OFFS.c.run_id == run_id).order_by(ONE_OFFS.c.id)
            ).scalars()
            return [_ONE_OFF.validate_python(row) for row in rows]

    def claims(self, evalset: str, split: str) -> list[Claimed]:
        """What the questions of a split have been used for, over all runs of this store, oldest first."""
        query = sa.select(CLAIMS).where(CLAIMS.c.evalset == evalset, CLAIMS.c.split == split).order_by(CLAIMS.c.id)
        with self.reading() as connection:
            rows = connection.execute(query).all()
        return [
            Claimed(run=row.run, split=row.split, created=row.created, claim=row.claim, alpha=row.alpha) for row in rows
        ]

    def add_claim(self, run: str, evalset: str, split: str, claim: dict[str, Any], alpha: float) -> None:
        """Note what a split is about to be used for, and the error that is spent on it."""
        row = {"run": run, "created": time.time(), "evalset": evalset, "split": split, "claim": claim, "alpha": alpha}
        self._insert(CLAIMS, [row])

    def _insert(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            with self.writing() as connection:
                connection.execute(table.insert(), rows)

    # ---------------------------------------------------------------------------------------------------- answers

    def add_answers(self, run_id: int, answers: Sequence[ScoredAnswer]) -> None:
        """Store answers in one transaction; an answer that is there already is an error, never a second row."""
        texts: dict[str, str] = {}
        rows = [answer_row(run_id, scored, texts) for scored in answers]
        new = [{"digest": key, "text": text} for key, text in texts.items() if key not in self._written]
        with self.writing() as connection:
            if new:
                present = connection.execute(
                    sa.select(TEXTS.c.digest).where(TEXTS.c.digest.in_([row["digest"] for row in new]))
                ).scalars()
                here = set(present)
                missing = [row for row in new if row["digest"] not in here]
                if missing:
                    connection.execute(TEXTS.insert(), missing)
            connection.execute(ANSWERS.insert(), rows)
            connection.execute(_changed(run_id, {row["configuration"] for row in rows}))
        self._written.update(texts)

    def answered(self, run_id: int) -> dict[tuple[str, str, int], str | None]:
        """(configuration, question, repeat) of every stored answer → its failure's kind, or ``None``."""
        columns = (ANSWERS.c.configuration, ANSWERS.c.question, ANSWERS.c.repeat, ANSWERS.c.failure_kind)
        with self.reading() as connection:
            rows = connection.execute(sa.select(*columns).where(ANSWERS.c.run_id == run_id)).all()
        return {(row.configuration, row.question, row.repeat): row.failure_kind for row in rows}

    def count_answers(self, run_id: int) -> int:
        """How many answers are stored."""
        return self._count(ANSWERS, run_id)

    def keys(self, run_id: int, configuration: str) -> set[tuple[str, int]]:
        """(question, repeat) of every stored answer of a configuration."""
        which = (ANSWERS.c.run_id == run_id, ANSWERS.c.configuration == configuration)
        with self.reading() as connection:
            return {
                (question, repeat)
                for question, repeat in connection.execute(
                    sa.select(ANSWERS.c.question, ANSWERS.c.repeat).where(*which)
                )
            }

    def drop_failed(self, run_id: int) -> int:
        """Forget infrastructure failures so that they are tried again; returns how many."""
        with self.writing() as connection:
            failed = (ANSWERS.c.run_id == run_id, ANSWERS.c.failure_kind == "infrastructure")
            of = list(connection.execute(sa.select(ANSWERS.c.configuration).where(*failed)).scalars())
            connection.execute(ANSWERS.delete().where(*failed))
            connection.execute(_changed(run_id, set(of)))
            connection.execute(
                TRIALS.update()
                .where(TRIALS.c.run_id == run_id, TRIALS.c.state == "incomplete")
                .values(state="racing", reason="")
            )
        return len(of)

    def stands(self, run_id: int) -> dict[str, int]:
        """Configuration → how often its answers were changed; what was read at one stand holds as long as it is the same."""
        query = sa.select(TRIALS.c.configuration, TRIALS.c.stand).where(TRIALS.c.run_id == run_id)
        with self.reading() as connection:
            return {row.configuration: row.stand for row in connection.execute(query)}

    def tallies(self, run_id: int, terms: str) -> dict[str, KeptTally]:
        """What was kept of the run's answers under these terms, by configuration."""
        query = sa.select(TALLIES).where(TALLIES.c.run_id == run_id, TALLIES.c.terms == terms)
        with self.reading() as connection:
            rows = connection.execute(query).all()
        return {
            row.configuration: KeptTally(
                configuration=row.configuration, stand=row.stand, numbers=row.numbers, sums=row.sums
            )
            for row in rows
        }

    def keep_tally(self, run_id: int, terms: str, tally: KeptTally) -> None:
        """Keep what a configuration's answers come to, in place of what was kept before."""
        row = {"run_id": run_id, "terms": terms, **asdict(tally)}
        which = (TALLIES.c.run_id == run_id, TALLIES.c.configuration == tally.configuration)
        with self.writing() as connection:
            connection.execute(TALLIES.delete().where(*which))
            connection.execute(TALLIES.insert().values(**row))

    def answers(
        self,
        run_id: int,
        *,
        configuration: str | None = None,
        question: str | Collection[str] | None = None,
        texts: bool = True,
        figures_only: bool = False,
    ) -> Iterator[ScoredAnswer]:
        """Stored answers with their scores, by configuration, question and repeat, of one question, of several or of all.

        Without ``texts``, prompts and passages are blank; with ``figures_only`` there are no passages either, nor what was
        retrieved, cited and completed: much less to read.
        """
        columns = [column for column in ANSWERS.c if not figures_only or column.name not in BESIDES]
        query = sa.select(*columns).where(ANSWERS.c.run_id == run_id)
        if configuration is not None:
            query = query.where(ANSWERS.c.configuration == configuration)
        if question is not None:
            query = query.where(ANSWERS.c.question.in_([question] if isinstance(question, str) else question))
        query = query.order_by(ANSWERS.c.configuration, ANSWERS.c.question, ANSWERS.c.repeat)
        with self.reading() as connection:
            for rows in connection.execution_options(stream_results=True).execute(query).partitions(1000):
                known = self._texts(connection, rows) if texts and not figures_only else {}
                yield from (scored_answer(row, known, figures_only=figures_only) for row in rows)

    def _texts(self, connection: Connection, rows: Iterable[Any]) -> dict[str, str]:
        wanted = sorted(
            {row.prompt for row in rows if row.prompt} | {passage[0] for row in rows for passage in row.passages}
        )
        found: dict[str, str] = {}
        for start in range(0, len(wanted), 500):
            query = sa.select(TEXTS).where(TEXTS.c.digest.in_(wanted[start : start + 500]))
            found.update({row.digest: row.text for row in connection.execute(query)})
        return found


def _changed(run_id: int, configurations: Collection[str]) -> sa.Update:
    """Note that answers of some configurations of a run are no longer what they were."""
    which = (TRIALS.c.run_id == run_id, TRIALS.c.configuration.in_(configurations))
    return TRIALS.update().where(*which).values(stand=TRIALS.c.stand + 1)


def _texts_of(connection: Connection, which: sa.ColumnElement[bool]) -> set[str]:
    """The digests of the texts that some answers name."""
    found: set[str] = set()
    rows = connection.execute(sa.select(ANSWERS.c.prompt, ANSWERS.c.passages).where(which))
    for part in rows.partitions(1000):
        for prompt, passages in part:
            found.update([prompt] if prompt else [], (passage[0] for passage in passages))
    return found


def _run_record(row: Any) -> RunRecord:
    state = row["state"]
    if state in AT_WORK and not (row["owner"] and alive(row["owner"], row["heartbeat"])):
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
