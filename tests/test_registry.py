"""The folder is the registry: listing imports nothing, every plugin file describes itself, and choices are checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT, python
from workbench import registry
from workbench.errors import InputError, MissingLibrary

PLUGINS = [(kind, name) for kind in registry.KINDS for name in registry.names(kind) if name != "none"]
EVERY = pytest.mark.parametrize(("kind", "name"), PLUGINS, ids=[f"{kind}/{name}" for kind, name in PLUGINS])
MINE = '''
class Mine:
    """A metric."""
    name = "mine"
    judges = "answer"
    def __init__(self, weight): self.weight = weight
    def score(self, question, answer): return None

def build(*, weight: float = 1.0):
    """Mine."""
    return Mine(weight)

def other(*, weight: float = 2.0):
    return Mine(weight)

number = 3
'''


@pytest.fixture
def mine(monkeypatch):
    """A plugin of the user's own in the current folder, under a name no other test has imported."""
    name = f"mine_{abs(hash(Path.cwd()))}"
    Path(f"{name}.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    return f"python:{name}"


# ------------------------------------------------------------------------------------------------- every plugin file


@EVERY
def test_every_plugin_file_describes_itself(kind, name):
    plugin = registry.describe(kind, name)
    assert re.fullmatch(r"[A-Z].{15,}[.)]", plugin.description), plugin.description
    for parameter in plugin.parameters:
        assert parameter.type, f"{parameter.name} has no annotation"
        assert parameter.default is not None, f"{parameter.name} has no default: the name alone must do"


@EVERY
def test_a_plugin_file_is_small(kind, name):
    assert len((ROOT / "workbench" / kind / f"{name}.py").read_text().splitlines()) < 250


@EVERY
def test_an_unknown_parameter_is_refused_without_importing_the_file(kind, name):
    with pytest.raises(InputError, match=f"{name} has no parameter 'nonsense'; its parameters: "):
        registry.check(kind, {"name": name, "nonsense": 1})


@EVERY
def test_the_default_parameters_pass(kind, name):
    registry.check(kind, name)
    registry.check(kind, {"name": name})


@pytest.mark.parametrize("kind", registry.KINDS)
def test_names_are_the_files_and_going_without_where_that_is_a_choice(kind):
    files = {path.stem for path in (ROOT / "workbench" / kind).glob("[a-z]*.py")}
    assert set(registry.names(kind)) - {"none"} == files
    assert ("none" in registry.names(kind)) == (kind in ("models", "retrievers", "rerankers", "compressors"))


def test_listing_and_checking_import_no_plugin():
    code = (
        "import sys; from workbench import registry\n"
        "for each in registry.plugins():\n"
        "    registry.check(each.kind, each.name)\n"
        "    each.name == 'none' or registry.version(each.kind, each.name)\n"
        "kinds = tuple(f'workbench.{kind}.' for kind in registry.KINDS)\n"
        "print([name for name in sys.modules if name.startswith(kinds)])"
    )
    result = python("-c", code)
    assert result.stdout.strip() == "[]", result.stderr


# ---------------------------------------------------------------------------------------------------------- choices


@pytest.mark.parametrize(
    ("kind", "choice", "file"),
    [
        ("models", "none", ("none", None)),
        ("models", "scripted", ("scripted", None)),
        ("models", {"name": "scripted", "seconds": 1}, ("scripted", None)),
        ("models", "embedded:smollm2-135m", ("embedded", "smollm2-135m")),
        ("models", "openai:gpt-4.1-nano", ("langchain", "openai:gpt-4.1-nano")),
        ("models", "ollama:qwen3:0.6b", ("langchain", "ollama:qwen3:0.6b")),
        ("models", "langchain:openai:x", ("langchain", "openai:x")),
        ("embedders", "embedded:minilm-l6", ("embedded", "minilm-l6")),
        ("embedders", "sentence_transformers:a/b", ("sentence_transformers", "a/b")),
        ("metrics", "recall@5", ("recall", "5")),
        ("metrics", "recall", ("recall", None)),
        ("metrics", "python:package.module:function", ("python", "package.module:function")),
    ],
)
def test_a_choice_leads_to_its_file(kind, choice, file):
    assert registry.resolve(kind, choice) == file


@pytest.mark.parametrize(
    ("kind", "choice", "said"),
    [
        ("models", "gpt", "unknown model 'gpt'; available: none, embedded, langchain, scripted, or provider:model"),
        ("models", ":x", "unknown model ':x'"),
        ("models", "x:", "unknown model 'x:'"),
        ("models", "", "unknown model ''"),
        ("models", "none:x", "none takes nothing after it; write none"),
        ("retrievers", "bm25:x", "bm25 takes nothing after it; write bm25"),
        ("retrievers", "../models/scripted", "unknown retriever"),
        ("retrievers", "_cache", "unknown retriever '_cache'"),
        ("strategies", "chess", "unknown strategy 'chess'; available: "),
        ("metrics", "f1@3", "unknown metric 'f1@3'"),
        ("metrics", "python:", "expected python:package.module:function"),
        ("metrics", "python:.relative", "expected python:package.module:function"),
        ("metrics", "python:a b:c", "expected python:package.module:function"),
        ("metrics", "python:a:b:c", "expected python:package.module:function"),
        ("colours", "red", "plugin kind is 'colours'; expected one of models, "),
    ],
)
def test_a_choice_that_leads_nowhere_says_why(kind, choice, said):
    with pytest.raises(InputError, match=re.escape(said)):
        registry.check(kind, choice)


def test_what_does_not_exist_cannot_be_described():
    with pytest.raises(InputError, match="unknown model 'nope'"):
        registry.describe("models", "nope")


def test_every_bad_parameter_is_named_at_once():
    choice = {"name": "scripted", "seconds": "soon", "fail": "loudly", "fail_every": 1.5, "colour": "red"}
    with pytest.raises(InputError) as caught:
        registry.build("models", choice)
    assert [problem.partition(";")[0] for problem in caught.value.problems] == [
        "scripted: seconds is 'soon'",
        "scripted: fail is 'loudly'",
        "scripted: fail_every is 1.5",
        "scripted has no parameter 'colour'",
    ]


def test_a_name_that_is_needed_is_asked_for():
    with pytest.raises(InputError, match=r"embedded: .*missing 1 required positional argument: 'name'"):
        registry.build("models", "embedded")


# -------------------------------------------------------------------------------------------------- the user's plugins


def test_a_plugin_of_ones_own_is_built_by_its_path(mine):
    assert registry.build("metrics", mine).weight == 1.0
    assert registry.build("metrics", f"{mine}:other").weight == 2.0
    assert registry.build("metrics", {"name": f"{mine}:build", "weight": "3"}).weight == 3.0
    assert registry.version("metrics", mine) == registry.version("metrics", f"{mine}:other") != ""


def test_mistakes_in_a_plugin_of_ones_own_are_named(mine):
    for choice, said in (
        (f"{mine}:nothing", "has no 'nothing'; name a function that builds the plugin"),
        (f"{mine}:number", "build is not a function"),
        ("python:no_such_module_here", "there is no module 'no_such_module_here'"),
        ({"name": mine, "height": 1}, "has no parameter 'height'; its parameters: weight"),
        ({"name": mine, "weight": "heavy"}, "weight is 'heavy'; input should be a valid number"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            registry.build("metrics", choice)


def test_a_missing_library_names_the_extra_that_brings_it(mine):
    Path(f"needs_{mine[7:]}.py").write_text("import streamlit.no_such_part\ndef build(): ...\n")
    with pytest.raises(MissingLibrary, match=r"streamlit.* is not installed; run: pip install 'rag-workbench\[app\]'"):
        registry.build("metrics", f"python:needs_{mine[7:]}")
