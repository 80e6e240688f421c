"""What an answer of each configuration takes before anything ran, and what so many answers of each come to.

Arrays have a row for each configuration and the columns low, central, high; NaN is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from workbench import hosted, registry
from workbench.calibration import ModelRates, Took, static_key, with_passages
from workbench.expected import calls
from workbench.footprint import Estimate, exactly, footprint
from workbench.grids import Site
from workbench.ledger import price
from workbench.plans import Work
from workbench.prices import Price, dollars
from workbench.rates import Rates
from workbench.records import Coefficients, Configuration, Energy, PluginChoice, Reading, plugin_label, plugin_name
from workbench.sampling import Lengths

_DRIFT = (
    0.1  # of seconds and CPU-seconds, either way: a machine is not the same from one quarter of an hour to the next
)
_GUESSED = 0.5  # of what a guess of a call's tokens may be off, either way
_LIKELY_SHARE = 0.5  # of max_tokens, where no answer was looked at

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PerAnswer:
    """Tokens, seconds, joules and dollars of one answer by configuration, each of shape (configurations, 3).

    ``bought`` says which configurations ask a model that is paid for.
    """

    tokens_in: Array
    tokens_out: Array
    seconds: Array
    joules: Array
    dollars: Array
    bought: NDArray[np.bool_]


def runs_elsewhere(choice: PluginChoice) -> bool:
    """Whether a model is a provider's."""
    return registry.resolve("models", choice)[0] == "langchain"


def booked_as(choice: PluginChoice) -> str:
    """The name under which a provider's model is booked, with what the choice says of its size."""
    given = {} if isinstance(choice, str) else choice
    said = {key: given[key] for key in ("active_billion", "total_billion", "batch") if key in given}
    return hosted.known_as(plugin_name(choice), **said)


def per_answer(
    configurations: Sequence[Configuration],
    lengths: Lengths,
    *,
    rates: Mapping[str, ModelRates],
    finding: Callable[[Configuration], Took],
    coefficients: Coefficients,
    prices: Mapping[str, Price | None],
    answers: int,
) -> PerAnswer:
    """What one answer of each configuration takes.

    ``rates`` are those of the models that were timed here, by ``plugin_label`` of their choice; ``finding`` says what the
    rest of an answer takes; ranges of seconds are those of the mean of so many ``answers``.
    """
    count = len(configurations)
    tokens_in, tokens_out = lengths.mean.copy(), np.zeros((count, 3))
    cpu, seconds = np.zeros((count, 3)), np.zeros((count, 3))
    elsewhere, paid = np.zeros((count, 3)), np.zeros((count, 3))
    bought = np.zeros(count, dtype=bool)

    @cache
    def written(model: str, prompt: str, passages: bool, max_tokens: int) -> Array:
        known = rates.get(model)
        if known is None or not known.written:
            return _written((), (), max_tokens)
        everything = [tokens for each in known.written.values() for tokens in each]
        return _written(known.written.get((prompt, passages), everything), everything, max_tokens)

    @cache
    def generating(model: str, fresh: int, out: float) -> tuple[Array, Array]:
        known = rates[model]
        return _estimated(known.cpu_seconds, fresh, out, answers), _estimated(known.seconds, fresh, out, answers)

    for row, configuration in enumerate(configurations):
        if row in lengths.refused:
            continue
        rest = finding(configuration)
        cpu[row], seconds[row] = rest.cpu_seconds, rest.seconds
        for call in calls(configuration):
            model = plugin_label(call.model)
            read, out, cached = _about(call.tokens_in), _about(call.tokens_out), 0.0
            if call.own:
                read = lengths.mean[row]
                out = written(model, configuration["prompt"], with_passages(configuration), configuration["max_tokens"])
                if model in rates:
                    cached = min(rates[model].cached.get(static_key(configuration), 0.0), read[1] - 1)
            else:
                tokens_in[row] += read
            tokens_out[row] += out
            if runs_elsewhere(call.model):
                bought[row] = True
                elsewhere[row] += _joules_elsewhere(call.model, read, out, coefficients)
                paid[row] += _paid(call.model, read, out, prices)
                seconds[row] = np.nan  # a provider's pace is not known before it is asked
            elif model in rates:
                fresh = max(read[1] - cached, 1.0)
                wide = 1 + (read - read[1]) / fresh  # what is not known of the prompt is all uncached
                own_cpu, own_seconds = generating(model, round(fresh), round(float(out[1]), 1))
                cpu[row] += own_cpu * np.maximum(wide, 0.0)
                seconds[row] += own_seconds * np.maximum(wide, 0.0)
            else:
                cpu[row] = seconds[row] = np.nan
    here = cpu * np.array(coefficients.watts_per_busy_vcpu)
    return PerAnswer(
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        seconds=seconds,
        joules=here + elsewhere,
        dollars=paid,
        bought=bought,
    )


def _about(value: float) -> Array:
    return value * np.array([1 - _GUESSED, 1.0, 1 + _GUESSED])


def _written(seen: Sequence[float], everything: Sequence[float], max_tokens: int) -> Array:
    """Tokens of an answer: the mean of those seen, none longer than allowed; without any, anything that is allowed.

    How far they scatter is told by ``everything`` that the model wrote, and by two answers more, one of no token and one
    of all that is allowed: a few that were alike prove little.
    """
    if not seen:
        return np.array([1.0, _LIKELY_SHARE * max_tokens, float(max_tokens)])
    mean = float(np.minimum(seen, max_tokens).mean())
    scatter = float(np.append(np.minimum(everything, max_tokens), [0.0, float(max_tokens)]).std())
    off = 2 * scatter / sqrt(len(seen))
    return np.array([max(mean - off, 0.0), mean, min(mean + off, float(max_tokens))])


def _estimated(rates: Rates | None, fresh: float, written: float, answers: int) -> Array:
    found = None if rates is None else rates.estimate(fresh, written, answers)
    if found is None:
        return np.full(3, np.nan)
    low, central, high = found
    return np.array([low * (1 - _DRIFT), central, high * (1 + _DRIFT)])


def _joules_elsewhere(choice: PluginChoice, read: Array, out: Array, coefficients: Coefficients) -> Array:
    """Joules at the provider's servers; the range is that of tokens and of the coefficients."""
    name, found = booked_as(choice), []
    for level in range(3):
        tokens = (float(read[level]), 0.0, float(out[level]))
        energy = price(Reading(seconds=0.0, cpu_seconds=0.0, elsewhere={name: tokens}), coefficients)
        found.append(np.nan if energy is None else (energy.low, energy.central, energy.high)[level])
    return np.array(found)


def _paid(choice: PluginChoice, read: Array, out: Array, prices: Mapping[str, Price | None]) -> Array:
    name = booked_as(choice)
    paid = [dollars({name: (float(read[level]), 0.0, float(out[level]))}, prices) for level in range(3)]
    return np.array([np.nan if each is None else each for each in paid])


# ---------------------------------------------------------------------------------------------------------- totals


def work(each: PerAnswer, counts: Array, coefficients: Coefficients, site: Site | None) -> Work:
    """What so many answers of each configuration take: ``counts`` of shape (3, configurations), low, central, high."""

    def total(values: Array, where: NDArray[np.bool_] | None = None) -> Estimate | None:
        asked = (counts > 0).any(axis=0) if where is None else (counts > 0).any(axis=0) & where
        if np.isnan(values[asked]).any():
            return None
        low, central, high = (float(counts[level][asked] @ values[asked, level]) for level in range(3))
        return Estimate(low, central, high)

    joules = total(each.joules)
    energy = None
    if joules is not None:
        modelled = bool(each.bought[(counts > 0).any(axis=0)].any())
        energy = Energy(
            low=joules.low,
            central=joules.central,
            high=joules.high,
            source="modelled" if modelled else "cpu_time",
            includes=coefficients.includes,
        )
    paid = total(each.dollars) if each.bought.any() else None
    at_site = None if energy is None or site is None else footprint(energy, site)
    if at_site is not None and at_site.dollars is not None and not each.bought.any():
        paid = at_site.dollars  # electricity, where its price was given
    return Work(
        calls=Estimate(*(float(row.sum()) for row in counts)),
        tokens_in=total(each.tokens_in) or exactly(0.0),
        tokens_out=total(each.tokens_out) or exactly(0.0),
        seconds=total(each.seconds),
        joules=energy,
        grams_co2e=None if at_site is None else at_site.grams_co2e,
        dollars=paid,
    )
