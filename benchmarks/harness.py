"""How many answers a second the workbench itself can handle, when the model takes no time.

Runs configurations × questions through ``workbench.run``: BM25 retrieval, prompts, the scripted model, five metrics, the
ledger, and a durable SQLite store. The data are made up from a seed in a temporary folder. Where promptfoo is installed,
the same number of rows goes through its ``echo`` provider, which returns the prompt: eight at a time, its own store, no
cache, no assertions and no retrieval, so that it has less to do than we have.

    python benchmarks/harness.py
    python benchmarks/harness.py --configurations 2 --questions 200 --repeat 3

Three rates, each the median of ``--repeat`` fresh processes: *loop only*; *whole call* of ``workbench.run``, which also
reads the data, chunks and indexes them; and *with imports*, which adds loading our libraries. The last line is the whole
call's. promptfoo's own evaluation time is compared with the whole call, and its whole command with ours, imports and all.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import workbench

_REPORTED = "promptfoo not found; it did 217 rows/s on a 2-core machine (0.123, echo, -j 8)"
_QUIET = {
    "PROMPTFOO_CACHE_ENABLED": "false",
    "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1",
    "PROMPTFOO_DISABLE_TELEMETRY": "1",
    "PROMPTFOO_DISABLE_UPDATE": "1",
}
_RATES = ("loop only", "whole call", "with imports")
_SYLLABLES = [first + second for first in "bdfgklmnprstv" for second in ("a", "e", "i", "o", "u", "ar", "en", "is")]
_PROPERTIES = ("founder", "colour", "height", "harbour", "patron", "emblem", "currency", "river")


def main() -> None:
    """Measure, and print what was done."""
    options = _options()
    if options.measure:
        print(json.dumps(_run(Path(options.measure), options)))
        return
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        make_data(Path(folder), options.documents, options.questions, options.seed)
        rows = options.configurations * options.questions
        print(f"{options.configurations} configurations × {options.questions:,} questions = {rows:,} rows,", end=" ")
        print(f"over {options.documents} documents: BM25, scripted model, five metrics, ledger, SQLite")
        rival = None if options.no_promptfoo else _promptfoo()
        measured, echoed = [], None
        for number in range(options.repeat):
            measured.append(_in_fresh_process(Path(folder)))
            if rival and number == (options.repeat - 1) // 2:  # in the middle, so that a busy machine slows both down
                echoed = _echo(rival, Path(folder), options.configurations)
        for times in measured:
            print("; ".join(f"{what} {seconds:.2f} s" for what, seconds in times.items()))
        rates = {what: statistics.median(rows / times[what] for times in measured) for what in _RATES}
        print(", ".join(f"{what} {rate:,.0f} rows/s" for what, rate in rates.items()))
        if echoed:
            _compare(*echoed, rows, rates)
        else:
            print("promptfoo left out" if options.no_promptfoo else _REPORTED)
    print(f"{rates['whole call']:.0f} rows/s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--configurations", type=int, default=5, help="with 1, 2, … passages (default: %(default)s)")
    parser.add_argument("--questions", type=int, default=1000, help="questions for each of them (default: %(default)s)")
    parser.add_argument("--documents", type=int, default=300, help="size of the corpus (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="how many times to measure (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="what the data are made from (default: %(default)s)")
    parser.add_argument("--no-promptfoo", action="store_true", help="leave the comparison out")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args()


# ------------------------------------------------------------------------------------------------------------ ours


def make_data(folder: Path, documents: int, questions: int, seed: int) -> None:
    """A corpus of made-up words with facts planted in it, and a question for every fact, in the native format."""
    dice = random.Random(seed)  # noqa: S311 - reproducible data, not a secret
    vocabulary = ["".join(dice.choices(_SYLLABLES, k=dice.randint(1, 3))) for _ in range(4000)]
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]

    def sentence() -> str:
        return " ".join(dice.choices(vocabulary, weights, k=dice.randint(6, 18))).capitalize() + "."

    texts = [[sentence() for _ in range(dice.randint(15, 40))] for _ in range(documents)]
    asked = []
    for number in range(questions):
        place, of, answer = dice.randrange(documents), dice.choice(_PROPERTIES), " ".join(dice.choices(vocabulary, k=2))
        name = "".join(dice.choices(_SYLLABLES, k=4)).capitalize()
        texts[place].insert(dice.randrange(len(texts[place])), f"The {of} of {name} is {answer}.")
        fact = {"question": f"What is the {of} of {name}?", "answers": [answer], "evidence": [f"d{place}"]}
        asked.append({"id": f"q{number}", "split": "dev", **fact})
    rows = [{"id": f"d{n}", "title": sentence(), "text": " ".join(text)} for n, text in enumerate(texts)]
    for name, lines in (("documents", rows), ("questions", asked)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _in_fresh_process(folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--measure", str(folder)]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def _run(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of one run in a new store with an empty cache, by what they were used for."""
    experiment = {
        "corpus": str(folder),
        "evalset": str(folder),
        "space": {"model": ["scripted"], "passages": list(range(1, options.configurations + 1))},
        "name": "harness",
    }
    started = time.perf_counter()
    for library in ("bm25s", "bpe_openai", "sqlalchemy"):
        importlib.import_module(library)
    run, store_of = workbench.run, workbench.Store  # each is imported when it is first named
    imported = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        os.environ["WORKBENCH_CACHE"] = f"{place}/cache"
        store = store_of(f"{place}/harness.db")
        outcome = run(experiment, store=store)
        ended = time.perf_counter()
        if outcome.answers != options.configurations * options.questions:
            raise SystemExit(f"{outcome.answers} answers were stored")
        spent = {work.work: work.reading.seconds for work in store.one_offs(store.get("harness").id)}
    in_session = spent.pop("harness")
    return {
        "imports": imported - started,
        "reading, opening": ended - imported - in_session,
        **spent,
        "loop only": in_session - sum(spent.values()),
        "whole call": ended - imported,
        "with imports": ended - started,
    }


# ------------------------------------------------------------------------------------------------------- promptfoo


def _compare(version: str, seconds: dict[str, float], rows: int, rates: dict[str, float]) -> None:
    for what, ours in (("evaluation", "whole call"), ("whole command", "with imports")):
        rate = rows / seconds[what]
        print(f"promptfoo {version}, echo, -j 8: {what} {rate:,.0f} rows/s ({seconds[what]:.1f} s);", end=" ")
        print(f"our {ours} is {rates[ours] / rate:.1f} times as fast")


def _promptfoo() -> list[str] | None:
    """How promptfoo is started here, if at all; nothing is downloaded."""
    if found := shutil.which("promptfoo"):
        return [found]
    npx = shutil.which("npx")
    command = [npx or "", "--no-install", "promptfoo"]
    if npx and subprocess.run([*command, "--version"], capture_output=True, env=os.environ | _QUIET).returncode == 0:
        return command
    return None


def _echo(command: list[str], folder: Path, prompts: int) -> tuple[str, dict[str, float]]:
    """promptfoo's version, seconds of the whole command, and those it says that the evaluation took."""
    questions = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    configuration = {
        "prompts": [f"Answer in {number} words. Question: {{{{question}}}}" for number in range(1, prompts + 1)],
        "providers": ["echo"],
        "tests": [{"vars": {"question": question["question"]}} for question in questions],
    }
    (folder / "promptfooconfig.json").write_text(json.dumps(configuration), encoding="utf-8")
    environment = os.environ | _QUIET | {"PROMPTFOO_CONFIG_DIR": str(folder / "promptfoo")}
    flags = ["--config", "promptfooconfig.json", "-j", "8", "--output", "echo.json", "--no-cache", "--no-table"]
    version = subprocess.run([*command, "--version"], env=environment, check=True, capture_output=True, text=True)
    started = time.perf_counter()
    subprocess.run(
        [*command, "eval", *flags, "--no-progress-bar"], cwd=folder, env=environment, check=True, capture_output=True
    )
    seconds = time.perf_counter() - started
    stats = json.loads((folder / "echo.json").read_text(encoding="utf-8"))["results"]["stats"]
    if stats["successes"] != prompts * len(questions):
        raise SystemExit(f"promptfoo: {stats}")
    return version.stdout.strip(), {"evaluation": stats["durationMs"] / 1000, "whole command": seconds}


if __name__ == "__main__":
    main()
