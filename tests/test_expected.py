"""The cheap guess of costs before anything ran: an order that agrees with what is known of models and prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import python
from workbench.expected import expected_costs
from workbench.records import Configuration

GOALS = ("tokens", "seconds", "joules", "grams_co2e", "dollars")
SMOL = "embedded:smollm2-135m"


def costs(minimise: str, *points: dict[str, Any]) -> list[float]:
    return expected_costs([Configuration(axes) for axes in points], minimise).tolist()


def ascending(minimise: str, *points: dict[str, Any]) -> bool:
    found = costs(minimise, *points)
    return found == sorted(found) and len(set(found)) == len(found)


@pytest.mark.parametrize("minimise", GOALS)
def test_without_a_model_is_cheapest_and_a_longer_prompt_dearer(minimise):
    assert ascending(
        minimise,
        {"model": "none", "retriever": "bm25"},
        {"model": SMOL, "retriever": "bm25", "passages": 1, "max_tokens": 8},
        {"model": SMOL, "retriever": "bm25", "passages": 5, "max_tokens": 32},
        {"model": SMOL, "retriever": {"name": "hyde", "max_tokens": 64}, "passages": 5, "max_tokens": 32},
    )
    assert all(cost > 0 for cost in costs(minimise, {"model": "none"}))


@pytest.mark.parametrize("minimise", ["joules", "seconds", "grams_co2e", "dollars"])
def test_embedding_costs_more_than_counting_words_and_reranking_more_than_embedding(minimise):
    assert ascending(
        minimise,
        {"model": "none", "retriever": "bm25"},
        {"model": "none", "retriever": "dense"},
        {"model": "none", "retriever": "dense", "rerank": "embedder", "rerank_depth": 20},
        {"model": "none", "retriever": "dense", "rerank": "embedder", "rerank_depth": 50},
    )


def test_sizes_are_read_from_names_or_taken_as_stated():
    assert ascending(
        "joules",
        {"model": "ollama:qwen3:0.6b", "retriever": "none"},
        {"model": "openai:llama-3.1-8B-instruct", "retriever": "none"},
        {"model": {"name": "openai:mine", "active_billion": 9, "total_billion": 9}, "retriever": "none"},
        {"model": "openai:llama-3.1-70b", "retriever": "none"},
    )


def test_where_neither_size_nor_price_is_known_a_hosted_model_is_taken_to_be_large():
    assert ascending(
        "joules", {"model": "openai:llama-8b", "retriever": "none"}, {"model": "openai:secret", "retriever": "none"}
    )


def test_the_users_prices_decide_between_models_that_are_bought():
    rows = "openai:dear,10,5,30\nopenai:cheap,0.1,0.05,0.4\n"
    header = "model,dollars_per_million_in,dollars_per_million_cached,dollars_per_million_out\n"
    Path("prices.csv").write_text(header + rows, encoding="utf-8")
    points = ({"model": "openai:cheap", "retriever": "none"}, {"model": "openai:dear", "retriever": "none"})
    assert ascending("dollars", *points)
    assert ascending("joules", *points)  # of sizes that nobody knows, the price tells something


def test_whole_documents_parents_and_everything_are_long_prompts():
    common = {"model": SMOL, "context_tokens": 4096}
    assert ascending(
        "tokens",
        {**common, "chunk_tokens": 64},
        {**common, "chunker": "parent", "chunk_tokens": 64},
        {**common, "chunker": "document"},
        {**common, "retriever": "everything", "passages": 0},
    )
    assert costs("tokens", {**common, "chunk_tokens": 64, "passages": 3}) == costs(
        "tokens", {**common, "chunker": {"name": "tokens", "chunk_tokens": 64}, "chunk_tokens": 512, "passages": 3}
    )


@given(
    st.sampled_from(GOALS),
    st.sampled_from([SMOL, "scripted", "openai:llama-8b"]),
    st.integers(1, 8),
    st.integers(16, 512),
    st.integers(1, 200),
    st.integers(16, 4096),
)
def test_more_of_anything_never_costs_less(minimise, model, passages, chunk_tokens, max_tokens, context_tokens):
    axes = {
        "model": model,
        "passages": passages,
        "chunk_tokens": chunk_tokens,
        "max_tokens": max_tokens,
        "context_tokens": context_tokens,
        "examples": 1,
    }
    more = [{**axes, axis: axes[axis] + 1} for axis in ("passages", "chunk_tokens", "max_tokens", "context_tokens")]
    more.append({**axes, "examples": 2})
    base, *others = costs(minimise, axes, *more)
    assert all(other >= base for other in others)


def test_the_shape_is_that_of_the_configurations():
    assert expected_costs([], "joules").shape == (0,)
    found = expected_costs([Configuration({"model": "none"}), Configuration({"model": SMOL})], "joules")
    assert found.dtype == np.float64
    assert found.shape == (2,)


def test_guessing_loads_no_model_library():
    code = """
import json, sys
from workbench.expected import expected_costs
from workbench.records import Configuration
expected_costs([Configuration({"model": "embedded:smollm2-135m", "retriever": "dense"})], "joules")
heavy = {"torch", "xllamacpp", "faiss", "sentence_transformers", "langchain", "ecologits", "genai_prices", "bpe_openai"}
print(json.dumps(sorted(heavy & {name.partition(".")[0] for name in sys.modules})))
"""
    result = python("-c", code)
    assert json.loads(result.stdout) == [], result.stderr
