"""What others published about the energy of hosted models, beside our estimate and EcoLogits alone.

    python benchmarks/validation.py
    python benchmarks/validation.py --csv > validation.txt

Every row is compared at the boundary of the published figure: ``gpu`` the accelerators, ``it`` the whole servers,
``all_in`` with the data centre's cooling (its PUE is in the table). Our coefficients (``workbench/tables/hosted.csv``)
are frozen from their sources and were never fitted to this table, but the fit of decoding descends from the ML.ENERGY
leaderboard, so that its rows are marked as not independent. Rows outside the ``domain`` were measured on older hardware
or at a batch below the 16 that the high figure assumes: they say how far off one is who applies the model there. Ratios
are central ÷ published; the spread is the geometric standard deviation. The last line is the share of rows inside low to
high, of those whose two lengths are known or assumed.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from workbench import registry
from workbench.coefficients import coefficients, with_hosted
from workbench.hosted import decoding_joules, hosted_coefficients, numbers
from workbench.ledger import price
from workbench.records import HostedCoefficients, Reading, Triple

TABLE = Path(__file__).with_suffix(".csv")
_LONG = 10_000  # tokens of prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A published figure and what is said of it: joules at its boundary; ``ecologits`` is low and high.

    ``at_batch`` is the fit at the batch that was measured, where that is known; the product never knows it.
    """

    said: dict[str, str]
    published: float
    ours: Triple
    ecologits: tuple[float, float]
    at_batch: float | None

    @property
    def inside(self) -> bool:
        """Whether the published figure lies in our range."""
        return self.ours[0] <= self.published <= self.ours[2]

    @property
    def both_lengths(self) -> bool:
        """Whether the prompt and the output have a length."""
        return bool(self.said["tokens_in"])

    @property
    def ratio(self) -> float:
        """Ours ÷ published."""
        return self.ours[1] / self.published

    @property
    def ratio_alone(self) -> float:
        """EcoLogits' ÷ published, by the middle of its range."""
        return math.sqrt(self.ecologits[0] * self.ecologits[1]) / self.published


def rows() -> list[Row]:
    """The table, computed."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return [_row(said) for said in csv.DictReader(file)]


def _row(said: dict[str, str]) -> Row:
    given: dict[str, Any] = {key: float(said[key]) for key in ("active_billion", "total_billion") if said[key]}
    name = said["name"] or "published:model"
    found = hosted_coefficients(name, **given)
    named = hosted_coefficients(said["name"]) if said["name"] else found  # EcoLogits says what it says of the name
    assert found is not None
    assert named is not None
    tokens = (float(said["tokens_in"] or 0), 0.0, float(said["tokens_out"]))
    energy = price(
        Reading(seconds=0.0, cpu_seconds=0.0, elsewhere={name: tokens}), with_hosted(coefficients(), {name: found}, {})
    )
    assert energy is not None
    pue = float(said["pue"])
    low, central, high = (1 / each for each in numbers("system_factor")) if said["boundary"] == "gpu" else (pue,) * 3
    return Row(
        said=said,
        published=float(said["value"]) * (3600 if said["unit"] == "Wh" else 1),
        ours=(energy.low * low, energy.central * central, energy.high * high),
        ecologits=_alone(said, named, tokens[2]),
        at_batch=_at_batch(said, found, tokens[2]),
    )


def _at_batch(said: dict[str, str], found: HostedCoefficients, tokens_out: float) -> float | None:
    if not said["batch"]:
        return None
    system = 1.0 if said["boundary"] == "gpu" else numbers("system_factor")[1]
    return decoding_joules(found.active_billion, found.total_billion, float(said["batch"])) * system * tokens_out


def _alone(said: dict[str, str], found: HostedCoefficients, tokens_out: float) -> tuple[float, float]:
    """EcoLogits' own figure in joules at the boundary of the published one."""
    says = found.ecologits_joules_per_output_token
    assert says is not None
    if said["boundary"] == "gpu":
        return (_gpus(found) * tokens_out,) * 2
    pue = float(said["pue"])
    return says[0] * tokens_out * pue, says[1] * tokens_out * pue


def _gpus(found: HostedCoefficients) -> float:
    """EcoLogits' joules of the GPUs alone per output token, for the middle of its parameters."""
    model = registry.require("ecologits.impacts.llm", "this benchmark")
    unused: dict[str, Any] = dict.fromkeys(
        [f"if_electricity_mix_{name}" for name in ("adpe", "pe", "gwp", "wue")] + ["datacenter_pue", "datacenter_wue"],
        1.0,
    )
    steps = model.compute_llm_impacts_dag(
        model_active_parameter_count=found.active_billion,
        model_total_parameter_count=found.total_billion,
        output_token_count=1,
        request_latency=math.inf,
        **unused,
    )
    return float(steps["gpu_energy"] * steps["gpu_required_count"] * 3.6e6)


def geometric(ratios: Sequence[float]) -> tuple[float, float]:
    """Geometric mean and geometric standard deviation."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = sum(logs) / len(logs)
    spread = math.sqrt(sum((each - mean) ** 2 for each in logs) / max(len(logs) - 1, 1))
    return math.exp(mean), math.exp(spread)


def summary(what: str, chosen: Sequence[Row]) -> str:
    """One line for a group of rows."""
    if not chosen:
        return f"{what}: no row"
    mean, spread = geometric([row.ratio for row in chosen])
    alone, alone_spread = geometric([row.ratio_alone for row in chosen])
    inside = sum(row.inside for row in chosen)
    within = sum(row.ecologits[0] <= row.published <= row.ecologits[1] for row in chosen)
    return (
        f"{what}: {inside} of {len(chosen)} inside, ratio {mean:.2f} ×/÷ {spread:.2f}; "
        f"EcoLogits alone: {within} inside, ratio {alone:.2f} ×/÷ {alone_spread:.2f}"
    )


def nearer(row: Row) -> float:
    """How many times nearer to the published figure ours is than EcoLogits', by ratio."""
    return math.exp(abs(math.log(row.ratio_alone)) - abs(math.log(row.ratio)))


def main() -> None:
    """Compute, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--csv", action="store_true", help="print the rows as CSV instead")
    options = parser.parse_args()
    found = rows()
    if options.csv:
        _as_csv(found)
        return
    for group in ("measured", "modelled"):
        print(f"== {group}")
        for row in (each for each in found if each.said["group"] == group):
            print(_line(row))
    print("== summary (central ÷ published)")
    for group in ("measured", "modelled"):
        print(summary(group, [row for row in found if row.said["group"] == group]))
    print(
        summary(
            "measured, of what a hosted service is taken to be",
            [row for row in found if row.said["group"] == "measured" and row.said["domain"] == "yes"],
        )
    )
    known = [row.at_batch / row.published for row in found if row.at_batch is not None]
    mean, spread = geometric(known)
    print(f"known batch, the fit at that batch: {len(known)} rows, ratio {mean:.2f} ×/÷ {spread:.2f}")
    independent = [row for row in found if row.said["independent"] == "yes"]
    print(summary("independent of our sources", independent))
    print(summary("both lengths", [row for row in found if row.both_lengths]))
    print(summary("both lengths published", [r for r in found if r.both_lengths and r.said["lengths"] == "stated"]))
    for row in found:
        if row.both_lengths and float(row.said["tokens_in"]) >= _LONG and row.said["lengths"] == "stated":
            print(f"{row.said['published_by']}, {row.said['tokens_in']} tokens of prompt: {nearer(row):.1f}× nearer")
    lengths = [row for row in found if row.both_lengths]
    print(f"{sum(row.inside for row in lengths) / len(lengths):.0%} of the rows with both lengths inside low to high")


def _line(row: Row) -> str:
    said = row.said
    unit, factor = ("Wh", 3600.0) if said["unit"] == "Wh" else ("J", 1.0)
    low, central, high = (f"{value / factor:.3g}" for value in row.ours)
    lengths = f"{said['tokens_in'] or '–'}/{said['tokens_out']} ({said['lengths']}), {said['boundary']}"
    verdict = "inside" if row.inside else f"outside{': ' + said['note'] if said['note'] else ''}"
    return (
        f"{said['number']:>2} {said['published_by']}: {said['what']}; {lengths}: published {float(said['value']):.3g} {unit}, "
        f"EcoLogits {row.ecologits[0] / factor:.3g}–{row.ecologits[1] / factor:.3g}, "
        f"ours {low}–{central}–{high}, {verdict}{'' if row.at_batch is None else f'; at that batch {row.at_batch / factor:.3g}'}"
    )


def _as_csv(found: Sequence[Row]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    extra = ["published_joules", "ecologits_low", "ecologits_high", "low", "central", "high", "inside"]
    writer.writerow([*found[0].said, *extra])
    for row in found:
        writer.writerow([*row.said.values(), row.published, *row.ecologits, *row.ours, row.inside])


if __name__ == "__main__":
    main()
