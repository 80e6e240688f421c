"""What a token of the prompt and one of the output take of a model on a machine: a least-squares fit over a run's answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.ledger import scale
from workbench.records import Answer, Reading

FEWEST_ANSWERS = 12
"""Answers a fit takes: three coefficients and enough besides to say how far off they are."""

FARTHEST = 2.0
"""How many times beyond the token counts seen, either way, an estimate is given."""

GENERATION = ("prefill", "decode", "generate")
"""The stages of an answer's own generation."""

_CONFIDENCE = 0.95

Array = NDArray[np.float64]
Quantity = Literal["cpu_seconds", "seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """``constant + per_token_in · uncached prompt tokens + per_token_out · output tokens``, none of them negative.

    The unit is that of the values fitted. A rate is ``None`` where its tokens never varied: they are in the constant then,
    and nothing can be said of any other number of them. ``r_squared`` is the share of the values' variance that is told
    (``None``: they did not vary), ``residual_sd`` the standard deviation of what is not; ``seen_in`` and ``seen_out`` are the
    fewest and the most tokens of an answer. ``spread`` is the inverse of the normal matrix, for the range of an estimate.
    """

    constant: float
    per_token_in: float | None
    per_token_out: float | None
    r_squared: float | None
    residual_sd: float
    seen_in: tuple[float, float]
    seen_out: tuple[float, float]
    answers: int
    spread: tuple[tuple[float, ...], ...]

    def refusal(self, tokens_in: float, tokens_out: float) -> str:
        """Why no estimate is given for so many tokens; empty where there is one."""
        for what, tokens, rate, (fewest, most) in (
            ("uncached prompt tokens", tokens_in, self.per_token_in, self.seen_in),
            ("output tokens", tokens_out, self.per_token_out, self.seen_out),
        ):
            if rate is None and tokens != fewest:
                return f"{tokens:g} {what}: every answer had {fewest:g}, so that no other number can be told"
            if not fewest / FARTHEST <= tokens <= most * FARTHEST:
                return (
                    f"{tokens:g} {what}: answers had {fewest:g} to {most:g}, and {FARTHEST:g} times beyond is too far"
                )
        return ""

    def estimate(self, tokens_in: float, tokens_out: float, answers: int = 1) -> tuple[float, float, float] | None:
        """Low, central and high of the mean of so many answers with these tokens each; ``None`` where ``refusal`` says why.

        The range holds 95 % of such means, as far as answers scatter like those of the fit: central ± t · residual_sd ·
        √(1 / answers + x' (X'X)⁻¹ x), the textbook interval of a prediction, cut at 0.
        """
        if self.refusal(tokens_in, tokens_out):
            return None
        point = np.array([1.0, tokens_in, tokens_out])
        central = float(point @ [self.constant, self.per_token_in or 0.0, self.per_token_out or 0.0])
        leverage = max(float(point @ np.array(self.spread) @ point), 0.0)
        width = _students(self.answers - _freedom(self)) * self.residual_sd * math.sqrt(1 / answers + leverage)
        return max(central - width, 0.0), central, central + width

    def prefill_share(self, tokens_in: float, tokens_out: float) -> float | None:
        """The share of reading the prompt, the constant with it, in a generation of so many tokens; ``None``: not told."""
        if self.per_token_in is None or self.per_token_out is None or self.refusal(tokens_in, tokens_out):
            return None
        read = self.constant + self.per_token_in * tokens_in
        whole = read + self.per_token_out * tokens_out
        return read / whole if whole > 0 else None


def fit(readings: Sequence[tuple[float, float, float]] | Array) -> Rates | None:
    """Rates from answers as rows (uncached prompt tokens, output tokens, value ≥ 0), by least squares with coefficients ≥ 0.

    ``None`` where ``lacking`` says why. With three coefficients every set that might be above 0 can be tried: the best of
    those that come out without a negative one is the minimum, because the problem is convex.
    """
    if lacking(readings):
        return None
    table = np.array(readings, dtype=np.float64)
    values = table[:, 2]
    design = _design(table)
    used = [column for column in range(3) if column == 0 or np.ptp(design[:, column]) > 0]
    error, chosen, found = min(_solutions(design, values, used), key=lambda solution: solution[0])
    coefficients, spread = np.zeros(3), np.zeros((3, 3))
    coefficients[list(chosen)] = found
    columns = design[:, chosen]
    spread[np.ix_(chosen, chosen)] = np.linalg.inv(columns.T @ columns)
    variance = float(((values - values.mean()) ** 2).sum())
    return Rates(
        constant=float(coefficients[0]),
        per_token_in=float(coefficients[1]) if 1 in used else None,
        per_token_out=float(coefficients[2]) if 2 in used else None,
        r_squared=1 - error / variance if variance > 0 else None,
        residual_sd=math.sqrt(error / (len(values) - len(used))),
        seen_in=(float(design[:, 1].min()), float(design[:, 1].max())),
        seen_out=(float(design[:, 2].min()), float(design[:, 2].max())),
        answers=len(values),
        spread=tuple(tuple(float(value) for value in row) for row in spread),
    )


def _solutions(
    design: Array, values: Array, used: Sequence[int]
) -> Iterator[tuple[float, tuple[int, ...], NDArray[Any]]]:
    """Squared error, columns and coefficients of every set of columns that fits without a negative coefficient.

    The constant alone always does, values being at least 0.
    """
    for chosen in chain.from_iterable(combinations(used, count) for count in range(1, len(used) + 1)):
        found = np.linalg.lstsq(design[:, chosen], values, rcond=None)[0]
        if (found >= 0).all():
            yield float(((values - design[:, chosen] @ found) ** 2).sum()), chosen, found


def lacking(readings: Sequence[tuple[float, float, float]] | Array) -> str:
    """Why no rates can be fitted to these; empty where they can."""
    if len(readings) < FEWEST_ANSWERS:
        return f"{len(readings)} cold, undisturbed answers; at least {FEWEST_ANSWERS} are needed"
    design = _design(np.array(readings, dtype=np.float64))
    varied = [column for column in range(3) if column == 0 or np.ptp(design[:, column]) > 0]
    if np.linalg.matrix_rank(design[:, varied]) < len(varied):
        return "prompts and outputs grow together, so that their rates cannot be told apart"
    return ""


def generations(answers: Iterable[Answer], quantity: Quantity = "cpu_seconds") -> list[tuple[float, float, float]]:
    """What ``fit`` takes, of answers that one model gave: of those that nothing disturbed and that shared no window.

    Uncached tokens are those the engine really read, so that an answer whose prompt was cached for the most part tells as
    much as one that began cold.
    """
    at = 2 if quantity == "cpu_seconds" else 3
    rows = map(generation_of, answers)
    return [(row[0], row[1], row[at]) for row in rows if not math.isnan(row[at])]


def generation_of(answer: Answer) -> tuple[float, float, float, float]:
    """An answer's uncached prompt tokens, output tokens, CPU-seconds and seconds of generating; NaN where they tell nothing."""
    nan = math.nan
    parts = [cost.reading for cost in answer.ledger.stages if cost.stage in GENERATION]
    tokens = tokens_of(parts)
    if tokens is None or not answer.undisturbed or any(part.shared for part in parts):
        return nan, nan, nan, nan
    cpu = [part.cpu_seconds for part in parts]
    known = nan if None in cpu else float(sum(each for each in cpu if each is not None))
    return (*tokens, known, float(sum(part.seconds for part in parts)))


def tokens_of(parts: Sequence[Reading]) -> tuple[float, float] | None:
    """Uncached prompt tokens and output tokens of the stages of a generation; ``None`` where either was not counted."""
    read = [part.tokens_in - (part.tokens_cached or 0) for part in parts if part.tokens_in is not None]
    written = [part.tokens_out for part in parts if part.tokens_out is not None]
    return (float(sum(read)), float(sum(written))) if read and written else None


def split(reading: Reading, rates: Rates) -> tuple[Reading, Reading] | None:
    """A generation whose parts the engine did not tell, as prefill and decode in proportion to the rates; they sum to it.

    ``None`` where the rates do not reach so far, or its tokens are unknown or were asked for elsewhere.
    """
    tokens = tokens_of([reading])
    share = None if tokens is None or reading.elsewhere else rates.prefill_share(*tokens)
    if share is None:
        return None
    return scale(reading, share, tokens_out=None), scale(reading, 1 - share, tokens_in=None, tokens_cached=None)


def _design(table: Array) -> Array:
    """The columns 1, uncached prompt tokens and output tokens."""
    return np.column_stack([np.ones(len(table)), table[:, :2]])


def _freedom(rates: Rates) -> int:
    """How many coefficients were fitted."""
    return 1 + (rates.per_token_in is not None) + (rates.per_token_out is not None)


def _students(freedom: int) -> float:
    """Student's t that leaves out 5 %, by the expansion in 1 / freedom (Abramowitz and Stegun 26.7.5), right to 1 % from 5 on."""
    z = NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
