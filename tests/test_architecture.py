"""The arrows of the design, read from the source: who may import whom, and what must never be in it."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import workbench
from tests.conftest import ROOT, python
from workbench import registry

PACKAGE = ROOT / "workbench"
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if not {"app", "pages", "corpora", "evals"} & set(path.relative_to(PACKAGE).with_suffix("").parts[:1])
}
PAGES = [path for path in [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))] if path.exists()]

# From the ground up: a module imports from its own line or from those above it.
LAYERS = (
    "records errors leases",
    "contracts ledger booking stats sequential bars racing races confirmation ratios power registry coefficients hosted geography "
    "grid_data grids prices tariffs rates words normalise losses cutoff tokens weights templates packing pareto examples "
    "ordering",
    " ".join(kind for kind in registry.KINDS if kind != "executors"),
    "readers library python_topics space specification schema index rows store bundle environment answered expected selection",
    "sharing engines",
    "pipeline workers",
    "executors",
    "control",
    "session",
    "experiment",
)
READING = (
    "tally comparison breakdown mappings footprint impacts verdict fixed_sample raced recommendation search_footprint charts "
    "exports explanations texts html_report region_report reports views certificate certificate_html verification pairing "
    "gating gate_report plans glance showcase handover spreadsheet forms playground standing loads effects duels outlays "
    "browsing charts_race charts_compare"
)
TOP = (
    "__init__ __main__ commands terminal doctor self_test imports setup launch app_server app_process foresight sampling calibration "
    "workload tryout planning plan_apart plan_report project playground_worker vitals"
)
RUNNING = {"pipeline", "session", "experiment", "index", *registry.KINDS}

HEAVY = {
    "optuna",
    "scipy",
    "torch",
    "transformers",
    "sentence_transformers",
    "langchain",
    "langchain_core",
    "faiss",
    "pandas",
    "altair",
    "ray",
    "streamlit",
}
FORBIDDEN = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "torch.load",
    "yaml.unsafe_load",
    "yaml.full_load",
}

PUBLIC = [
    "Answer",
    "Comparison",
    "Configuration",
    "Corpus",
    "EvalSet",
    "Experiment",
    "Playground",
    "Recommendation",
    "Store",
    "WorkbenchError",
    "add_question",
    "answer_page",
    "answers",
    "arranged",
    "ask",
    "axis_effects",
    "budget",
    "certify",
    "changed_goal",
    "check",
    "claim_rows",
    "compare",
    "comparison_rows",
    "embedded_models",
    "example",
    "experiments",
    "export",
    "face_to_face",
    "footprint_of_setup",
    "free_name",
    "gate",
    "gold",
    "headlines",
    "highlighted",
    "import_upload",
    "lanes",
    "launched",
    "ledger_rows",
    "load_corpus",
    "load_evalset",
    "load_setup",
    "notes",
    "outline",
    "outlook",
    "own_evalsets",
    "pause",
    "plan",
    "plan_notes",
    "plan_rows",
    "plan_sentences",
    "plugins",
    "process_load",
    "prompt_text",
    "read_experiment",
    "recommend",
    "regions",
    "rejection_rows",
    "reprice",
    "resume",
    "run",
    "runs",
    "save_experiment",
    "saving_rows",
    "search_sentences",
    "sentences",
    "setup_file",
    "setups",
    "side_by_side",
    "snippet",
    "start",
    "stop",
    "timed_plan",
    "verify",
    "watch",
]


def folder(module: str) -> str:
    return module.partition(".")[0]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that code imports, inside functions too, without those that only type checkers see."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, "imports name their whole path"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imported(child)


def ours(path: Path) -> set[str]:
    """Modules of this package that a file imports."""
    found = set()
    for name in imported(tree(path)):
        parts = name.split(".")
        if parts[0] == "workbench":
            inside = parts[1:]
            while inside and ".".join(inside) not in FILES:
                inside.pop()
            found.add(".".join(inside) or "__init__")
    return found


GRAPH = {module: ours(path) - {module} for module, path in FILES.items()}


def reached(module: str) -> set[str]:
    found, todo = set(), [module]
    while todo:
        for each in GRAPH[todo.pop()] - found:
            found.add(each)
            todo.append(each)
    return found


# ------------------------------------------------------------------------------------------------------------ arrows


def test_every_module_has_its_place():
    placed = " ".join((*LAYERS, READING, TOP)).split()
    assert len(placed) == len(set(placed))
    assert {folder(module) for module in FILES} - set(placed) == set(), "say in LAYERS, READING or TOP where it belongs"


@pytest.mark.parametrize("module", FILES)
def test_imports_point_one_way(module):
    below: set[str] = set()
    for layer in LAYERS:
        below |= set(layer.split())
        if folder(module) in layer.split():
            allowed = below | ({"__init__"} if module == "environment" else set())  # it notes the version
            break
    else:
        top = folder(module) in TOP.split()
        allowed = below | set(READING.split()) | ({"__init__", *TOP.split()} if top else set())
        allowed |= {"__init__"} if module == "tally" else set()  # what another version kept is made anew
    assert {folder(each) for each in GRAPH[module]} <= allowed


def test_no_module_imports_itself_by_a_detour():
    assert list(TopologicalSorter(GRAPH).static_order())


@pytest.mark.parametrize("module", READING.split())
def test_reading_a_run_never_loads_what_runs_one(module):
    if module in FILES:
        assert {folder(each) for each in reached(module)} & RUNNING == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_read_runs_and_start_processes_but_never_run_anything_themselves(path):
    assert {folder(each) for each in ours(path)} <= {
        "__init__",
        "records",
        "launch",
        "vitals",
        "app_process",
        *READING.split(),
    }
    roots = {name.partition(".")[0] for name in imported(tree(path))}
    assert roots <= {"workbench", "pages", "streamlit", *sys.stdlib_module_names}


@pytest.mark.parametrize("module", FILES)
def test_streamlit_never_enters_the_package(module):
    assert "streamlit" not in {name.partition(".")[0] for name in imported(tree(FILES[module]))}
    # Only its command line, the extra that brings it, and whether it is here.
    if module not in ("app_server", "app_process", "registry", "doctor"):
        words = {node.value for node in ast.walk(tree(FILES[module])) if isinstance(node, ast.Constant)}
        assert "streamlit" not in words


# ----------------------------------------------------------------------------------------------------- never in here


@pytest.mark.parametrize("path", [*FILES.values(), *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_evaluates_text_unpickles_or_opens_a_shell(path):
    roots = {name.partition(".")[0] for name in imported(tree(path))}
    assert not roots & {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in FORBIDDEN, called
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert given.get("shell", "False") == "False"
            assert given.get("allow_pickle", "False") == "False"
            assert given.get("trust_remote_code", "False") == "False"


# -------------------------------------------------------------------------------------------------------- light start

LOADED = "import sys, json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
HELP = f"""
import workbench.__main__ as program
try:
    program.main(["--help"])
except SystemExit as end:
    assert not end.code, end.code
{LOADED}
"""


@pytest.mark.parametrize("code", [f"import workbench; {LOADED}", HELP], ids=["import", "help"])
def test_starting_loads_no_heavy_library(code):
    result = python("-c", code)
    assert result.returncode == 0, result.stderr
    loaded = set(json.loads(result.stdout.splitlines()[-1]))
    assert "workbench" in loaded
    assert loaded & (HEAVY | {"numpy", "pydantic", "sqlalchemy", "yaml", "rich", "psutil"}) == set()


def test_help_is_instant():
    code = "import os, sys, runpy, time; sys.argv = ['workbench', '--help']\n"
    code += "try: runpy.run_module('workbench', run_name='__main__')\n"
    code += "finally: print(sum(os.times()[:2]), file=sys.stderr)"
    seconds = [float(python("-c", code).stderr.split()[-1]) for _ in range(3)]
    assert min(seconds) < 0.5


# ---------------------------------------------------------------------------------------------------------- public face


def test_the_public_api_is_this_list():
    assert workbench.__all__ == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(workbench))
    with pytest.raises(AttributeError, match="module 'workbench' has no attribute 'no_such_name'"):
        _ = workbench.no_such_name


def test_no_public_name_is_hidden_by_a_module_of_that_name():
    """Importing a module puts it into its package under its own name, where the public function would stand."""
    assert {folder(module) for module in FILES} & set(PUBLIC) == set()


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_documented(name):
    module = workbench._HOME[name]
    [node] = [each for each in tree(FILES[module]).body if getattr(each, "name", "") == name]
    assert ast.get_docstring(node)


@pytest.mark.parametrize("module", FILES)
def test_everything_public_has_a_docstring(module):
    source = tree(FILES[module])
    assert not source.body or ast.get_docstring(source), module
    for node in undocumented(source.body):
        pytest.fail(f"{module}.{node.name} (line {node.lineno}) has no docstring")


def undocumented(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node) and not stated(node):
                yield node
            if isinstance(node, ast.ClassDef):
                yield from undocumented(node.body)


def stated(node: ast.AST) -> bool:
    """A method of a Protocol is said by its signature; so is the shape of an overload."""
    return isinstance(node, ast.FunctionDef) and ast.unparse(node.body[-1]) == "..."
