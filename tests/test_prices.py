"""Prices of tokens: the user's table, then a maintained list, and nothing for what is in neither."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import missing
from workbench.errors import InputError
from workbench.prices import TABLE, Price, dollars, price

HEADER = "model,dollars_per_million_in,dollars_per_million_cached,dollars_per_million_out"
DAY = datetime(2026, 11, 1, tzinfo=UTC)


def of(name: str, asked_in: float, cached: float, out: float) -> Price:
    return Price(
        model=name,
        dollars_per_million_in=asked_in,
        dollars_per_million_cached=cached,
        dollars_per_million_out=out,
        source="test",
    )


def written(*rows: str, header: str = HEADER) -> None:
    TABLE.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")


def test_the_users_table_comes_first():
    written("openai:gpt-4.1-nano,1,2,3", "ollama:own,0,0,0")
    found = price("openai:gpt-4.1-nano")
    assert found is not None
    assert (found.dollars_per_million_in, found.dollars_per_million_cached, found.dollars_per_million_out) == (1, 2, 3)
    assert "the user" in found.source
    free = price("ollama:own")
    assert free is not None
    assert free.dollars_per_million_in == 0
    assert price("openai:gpt-4.1-nano (8 of 8 billion)") == found


@pytest.mark.parametrize(
    "model", ["openai:no-such-model", "nobody:x", "embedded:smollm2-135m", "", "openai:", "scripted"]
)
def test_what_nobody_lists_is_not_priced(model):
    assert price(model) is None


def test_every_problem_of_the_table_is_named_with_its_line():
    written("a,1,2,x", "b,-1,2,3", "c,1,2,3", "c,1,2,nan")
    with pytest.raises(InputError) as caught:
        price("a")
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        "prices.csv:2",
        "prices.csv:3",
        "prices.csv:5",
        "prices.csv:5",
    ]
    written("a,1,2", header="model,dollars_per_million_in,dollars_per_million_out")
    with pytest.raises(InputError, match="has no column dollars_per_million_cached"):
        price("a")
    TABLE.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        price("a")


def test_dollars_by_hand():
    prices = {"m": of("m", 1.0, 0.1, 4.0), "n": None}
    assert dollars({"m": (1000, 400, 100)}, prices) == pytest.approx((600 * 1 + 400 * 0.1 + 100 * 4) / 1e6)
    assert dollars({"m": (1, 0, 1), "n": (1, 0, 1)}, prices) is None
    assert dollars({"unheard": (1, 0, 1)}, prices) is None
    assert dollars({}, prices) is None


tokens = st.integers(0, 100_000)


@given(tokens, tokens, tokens, st.integers(1, 9))
def test_dollars_are_linear_and_caching_never_costs_more(read, cached, out, times):
    cached = min(cached, read)
    prices: dict[str, Price | None] = {"m": of("m", 3.0, 0.3, 15.0)}
    once = dollars({"m": (read, cached, out)}, prices)
    plain = dollars({"m": (read, 0, out)}, prices)
    many = dollars({"m": (read * times, cached * times, out * times)}, prices)
    assert once is not None
    assert plain is not None
    assert once <= plain + 1e-12
    assert many == pytest.approx(once * times)


# ---------------------------------------------------------------------------------------------------------- the package


@pytest.fixture
def listed() -> None:
    if importlib.util.find_spec("genai_prices") is None:
        missing("genai-prices is not installed; run: pip install -e '.[all,dev]'")


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize(
    "model",
    [
        "openai:gpt-4.1-nano",
        "anthropic:claude-sonnet-4-5",
        "google_genai:gemini-2.5-flash",
        "mistralai:mistral-small-latest",
        "azure_openai:gpt-4o",
        "bedrock_converse:anthropic.claude-sonnet-4-5-20250929-v1:0",
        "embedder openai:text-embedding-3-small",
    ],
)
def test_known_models_have_a_price_with_a_date_and_a_version(model, own_folder: Path):
    found = price(model, at=DAY)
    assert found is not None
    assert 0 < found.dollars_per_million_in < 20
    assert found.dollars_per_million_cached <= found.dollars_per_million_in
    assert "2026-11-01, in genai-prices" in found.source


@pytest.mark.usefixtures("listed")
def test_batch_mode_is_cheaper_where_the_provider_says_so():
    usual, batch = price("openai:gpt-4.1-nano", at=DAY), price("openai:gpt-4.1-nano (batch)", at=DAY)
    assert usual is not None
    assert batch is not None
    assert batch.dollars_per_million_out < usual.dollars_per_million_out
    assert (usual.dollars_per_million_in, usual.dollars_per_million_out) == pytest.approx((0.1, 0.4))
