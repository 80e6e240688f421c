"""Strategies: a contract that every file of the folder keeps, and what each of them promises."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import workbench
from tests.conftest import experiment, missing, python
from workbench import registry
from workbench.contracts import Round, Standings
from workbench.errors import InputError
from workbench.records import Configuration
from workbench.specification import Goal
from workbench.strategies._axes import ABSENT, Axes
from workbench.strategies._standings import leads

GOAL = Goal(metric="token_f1", margin=0.1, minimise="tokens")
OPTIONS: list[Any] = [
    *registry.names("strategies"),
    {"name": "random", "share": 0.5, "at_once": 3},
    {"name": "halving", "eta": 2, "first_questions": 3},
    {"name": "tpe", "pruner": "median", "share": 0.6, "step_questions": 6},
    {"name": "tpe", "pruner": "wilcoxon", "share": 0.6, "step_questions": 6},
    {"name": "tpe", "pruner": "halving", "share": 0.6, "step_questions": 6},
    {"name": "tpe", "objectives": "both", "share": 0.6, "step_questions": 12},
]
every = pytest.mark.parametrize("choice", OPTIONS, ids=str)


@dataclass(kw_only=True)
class Game:
    """A full matrix, what of it has been uncovered, and who is closed: those of ``refusing`` after so many answers."""

    configurations: Sequence[Configuration]
    scores: NDArray[np.float64]
    costs: NDArray[np.float64]
    closed: set[int] = field(default_factory=set)
    refusing: dict[int, int] = field(default_factory=dict)
    answered: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.answered = np.zeros(self.scores.shape, bool)

    def standings(self) -> Standings:
        return Standings(
            configurations=self.configurations,
            answered=self.answered.copy(),
            scores=np.where(self.answered, self.scores, np.nan),
            costs=np.where(self.answered, self.costs, np.nan),
            seconds=np.where(self.answered, self.costs / 1000, np.nan),
            expected_costs=self.costs.mean(axis=1),
            closed=np.array([row in self.closed for row in range(len(self.configurations))]),
            incomplete=np.zeros(len(self.configurations), bool),
        )

    def take(self, wanted: Round) -> None:
        """Uncover a round's cells, each for the first time."""
        for row, column in wanted.cells:
            assert not self.answered[row, column], "a cell is asked once"
            if self.answered[row].sum() >= self.refusing.get(row, math.inf):
                self.closed.add(row)
            if row not in self.closed:
                self.answered[row, column] = True


def landscape(seed: int = 1, questions: int = 36, bound: bool = False) -> Game:
    """Configurations over four axes whose quality is the sum of what each value brings, with question noise."""
    random = np.random.default_rng(seed)
    values: dict[str, list[Any]] = {
        "model": ["scripted", "none"],
        "prompt": ["terse", "fewshot"],
        "retriever": ["bm25", "dense", "none"],
        "passages": [1, 3, 5],
    }
    found = {}
    for point in itertools.product(*values.values()):
        axes = dict(zip(values, point, strict=True))
        if axes["model"] == "none":
            axes = {axis: axes[axis] for axis in ("model", "retriever")}
        if axes["retriever"] == "none":
            axes.pop("passages", None)
        if axes == {"model": "none", "retriever": "none"}:
            continue
        configuration = Configuration(axes)
        found[configuration.id] = configuration
    if bound:
        oracle = Configuration({"model": "scripted", "retriever": "oracle"})
        found[oracle.id] = oracle
    configurations = list(found.values())
    worth = {axis: random.uniform(0, 0.25, len(options)) for axis, options in values.items()}
    worth["retriever"] = np.append(worth["retriever"], 1.0)
    places = {**values, "retriever": [*values["retriever"], "oracle"]}
    quality = np.array(
        [sum(worth[axis][places[axis].index(value)] for axis, value in each.axes.items()) for each in configurations]
    )
    scores = np.clip(quality[:, None] + random.normal(0, 0.2, (len(configurations), questions)), 0, 1)
    costs = np.exp(random.normal(4, 1, (len(configurations), 1)) + random.normal(0, 0.1, scores.shape))
    return Game(configurations=configurations, scores=scores, costs=costs)


def built(choice: Any) -> Any:
    try:
        return registry.build("strategies", choice)
    except Exception as error:
        if "is not installed" in str(error):
            missing(str(error))
        raise


def rounds(strategy: Any, game: Game, seed: int = 5, fresh: Callable[[], Any] | None = None) -> Iterator[Round]:
    """The rounds until a strategy has nothing more to ask; with ``fresh`` a new one decides each of them."""
    for number in range(2 * game.scores.size + 2):
        deciding = fresh() if fresh else strategy
        wanted = deciding.propose(game.standings(), GOAL, seed)
        if wanted is None:
            return
        assert not {row for row, _ in wanted.cells} & game.closed, "a closed configuration is not asked"
        yield wanted
        if not (fresh and number % 3 == 2):
            game.take(wanted)
        else:  # killed in the middle of the round: a part of its answers is stored
            game.take(Round(cells=sorted(wanted.cells)[: math.ceil(len(wanted.cells) / 2)]))
    pytest.fail("the strategy does not come to an end")


# ---------------------------------------------------------------------------------------------------------- contract


@every
@pytest.mark.parametrize("bound", [False, True])
def test_it_ends_asks_no_cell_twice_and_says_where_it_stands(choice: Any, bound: bool) -> None:
    game = landscape(bound=bound)
    for wanted in rounds(built(choice), game):
        assert wanted.cells
        assert wanted.said
        assert not {row for row, _ in wanted.cells} & set(wanted.out)
        assert all(wanted.out.values())
        for row, column in wanted.cells:
            assert 0 <= row < len(game.configurations)
            assert 0 <= column < game.scores.shape[1]
    assert game.answered.any()


@every
def test_it_is_deterministic(choice: Any) -> None:
    first, second = (list(rounds(built(choice), landscape())) for _ in range(2))
    assert first == second


@every
def test_one_that_starts_anew_before_every_round_goes_the_same_way(choice: Any) -> None:
    """What it keeps between calls may only be a cache: kill -9 at any moment changes no decision."""
    whole, killed = landscape(), landscape()
    straight = [set(wanted.cells) for wanted in rounds(built(choice), whole)]
    resumed: list[set[tuple[int, int]]] = []
    for wanted in rounds(None, killed, fresh=lambda: built(choice)):
        cells = set(wanted.cells)
        if resumed and cells < resumed[-1]:
            continue  # the rest of a round that was cut short
        resumed.append(cells)
    assert resumed == straight
    assert (whole.answered == killed.answered).all()


@every
@pytest.mark.parametrize("answers", [0, 3, 20])
def test_who_is_closed_on_the_way_is_left_alone_and_the_rest_goes_on(choice: Any, answers: int) -> None:
    asked = [wanted.cells[0][0] for wanted in rounds(built(choice), landscape())]
    refusing = {asked[0]: answers, asked[len(asked) // 2]: answers}
    straight, killed = landscape(), landscape()
    straight.refusing = killed.refusing = refusing
    list(rounds(built(choice), straight))
    list(rounds(None, killed, fresh=lambda: built(choice)))
    assert straight.closed or answers
    assert straight.closed == killed.closed
    assert (straight.answered == killed.answered).all()


@every
def test_scores_and_costs_that_were_lost_are_no_stumbling_block(choice: Any) -> None:
    game = landscape()
    game.scores[:, 4] = np.nan  # a question to which the metric does not apply
    game.scores[3] = np.nan
    game.scores[5, ::2] = np.nan
    game.costs[:] = np.nan
    assert sum(len(wanted.cells) for wanted in rounds(built(choice), game)) == game.answered.sum()


@every
def test_one_configuration_and_one_question_are_enough(choice: Any) -> None:
    whole = landscape(questions=1)
    game = Game(configurations=whole.configurations[:1], scores=whole.scores[:1], costs=whole.costs[:1])
    list(rounds(built(choice), game))
    assert game.answered.all()


@pytest.mark.parametrize(
    ("choice", "problems"),
    [
        ({"name": "random", "share": 0, "at_once": 0}, ["share is 0.0", "at_once is 0"]),
        ({"name": "halving", "eta": 1, "first_questions": 0}, ["eta is 1.0", "first_questions is 0"]),
        ({"name": "tpe", "share": 2, "step_questions": 0}, ["share is 2.0", "step_questions is 0"]),
        ({"name": "tpe", "objectives": "both", "pruner": "median"}, ["pruner is 'median'"]),
        ({"name": "tpe", "pruner": "best"}, ["pruner is 'best'"]),
    ],
)
def test_parameters_that_cannot_be_are_refused_together(choice: Any, problems: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        built(choice)
    assert len(refused.value.problems) == len(problems)
    for said, problem in zip(refused.value.problems, problems, strict=True):
        assert problem in said


def test_without_optuna_it_is_said_what_to_install() -> None:
    code = (
        "import sys; sys.modules['optuna'] = None\nfrom workbench import registry\nregistry.build('strategies', 'tpe')"
    )
    result = python("-c", code)
    assert "optuna" in result.stderr
    assert "pip install 'rag-workbench[search]'" in result.stderr


# ------------------------------------------------------------------------------------------------- what each promises

SEARCHES = [choice for choice in OPTIONS if choice not in ("grid", "race")]


@pytest.mark.parametrize("choice", SEARCHES, ids=str)
def test_what_knows_the_gold_answers_everything_and_changes_nothing(choice: Any) -> None:
    game, without = landscape(bound=True), landscape()
    list(rounds(built(choice), game))
    list(rounds(built(choice), without))
    assert game.configurations[-1].is_bound
    assert game.answered[-1].all()
    if registry.resolve("strategies", choice)[0] != "tpe":  # there one more value of an axis is another space
        assert (game.answered[:-1] == without.answered).all()


@settings(max_examples=30)
@given(share=st.floats(0.01, 1), at_once=st.integers(1, 9), seed=st.integers(0, 99))
def test_random_asks_its_share_everything_and_nobody_else_anything(share: float, at_once: int, seed: int) -> None:
    game = landscape(questions=6)
    last = None
    for last in rounds(built({"name": "random", "share": share, "at_once": at_once}), game, seed):
        assert len({row for row, _ in last.cells}) <= at_once
    whole = game.answered.all(axis=1)
    assert whole.sum() == math.ceil(share * len(whole))
    assert last is not None
    assert set(last.out) == set(np.flatnonzero(~whole))
    assert not game.answered[~whole].any()


def test_random_draws_every_configuration_alike() -> None:
    game = landscape(questions=1)
    count, draws = np.zeros(len(game.configurations)), 400
    for seed in range(draws):
        rows = {
            row for row, _ in next(rounds(built({"name": "random", "share": 0.25, "at_once": 99}), game, seed)).cells
        }
        game.answered[:] = False
        count[list(rows)] += 1
    expected = draws * count.sum() / draws / len(count)
    deviation = math.sqrt(expected * (1 - expected / draws))
    assert np.abs(count - expected).max() < 4.5 * deviation  # 16 binomial counts beyond 4.5 sd: below 1 in 9,000


@settings(max_examples=30)
@given(eta=st.floats(1.5, 5), first=st.integers(1, 12), seed=st.integers(0, 99))
def test_halving_keeps_the_best_by_means_on_the_same_questions(eta: float, first: int, seed: int) -> None:
    game = landscape(seed)
    before: Round | None = None
    for wanted in rounds(built({"name": "halving", "eta": eta, "first_questions": first}), game):
        if before is not None:
            heat = sorted({row for row, _ in before.cells})
            questions = 1 + max(column for _, column in before.cells)
            assert game.answered[heat, :questions].all(), "everybody of a heat answers the same questions"
            assert not game.answered[:, questions:].any(), "and nobody any other"
            kept = {row for row, _ in wanted.cells}
            fallen = set(heat) - kept
            assert len(kept) == math.ceil(len(heat) / eta)
            assert fallen == set(wanted.out) - set(before.out)
            means = game.scores[:, :questions].mean(axis=1)
            if fallen:
                assert min(means[list(kept)]) >= max(means[list(fallen)])
        before = wanted


def test_halving_prefers_the_cheaper_of_equal_ones() -> None:
    game = landscape()
    game.scores[:] = 0.5
    *_, last = rounds(built({"name": "halving", "eta": 2, "first_questions": 3}), game)
    [winner] = {row for row, _ in last.cells}
    assert winner == game.costs.mean(axis=1).argmin()


@settings(max_examples=50)
@given(seed=st.integers(0, 999), rows=st.integers(1, 6))
def test_leads_rank_as_means_do_and_forgive_lost_answers(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.uniform(0, 1, (rows, 8))
    means = scores.mean(axis=1)
    assert leads(scores) == pytest.approx(means - means.mean(), abs=1e-9)
    difficulty = random.uniform(0, 1, 8)
    skill = np.arange(rows)[:, None] / 10
    lost = difficulty + skill
    lost[0, random.integers(0, 8)] = np.nan  # however hard that question was, the weakest stays the weakest
    assert leads(lost).argmin() == 0


@pytest.mark.parametrize("pruner", ["median", "wilcoxon", "halving"])
def test_pruners_save_answers_and_never_drop_who_leads_on_the_questions_so_far(pruner: str) -> None:
    for seed in range(4):
        game, out = landscape(seed, questions=60), set()
        for wanted in rounds(built({"name": "tpe", "pruner": pruner, "share": 1.0, "step_questions": 6}), game, seed):
            for row in set(wanted.out) - out:
                questions = int(game.answered[row].sum())
                asked = game.answered[:, :questions].all(axis=1)
                assert game.scores[row, :questions].mean() < game.scores[asked, :questions].mean(axis=1).max()
                assert f"({pruner}) after {questions} questions" in wanted.out[row]
            out |= set(wanted.out)
        assert game.answered.any(axis=1).all()
        assert out <= set(np.flatnonzero(~game.answered.all(axis=1)))
        assert game.answered.mean() < 0.8


def wide_landscape(seed: int) -> Game:
    """256 configurations over four ordered axes, each with a best value somewhere; separable, a little noise."""
    random = np.random.default_rng(seed)
    values: dict[str, list[Any]] = {
        "chunk_tokens": [64, 96, 128, 192],
        "passages": [1, 2, 3, 5],
        "context_tokens": [256, 512, 1024, 2048],
        "retriever": ["bm25", "dense", "hybrid", "everything"],
    }
    points = list(itertools.product(*(range(len(options)) for options in values.values())))
    worth = random.uniform(0, 0.25, (len(values), 4))
    quality = np.array([sum(worth[axis, place] for axis, place in enumerate(point)) for point in points])
    configurations = [
        Configuration({axis: options[place] for (axis, options), place in zip(values.items(), point, strict=True)})
        for point in points
    ]
    scores = np.clip(quality[:, None] + random.normal(0, 0.05, (len(points), 8)), 0, 1)
    return Game(configurations=configurations, scores=scores, costs=np.ones(scores.shape))


@pytest.mark.parametrize("objectives", ["score", "both"])
def test_tpe_tries_better_configurations_than_chance(objectives: str) -> None:
    """A sign test over landscapes: of 14, chance alone wins as few as this in less than 1 of 1,000 suites."""
    wins = 0
    for seed in range(14):
        tried = []
        for choice in ({"name": "tpe", "objectives": objectives}, "random"):
            game = wide_landscape(seed)
            list(
                rounds(built({**(choice if isinstance(choice, dict) else {"name": choice}), "share": 0.15}), game, seed)
            )
            rows = game.answered.any(axis=1)
            assert rows.sum() == math.ceil(0.15 * len(rows))
            tried.append(game.scores[rows].mean())
        wins += tried[0] > tried[1]
    chance = sum(math.comb(14, more) for more in range(wins, 15)) / 2**14
    assert chance < 0.001, f"{wins} of 14"


# -------------------------------------------------------------------------------------------------------------- axes


def test_axes_hold_what_differs_and_what_has_no_effect() -> None:
    game = landscape()
    axes = Axes(game.configurations)
    assert axes.sizes == {"model": 2, "prompt": 2, "retriever": 3, "passages": 3}
    assert axes.ordered == {"model": False, "prompt": False, "retriever": False, "passages": True}
    for row, configuration in enumerate(game.configurations):
        assert set(axes.of(row)) == set(configuration.axes) & set(axes.sizes)
        point = {axis: max(int(place), 0) for axis, place in zip(axes.sizes, axes.places[row], strict=True)}
        assert axes.distances(point)[row] == 0
    assert (axes.places == ABSENT).any()


def test_numbers_next_to_each_other_are_nearer_than_those_at_the_ends() -> None:
    axes = Axes([Configuration({"passages": count, "min_score": count / 10}) for count in (1, 3, 5)])
    assert list(axes.distances({"passages": 0, "min_score": 0})) == [0, 1, 2]
    plugins: list[Any] = ["bm25", {"name": "hybrid", "weight": 0.5}, {"name": "hybrid", "weight": 0.7}]
    axes = Axes([Configuration({"retriever": choice}) for choice in plugins])
    assert list(axes.distances({"retriever": 0})) == [0, 1, 1]


# --------------------------------------------------------------------------------------------------------- real runs


@pytest.mark.parametrize("choice", SEARCHES, ids=str)
def test_a_real_run_searches_and_running_again_asks_nothing_more(choice: Any) -> None:
    plain = experiment(strategy=choice, space={"prompt": ["terse", "fewshot"], "retriever": ["none", "bm25", "oracle"]})
    outcome = workbench.run(plain)
    assert 0 < outcome.answers <= outcome.total
    again = workbench.run(plain)
    assert again.answers == outcome.answers
    states = {figures.configuration.is_bound: figures.answers for figures in workbench.compare().figures}
    assert states[True] == 8
