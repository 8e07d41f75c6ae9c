"""Exact match and F1 of text answers, computed from one table of scores per item."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from tt_metrics.api import Metric, Segments
from tt_nlp._answers import answer_tokens, best_scores, normalize_answer, token_f1
from tt_nlp._errors import NlpInputError

__all__ = ["AnswerScores", "ExactMatchTextMetric", "F1TextMetric"]


class AnswerScores(Segments):
    """Exact match and F1 of each answer, from 0 to 1.

    Args:
        target_actual_text: What a list of strings among the targets is; see `ExactMatchTextMetric`.
    """

    names = ("exact_match", "f1")

    def __init__(self, *, target_actual_text: bool) -> None:
        super().__init__()
        self.target_actual_text = target_actual_text

    @property
    def key(self) -> tuple[Hashable, ...]:
        return *super().key, self.target_actual_text

    def columns(self, y_true: Any, y_predicted: Any) -> Sequence[NDArray[np.float64]]:
        targets, answers = _items(y_true, "y_true"), _items(y_predicted, "y_predicted")
        if len(targets) != len(answers) or not targets:
            msg = (
                "y_true and y_predicted must hold one entry per item, and at least one; "
                f"{len(targets)} and {len(answers)} came."
            )
            raise NlpInputError(msg)
        scores = [
            best_scores(self._accepted(target), _text(answer, "y_predicted"))
            for target, answer in zip(targets, answers, strict=True)
        ]
        exact_match, f1 = np.array(scores, np.float64).T
        return exact_match, f1

    def _accepted(self, target: Any) -> list[str]:
        """All accepted answers of one item, as texts."""
        if isinstance(target, str):
            return [target]
        several = self.target_actual_text or not _are_words(target)
        accepted = [_text(answer, "y_true") for answer in target] if several else []
        if several and not accepted:
            msg = "Each item of y_true needs at least one accepted answer; one has none."
            raise NlpInputError(msg)
        return accepted or [_text(target, "y_true")]


def _items(values: Any, name: str) -> list[Any]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        msg = f"{name} must be a list with one entry per item; {values!r} came."
        raise NlpInputError(msg)
    return list(values)


def _are_words(answer: Any) -> TypeGuard[Sequence[str]]:
    return isinstance(answer, Iterable) and all(isinstance(word, str) for word in answer)


def _text(answer: Any, name: str) -> str:
    """One answer as text: a string as it is, words joined by spaces."""
    if isinstance(answer, str):
        return answer
    if not _are_words(answer):
        msg = f"An answer in {name} must be a string or a list of words; {answer!r} came."
        raise NlpInputError(msg)
    for word in answer:
        if len(word.split()) > 1:
            msg = (
                f"A list of strings in {name} is the words of one answer, but {word!r} is several. "
                "If the strings of y_true are accepted answers, set target_actual_text=True."
            )
            raise NlpInputError(msg)
    return " ".join(answer)


class _AnswerMetric(Metric[AnswerScores]):
    """A mean of the scores per item, in percent.

    Args:
        y_true: One entry per item: a text, the words of one answer, or several accepted answers.
        y_predicted: One entry per item: a text, or its words.
        target_actual_text: A list of strings in ``y_true`` is several accepted answers (texts);
            otherwise it is the words of one answer, as from a tokenised data set. Several answers
            as lists of words (a list of lists) and plain texts are understood either way.
    """

    def __init__(self, name: str, y_true: Any, y_predicted: Any, target_actual_text: bool) -> None:
        self.target_actual_text = target_actual_text
        super().__init__(name, y_true, y_predicted)

    @property
    def settings(self) -> dict[str, Any]:
        return {"target_actual_text": self.target_actual_text}

    def make_state(self) -> AnswerScores:
        return AnswerScores(target_actual_text=self.target_actual_text)


class ExactMatchTextMetric(_AnswerMetric):
    """Percentage of answers that equal an accepted one, case, punctuation and articles aside: 'EM'.

    Args:
        y_true: One entry per item: a text, the words of one answer, or several accepted answers.
        y_predicted: One entry per item: a text, or its words.
        target_actual_text: A list of strings in ``y_true`` is several accepted answers (texts);
            otherwise it is the words of one answer, as from a tokenised data set. Several answers
            as lists of words (a list of lists) and plain texts are understood either way.
    """

    normalize_answer = staticmethod(normalize_answer)

    def __init__(
        self, y_true: Any = None, y_predicted: Any = None, target_actual_text: bool = False
    ) -> None:
        super().__init__("EM", y_true, y_predicted, target_actual_text)

    def result_of(self, state: AnswerScores) -> float:
        """Mean in percent."""
        return 100 * state.mean("exact_match")


class F1TextMetric(_AnswerMetric):
    """Mean F1 over the words of an answer and of the accepted one closest to it, in percent: 'F1'.

    Args:
        y_true: One entry per item: a text, the words of one answer, or several accepted answers.
        y_predicted: One entry per item: a text, or its words.
        target_actual_text: As for `ExactMatchTextMetric`.
    """

    get_tokens = staticmethod(answer_tokens)

    def __init__(
        self, y_true: Any = None, y_predicted: Any = None, target_actual_text: bool = False
    ) -> None:
        super().__init__("F1", y_true, y_predicted, target_actual_text)

    @staticmethod
    def compute_f1(a_gold: str, a_pred: str) -> float:
        """F1 of one answer, from 0 to 1."""
        return token_f1(answer_tokens(a_gold), answer_tokens(a_pred))

    def result_of(self, state: AnswerScores) -> float:
        """Mean in percent."""
        return 100 * state.mean("f1")
