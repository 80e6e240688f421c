"""Energy counters that a library reads, as a source of windows."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
from collections.abc import Callable, Mapping
from typing import Any

from workbench.meters._windows import Quantity

_PERIOD = 0.02  # seconds; counters change every 20 to 100 ms, depending on the device


class Unreadable(Exception):
    """What a counter's library has instead of a value."""


def library(name: str) -> tuple[Any, str]:
    """An optional library of counters, and why it is not here; some fail in ways of their own where a driver is missing."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # amdsmi prints what it does not find
            return importlib.import_module(name), ""
    except ImportError as error:
        return None, f"the library {name} is not installed" if error.name == name else f"{name}: {error}"
    except Exception as error:  # amdsmi: KeyError without ROCm, AttributeError with another version of it
        return None, f"{name} does not find its driver's library, or one of another version ({error!r})"


class Counters:
    """Joules by domain, since whenever the counters began; ``failures`` is what asking for them raises."""

    quantity: Quantity = "joules"
    period_seconds = _PERIOD
    longest_seconds = math.inf

    def __init__(
        self,
        asked: Mapping[str, Callable[[], float]],
        failures: type[Exception],
        *,
        whole_machine: bool,
        may_rest: bool = False,
    ) -> None:
        self.domains = tuple(asked)
        self.whole_machine = whole_machine
        self.may_rest = may_rest
        self.problems: dict[str, str] = {}
        self._asked = asked
        self._failures = failures
        self._before: dict[str, float] = {}

    def read(self) -> Mapping[str, float]:
        """Joules by domain; those that cannot be read now, or whose counter went back, are left out."""
        found = {}
        for domain, ask in self._asked.items():
            try:
                joules = ask()
            except self._failures as error:
                self.problems.setdefault(domain, f"its energy counter cannot be read: {error}")
                continue
            before = self._before.get(domain, joules)
            self._before[domain] = joules
            if joules < before:
                self.problems.setdefault(domain, f"its energy counter went back from {before} to {joules} J")
            else:
                found[domain] = joules
        return found
