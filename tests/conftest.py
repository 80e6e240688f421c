"""What every test stands on: a folder of its own, a tiny corpus, and marks for what a machine may lack."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import settings

from tests.fake_provider import FakeProvider
from workbench import weights
from workbench.comparison import Comparison, compare_tallies
from workbench.errors import MachineError
from workbench.meters.cpu_time import CpuTime
from workbench.pipeline import Pipeline, Task
from workbench.records import (
    Answer,
    Chunk,
    Configuration,
    Corpus,
    Document,
    Message,
    Passage,
    PluginChoice,
    Prompt,
    Question,
    ScoredAnswer,
    Trial,
)
from workbench.tally import tally_of
from workbench.tariffs import of_environment

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(ROOT / ".hypothesis"))  # tests run in other folders
settings.register_profile("workbench", settings(), deadline=None)  # the machine's speed is no property of the code
settings.load_profile("workbench")

# ------------------------------------------------------------------------------------------- what a machine may lack

needs_embedded = pytest.mark.usefixtures("embedded_model")
needs_minilm = pytest.mark.usefixtures("minilm_model")
needs_chromium = pytest.mark.usefixtures("chromium")


def missing(what: str) -> NoReturn:
    """Where the build is judged nothing may be missing; elsewhere the test is skipped, and says why."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)
    raise AssertionError("unreachable")


@pytest.fixture(scope="session")
def embedded_model() -> Path:
    """The weights of SmolLM2, with the engine that runs them."""
    return _weights("smollm2-135m", "generator", "xllamacpp")


@pytest.fixture(scope="session")
def minilm_model() -> Path:
    """The weights of MiniLM, with the libraries that embed and search."""
    return _weights("minilm-l6", "embedder", "sentence_transformers", "faiss")


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser, with the library that drives it."""
    _libraries("playwright")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    return Path(found) if found else missing("Chromium is not on this machine; run: apt-get install chromium")


def _weights(name: str, kind: Any, *libraries: str) -> Path:
    _libraries(*libraries)
    try:
        return weights.require(name, kind)
    except MachineError as error:
        missing(str(error))


def _libraries(*names: str) -> None:
    lacking = [name for name in names if importlib.util.find_spec(name) is None]
    if lacking:
        missing(f"{', '.join(lacking)} is not installed; run: pip install -e '.[all,dev]'")


# ------------------------------------------------------------------------------------------------------ surroundings


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in an empty folder, with none of the user's settings."""
    variables = ("STORE", "CACHE", "WATTS_PER_VCPU", "WATTS_PER_GPU", "GRAMS_PER_KWH", "DOLLARS_PER_KWH")
    for name in (f"WORKBENCH_{setting}" for setting in variables):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shared_cache(own_folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of the whole session, all its workers included: a shipped corpus is embedded once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "shared-cache"
    monkeypatch.setenv("WORKBENCH_CACHE", str(folder))
    return folder


def python(*arguments: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run this interpreter in the current folder with the checkout importable; never checked, always captured."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


# ------------------------------------------------------------------------------------------------------- tiny corpus

DOCUMENTS = {
    "lighthouse": "The lighthouse of Skerry was lit in 1894. Its keeper was Ada Brandt. Its lamp has 112 steps.",
    "bakery": "The bakery of Skerry opens at six. Its sourdough rises for twenty hours. The baker is called Tom.",
    "ferry": "The ferry to Skerry leaves at half past seven. It carries forty cars. Its captain is Mira Olsen.",
    "museum": "The museum of Skerry keeps a whale skeleton. It was found in 1921. Entry is free on Mondays.",
    "garden": "The garden of Skerry was planted by Ada Brandt. Roses grow along the wall. A pond lies in the middle.",
}
_ASKED = (
    ("In which year was the lighthouse of Skerry lit?", "1894", "lighthouse", "dev"),
    ("Who was the keeper of the lighthouse of Skerry?", "Ada Brandt", "lighthouse", "dev"),
    ("How many steps has the lamp of the lighthouse?", "112", "lighthouse", "test"),
    ("When does the bakery of Skerry open?", "six", "bakery", "dev"),
    ("For how many hours rises the sourdough of Skerry?", "twenty", "bakery", "dev"),
    ("What is the baker called?", "Tom", "bakery", "test"),
    ("When does the ferry to Skerry leave?", "half past seven", "ferry", "dev"),
    ("How many cars does the ferry to Skerry carry?", "forty", "ferry", "dev"),
    ("Which skeleton does the museum of Skerry keep?", "whale", "museum", "test"),
    ("On which day is entry to the museum of Skerry free?", "Mondays", "museum", "dev"),
    ("How much does a ticket for the ferry to Skerry cost?", "", "", "dev"),
    ("Who founded the museum of Skerry?", "", "", "test"),
)
QUESTIONS = tuple(
    {"id": f"q{number:02}", "question": question, "split": split}
    | ({"answers": [answer], "evidence": [document]} if answer else {"answerable": False})
    for number, (question, answer, document, split) in enumerate(_ASKED, 1)
)
"""Twelve questions in the native format: eight dev, four test; one of each split cannot be answered.

Most name Skerry, as every document does, so that a search finds more than one passage."""


def corpus_folder(folder: Path) -> Path:
    """A folder ``tiny`` with five documents and their twelve questions; it serves as corpus and as eval set."""
    tiny = folder / "tiny"
    tiny.mkdir(parents=True, exist_ok=True)
    documents = ({"id": id, "title": id.title(), "text": text} for id, text in DOCUMENTS.items())
    (tiny / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents), encoding="utf-8")
    (tiny / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS), encoding="utf-8")
    return tiny


def experiment(**changes: Any) -> dict[str, Any]:
    """A scripted experiment of four configurations and eight questions over ``tiny``, written to the current folder.

    Changes replace its keys; a mapping (``space``, ``goal``, …) replaces only the keys it names.
    """
    folder = str(corpus_folder(Path.cwd()))
    plain: dict[str, Any] = {
        "name": "tiny",
        "corpus": folder,
        "evalset": folder,
        "strategy": "grid",
        "metrics": ["token_f1", "exact_match", "contains", "recall@3", "ndcg@3"],
        "goal": {"metric": "token_f1", "margin": 0.05, "minimise": "tokens"},
        "space": {"model": ["none", "scripted"], "retriever": ["none", "bm25"], "passages": [1, 3]},
    }
    for key, value in changes.items():
        merged = isinstance(value, Mapping) and isinstance(plain.get(key), Mapping)
        plain[key] = {**plain[key], **value} if merged else value
    return plain


def compared(
    answers: Sequence[ScoredAnswer], *, trials: Sequence[Trial], questions: Sequence[Question], **run: Any
) -> Comparison:
    """The comparison of a finished run of these answers."""
    run = {"run": "r", "state": "finished", "one_offs": (), "metrics": ("token_f1",), **run}
    tariff, metrics = of_environment(run["environment"]), run.pop("metrics")
    by_trial = ([each for each in answers if each.answer.configuration == trial.configuration.id] for trial in trials)
    tallies = [tally_of(each, questions, run.get("split"), metrics, tariff) for each in by_trial]
    return compare_tallies(trials=trials, questions=questions, tallies=tallies, tariff=tariff, **run)


def passages(*texts: str) -> tuple[Passage, ...]:
    """Ranked passages of these texts, each the whole of its own document."""
    chunks = (
        Chunk(id=f"d{rank}#0-{len(text)}", document_id=f"d{rank}", start=0, end=len(text), text=text)
        for rank, text in enumerate(texts, 1)
    )
    return tuple(Passage(chunk=chunk, score=1 / rank, rank=rank) for rank, chunk in enumerate(chunks, 1))


# ------------------------------------------------------------------------------------------------------------ models

KEY = "sk-not-a-real-key-0123456789"


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    """A provider on this machine that speaks OpenAI's protocol, and a key for it in the environment."""
    with FakeProvider() as running, pytest.MonkeyPatch.context() as environment:
        environment.setenv("OPENAI_API_KEY", KEY)
        yield running


def hosted(provider: FakeProvider, **parameters: Any) -> dict[str, Any]:
    """The choice of a model at the fake provider."""
    return {"name": "openai:fake", "base_url": provider.url, "timeout_seconds": 5, **parameters}


def prompt(question: str = "Say hello.") -> Prompt:
    """A short prompt for any model."""
    system = Message(role="system", content="You are a helpful assistant. Answer in one sentence.")
    return Prompt(messages=(system, Message(role="user", content=question)), cue="Answer:")


def answered(model: PluginChoice, **settings: Any) -> Answer:
    """One question answered by a model in closed book, through a pipeline with these settings."""
    corpus = Corpus(name="c", documents=(Document(id="d", text="The light was lit in 1894."),), digest="c")
    pipeline = Pipeline(corpus, meter=CpuTime(), record=lambda work: None, cache=None, **settings)
    configuration = Configuration({"model": model, "retriever": "none"})
    pipeline.prepare(configuration)
    answer = pipeline.answer(Task(configuration=configuration, question=Question(id="q", question="When?")))
    pipeline.close()
    return answer
