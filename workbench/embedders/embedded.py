"""Embedders whose weights come from a package registry, so that no model hub is needed."""

from __future__ import annotations

from workbench import registry, weights
from workbench.contracts import Embedder

_HOMES = {".npz": "_universal", ".safetensors": "sentence_transformers"}


def build(name: str) -> Embedder:
    """A model that installs as a package: minilm-l6 (English, 384 dimensions), use-multilingual (16 languages, 512 dimensions)."""
    path = weights.require(name, "embedder")
    digest = weights.find(name, "embedder").sha256
    # Each kind of model has its own library, of which only one is to be loaded.
    home = registry.require(f"workbench.embedders.{_HOMES[path.suffix]}", f"embedder 'embedded:{name}'")
    embedder: Embedder
    if path.suffix == ".npz":
        embedder = home.UniversalEncoder(digest)
    else:
        model = home.load(str(path.parent), local_files_only=True)
        embedder = home.SentenceEmbedder(model, weights_digest=digest)
    return embedder
