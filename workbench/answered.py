"""What a run has answered, as configurations × questions: what strategies decide on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.contracts import Standings
from workbench.ledger import standalone
from workbench.records import Configuration, Question, ScoredAnswer


class Answered:
    """What is answered, as configurations × questions, each cell over its repeats."""

    def __init__(
        self, configurations: Sequence[Configuration], questions: Sequence[Question], *, metric: str, repeats: int
    ) -> None:
        self._metric = metric
        self._configurations = configurations
        self._row = {configuration.id: row for row, configuration in enumerate(configurations)}
        self._column = {question.id: column for column, question in enumerate(questions)}
        self._keys: set[tuple[str, str, int]] = set()
        shape = (len(configurations), len(questions))
        self._count = np.zeros(shape)
        self._lost = np.zeros(shape)
        self._score_sum = np.zeros(shape)
        self._cost_sum = np.zeros(shape)
        self._seconds_sum = np.zeros(shape)
        self._wanted = np.array([[configuration.repeats(repeats)] for configuration in configurations])
        self.total = int(self._wanted.sum()) * len(questions)
        self.held = 0

    def add(self, scored: ScoredAnswer, cost: float) -> None:
        """Count an answer; those of configurations or questions no longer asked for are left aside."""
        answer = scored.answer
        row, column = self._row.get(answer.configuration), self._column.get(answer.question)
        if row is None or column is None:
            return
        self._keys.add((answer.configuration, answer.question, answer.repeat))
        self.held += 1
        value = next((each.value for each in scored.scores if each.metric == self._metric), None)
        self._count[row, column] += 1
        self._lost[row, column] += answer.failure is not None and answer.failure.kind == "infrastructure"
        self._score_sum[row, column] += np.nan if value is None else value
        self._cost_sum[row, column] += cost
        measured = answer.undisturbed and answer.ledger.stages
        self._seconds_sum[row, column] += standalone(answer.ledger).seconds if measured else np.nan

    def fill(
        self,
        row: int,
        columns: NDArray[np.intp],
        *,
        scores: NDArray[np.float64],
        costs: NDArray[np.float64],
        seconds: NDArray[np.float64],
        lost: NDArray[np.bool_],
    ) -> None:
        """Count all answers of a configuration at once, by the columns of their questions; ``seconds`` are NaN where disturbed."""
        for sums, values in (
            (self._count, 1),
            (self._score_sum, scores),
            (self._cost_sum, costs),
            (self._seconds_sum, seconds),
            (self._lost, lost),
        ):
            np.add.at(sums[row], columns, values)
        self.held += len(columns)

    def holds(self, configuration: str, question: str, repeat: int) -> bool:
        """Whether an answer is there."""
        return (configuration, question, repeat) in self._keys

    def answered(self) -> NDArray[np.bool_]:
        """Cells with all their repeats answered."""
        return self._count >= self._wanted

    def incomplete(self) -> NDArray[np.bool_]:
        """Configurations with answers that were lost to infrastructure failures; shape (configurations,)."""
        return self.lost() > 0

    def lost(self) -> NDArray[np.intp]:
        """How many answers of each configuration were lost to infrastructure failures; shape (configurations,)."""
        return self._lost.sum(axis=1).astype(np.intp)

    def missing(self, rows: Sequence[int]) -> int:
        """How many answers of some configurations, repeats among them, are not there yet."""
        return int(np.maximum(self._wanted - self._count, 0)[list(rows)].sum())

    def scores(self) -> NDArray[np.float64]:
        """Mean score of the deciding metric; NaN where nothing is stored or it does not apply."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._score_sum / self._count

    def costs(self) -> NDArray[np.float64]:
        """Mean standalone cost; NaN where nothing is stored or it was not measured."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._cost_sum / self._count

    def seconds(self) -> NDArray[np.float64]:
        """Mean standalone seconds; NaN where nothing is stored or another process kept the processors busy meanwhile."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._seconds_sum / self._count

    def standings(self, expected_costs: NDArray[np.float64], closed: NDArray[np.bool_]) -> Standings:
        """What a strategy decides on."""
        return Standings(
            configurations=self._configurations,
            answered=self.answered(),
            scores=self.scores(),
            costs=self.costs(),
            seconds=self.seconds(),
            expected_costs=expected_costs,
            closed=closed,
            incomplete=self.incomplete(),
        )
