"""The example run that ships with the project, for whoever has none yet: what it holds was measured, on another machine."""

from __future__ import annotations

from pathlib import Path

from workbench.bundle import opened
from workbench.comparison import Comparison
from workbench.reports import compare

NAME = "example"
BUNDLE = Path(__file__).parent / "examples_data" / "example.zip"
"""Written by ``docs/example_run.py``."""


def example() -> Comparison:
    """The comparison of the example run that ships with the project: a real run of the demonstration experiment.

    It is read from its bundle by way of a store that is gone afterwards; the user's own store is not touched.
    """
    with opened(BUNDLE) as store:
        return compare(NAME, store=store)
