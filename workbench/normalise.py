"""SQuAD's answer normalisation, and what counts as declining to answer.

The rules are those of the SQuAD evaluation (Rajpurkar et al. 2016): lower case, punctuation and the articles a, an, the
removed, white space folded.
"""

from __future__ import annotations

import re
import string
from functools import lru_cache

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_DECLINED = re.compile(
    r"^(unknown|unanswerable|none|no answer|not (stated|given|mentioned|known|specified|available)( in passages?)?"
    r"|i (do not|dont) know|(passages?|context|text) (do|does) not (say|mention|state|contain)\b.*|cannot (tell|be determined|answer))$"
)


@lru_cache(maxsize=16384)
def normalise(text: str) -> str:
    """The text as SQuAD compares it."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


@lru_cache(maxsize=16384)
def tokens(text: str) -> tuple[str, ...]:
    """The normalised words."""
    return tuple(normalise(text).split())


def declined(text: str) -> bool:
    """Whether an answer says that it does not know: empty, or nothing but one of the usual phrases."""
    plain = normalise(text)
    return not plain or _DECLINED.match(plain) is not None
