"""SQuAD's answer normalisation, and what counts as declining to answer.

The rules are those of the SQuAD evaluation (Rajpurkar et al. 2016): lower case, ASCII punctuation and the articles a, an,
the removed, white space folded. Text in Latin, Greek, Cyrillic and the like is compared by exactly these rules. Text that
holds any of the scripts listed below is treated as the multilingual evaluations do (MLQA, Lewis et al. 2020): compatible
characters in one form (NFKC), the punctuation of every script removed, and scripts written without spaces (Chinese,
Japanese, Thai, Lao, Khmer, Burmese) taken **character by character**, a character with its combining marks.
"""

from __future__ import annotations

import re
import string
import unicodedata
from functools import lru_cache

from workbench.words import UNSPACED

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Hebrew, Arabic and their neighbours; Indic scripts; Hangul; East Asian punctuation and widths; scripts without spaces.
_BEYOND_SQUAD = re.compile(
    "[\u0590-\u08ff\u0900-\u0dff\u1100-\u11ff\u3000-\u303f\u3130-\u318f\uac00-\ud7ff\ufb1d-\ufdff\ufe70-\ufefc\uff01-\uffef"
    f"{UNSPACED}]"
)
_UNSPACED_CHARACTER = re.compile(rf"(?=\w)[{UNSPACED}](?:(?!\w)[{UNSPACED}])*")
_INVISIBLE = dict.fromkeys(
    map(ord, "\u00ad\u0640\u200b\u200c\u200d\u200e\u200f\u2060\ufeff")
)  # written or left out at will

# What declining looks like, sentence by sentence, in normalised words: lower case, no punctuation, no articles.
_MOST_WORDS = 60  # of a sentence that can be a refusal
_GIVEN = "(?:(?:provided|given|supplied|available|retrieved|above|these|this|those|any|all|of|my|your|search) )*"
_SOURCE = (
    f"{_GIVEN}(?:passages?|context|texts?|documents?|excerpts?|sources?|material|articles?|information|results?)"
    "(?: (?:provided|given|supplied|above|alone|i have|i was given))?"
)
_BARE_SOURCE = f"{_GIVEN}(?:passages?|context|text)"
_FROM = f"(?:from|in|by|within|with|on|based on|using|according to) {_SOURCE}"
_STATED = "stated|mentioned|specified|provided|indicated|answered|known"
_NOT_STATED = rf"(?:is|was|are|were) (?:\w+ly )?(?:not|nowhere) (?:\w+ly )?(?:{_STATED})"
_NOT_FOUND = rf"(?:is|was|are|were) (?:\w+ly )?(?:not|nowhere) (?:\w+ly )?(?:{_STATED}|given|available|found|described|discussed|included)"
_UNDETERMINED = "(?:cannot|can not|could not) be (?:determined|answered|known|inferred|established)"
_TELL = "(?:say|mention|state|specify|indicate|answer|tell|discuss|address|describe|reveal)"
_OFFER = "(?:contain|provide|include|give|offer|have|cover)"
_UNABLE = "(?:cannot|can not|cant|could not|couldnt|(?:am |im |was |were )?(?:unable|not able) to)"
_THAT = "(?:that|this|it|you|from|based|in|with|what|who|which|when|where|why|how|if|whether)"
_IT = "(?:it|that|(?:this )?(?:question|information|detail|answer)|this)(?: to (?:this |your )?question)?"
_KNOWLEDGE = "(?:(?:specific|relevant|such|direct|any|explicit) )*(?:information|mention|answers?|details?)"
_THERE_IS = "(?:(?:there (?:is|was|are)|theres|i (?:have|see|find|do not see|dont see)|we have) )?"
_DECLINED = re.compile(
    "|".join(
        (
            rf"(?:unknown|unanswerable|none|no answer|(?:\w+ly )?not (?:\w+ly )?(?:{_STATED}|given|available))(?: {_FROM})?",
            rf"(?:i|we) (?:do not|dont) (?:\w+ly )?know(?: (?:answer|{_THAT})\b.*)?",
            rf"(?:(?:i|we) )?{_UNABLE} (?:\w+ly )?(?:answer|tell|determine|find|say|provide|give|know|locate|see)"
            rf"(?: (?:{_KNOWLEDGE}|questions?|{_THAT})\b.*)?",
            rf"(?:{_IT} )?{_UNDETERMINED}|{_IT} (?:is|was|remains) unknown|{_IT} {_NOT_STATED}",
            rf".+ (?:{_UNDETERMINED}|{_NOT_FOUND}) {_FROM}.*",
            f"{_THERE_IS}(?:not enough|not sufficient|no sufficient|insufficient) (?:information|context|details?|evidence)( .*)?",
            f"{_SOURCE} (?:is|are) (?:not sufficient|insufficient|not enough)( .*)?",
            f"{_THERE_IS}no {_KNOWLEDGE}(?<!details)(?<!detail)"
            "(?: (?:is|was|about|on|regarding|of|to|for|in|given|provided|available|found|that)( .*)?)?",
            rf"{_SOURCE} (?:do not|does not|did not|dont|doesnt|didnt) (?:\w+ly |seem to |appear to )?"
            rf"(?:{_TELL}( .*)?|{_OFFER} (?:enough |sufficient )?{_KNOWLEDGE}( .*)?)",
            rf"{_BARE_SOURCE} (?:do not|does not|did not|dont|doesnt|didnt) (?:\w+ly )?{_OFFER}( .*)?",
            f"{_SOURCE} (?:contains?|has|have|gives?|provides?|offers?) (?:no|not enough|insufficient) {_KNOWLEDGE}( .*)?",
        )
    )
)
_LEAD = re.compile(
    rf"(?:(?:(?:i am |im )?sorry|unfortunately|apologies|i apologi[sz]e|{_FROM}"
    rf"|no(?= {_SOURCE} (?:do|does|did|has|have|contains?) ))(?: but)? )+(?=\w)"
)
_AFTER_ALL = re.compile(r"\b(?:but|however|although|though|yet|nevertheless|instead|except|probably|likely)\b")
_MORE_ON_SOURCES = re.compile(
    rf"(?:they|{_SOURCE}) (?:\w+ly )?(?:only|just|merely|focus|discuss|talk|describe|mention)|please|(?:more|further|additional) "
)
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n+")


@lru_cache(maxsize=16384)
def normalise(text: str) -> str:
    """The text as SQuAD compares it; any two characters of scripts without spaces come out with a space between them."""
    plain = text.lower()
    if not text.isascii() and _BEYOND_SQUAD.search(text):
        plain = _beyond_squad(plain)
    return " ".join(_ARTICLES.sub(" ", plain.translate(_PUNCTUATION)).split())


def _beyond_squad(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text.translate(_INVISIBLE)).lower()
    plain = "".join(each for each in plain if each.isascii() or not unicodedata.category(each).startswith("P"))
    return _UNSPACED_CHARACTER.sub(r" \g<0> ", plain)


@lru_cache(maxsize=16384)
def tokens(text: str) -> tuple[str, ...]:
    """The normalised words."""
    return tuple(normalise(text).split())


def declined(text: str) -> bool:
    """Whether an answer says that it does not know: it is empty, or its sentences are the usual refusals and nothing else.

    What is said after a refusal counts as an answer, unless it only goes on about the passages; so does a refusal with a
    "but". Phrases of other languages are not known.
    """
    sentences = [plain for each in _SENTENCE_END.split(text.replace("’", "'")) if (plain := normalise(each))]
    if not sentences:
        return True
    first, *rest = (_LEAD.sub("", each, count=1) if _LEAD.match(each) else each for each in sentences)
    return _refuses(first) and all(_refuses(each) or _MORE_ON_SOURCES.match(each) is not None for each in rest)


def _refuses(sentence: str) -> bool:
    return (
        sentence.count(" ") < _MOST_WORDS
        and _DECLINED.fullmatch(sentence) is not None
        and _AFTER_ALL.search(sentence) is None
    )
