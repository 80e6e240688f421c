"""The configurations as points of a space of axes, and back: what a sampler needs to search among distinct configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.records import DEFAULT_AXES, Configuration, as_json

ABSENT = -1
"""The place of an axis that has no effect on a configuration."""


class Axes:
    """The axes that differ among configurations, each with its distinct values; numbers are in their order.

    ``places`` has the shape (configurations, axes): which value of an axis a configuration has, or ``ABSENT``.
    """

    def __init__(self, configurations: Sequence[Configuration]) -> None:
        found: dict[str, list[str]] = {}
        self.ordered: dict[str, bool] = {}
        for axis in DEFAULT_AXES:
            values = {as_json(each.axes[axis]): each.axes[axis] for each in configurations if axis in each.axes}
            if len(values) < 2:
                continue
            numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values())
            self.ordered[axis] = numbers
            found[axis] = sorted(values, key=lambda key: values[key]) if numbers else list(values)
        self.sizes = {axis: len(values) for axis, values in found.items()}
        place = {axis: {key: number for number, key in enumerate(values)} for axis, values in found.items()}
        rows = [
            [place[axis][as_json(each.axes[axis])] if axis in each.axes else ABSENT for axis in found]
            for each in configurations
        ]
        self.places = np.array(rows, dtype=int).reshape(len(configurations), len(found))

    def of(self, row: int) -> dict[str, int]:
        """Axis → place for the axes that matter to a configuration."""
        return {
            axis: int(place) for axis, place in zip(self.sizes, self.places[row], strict=True) if int(place) != ABSENT
        }

    def distances(self, wanted: Mapping[str, int]) -> NDArray[np.float64]:
        """How far each configuration is from a point: 1 for each axis whose value is another, for numbers as a share of
        the axis's length; an axis without effect on a configuration is no distance."""
        total = np.zeros(len(self.places))
        for number, (axis, size) in enumerate(self.sizes.items()):
            apart = np.abs(self.places[:, number] - wanted[axis])
            distance = apart / (size - 1) if self.ordered[axis] else (apart > 0).astype(float)
            total += np.where(self.places[:, number] == ABSENT, 0.0, distance)
        return total
