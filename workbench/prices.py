"""What providers ask for tokens: from the user's ``prices.csv``, else from the package genai-prices; never a guess."""

from __future__ import annotations

import csv
import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.records import Triple

TABLE = Path("prices.csv")
INSTALL = "pip install 'rag-workbench[energy]'"
COLUMNS = ("model", "dollars_per_million_in", "dollars_per_million_cached", "dollars_per_million_out")

_MILLION = 1_000_000
_ENOUGH = 1_000  # tokens to ask a rate for: below the prompt lengths from which some providers ask more
# Providers as langchain calls them, as in openai:gpt-4.1-nano → as genai-prices does.
_PROVIDERS = {
    "anthropic": "anthropic",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "google_genai": "google",
    "google_vertexai": "google",
    "groq": "groq",
    "mistralai": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together",
    "xai": "x-ai",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Dollars per million tokens of a prompt, of a prompt's cached part, and of an output, with where they are from."""

    model: str
    dollars_per_million_in: float
    dollars_per_million_cached: float
    dollars_per_million_out: float
    source: str


def price(model: str, *, at: datetime | None = None, table: Path = TABLE) -> Price | None:
    """The price of a model by its name (``openai:gpt-4.1-nano``); ``None``: not priced.

    A row of the project folder's ``prices.csv`` (``model``, dollars per million tokens in, cached, out, and if wanted
    ``source``) comes first, then the list prices of genai-prices on the day ``at`` (default: today), for prompts below
    the lengths from which a provider asks more. Names as readings have them are understood: ``embedder openai:…``, and
    in brackets what was said of its size or that it runs in batch mode, which has prices of its own.
    """
    bare, batch = _asked_for(model)
    own = _of_user(table)
    return own.get(model) or (None if batch else own.get(bare)) or _of_package(bare, at or datetime.now(tz=UTC), batch)


def dollars(tokens: Mapping[str, Triple], prices: Mapping[str, Price | None]) -> float | None:
    """Dollars for prompt, cached and output tokens by model (cached ones are among the prompt's); ``None`` where nothing was
    bought, or where one of the models is not priced."""
    found = 0.0
    for model, (tokens_in, tokens_cached, tokens_out) in tokens.items():
        each = prices.get(model)
        if each is None:
            return None
        found += (tokens_in - tokens_cached) * each.dollars_per_million_in
        found += tokens_cached * each.dollars_per_million_cached
        found += tokens_out * each.dollars_per_million_out
    return found / _MILLION if tokens else None


def _asked_for(model: str) -> tuple[str, bool]:
    """The provider's name of a model, and whether it answers in batch mode."""
    bare, _, said = model.removeprefix("embedder ").partition(" (")
    return bare, "batch" in said


def _of_user(table: Path) -> dict[str, Price]:
    if not table.is_file():
        return {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: cannot be read: {error}; expected a CSV file with {', '.join(COLUMNS)}") from error
    lacking = [column for column in COLUMNS if rows and column not in rows[0]]
    if lacking:
        raise InputError(f"{table}: has no column {', '.join(lacking)}; expected {', '.join(COLUMNS)}")
    problems: list[str] = []
    found: dict[str, Price] = {}
    for line, row in enumerate(rows, 2):
        values = [_amount(row[column]) for column in COLUMNS[1:]]
        for column, value in zip(COLUMNS[1:], values, strict=True):
            if value is None:
                problems.append(f"{table}:{line}: {column} is {row[column]!r}; expected dollars, from 0 on")
        if row["model"] in found:
            problems.append(f"{table}:{line}: {row['model']!r} stands twice")
        asked_in, asked_cached, asked_out = (value or 0.0 for value in values)
        found[row["model"]] = Price(
            model=row["model"],
            dollars_per_million_in=asked_in,
            dollars_per_million_cached=asked_cached,
            dollars_per_million_out=asked_out,
            source=row.get("source") or f"the user, in {table.name}",
        )
    if problems:
        raise InputError(problems)
    return found


def _amount(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


@cache
def _package() -> Any:
    try:
        return importlib.import_module("genai_prices")
    except ImportError:
        return None


def _of_package(model: str, at: datetime, batch: bool) -> Price | None:
    package = _package()
    provider, _, name = model.partition(":")
    if package is None or not name or provider not in _PROVIDERS:
        return None

    def asked(**tokens: int) -> float:
        found = package.calc_price(
            package.Usage(**tokens),
            name,
            provider_id=_PROVIDERS[provider],
            genai_request_timestamp=at,
            price_context={"processing": "batch"} if batch else None,
        )
        return float(found.total_price) * _MILLION / _ENOUGH

    try:
        return Price(
            model=model,
            dollars_per_million_in=asked(input_tokens=_ENOUGH),
            dollars_per_million_cached=asked(input_tokens=_ENOUGH, cache_read_tokens=_ENOUGH),
            dollars_per_million_out=asked(output_tokens=_ENOUGH),
            source=f"list price of {at:%Y-%m-%d}{', batch mode' if batch else ''}, in genai-prices {version('genai-prices')}",
        )
    except (LookupError, ValueError):
        return None
