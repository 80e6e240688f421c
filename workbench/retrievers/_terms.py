"""What BM25 searches for: the words of a text without stop words, stemmed if asked, in any language."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterable

from bm25s import stopwords
from bm25s.tokenization import Tokenized

from workbench import registry
from workbench.errors import InputError
from workbench.words import fold, words

_SHORTEST = 2  # characters of a word, in scripts that have spaces between words
_STOPPED = (
    "chinese danish dutch english french german italian korean norwegian portuguese russian spanish swedish turkish".split()  # noqa: SIM905
)
STEMMED = (
    "arabic armenian basque catalan danish dutch english esperanto estonian finnish french german greek hindi hungarian "  # noqa: SIM905
    "indonesian irish italian lithuanian nepali norwegian persian polish portuguese romanian russian serbian spanish swedish "
    "tamil turkish yiddish".split()
)
"""Languages whose words can be stemmed."""
LANGUAGES = tuple(sorted({*_STOPPED, *STEMMED}))
"""Languages with stop words, a stemmer, or both."""


def stemmer(language: str) -> Callable[[str], str]:
    """A language's stemming of one word; PyStemmer's objects are not made for several threads at once."""
    library = registry.require("Stemmer", "bm25 with stem: true")
    if language not in library.algorithms():
        raise InputError(
            f"bm25: language is {language!r}, which the installed PyStemmer cannot stem; install a newer one"
        )
    stem_word = library.Stemmer(language).stemWord
    lock = threading.Lock()

    def stem(word: str) -> str:
        with lock:
            return str(stem_word(word))

    return stem


class Terms:
    """What of a text is searched for: its words without stop words, stemmed where a stemmer is given."""

    def __init__(self, language: str, stem: Callable[[str], str] | None) -> None:
        known = getattr(stopwords, f"STOPWORDS_{'EN' if language == 'english' else language.upper()}", ())
        self._stopped = frozenset(map(fold, known))
        self._stem = stem

    def of(self, text: str) -> list[str]:
        """The terms of a text, in order."""
        found = [word for word in words(text, _SHORTEST) if word not in self._stopped]
        return found if self._stem is None else list(map(self._stem, found))

    def indexed(self, texts: Iterable[str]) -> Tokenized:
        """The terms of many texts as numbers, with the vocabulary: term → number. Each distinct word is looked at once."""
        numbers = _Numbers(self._stopped, self._stem)
        ids = [
            array("i", [number for number in map(numbers.__getitem__, words(text, _SHORTEST)) if number >= 0])
            for text in texts
        ]
        return Tokenized(ids=ids, vocab=numbers.vocabulary)


class _Numbers(dict[str, int]):
    """Word → the number of its term, growing as words are looked up; -1 for stop words."""

    def __init__(self, stopped: frozenset[str], stem: Callable[[str], str] | None) -> None:
        self._stopped = stopped
        self._stem = stem
        self.vocabulary: dict[str, int] = {}

    def __missing__(self, word: str) -> int:
        term = word if self._stem is None else self._stem(word)
        known = self.vocabulary
        self[word] = number = -1 if word in self._stopped else known.setdefault(term, len(known))
        return number
