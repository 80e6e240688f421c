"""Whether twice the work costs twice: output tokens in decoding, passages in reading the prompt.

Answers of the embedded model with ``--tokens`` output tokens and with twice as many (those that end by themselves are left
out), then with ``--passages`` passages and with twice as many, alternating, so that a machine that slowly changes favours
neither. CPU-seconds per answer are medians, since neighbours only ever add.

    python benchmarks/linearity.py

The last two lines are the ratios of decode and of prefill: 1.8 to 2.2, and as the tokens read grew.
"""

from __future__ import annotations

import argparse
from statistics import median

from _answers import Answering, cpu_seconds

from workbench.rates import fit, generations, tokens_of
from workbench.records import Answer

_BLOCK = 4
_FEWEST_PAIRS = 12


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--questions", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument(
        "--tokens", type=int, default=16, help="output tokens of the short answers (default: %(default)s)"
    )
    parser.add_argument("--passages", type=int, default=2, help="passages of the short prompts (default: %(default)s)")
    options = parser.parse_args()
    answering = Answering()
    long_text = {"stop": ["no such text"], "prompt": "terse", "passages": 1}
    decode = _pairs(
        answering,
        options.questions,
        *({**long_text, "max_tokens": count} for count in (options.tokens + 1, 2 * options.tokens + 1)),
    )
    whole = [
        pair
        for pair in zip(*decode, strict=True)
        if [_written(each) for each in pair] == [options.tokens + 1, 2 * options.tokens + 1]
    ]
    if len(whole) < _FEWEST_PAIRS:
        answering.close()
        raise SystemExit(f"{len(whole)} of {options.questions} answers have both lengths; ask more --questions")
    prefill = _pairs(
        answering,
        options.questions,
        *({"passages": count, "max_tokens": 1} for count in (options.passages, 2 * options.passages)),
    )
    answering.close()
    found = fit(generations([*decode[0], *decode[1], *prefill[0], *prefill[1]]))
    if found is not None and found.per_token_in is not None and found.per_token_out is not None:
        print(
            f"{found.constant:.3g} + {found.per_token_in:.3g}·in + {found.per_token_out:.3g}·out CPU-s, R² {found.r_squared:.3f} "
            f"on {found.answers} answers"
        )
    read, twice_read = (median(map(_read, answers)) for answers in prefill)
    one, two = (median(cpu_seconds(answer, "prefill") for answer in answers) for answers in prefill)
    short, long = (median(cpu_seconds(pair[side], "decode") for pair in whole) for side in (0, 1))
    print(f"decode: {short:.4f} and {long:.4f} CPU-s on {len(whole)} pairs: × {long / short:.2f}")
    print(
        f"prefill: {read:.0f} and {twice_read:.0f} uncached tokens (× {twice_read / read:.2f}), × {two / one:.2f} CPU-s"
    )


def _pairs(answering: Answering, count: int, *axes: dict[str, object]) -> tuple[list[Answer], list[Answer]]:
    """The answers of two configurations to the same questions, in alternating blocks."""
    found: tuple[list[Answer], list[Answer]] = ([], [])
    for number, start in enumerate(range(0, count, _BLOCK)):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            configuration = answering.prepare(**axes[side])
            found[side].extend(answering.ask(configuration, answering.questions[start : start + _BLOCK]))
    return found


def _written(answer: Answer) -> int:
    return sum(cost.reading.tokens_out or 0 for cost in answer.ledger.stages)


def _read(answer: Answer) -> float:
    tokens = tokens_of([cost.reading for cost in answer.ledger.stages if cost.stage in ("prefill", "decode")])
    return tokens[0] if tokens else float("nan")


if __name__ == "__main__":
    main()
