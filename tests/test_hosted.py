"""Models on other machines: known sizes, given sizes, unknown ones; joules per token as the tables and EcoLogits say."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench
from tests.conftest import ROOT, experiment, hosted, missing, python
from tests.fake_provider import FakeProvider, Reply
from workbench import registry
from workbench.coefficients import coefficients, restore, with_hosted
from workbench.environment import with_new_models
from workbench.errors import InputError
from workbench.explanations import notes
from workbench.hosted import (
    SIZES,
    decoding_joules,
    embedder_known_as,
    hosted_coefficients,
    hosted_embedder,
    known_as,
    local_port,
    of_choices,
)
from workbench.ledger import price
from workbench.records import HostedCoefficients, Reading, as_json
from workbench.store import Store
from workbench.tariffs import of_environment

TABLES = ROOT / "workbench" / "tables"
BILLIONS = st.floats(0.1, 1000)
TRIPLES = ("joules_per_prompt_token", "joules_per_cached_token", "joules_per_output_token")
PINNED = "0.11.3"


@pytest.fixture(scope="module")
def ecologits() -> Any:
    """EcoLogits' own function, at the version whose figures are compared."""
    try:
        library = registry.require("ecologits.tracers.utils", "this test")
        version = registry.require("ecologits", "this test").__version__
    except workbench.WorkbenchError as error:
        missing(str(error))
    if version != PINNED:
        missing(f"EcoLogits is {version}; the golden figures are those of {PINNED}")
    return library


def of(active: float, total: float | None = None, **changes: Any) -> HostedCoefficients:
    found = hosted_coefficients("openai:own", active_billion=active, total_billion=total or active, **changes)
    assert found is not None
    return found


# ----------------------------------------------------------------------------------------------------- joules per token


def test_every_number_of_the_table_has_unit_range_and_source():
    with (TABLES / "hosted.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert row["unit"]
            assert row["source"]
            bounds = [float(row[name]) for name in ("low", "central", "high")]
            assert bounds == sorted(bounds, reverse=row["name"] == "batch")


@given(active=BILLIONS, more=st.floats(1, 10))
def test_larger_models_never_take_less_and_ranges_are_in_order(active, more):
    small, large = of(active), of(active * more)
    for name in TRIPLES:
        low, central, high = getattr(small, name)
        assert 0 <= low <= central <= high
        assert all(a <= b for a, b in zip(getattr(small, name), getattr(large, name), strict=True))
    assert small.joules_per_cached_token[2] <= small.joules_per_prompt_token[2]


@given(active=BILLIONS, idle=st.floats(1, 50))
def test_a_sparse_model_takes_less_than_a_dense_one_of_its_size_and_more_than_one_of_its_active_part(active, idle):
    sparse = of(active, active * idle).joules_per_output_token[1]
    dense = of(active * idle).joules_per_output_token[1]
    assert of(active).joules_per_output_token[1] <= sparse * (1 + 1e-9)
    assert sparse <= dense * (1 + 1e-9)


def test_the_formulas_by_hand():
    found = of(8.0)
    flops = 2 * 8e9
    assert found.joules_per_prompt_token == pytest.approx(
        (flops * 0.8e-12 * 1.4, flops * 1.6e-12 * 1.57, flops * 4e-12 * 2.0)
    )
    assert found.joules_per_cached_token == pytest.approx((0.0, 0.05 * flops * 1.6e-12 * 1.57, 0.1 * flops * 4e-12 * 2))
    per_gpu = math.exp(-1.481) * 8**0.315 * 8**0.583
    assert found.joules_per_output_token == pytest.approx(
        (per_gpu * 256**-0.538 * 1.4, per_gpu * 64**-0.538 * 1.57, per_gpu * 16**-0.538 * 2.0)
    )
    assert decoding_joules(8, 8, 64) == pytest.approx(0.157, abs=0.0005)  # as ENERGY.md has it; 0.119 was measured
    assert not found.ecologits_joules_per_output_token or len(found.ecologits_joules_per_output_token) == 2


def test_batch_mode_is_four_times_the_batch_and_says_that_it_is_an_assumption():
    usual, batch = of(8.0), of(8.0, batch=True)
    assert batch.joules_per_prompt_token == usual.joules_per_prompt_token
    assert batch.joules_per_output_token[1] == pytest.approx(usual.joules_per_output_token[1] * 4**-0.538)
    assert any("assumed" in note for note in batch.notes)


def test_hosted_embeddings_are_read_and_never_written():
    found = hosted_embedder("openai:text-embedding-3-small", active_billion=0.3)
    assert found is not None
    assert found.joules_per_prompt_token == of(0.3).joules_per_prompt_token
    assert found.joules_per_output_token == (0, 0, 0)
    assert hosted_embedder("openai:text-embedding-3-small") is None


# ----------------------------------------------------------------------------------------------------------- whose size


@pytest.mark.parametrize(
    ("active", "total", "message"),
    [
        (8, None, "active_billion and total_billion go together"),
        (None, 8, "active_billion and total_billion go together"),
        (0, 8, "expected 0 < active_billion ≤ total_billion"),
        (-1, 8, "expected 0 < active_billion ≤ total_billion"),
        (9, 8, "expected 0 < active_billion ≤ total_billion"),
        (8, math.inf, "expected 0 < active_billion ≤ total_billion"),
        (math.nan, 8, "expected 0 < active_billion ≤ total_billion"),
    ],
)
def test_sizes_that_no_model_has_are_refused(active, total, message):
    with pytest.raises(InputError, match=message):
        hosted_coefficients("openai:own", active_billion=active, total_billion=total)


def test_a_name_says_what_the_choice_says_of_its_energy():
    assert known_as("openai:x") == "openai:x"
    assert known_as("openai:x", active_billion=8, total_billion=30, batch=True) == "openai:x (8 of 30 billion, batch)"
    assert embedder_known_as("openai:x") == "embedder openai:x"


def test_an_unknown_model_is_not_estimated_unless_the_projects_table_knows_it():
    assert hosted_coefficients("openai:own") is None
    Path(SIZES).write_text("model,active_billion,total_billion\nopenai:other,1,1\nopenai:own,3,12\n", encoding="utf-8")
    found = hosted_coefficients("openai:own")
    assert found is not None
    assert (found.active_billion, found.total_billion) == (3, 12)
    assert SIZES in found.source
    assert hosted_coefficients("openai:elsewhere") is None


def test_every_wrong_line_of_the_projects_table_is_named():
    Path(SIZES).write_text(
        "model,active_billion,total_billion\na,1,2\nb,much,2\nc,5\nd,9,3\n\nopenai:own,1,1\n", encoding="utf-8"
    )
    with pytest.raises(InputError) as caught:
        hosted_coefficients("openai:own")
    assert [problem.split(" ")[0] for problem in caught.value.problems] == [f"{SIZES}:{line}:" for line in (3, 4, 5)]


@pytest.mark.parametrize(
    ("name", "active", "total"),
    [
        ("openai:gpt-4.1-nano", math.sqrt(10 * 37), math.sqrt(10 * 37)),
        ("azure_openai:gpt-4o", math.sqrt(44 * 132), 440),
        ("openai:openai/gpt-4o", math.sqrt(44 * 132), 440),
        ("google_vertexai:gemini-2.5-flash", None, None),
        ("mistralai:mistral-large-2512", None, None),
        ("bedrock_converse:us.anthropic.claude-sonnet-4-5-20250929-v1:0", math.sqrt(44 * 132), 440),
        ("bedrock:eu.anthropic.claude-sonnet-4-5-20250929-v1:0", math.sqrt(44 * 132), 440),
        ("bedrock:meta.llama3-1-70b-instruct-v1:0", 70.55, 70.55),
        ("groq:llama-3.1-8b-instant", 8.03, 8.03),
        ("openrouter:anthropic/claude-sonnet-4-5", math.sqrt(44 * 132), 440),
    ],
)
def test_common_routes_lead_to_the_models_that_ecologits_knows(ecologits, name, active, total):
    found = hosted_coefficients(name)
    assert found is not None
    assert "EcoLogits" in found.source
    assert found.libraries == {"ecologits": PINNED}
    if active is not None:
        assert (found.active_billion, found.total_billion) == pytest.approx((active, total))


def test_every_alias_by_name_is_one_that_ecologits_knows(ecologits):
    with (TABLES / "model_aliases.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert row["provider"] in ecologits.PROVIDER_CONFIG_MAP
        assert ("*" in row["name"]) == ("*" in row["model"])
        if "*" not in row["name"]:
            assert ecologits.models.find_model(provider=row["provider"], model_name=row["model"]), row


WITHOUT = """
import sys
sys.modules["ecologits"] = None
from workbench.hosted import hosted_coefficients, why_not
print(hosted_coefficients("openai:gpt-4o"))
print(why_not("openai:gpt-4o"))
own = hosted_coefficients("openai:gpt-4o", active_billion=8, total_billion=8)
print(own.joules_per_output_token[1], own.ecologits_joules_per_output_token, own.libraries)
"""


def test_without_the_extra_it_says_what_to_install_and_given_sizes_suffice():
    result = python("-c", WITHOUT)
    assert result.returncode == 0, result.stderr
    nothing, why, own = result.stdout.splitlines()
    assert nothing == "None"
    assert why.startswith("not estimated: pip install 'rag-workbench[energy]'")
    assert own == f"{of(8.0).joules_per_output_token[1]} None {{}}"


# -------------------------------------------------------------------------------------------------------- EcoLogits' own


@pytest.mark.parametrize(
    ("provider", "model", "tokens", "low", "high"),
    [  # ENERGY.md 2, in watt-hours with the provider's PUE
        ("openai", "gpt-4o", 300, 0.436, 0.725),
        ("openai", "gpt-4o", 500, 0.727, 1.208),
        ("openai", "gpt-4.1-nano", 1500, 0.0985, 0.2535),
        ("google_genai", "gemini-2.5-pro", 300, 3.501, 8.268),
        ("huggingface_hub", "meta-llama/Meta-Llama-3.1-405B-Instruct", 300, 2.493, 2.608),
    ],
)
def test_golden_figures_of_the_pinned_version(ecologits, provider, model, tokens, low, high):
    found = ecologits.llm_impacts(
        provider=provider, model_name=model, output_token_count=tokens, request_latency=math.inf
    )
    assert 1000 * found.energy.value.min == pytest.approx(low, rel=0.01)
    assert 1000 * found.energy.value.max == pytest.approx(high, rel=0.01)


def test_what_stands_beside_our_estimate_is_what_ecologits_says(ecologits):
    found = hosted_coefficients("openai:gpt-4o")
    says = ecologits.llm_impacts(
        provider="openai", model_name="gpt-4o", output_token_count=300, request_latency=math.inf
    )
    assert found is not None
    low, high = found.ecologits_joules_per_output_token
    pue = ecologits.PROVIDER_CONFIG_MAP["openai"].datacenter_pue
    assert (low * pue, high * pue) == pytest.approx(
        (says.energy.value.min * 3.6e6 / 300, says.energy.value.max * 3.6e6 / 300)
    )
    assert found.embodied_grams_per_output_token[1] == pytest.approx(
        1000 * getattr(says.embodied.gwp.value, "max", says.embodied.gwp.value) / 300
    )
    assert found.water_litres_per_output_token[1] == pytest.approx(says.wcf.value.max / 300)


def test_a_disagreement_of_more_than_two_is_said(ecologits):
    assert any("EcoLogits alone says" in note for note in hosted_coefficients("google_genai:gemini-2.5-pro").notes)
    assert hosted_coefficients("openai:gpt-4o").notes == ()


# --------------------------------------------------------------------------------------------------- through a whole run


def test_every_model_an_experiment_names_is_looked_up_however_deep():
    given = {"name": "openai:own", "active_billion": "8", "total_billion": 8, "batch": "no"}
    found, unknown = of_choices(
        {
            "space": {
                "model": ["none", "scripted", given, {"name": "openai:own"}],
                "embedder": ["embedded:minilm-l6", {"name": "langchain:openai:e", "active_billion": 0.3}],
                "retriever": ["bm25", {"name": "hyde", "model": "openai:rewriter"}],
            },
            "metrics": ["token_f1", {"name": "judge", "model": {"name": "openai:judge", "base_url": "x"}}],
        }
    )
    assert set(found) == {"openai:own (8 of 8 billion)", "embedder openai:e (0.3 of 0.3 billion)"}
    assert set(unknown) == {"openai:own", "openai:rewriter", "openai:judge"}
    assert all("give active_billion and total_billion" in why for why in unknown.values())


def test_a_server_on_this_machine_is_asked_to_be_metered_and_then_not_hosted():
    asked = {
        "model": "ollama:qwen3:0.6b",
        "embedder": {"name": "langchain:openai:e", "base_url": "http://[::1]:8080/v1"},
    }
    unknown = of_choices(asked)[1]
    assert "meter: {name: auto, server_port: 11434}" in unknown["ollama:qwen3:0.6b"]
    assert "server_port: 8080" in unknown["embedder openai:e"]
    assert of_choices(asked, ports=[11434, 8080]) == ({}, {})


@pytest.mark.parametrize(
    ("name", "address", "port"),
    [
        ("openai:x", "http://localhost:8080/v1", 8080),
        ("openai:x", "http://127.0.0.1/v1", 80),
        ("openai:x", "https://localhost", 443),
        ("openai:x", "https://api.openai.com/v1", None),
        ("openai:x", None, None),
        ("openai:x", "http://localhost:nonsense", None),
        ("ollama:x", "http://far.example:11434", None),
        ("ollama:x", None, 11434),
        ("embedder ollama:x", "0.0.0.0", 11434),  # noqa: S104 - what Ollama is told to listen on
    ],
)
def test_a_models_address_says_whether_its_server_is_here(name, address, port):
    assert local_port(name, address) == port


def test_a_models_energy_is_estimated_from_its_tokens_and_an_unknown_ones_is_not(provider: FakeProvider):
    provider.script = Reply(text="forty days", tokens_in=1000, tokens_cached=200)
    known = hosted(provider, active_billion=8, total_billion=8)
    space = {"model": [known, hosted(provider)], "retriever": ["bm25"], "passages": [1]}
    workbench.run(experiment(space=space, questions={"limit": 3}))
    compared = workbench.compare()
    by_size = {"active_billion" in each.configuration["model"]: each.joules for each in compared.figures}
    assert by_size[False] is None
    energy = by_size[True]
    per = of(8.0)
    modelled = 800 * per.joules_per_prompt_token[1] + 200 * per.joules_per_cached_token[1]
    modelled += 2 * per.joules_per_output_token[1]
    assert energy.source == "modelled"
    assert modelled < energy.central < modelled + 3  # the rest is this process's own share
    text = "\n".join(notes(compared))
    assert "Joules of openai:fake (8 of 8 billion) are modelled, not measured" in text
    assert "Energy of openai:fake is not estimated: its server on this machine is not metered; write meter:" in text


def test_a_model_that_ecologits_knows_needs_to_be_told_nothing(ecologits, provider: FakeProvider):
    provider.script = Reply(text="forty days", tokens_in=1000)
    model = hosted(provider, name="openai:gpt-4.1-nano")
    outcome = workbench.run(experiment(space={"model": [model], "retriever": ["bm25"]}, questions={"limit": 2}))
    assert outcome.answers == outcome.total
    known = hosted_coefficients("openai:gpt-4.1-nano")
    for figures in workbench.compare().figures:
        assert figures.joules.source == "modelled"
        assert figures.joules.central > 1000 * known.joules_per_prompt_token[1]


def test_a_run_is_priced_anew_without_running_again(provider: FakeProvider):
    provider.script = Reply(text="forty days", tokens_in=1000)
    workbench.run(
        experiment(space={"model": [hosted(provider)], "retriever": ["bm25"], "passages": [1]}, questions={"limit": 2})
    )
    assert workbench.compare().figures[0].joules is None
    asked = len(provider.requests)
    Path(SIZES).write_text("model,active_billion,total_billion\nopenai:fake,8,8\n", encoding="utf-8")
    printed = python("-m", "workbench", "reprice")
    assert printed.returncode == 0, printed.stderr
    assert "openai:fake, joules per prompt token: not known →" in printed.stdout
    assert workbench.reprice("latest").changes == ()
    assert workbench.compare().figures[0].joules.source == "modelled"
    Path(SIZES).write_text("model,active_billion,total_billion\nopenai:fake,4,4\n", encoding="utf-8")
    repriced = workbench.reprice()
    assert any(change.startswith("openai:fake, joules per output token: 0.2") for change in repriced.changes)
    assert workbench.compare().figures[0].joules.source == "modelled"
    assert len(provider.requests) == asked
    store = Store(create=False)
    first, second = store.get("latest").environment["repriced_from"]
    assert restore(first["coefficients"]).hosted == {}
    assert of_environment(second) == repriced.before


def test_a_run_that_gains_a_model_gains_its_coefficients_and_keeps_the_others():
    old = {"coefficients": asdict(with_hosted(coefficients(), {"a": of(1.0)}, {"b": "why"}))}
    now = {"coefficients": asdict(with_hosted(coefficients(), {"a": of(2.0), "b": of(3.0)}, {"c": "why"}))}
    merged = restore(with_new_models(old, now)["coefficients"])
    assert (merged.hosted["a"], merged.hosted["b"]) == (of(1.0), of(3.0))
    assert merged.not_estimated == {"c": "why"}
    assert with_new_models(old, old) == old


def test_stored_coefficients_come_back_whole_and_their_digest_follows_every_figure():
    found = with_hosted(coefficients(), {"a": of(8.0)}, {"b": "why"})
    assert restore(json.loads(as_json(found))) == found
    assert with_hosted(found, {"a": of(8.1)}, {"b": "why"}).digest != found.digest
    assert with_hosted(replace(found, digest="other"), {"a": of(8.0)}, {"b": "why"}).digest == found.digest
    energy = price(Reading(seconds=1.0, cpu_seconds=0.0, elsewhere={"a": (10, 0, 1)}), found)
    assert energy.source == "modelled"


def test_the_validation_table_has_sources_and_is_printed_with_its_summary(ecologits):
    with (ROOT / "benchmarks" / "validation.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 20
    assert all(
        row["published_by"] and float(row["value"]) > 0 and row["group"] in ("measured", "modelled") for row in rows
    )
    result = python(str(ROOT / "benchmarks" / "validation.py"))
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    printed = [line for line in lines if line.lstrip()[:1].isdigit() and "published" in line]
    assert len(printed) == len(rows)
    assert all(": " in line.partition("outside")[2] for line in printed if "outside" in line), "a miss says why"
    assert sum("100000 tokens of prompt" in line for line in lines) == 1
