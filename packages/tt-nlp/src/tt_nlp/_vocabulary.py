"""Words and their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tt_nlp._errors import NlpInputError

__all__ = ["Vocabulary"]

_SENTENCE = ("PAD", "OOV", "SOS", "EOS")
_DOCUMENT = ("SOD", "EOD")


class Vocabulary:
    """Gives each word a number, and counts how often it came.

    The first numbers stand for no word: PAD 0, OOV 1 (a word it does not know), SOS 2 and EOS 3
    (start and end of a sentence). They are not in `word2index`, so a text that contains the word
    "PAD" gets a number of its own for it.

        >>> vocabulary = Vocabulary("english")
        >>> vocabulary.add_sentence(["a", "cat", "and", "a", "dog"])
        >>> vocabulary.convert_sent2idx_sent(["a", "bird"])
        [2, 4, 1, 3]
        >>> vocabulary.convert_idx_sent2sent([2, 4, 5, 3], rm_default_tokens=True)
        ['a', 'cat']

    Args:
        name: What it is the vocabulary of.
        document_level: Reserve SOD 4 and EOD 5 (start and end of a document) too.

    Attributes:
        word2index: Number of each word.
        word2count: How often each word came.
        index2word: Word or default token of each number.
    """

    def __init__(self, name: str, document_level: bool = False) -> None:
        self.name = name
        self.document_level = document_level
        self.word2index: dict[str, int] = {}
        self.word2count: dict[str, int] = {}
        self.index2word: dict[int, str] = dict(enumerate(self.default_tokens))

    @property
    def default_tokens(self) -> tuple[str, ...]:
        """What the first numbers stand for."""
        return _SENTENCE + (_DOCUMENT if self.document_level else ())

    @property
    def num_words(self) -> int:
        """How many numbers are taken, default tokens included: the rows of an embedding."""
        return len(self.index2word)

    def add_sentence(self, sentence_tokens: Iterable[str]) -> None:
        """Add all words of a sentence."""
        if isinstance(sentence_tokens, str):
            msg = f"A sentence must be a list of words; {sentence_tokens!r} came. Split it first."
            raise NlpInputError(msg)
        for word in sentence_tokens:
            self.add_word(word)

    def add_word(self, word: str) -> None:
        """Count a word, and give it the next number if it is new."""
        self._add(word, 1)

    def trim(self, min_count: int) -> None:
        """Drop the words that came fewer than ``min_count`` times and number the others anew.

        They keep their order and their counts.
        """
        kept = {word: count for word, count in self.word2count.items() if count >= min_count}
        self._fill(kept)

    def convert_sent2idx_sent(
        self, sent_tokens: Iterable[str], start_end_token: bool = True
    ) -> list[int]:
        """Give the numbers of a sentence's words, between SOS and EOS if asked for."""
        oov, sos, eos = 1, 2, 3
        indices = [self.word2index.get(word, oov) for word in sent_tokens]
        return [sos, *indices, eos] if start_end_token else indices

    def convert_idx_sent2sent(
        self, idx_sent: Iterable[Any], rm_default_tokens: bool = False
    ) -> list[str]:
        """Give the words of numbers (of any integer type), without default tokens if asked for."""
        indices = [int(index) for index in idx_sent]
        for index in indices:
            if index not in self.index2word:
                msg = f"Numbers must be from 0 to {self.num_words - 1}; {index} came."
                raise NlpInputError(msg)
        first = len(self.default_tokens) if rm_default_tokens else 0
        return [self.index2word[index] for index in indices if index >= first]

    def state_dict(self) -> dict[str, Any]:
        """Everything it knows, as JSON can hold it."""
        return {
            "name": self.name,
            "document_level": self.document_level,
            "words": list(self.word2count),
            "counts": list(self.word2count.values()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become the vocabulary that a `state_dict` was taken from."""
        self.name, self.document_level = state["name"], state["document_level"]
        self._fill(dict(zip(state["words"], state["counts"], strict=True)))

    def _fill(self, counts: Mapping[str, int]) -> None:
        self.word2index, self.word2count = {}, {}
        self.index2word = dict(enumerate(self.default_tokens))
        for word, count in counts.items():
            self._add(word, count)

    def _add(self, word: str, count: int) -> None:
        if word not in self.word2index:
            self.index2word[self.num_words] = word
            self.word2index[word] = len(self.index2word) - 1
            self.word2count[word] = 0
        self.word2count[word] += count
