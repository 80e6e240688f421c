"""How fast the app is on a run of 100 configurations × 1,000 answers: pages, interactions, and the server's memory.

    python benchmarks/app.py [--configurations 100] [--questions 1000]

A store of made-up answers is filled in bulk, the app is served as ``workbench app`` does, and Chromium opens each page
twice: cold (the server has not seen the run) and again. Bounds: 2 s to the first figures, 0.7 s for an interaction, 1 GB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import psutil
from playwright.sync_api import Page, sync_playwright

import workbench
from workbench.records import (
    Answer,
    Chunk,
    Configuration,
    Ledger,
    OneOff,
    Passage,
    Question,
    Reading,
    Score,
    ScoredAnswer,
    Span,
    StageCost,
)
from workbench.specification import read_experiment

_OBSERVE = """() => {
    const app = document.querySelector('[data-testid="stApp"]')
    let began = false
    window.ended = false
    new MutationObserver(() => {
        const state = app.getAttribute('data-test-script-state')
        began = began || state === 'running'
        window.ended = window.ended || (began && state === 'notRunning')
    }).observe(app, {attributes: true, attributeFilter: ['data-test-script-state']})
}"""
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FIRST, AGAIN, MEMORY = 2.0, 0.7, 1000
METRICS = ("token_f1", "exact_match", "contains", "recall@5", "ndcg@10")
CONTENT = {  # what a page shows only when its figures are there
    "overview": ("What the search took", ".stVegaLiteChart"),
    "run": ("Energy so far (estimated)", ".stVegaLiteChart"),
    "compare": ("How the figures are known", ".stVegaLiteChart"),
    "answers": ("choose one to read it in full", ".stDataFrame"),
    "recommend": ("Take it with you", ".stVegaLiteChart"),
    "footprint": ("Energy of the computers", ".stMetric"),
    "experiment": ("Save and start", ".stExpander"),
    "playground": ("Edit the prompt for this question", ".stMultiSelect"),
}


def main() -> None:
    """Fill, serve, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=100)
    parser.add_argument("--questions", type=int, default=1000)
    given = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("Chromium is not on this machine; run: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "runs.db"
        began = time.monotonic()
        fill(store, given.configurations, given.questions)
        total = given.configurations * given.questions
        print(f"{total:,} answers stored in {time.monotonic() - began:.1f} s, {store.stat().st_size / 1e6:.0f} MB")
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "workbench", "compare", "huge", "--store", str(store)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        print(f"its table printed, as a run ends: {time.monotonic() - began:.1f} s")
        server, port = serve(store)
        try:
            with sync_playwright() as playwright:
                page = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS).new_page(
                    viewport={"width": 1280, "height": 800}
                )
                page.set_default_timeout(120_000)
                measure(page, port, server)
        finally:
            server.terminate()
            server.wait()


def fill(store: Path, configurations: int, questions: int) -> None:
    """A run with plausible answers, made by the hundred thousand."""
    written = workbench.Store(str(store))
    experiment = read_experiment(
        {
            "name": "huge",
            "corpus": "python-reference",
            "evalset": "python-reference",
            "strategy": "grid",
            "metrics": list(METRICS),
            "goal": {"metric": "token_f1", "margin": 0.05},
            "space": {"model": ["none"], "retriever": ["bm25"]},
        }
    )
    record = written.create("huge", experiment.model_dump(mode="json"), environment())
    shapes = [
        Configuration(
            {
                "model": "embedded:smollm2-135m",
                "prompt": ("terse", "fewshot")[row % 2],
                "retriever": ("bm25", "dense")[row // 2 % 2],
                "passages": row // 4 % 5 + 1,
                "max_tokens": 16 + 8 * (row // 20),
            }
        )
        for row in range(configurations)
    ]
    asked = [
        Question(id=f"q-{number:05}", question=f"What is fact {number}?", answers=(f"fact {number}",), evidence=("d",))
        for number in range(questions)
    ]
    written.add_trials(record.id, shapes)
    written.add_questions(record.id, asked)
    dice = np.random.default_rng(7)
    passages = [
        Passage(
            chunk=Chunk(
                id=f"d:{at}", document_id=f"d{at}", start=0, end=400, text=f"Passage {at}. " * 30, title="Title"
            ),
            score=9.0 - at,
            rank=at + 1,
        )
        for at in range(5)
    ]
    for row, shape in enumerate(shapes):
        seconds = dice.gamma(9, 0.05 * (1 + row / 50), (questions, 3))
        right = dice.random(questions) < 0.4 + 0.3 * row / configurations
        written.add_answers(
            record.id,
            [answered(shape, question, seconds[at], bool(right[at]), passages) for at, question in enumerate(asked)],
        )
        written.set_trial(record.id, shape.id, "finished")
    written.add_one_off(record.id, OneOff(work="harness", what="loop", reading=Reading(seconds=9.0, cpu_seconds=9.0)))
    written.update(record.id, state="finished")
    written.close()


def answered(
    shape: Configuration, question: Question, seconds: np.ndarray, right: bool, passages: list[Passage]
) -> ScoredAnswer:
    """One answer with four stages."""
    search, prefill, decode = (float(each) for each in seconds)
    readings = (
        ("assemble", Reading(seconds=0.0004, cpu_seconds=0.0004)),
        ("search", Reading(seconds=search / 100, cpu_seconds=search / 100)),
        ("prefill", Reading(seconds=prefill, cpu_seconds=1.9 * prefill, tokens_in=470, tokens_cached=24)),
        ("decode", Reading(seconds=decode, cpu_seconds=1.9 * decode, tokens_out=9)),
    )
    used = tuple(passages[: shape["passages"]])
    answer = Answer(
        configuration=shape.id,
        question=question.id,
        text=question.answers[0] if right else "something else",
        passages=used,
        retrieved=tuple(Span(each.chunk.document_id, 0, 400) for each in used),
        prompt=f"Answer with a few words.\n\nQuestion: {question.question}\nAnswer:",
        finish_reason="stop",
        seconds=search / 100 + prefill + decode,
        ledger=Ledger(stages=tuple(StageCost(stage=name, reading=reading) for name, reading in readings)),
    )
    return ScoredAnswer(answer=answer, scores=tuple(Score(metric=name, value=float(right)) for name in METRICS))


def environment() -> dict[str, object]:
    """The environment of a made-up machine."""
    return {
        "workbench": workbench.__version__,
        "processor": "made up",
        "vcpus": 2,
        "meter": "cpu_time",
        "coefficients": {
            "processor": "made up",
            "watts_per_busy_vcpu": [1.1, 2.2, 4.4],
            "source": "made up for a benchmark",
            "includes": "busy vCPUs",
        },
        "corpus": {"name": "made up", "digest": "0" * 32, "documents": 5},
        "evalset": {"name": "made up", "digest": "1" * 32, "questions": 1000},
    }


def serve(store: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The app on a free port, when it answers."""
    with socket.socket() as trial:
        trial.bind(("localhost", 0))
        port = trial.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "workbench", "app", "--no-browser", "--port", str(port)],
        env={**os.environ, "WORKBENCH_STORE": str(store)},
    )
    began = time.monotonic()
    while time.monotonic() < began + 60:
        try:
            urlopen(f"http://localhost:{port}/_stcore/health", timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            print(f"the server answers after {time.monotonic() - began:.1f} s")
            return server, port
    server.terminate()
    sys.exit("the app did not start; see the messages above")


def measure(page: Page, port: int, server: subprocess.Popen[bytes]) -> None:
    """Open every page, cold and again, then click; seconds against their bounds, and the server's memory.

    The first one finds a server that has drawn nothing and a browser that has not the app's scripts.
    """
    for name, (words, element) in CONTENT.items():
        for kind in ("cold", "again"):
            began = time.monotonic()
            page.goto(f"http://localhost:{port}/{name}?{urlencode({'run': 'huge'})}")
            page.get_by_text(words).first.wait_for()
            page.locator(element).first.wait_for()
            said(f"{name}, {kind}", time.monotonic() - began, FIRST)
    page.goto(f"http://localhost:{port}/compare?run=huge")
    page.get_by_text("How the figures are known").wait_for()
    page.locator("canvas").first.wait_for()  # a list that opens before the table is drawn closes again
    page.get_by_role("combobox", name="Order").press("ArrowDown")
    clicked(page, "compare: sort", lambda: page.get_by_role("option", name="highest first").click())
    clicked(page, "compare: show the frontier", lambda: page.get_by_role("radio", name="frontier").click())
    clicked(page, "compare: what axes buy", lambda: page.get_by_role("radio", name="axes").click())
    clicked(page, "compare: face to face", lambda: page.get_by_role("radio", name="face to face").click())
    page.goto(f"http://localhost:{port}/recommend?run=huge")
    page.get_by_text("Take it with you").wait_for()
    page.get_by_role("slider").first.focus()  # the margin's
    clicked(page, "recommend: move the margin", lambda: page.keyboard.press("ArrowRight"))
    page.goto(f"http://localhost:{port}/answers?run=huge")
    page.get_by_text("choose one to read it in full").wait_for()
    clicked(page, "answers: next page", lambda: page.get_by_role("button", name="Next").click())
    clicked(page, "answers: wrong only", lambda: page.get_by_role("radio", name="wrong").click())
    clicked(page, "answers: disagreements", lambda: page.get_by_role("radio", name="disagreements").click())
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    megabytes = sum(each.memory_info().rss for each in family) / 1e6
    print(f"{'server memory':32} {megabytes:8.0f} MB  (bound {MEMORY} MB{'' if megabytes < MEMORY else ', MISSED'})")


def clicked(page: Page, name: str, click: Callable[[], None]) -> None:
    """An interaction: from the click until the page has run again."""
    page.wait_for_timeout(500)
    page.evaluate(_OBSERVE)
    began = time.monotonic()
    click()
    page.wait_for_function("window.ended", timeout=120_000)
    said(name, time.monotonic() - began, AGAIN)


def said(name: str, seconds: float, bound: float) -> None:
    """One line of the table."""
    print(f"{name:32} {seconds:8.2f} s   (bound {bound:g} s{'' if seconds < bound else ', MISSED'})", flush=True)


if __name__ == "__main__":
    main()
