"""How far a run is from its end: how much of its budget is used, and how long it will still take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.launch import RunProgress
from workbench.prices import dollars, price
from workbench.records import Triple, plugin_name
from workbench.specification import Budget
from workbench.standing import spent_so_far, tallied
from workbench.stats import Array
from workbench.store import RunRecord, Store
from workbench.tally import Tally

_Z = 1.96  # 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One bound of a run's budget; ``used`` is ``None`` where it is not known."""

    unit: str
    used: float | None
    bound: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """How far a run is from its end.

    ``remaining_seconds`` are low, central, high until everything that may still be asked was, at the pace so far; ``None``:
    not known. ``at_most``: the strategy may end before that.
    """

    gauges: tuple[Gauge, ...]
    remaining_seconds: Triple | None
    at_most: bool


def outlook(progress: RunProgress, *, store: Store | None = None) -> Outlook | None:
    """How much of its budget a run has used, and how long it will still take; ``None`` before it has written anything."""
    store = store or Store(create=False)
    record = store.find(progress.run)
    if record is None or not progress.trials:
        return None
    tallies = tallied(store, record, store.trials(record.id))
    return Outlook(
        gauges=tuple(_gauges(progress, store, record, tallies)),
        remaining_seconds=_remaining(progress, tallies) if progress.live else None,
        at_most=plugin_name(record.experiment.get("strategy", "grid")) != "grid",
    )


def _gauges(progress: RunProgress, store: Store, record: RunRecord, tallies: Sequence[Tally]) -> Iterable[Gauge]:
    budget = Budget.model_validate(record.experiment["budget"])
    bounds = {unit: bound for unit, bound in budget if bound is not None}
    if not bounds:
        return
    spent = spent_so_far(store, record, tallies)
    paid = None
    if spent is not None:
        paid = dollars(spent.elsewhere, {model: price(model) for model in spent.elsewhere}) if spent.elsewhere else 0.0
    used = {
        "minutes": None if progress.seconds is None else progress.seconds / 60,
        "watt_hours": None if progress.joules is None else progress.joules.central / 3600,
        "tokens": 0.0 if spent is None else float((spent.tokens_in or 0) + (spent.tokens_out or 0)),
        "calls": float(progress.answers),
        "dollars": paid,
    }
    for unit, bound in bounds.items():
        yield Gauge(unit=unit, used=used[unit], bound=float(bound))


def _remaining(progress: RunProgress, tallies: list[Tally]) -> Triple | None:
    """Answers still to come × seconds of each, as configurations have taken so far, with everything around them.

    The range is that of the means (95 %); of a configuration that has answered nothing, from the fastest to the slowest.
    """
    took_each = [values[~np.isnan(values)] for values in (tally["ran_seconds"] for tally in tallies)]
    means = [(_mean(values), _error(values), len(values)) for values in took_each]
    known = [mean for mean, _, count in means if count]
    took = sum(mean * count for mean, _, count in means)
    if not known or not progress.seconds or not took:
        return None
    around = max(progress.seconds / took, 0.0)
    middle = took / sum(count for _, _, count in means)
    low = central = high = 0.0
    for trial, (mean, error, count) in zip(progress.trials, means, strict=True):
        left = trial.total - trial.answers if trial.state == "racing" else 0
        if left <= 0:
            continue
        low += left * (max(mean - _Z * error, 0.0) if count else min(known))
        central += left * (mean if count else middle)
        high += left * (mean + _Z * error if count else max(known))
    return low * around, central * around, high * around


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else 0.0


def _error(values: Array) -> float:
    """The standard error of the mean; of a single value, as large as the value."""
    if len(values) < 2:
        return _mean(values)
    return float(values.std(ddof=1)) / math.sqrt(len(values))
