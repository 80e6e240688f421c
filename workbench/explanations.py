"""How a comparison's figures are known, in sentences that go under every table."""

from __future__ import annotations

import numpy as np

from workbench.coefficients import restore
from workbench.comparison import Comparison, winners
from workbench.footprint import payback, plus, ratio
from workbench.losses import EXPLAINED, Loss, sentence
from workbench.prices import INSTALL, dollars
from workbench.recommendation import choose
from workbench.texts import (
    energy_text,
    number,
    range_text,
    rates_text,
    significant,
)


def notes(comparison: Comparison) -> list[str]:
    """How the figures are known, in sentences that go under every table."""
    coefficients = comparison.environment["coefficients"]
    low, central, high = coefficients["watts_per_busy_vcpu"]
    goal = comparison.goal
    found = [
        f"Scores: mean over {_questions(comparison)} with {goal.confidence:.0%} bootstrap intervals; "
        f"an answer counts as correct from {goal.metric} 0.5 on.",
    ]
    known = {figures.joules.source for figures in comparison.figures if figures.joules is not None}
    if "counter" in known:
        found.append(
            "Joules: read from the machine's energy counters (± 10 % of what they meter; without power supply, fans and disks), "
            "this process's share of them by CPU time."
        )
    if known != {"counter"}:
        found.append(
            f"Joules: estimated from this process's CPU time × {central} W per busy vCPU ({low}–{high} W; "
            f"{coefficients['processor']}; source: {coefficients['source']}). Includes {_included(comparison)}. "
            "The range is common to all rows: comparisons are tighter than it."
        )
    found += _net(comparison) + _partly_known(comparison) + _spread(comparison)
    problems = comparison.environment.get("meter_problems") or {}
    found += [f"The meter could not read {what}: {why}." for what, why in problems.items()]
    found += _hosted(comparison) + _located(comparison) + _rates(comparison)
    if any(figures.seconds is not None and figures.seconds.disturbed for figures in comparison.figures):
        found.append("*: other processes kept more than 10 % of the machine busy meanwhile; latency is disturbed.")
    if any(figures.rebuilt for figures in comparison.figures):
        count = sum(figures.rebuilt for figures in comparison.figures)
        found.append(
            f"{count} answers rest on work that was done for others (the same search or prompt), or found more or less of their "
            "prompt cached than their own static prefix; what they cost is given as if each had run alone."
        )
    found += _repeats(comparison) + _disagreement(comparison) + _lost(comparison)
    judges = comparison.environment.get("judges", {}).get("prompts", {})
    found += [
        f"{name}, whose tokens and energy are overhead, was asked: {' '.join(text.split())}"
        for name, text in judges.items()
    ]
    spent = comparison.spent
    if spent.one_off_joules is not None and spent.one_off_per_answer is not None:
        works = ", ".join(f"{work} {number(reading.cpu_seconds, 1)}" for work, reading in spent.one_offs.items())
        found.append(
            f"One-off work (CPU-seconds: {works}): {energy_text(spent.one_off_joules)} J in all, "
            f"{significant(spent.one_off_per_answer.central)} J per answer over the {spent.answers} answers of this run; "
            "not part of the joules per answer above."
        )
    return found + _bought(comparison) + _payback(comparison)


def _questions(comparison: Comparison) -> str:
    """How many questions a setup's figures are about: alike for all, or from the fewest to the most."""
    asked, total = comparison.spent.asked.values(), len(comparison.matrix.questions)
    fewest, most = min(asked, default=total), max(asked, default=total)
    return (
        f"{most} questions"
        if fewest == most
        else f"the {fewest} to {most} of {total} questions that each setup was asked,"
    )


def _included(comparison: Comparison) -> str:
    """What the joules estimated from CPU time hold, as the meter was told."""
    joules = (figures.joules for figures in comparison.figures)
    said = next((each.includes for each in joules if each is not None and each.source == "cpu_time"), "")
    return said or str(comparison.environment["coefficients"]["includes"])


def _net(comparison: Comparison) -> list[str]:
    """Gross and net where counters told the machine's idle power apart."""
    told = [
        f"{figures.configuration.label} {significant(figures.joules.central)} gross, {significant(net.central)} net"
        for figures in comparison.figures
        if figures.joules is not None and (net := figures.net_joules) is not None
    ]
    if not told:
        return []
    return [f"Joules are gross, with a share of the machine's idle power, and decide so; net of it: {'; '.join(told)}."]


def _partly_known(comparison: Comparison) -> list[str]:
    """Of how many answers the joules and tokens are known, where it is not all of them."""
    found = []
    for figures in comparison.figures:
        if figures.known < figures.measured and figures.known:
            found.append(
                f"Joules of {figures.configuration.label}: the mean of {figures.known:,} of {figures.measured:,} answers; "
                "the work of the others is not known, such as of those that a provider refused without counting tokens."
            )
        if 0 < figures.uncounted < figures.measured:
            found.append(
                f"Tokens of {figures.configuration.label}: the mean of {figures.measured - figures.uncounted:,} of "
                f"{figures.measured:,} answers; nobody counted those of the others."
            )
    return found


def _spread(comparison: Comparison) -> list[str]:
    """What spreading one-off work over answers means."""
    if comparison.over_answers is None:
        return []
    return [
        f"One-off work over {comparison.over_answers:,} answers: one loading of the model and one building of the index, "
        "divided by so many, on top of the joules per answer; judges and the search itself are not in it, and the choice "
        "does not look at it."
    ]


def _rates(comparison: Comparison) -> list[str]:
    """What a token takes of every model, or why that is not told."""
    said = [rates_text(model, found) for model, found in comparison.rates.items()]
    if not said:
        return []
    rebuilt = sum(stage.rebuilt for figures in comparison.figures for stage in figures.stages.values()) // 2
    more = (
        f" They divide {rebuilt:,} generations, whose engine told no timings, into prefill and decode."
        if rebuilt
        else ""
    )
    return [f"Per uncached prompt token and per output token, by least squares: {'; '.join(said)}.{more}"]


def _hosted(comparison: Comparison) -> list[str]:
    """How the energy of models that run elsewhere is known, or why it is not."""
    known = restore(comparison.environment["coefficients"])
    found = []
    for name, model in known.hosted.items():
        prompt, output = (
            f"{central:.3g} ({low:.3g}–{high:.3g}) J"
            for low, central, high in (model.joules_per_prompt_token, model.joules_per_output_token)
        )
        beside = model.ecologits_joules_per_output_token
        alone = f"EcoLogits alone: {beside[0]:.3g}–{beside[1]:.3g} J per output token. " if beside else ""
        found.append(
            f"Joules of {name} are modelled, not measured: {prompt} per token of the prompt, {output} per token of the output, "
            f"for {model.active_billion:.3g} of {model.total_billion:.3g} billion parameters at work. {alone}"
            f"{'. '.join((f'Source: {model.source}', f'Includes {model.includes}', *model.notes))}."
        )
    return found + [f"Energy of {name} is {why}." for name, why in known.not_estimated.items()]


def _located(comparison: Comparison) -> list[str]:
    """Where the energy is assumed to be used, and what CO2e, water and money are made from."""
    site = comparison.site
    if site is None:
        return []
    if site.grid is None:
        return [f"CO2e: not estimated for {site.region.name}: {site.lacking}."]
    grid, facility = site.grid, site.facility
    low, central, high = map(significant, grid.grams_per_kwh)
    pue_low, pue, pue_high = (f"{value:.2f}" for value in facility.pue)
    where = site.region.place if site.region.place == site.region.name else f"{site.region.name} ({site.region.place})"
    found = [
        f"CO2e: joules × PUE {pue} ({pue_low}–{pue_high}; {facility.place}) × {central} g/kWh ({low}–{high}), the average of "
        f"{where}, {'year not stated' if grid.year is None else grid.year} ({grid.source}). Making the electricity only, by "
        "location and not by contract; making the hardware is not in it. The ranges of PUE and grid are common to all rows."
    ]
    if comparison.goal.minimise == "grams_co2e":
        found.append(
            "What is minimised is that of making the electricity, and of making the hardware where EcoLogits knows a model's; "
            "of hardware here, and of other models', nobody says it."
        )
    for model, known in sorted(comparison.prices.items()):
        found.append(
            f"{model}: not priced; name it in prices.csv, or: {INSTALL}."
            if known is None
            else f"{model}: {known.dollars_per_million_in:g} dollars per million tokens in, "
            f"{known.dollars_per_million_cached:g} cached, {known.dollars_per_million_out:g} out ({known.source})."
        )
    return found


def _payback(comparison: Comparison) -> list[str]:
    """After how many answers the chosen configuration has saved what the run took, against the one of the best score."""
    best = winners(comparison).get(comparison.goal.metric)
    choice = choose(comparison).chosen
    spent, one_off = comparison.spent.answering, comparison.spent.one_off_joules
    if best is None or best.joules is None or choice is None or choice.id == best.configuration.id or spent is None:
        return []
    chosen = comparison.of(choice.id)
    if chosen.joules is None:
        return []
    whole = spent if one_off is None else plus(spent, one_off)
    found = payback(whole, best.joules, chosen.joules)
    times = ratio(chosen.joules, best.joules)
    said = f"{chosen.configuration.label} takes {significant(times.central)} times the joules"
    said += "" if significant(times.low) == significant(times.high) else f" ({range_text(times)})"
    said += f" of {best.configuration.label}, the best score. This run took {energy_text(whole)} J"
    if found is None:
        return [f"{said}, which are never paid back: nothing is saved."]
    count = f"{found.central:,.0f}"
    if not np.isfinite(found.high):
        count += f" (from {found.low:,.0f} on)"
    elif round(found.low) != round(found.high):
        count += f" ({found.low:,.0f}–{found.high:,.0f})"
    return [f"{said}, saved again after {count} answers."]


def _bought(comparison: Comparison) -> list[str]:
    """What judges and other one-off work asked of models: tokens, and dollars where they were bought; overhead, all of it."""
    found = []
    for work, reading in comparison.spent.one_offs.items():
        if reading.elsewhere or reading.tokens_in:
            paid = dollars(reading.elsewhere, comparison.prices)
            price = (
                f", {significant(paid)} dollars" if paid is not None else ", not priced" if reading.elsewhere else ""
            )
            tokens = f"{reading.tokens_in or 0:,} tokens in, {reading.tokens_out or 0:,} out"
            found.append(f"Overhead of {work}: {tokens}{price}; in no answer's cost.")
    return found


def _repeats(comparison: Comparison) -> list[str]:
    """How much sampling moves the deciding score of one question, where questions were asked more than once."""
    varied = [
        f"{figures.configuration.label} {figures.repeat_deviation:.3f}"
        for figures in comparison.figures
        if figures.repeat_deviation is not None
    ]
    said = f"Standard deviation of {comparison.goal.metric} between repeats of a question: {'; '.join(varied)}."
    return [said] if varied else []


def _disagreement(comparison: Comparison) -> list[str]:
    """One sentence where metrics of answers do not agree on the best configuration."""
    best = winners(comparison)
    if len({figures.configuration.id for figures in best.values()}) < 2:
        return []
    said = "; ".join(
        f"{metric}: {figures.configuration.label} [{figures.configuration.id}]" for metric, figures in best.items()
    )
    return [f"Metrics disagree on the best setup. {said}. The choice follows {comparison.goal.metric}."]


def _lost(comparison: Comparison) -> list[str]:
    """Where the best-scoring configuration loses its wrong answers, and what could recover most of them."""
    best = winners(comparison).get(comparison.goal.metric)
    if best is None or not best.losses:
        return []
    counts: dict[Loss, int] = {place: best.losses[place] for place in EXPLAINED if place in best.losses}
    return [f"Where answers are lost by {best.configuration.label}: {sentence(counts, best.answers)}"]
