"""Made-up matrices whose truth is known: sixty configurations of a RAG grid, and the worst cases a search can meet.

A configuration is a model, a retriever and a prompt (5 × 4 × 3). Its score on a question comes from a latent value: the
configuration's ability, how hard the question is, whether the retriever finds its passage, the model's own luck with it, the
luck that near-duplicates (same model, same retriever) share, and its own. Clipped to 0..1 that leaves mass at 0 and at 1, as
token F1 does. Abilities are set so that a given number of configurations lie within .02, .05 and .10 of the best. Costs
spread thirtyfold, and vary from question to question.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, pi, sqrt

import numpy as np

from benchmarks.searching.matrix import Array, Matrix

MODELS, RETRIEVERS, PROMPTS = 5, 4, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """What a landscape looks like: ``within`` are (distance to the best, how many configurations are that near).

    ``best`` is the best mean; the weights say how much models, retrievers, prompts and chance make for a good place.
    """

    best: float
    within: tuple[tuple[float, int], ...]
    model: float
    retriever: float
    prompt: float
    chance: float


LANDSCAPES = {
    "wide": Landscape(
        best=0.65,
        within=((0.02, 2), (0.05, 5), (0.10, 14), (0.55, 60)),
        model=1.0,
        retriever=0.8,
        prompt=0.2,
        chance=0.25,
    ),
    "typical": Landscape(
        best=0.60,
        within=((0.02, 3), (0.05, 9), (0.10, 22), (0.35, 60)),
        model=0.8,
        retriever=0.7,
        prompt=0.3,
        chance=0.4,
    ),
    "flat": Landscape(
        best=0.55,
        within=((0.02, 7), (0.05, 23), (0.10, 50), (0.16, 60)),
        model=0.4,
        retriever=0.4,
        prompt=0.3,
        chance=0.5,
    ),
    "easy": Landscape(
        best=0.55,
        within=((0.02, 2), (0.12, 2), (0.50, 60)),
        model=1.0,
        retriever=0.8,
        prompt=0.2,
        chance=0.25,
    ),
}
"""``within`` as in real RAG grids, where near-ties are the rule; in the easy one the next-best trails by more than .10."""

_LATENT = {"difficulty": 0.45, "hit": 0.28, "model": 0.26, "group": 0.18, "own": 0.18}  # standard deviations
_SPREAD = sqrt(sum(deviation**2 for deviation in _LATENT.values()))
_COST_OF_QUESTION, _COST_OF_ANSWER = 0.3, 0.6  # of the logarithm
_MODEL_COST, _RETRIEVER_COST, _PROMPT_COST = 10.0, 2.5, 1.2  # dearest to cheapest; thirtyfold together


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A matrix drawn from a landscape, with the means that its questions are a sample of."""

    matrix: Matrix
    means: Array


def draw(name: str, questions: int, seed: int) -> Drawn:
    """A matrix of a landscape; the same seed gives the same."""
    landscape = LANDSCAPES[name]
    dice = np.random.default_rng([seed, questions, list(LANDSCAPES).index(name)])
    model, retriever, prompt = (part.ravel() for part in np.indices((MODELS, RETRIEVERS, PROMPTS)))
    merit = (
        landscape.model * (model / (MODELS - 1) + dice.normal(0, 0.2, MODELS)[model])
        + landscape.retriever * (np.sqrt(retriever / (RETRIEVERS - 1)) + dice.normal(0, 0.2, RETRIEVERS)[retriever])
        + landscape.prompt * dice.normal(0, 1, (MODELS, PROMPTS))[model, prompt]
        + landscape.chance * dice.normal(0, 1, len(model))
    )
    means = np.empty(len(model))
    means[np.argsort(-merit)] = landscape.best - _gaps(landscape, dice)
    latent = (
        _ability(means)[:, None]
        + _LATENT["difficulty"] * dice.normal(size=questions)
        + _LATENT["hit"] * dice.normal(size=(RETRIEVERS, questions))[retriever]
        + _LATENT["model"] * dice.normal(size=(MODELS, questions))[model]
        + _LATENT["group"] * dice.normal(size=(MODELS, RETRIEVERS, questions))[model, retriever]
        + _LATENT["own"] * dice.normal(size=(len(model), questions))
    )
    typical = (
        _MODEL_COST ** (model / (MODELS - 1))
        * _RETRIEVER_COST ** (retriever / (RETRIEVERS - 1))
        * _PROMPT_COST ** (prompt / (PROMPTS - 1))
    )
    varied = _lognormal(dice, _COST_OF_QUESTION, (1, questions)) * _lognormal(
        dice, _COST_OF_ANSWER, (len(model), questions)
    )
    joules = typical[:, None] * varied
    axes = tuple(
        {"model": f"m{a}", "retriever": f"r{b}", "prompt": f"p{c}"}
        for a, b, c in zip(model, retriever, prompt, strict=True)
    )
    return Drawn(matrix=_matrix(name, np.clip(latent, 0.0, 1.0), joules, axes), means=means)


def _gaps(landscape: Landscape, dice: np.random.Generator) -> Array:
    """Distances to the best, ascending: exactly as many within each bound as the landscape says."""
    gaps, reached, counted = [0.0], 0.0, 1
    for bound, count in landscape.within:
        gaps += sorted(dice.uniform(reached, bound, count - counted))
        reached, counted = bound, count
    return np.array(gaps)


def _ability(means: Array) -> Array:
    """The latent values whose clipped normal has these means; from a table, as there is no closed form."""
    table = np.linspace(-3.0, 4.0, 2001)
    return np.interp(means, [_clipped_mean(value) for value in table], table)


def _clipped_mean(centre: float) -> float:
    """The mean of a normal around ``centre`` with deviation ``_SPREAD``, clipped to 0..1."""

    def above(bound: float) -> float:  # E max(Z − bound, 0)
        z = (centre - bound) / _SPREAD
        return _SPREAD * (z * (1 + erf(z / sqrt(2))) / 2 + exp(-z * z / 2) / sqrt(2 * pi))

    return above(0.0) - above(1.0)


def _lognormal(dice: np.random.Generator, deviation: float, shape: tuple[int, ...]) -> Array:
    """Lognormal factors with mean 1."""
    return np.exp(dice.normal(-(deviation**2) / 2, deviation, shape))


def _matrix(name: str, scores: Array, joules: Array, axes: tuple[dict[str, str], ...]) -> Matrix:
    rows, questions = scores.shape
    return Matrix(
        name=name,
        configurations=tuple(f"c{row:02}" for row in range(rows)),
        axes=axes,
        questions=tuple(f"q{column}" for column in range(questions)),
        scores=scores,
        joules=joules,
        tokens=np.round(joules * 20),
    )


# ----------------------------------------------------------------------------------------------------- worst cases

WORST_CASES = ("binary", "losses only", "F1-like")


def worst_case(kind: str, margin: float, questions: int, seed: int, rows: int = 60) -> Matrix:
    """One best configuration, the dearest, and all others cheaper and one question's score beyond the margin below it."""
    dice = np.random.default_rng([seed, questions, WORST_CASES.index(kind)])
    lost = int(np.floor(margin * questions + 1e-9)) + 1
    if kind == "losses only":
        scores = np.ones((rows, questions))
        for row in range(1, rows):
            scores[row, dice.choice(questions, lost, replace=False)] = 0.0
    elif kind == "binary":
        right = int(0.6 * questions)
        scores = np.zeros((rows, questions))
        for row in range(rows):
            scores[row, dice.choice(questions, right if row == 0 else right - lost, replace=False)] = 1.0
    else:
        hard = dice.normal(0, 0.4, questions)
        scores = np.clip(0.6 + hard + dice.normal(0, 0.5, (rows, questions)), 0.0, 1.0)
        target = scores[0].mean() - lost / questions
        for row in range(1, rows):
            scores[row] = _with_mean(scores[row], target)
    joules = np.linspace(30.0, 1.0, rows)[:, None] * _lognormal(dice, _COST_OF_ANSWER, (rows, questions))
    axes = tuple({"model": f"m{row}", "retriever": "r0", "prompt": "p0"} for row in range(rows))
    return _matrix(kind, scores, joules, axes)


def _with_mean(scores: Array, mean: float) -> Array:
    """Scores moved towards 0 or towards 1 until they have a mean, keeping those that are 0 or 1 where they can be."""
    now = scores.mean()
    if now > mean:
        return scores * (mean / now)
    return 1 - (1 - scores) * ((1 - mean) / (1 - now))
