"""Where a plan tries things out: a pipeline, the models and embedders that run here, and the index of what is cached."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from workbench import registry, tokens
from workbench.calibration import (
    NOTHING,
    UNKNOWN,
    EmbedderRates,
    ModelRates,
    Took,
    calibrate,
    embedding,
    searches,
    took,
    with_passages,
)
from workbench.contracts import Meter, Model
from workbench.expected import chunk_tokens, passage_tokens
from workbench.index import Indexes
from workbench.pipeline import Pipeline
from workbench.records import (
    Configuration,
    Corpus,
    EvalSet,
    OneOff,
    PluginChoice,
    Question,
    Reading,
    plugin_label,
    plugin_name,
)
from workbench.retrievers._ranking import searchable
from workbench.sampling import Lengths, lengths
from workbench.specification import Experiment
from workbench.weights import cache_folder
from workbench.workload import runs_elsewhere


class Tryout:
    """Lengths, rates and one-off work of an experiment's configurations, from a few questions.

    Without ``timed`` no model and no embedder is loaded: tokens are counted by o200k, nothing is timed. ``close`` stops what
    was loaded. ``notes`` say what stood in for what.
    """

    def __init__(
        self,
        experiment: Experiment,
        corpus: Corpus,
        evalset: EvalSet,
        questions: Sequence[Question],
        *,
        timed: bool,
        report: Callable[[str], None],
    ) -> None:
        self._experiment = experiment
        self._questions = questions
        self._timed = timed
        self._report = report
        self._meter: Meter = registry.build("meters", experiment.meter)
        self._done: list[OneOff] = []
        self._pipeline = Pipeline(
            corpus,
            meter=self._meter,
            record=self._done.append,
            cache=cache_folder(),
            questions=evalset.questions,
            seed=experiment.seed,
            timeout_seconds=experiment.timeout_seconds,
            retries=0,
            report=report,
        )
        self._indexes = Indexes(corpus, cache_folder(), lambda work: None, self._meter)
        self._models: dict[str, Model | None] = {}
        self._ready: dict[str, bool] = {}
        self._embedders: dict[str, EmbedderRates | None] = {}
        self.notes: list[str] = []

    def close(self) -> None:
        """Stop what was loaded."""
        self._pipeline.close()
        for model in self._models.values():
            if model is not None:
                model.close()

    # ------------------------------------------------------------------------------------------------ what is at hand

    def tokenizer(self, choice: PluginChoice) -> Model | None:
        """A model to count with; ``None`` for one that runs elsewhere or is not to be loaded."""
        key = plugin_label(choice)
        if key not in self._models:
            usable = self._timed and not runs_elsewhere(choice)
            self._report(f"loading {key}") if usable else None
            self._models[key] = registry.build("models", choice) if usable else None
        return self._models[key]

    def ready(self, configuration: Configuration) -> bool:
        """Whether a configuration's passages are embedded already, by an embedder that may be loaded."""
        if not self._timed or not with_passages(configuration) or not _local(configuration["embedder"]):
            return False
        if "model" in registry.needs("retrievers", configuration["retriever"]):
            return False
        if plugin_name(configuration["retriever"]) not in ("dense", "hybrid"):
            return False
        key = _vectors_key(configuration)
        if key not in self._ready:
            self._ready[key] = self._indexes.embedded(configuration)
        return self._ready[key]

    def lengths(self, configurations: Sequence[Configuration]) -> Lengths:
        """How long the prompts are."""
        return lengths(
            configurations,
            self._questions,
            self._pipeline,
            tokenizer=self.tokenizer,
            ready=self.ready,
            seed=self._experiment.seed,
        )

    # ---------------------------------------------------------------------------------------------------- what it takes

    def rates(self, configurations: Sequence[Configuration], sizes: Lengths) -> dict[str, ModelRates]:
        """Rates of the models that answer here, by label; none without ``timed``."""
        found: dict[str, ModelRates] = {}
        if not self._timed:
            return found
        for choice in self._experiment.space.model:
            label = plugin_label(choice)
            if plugin_name(choice) == "none" or runs_elsewhere(choice) or label in found:
                continue
            own = [configuration for configuration in configurations if plugin_label(configuration["model"]) == label]
            candidates = [
                (made, float(sizes.mean[row, 1]))
                for row, made in sizes.seen.items()
                if plugin_label(made["model"]) == label
            ]
            if not candidates:
                continue
            self._report(f"timing a few answers of {label}")
            longest = max(configuration["max_tokens"] for configuration in own)
            found[label] = calibrate(candidates, longest, self._questions, self._pipeline, self._experiment.seed)
            if found[label].disturbed:
                self.notes.append(f"other processes were busy while {label} was timed: seconds may be too many")
            if found[label].lacking:
                self.notes.append(f"{label} is not estimated: {found[label].lacking}")
        return found

    def finding(
        self, configurations: Sequence[Configuration], rates: dict[str, ModelRates]
    ) -> Callable[[Configuration], Took]:
        """What the rest of an answer takes: finding passages, reordering and shortening them, putting the prompt together."""
        if not self._timed:
            return lambda configuration: UNKNOWN
        self._report("timing a few searches")
        search = searches(configurations, self._questions, self._pipeline, self.ready)

        def find(configuration: Configuration) -> Took:
            found = search(configuration)
            passages = with_passages(configuration)
            known = rates.get(plugin_label(configuration["model"]))
            if known is not None:
                found = found.plus(known.packing.get(passages, NOTHING))
            return found.plus(self._embedding(configuration)) if passages else found

        return find

    def _embedding(self, configuration: Configuration) -> Took:
        """What embedding takes for an answer beside what was timed: the question's where bm25 stood in, the passages'."""
        read = 0.0
        if _embeds("rerankers", configuration["rerank"]):
            read += configuration["rerank_depth"] * chunk_tokens(configuration)
        if _embeds("compressors", configuration["compress"]):
            read += passage_tokens(configuration)
        asks = _embeds("retrievers", configuration["retriever"]) and not self.ready(configuration)
        if not read and not asks:
            return NOTHING
        known = self.embedder(configuration)
        if known is None or plugin_name(configuration["rerank"]).startswith("cross_encoder"):
            return UNKNOWN
        return known.token.times(read).plus(known.question if asks else NOTHING)

    def embedder(self, configuration: Configuration) -> EmbedderRates | None:
        """What a configuration's embedder takes here; ``None`` for one that runs elsewhere."""
        choice = configuration["embedder"]
        key = plugin_label(choice)
        if key not in self._embedders:
            self._embedders[key] = None
            if _local(choice):
                self._report(f"timing {key}")
                self._embedders[key] = embedding(
                    registry.build("embedders", choice),
                    [question.question for question in self._questions],
                    [searchable(chunk) for chunk in self._indexes.chunks(configuration)],
                    tokens.count,
                    self._meter,
                )
        return self._embedders[key]

    def preparations(self, configurations: Sequence[Configuration]) -> list[tuple[str, str, Took]]:
        """One-off work of the run as (work, what, took): what was done here on the way, and passages still to be embedded."""
        times: defaultdict[tuple[str, str], list[Reading]] = defaultdict(list)
        for work in self._done:
            times[work.work, work.what].append(work.reading)
        found = [(*key, took(readings)) for key, readings in times.items()] if self._timed else []
        seen: set[str] = set()
        for configuration in configurations:
            key = _vectors_key(configuration)
            embeds = with_passages(configuration) and _embeds("retrievers", configuration["retriever"])
            if not embeds or key in seen or self.ready(configuration):
                continue
            seen.add(key)
            what = f"passages with {plugin_label(configuration['embedder'])}"
            known = self.embedder(configuration) if self._timed else None
            if known is None:
                found.append(("embed", what, UNKNOWN))
                continue
            chunks = self._indexes.chunks(configuration)
            read = sum(tokens.count(searchable(chunk)) for chunk in chunks)
            found.append(("embed", f"{len(chunks):,} {what}", known.token.times(read)))
        return found


def _local(choice: PluginChoice) -> bool:
    return registry.resolve("embedders", choice)[0] in ("embedded", "sentence_transformers")


def _embeds(kind: str, choice: PluginChoice) -> bool:
    return "embedder" in registry.needs(kind, choice)


def _vectors_key(configuration: Configuration) -> str:
    axes = ("embedder", "chunker", "chunk_tokens", "chunk_overlap")
    return repr([configuration[axis] for axis in axes])
