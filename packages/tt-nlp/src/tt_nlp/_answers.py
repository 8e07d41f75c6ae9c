"""How one answer is compared with another, as in SQuAD.

P. Rajpurkar, J. Zhang, K. Lopyrev, P. Liang, SQuAD: 100,000+ questions for machine comprehension
of text, EMNLP 2016, section 6.1: case, punctuation and the articles a, an, the do not count; F1 is
over the bags of words; of several accepted answers the best counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

__all__ = ["answer_tokens", "best_scores", "normalize_answer", "token_f1"]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Lower the case, delete ASCII punctuation, drop articles, leave one space between words.

    Deleting comes first, so "the-end" is one word and keeps its "the".
    """
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", bare).split())


def answer_tokens(text: str) -> list[str]:
    """The words that count."""
    return normalize_answer(text).split()


def token_f1(expected: Sequence[str], given: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over two bags of words.

    Two answers of which nothing is left are equal, so 1, as in P. Rajpurkar, R. Jia, P. Liang, Know
    what you don't know: unanswerable questions for SQuAD, ACL 2018.
    """
    if not expected or not given:
        return float(not expected and not given)
    shared = sum((Counter(expected) & Counter(given)).values())
    return 2 * shared / (len(expected) + len(given))


def best_scores(accepted: Sequence[str], given: str) -> tuple[float, float]:
    """Exact match (0 or 1) and F1 of an answer against the accepted one that suits it best."""
    words = answer_tokens(given)
    candidates = [answer_tokens(answer) for answer in accepted]
    if words in candidates:
        return 1.0, 1.0
    return 0.0, max(token_f1(candidate, words) for candidate in candidates)
