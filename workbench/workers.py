"""What answers an experiment's tasks, as a description that can be sent to where they are answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from workbench.contracts import Meter
from workbench.pipeline import Pipeline
from workbench.records import Corpus, OneOff, PluginChoice, Question
from workbench.weights import cache_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineFactory:
    """Makes an experiment's pipeline in whatever process calls it, with the cache folder of that machine.

    ``meter`` is the choice of the experiment, for processes that have no meter yet; the rest is as in ``Pipeline``.
    """

    corpus: Corpus
    questions: tuple[Question, ...]
    meter: PluginChoice
    ranking_depth: int
    seed: int
    timeout_seconds: float
    retries: int

    def __call__(self, meter: Meter, record: Callable[[OneOff], None], report: Callable[[str], None]) -> Pipeline:
        """The pipeline, measured by ``meter``."""
        return Pipeline(
            self.corpus,
            meter=meter,
            record=record,
            cache=cache_folder(),
            questions=self.questions,
            ranking_depth=self.ranking_depth,
            seed=self.seed,
            timeout_seconds=self.timeout_seconds,
            retries=self.retries,
            report=report,
        )
