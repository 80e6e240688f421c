"""Embedders whose weights come from a package registry, so that no model hub is needed."""

from __future__ import annotations

from workbench import weights
from workbench.embedders.sentence_transformers import SentenceEmbedder, load


def build(name: str) -> SentenceEmbedder:
    """A model that installs as a package: minilm-l6 (all-MiniLM-L6-v2, 384 dimensions, Apache-2.0)."""
    path = weights.require(name, "embedder")
    return SentenceEmbedder(
        load(str(path.parent), local_files_only=True), weights_digest=weights.find(name, "embedder").sha256
    )
