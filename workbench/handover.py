"""What a recommendation hands over to be used elsewhere: the setup file of its choice, and code that loads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from workbench.comparison import Comparison
from workbench.errors import InputError
from workbench.exports import as_mapping as comparison_mapping
from workbench.recommendation import Recommendation
from workbench.recommendation import as_mapping as recommendation_mapping
from workbench.store import Store

FORMAT = 1
"""The version of the setup file."""

_SNIPPET = """# pip install 'rag-workbench[hosted]' and what the setup's model needs
import workbench

setup = workbench.load_setup({file!r})  # a LangChain Runnable, loaded and warm
reply = setup.invoke("What would you like to know?")
print(reply["answer"])
for passage in reply["passages"]:
    print(passage["document_id"], passage["text"])
"""


def setup_file(recommendation: Recommendation, comparison: Comparison, *, store: Store | None = None) -> str:
    """The text of ``setup.yaml`` for the choice of a recommendation, made from a run in the store.

    Raises ``InputError`` where nothing qualifies.
    """
    store = store or Store(create=False)
    return setup_text(recommendation, comparison, store.get(recommendation.run).experiment)


def snippet(file: str = "setup.yaml") -> str:
    """Python code that asks a setup file one question by way of LangChain."""
    return _SNIPPET.format(file=file)


def setup_text(recommendation: Recommendation, comparison: Comparison, experiment: Mapping[str, Any]) -> str:
    """The setup file of a recommendation's choice: axes, corpus, fingerprints, measured figures, evidence.

    ``experiment`` is the run's, as it is stored: it names the data, and the seed that drew the worked examples.
    """
    chosen = recommendation.chosen
    if chosen is None:
        raise InputError("nothing qualifies, so there is no setup to write; see why with: workbench recommend")
    measured = next(each for each in comparison_mapping(comparison)["configurations"] if each["id"] == chosen.id)
    evidence = recommendation_mapping(recommendation)
    content = {
        "setup": FORMAT,
        "configuration": dict(chosen.axes),
        "corpus": {"name": experiment["corpus"], "digest": comparison.environment["corpus"]["digest"]},
        **({"examples_from": _examples_from(comparison, experiment)} if chosen["examples"] else {}),
        "fingerprints": dict(chosen.fingerprints),
        "chosen_by": {
            key: evidence[key]
            for key in ("run", "verdict", "exploratory", "goal", "questions", "difference", "ratios", "summary")
        },
        "measured": {
            key: measured[key]
            for key in ("scores", "tokens_in", "tokens_out", "seconds", "joules", "joules_per_correct")
        },
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _examples_from(comparison: Comparison, experiment: Mapping[str, Any]) -> dict[str, Any]:
    digest = comparison.environment["evalset"]["digest"]
    return {"evalset": experiment["evalset"], "digest": digest, "seed": experiment["seed"]}
