"""Perplexity of a language model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tt_metrics.api import Metric, Sums, as_numbers
from tt_nlp._errors import NlpInputError

__all__ = ["PerplexityMetric", "TokenLoss"]


class TokenLoss(Sums):
    """The summed negative log-likelihood of all tokens, and how many tokens there were."""

    names = ("nll", "tokens")

    def columns(self, y_true: Any, y_predicted: Any) -> Sequence[NDArray[np.float64]]:
        """Take mean losses as ``y_true`` and token counts, or ``None``, as ``y_predicted``."""
        losses = as_numbers(y_true, "batch_losses").astype(np.float64).ravel()
        if y_predicted is None:
            return losses, np.ones_like(losses)
        tokens = as_numbers(y_predicted, "token_counts").astype(np.float64).ravel()
        if tokens.shape != losses.shape or (tokens <= 0).any():
            msg = (
                "token_counts must be above 0, one for each of batch_losses; "
                f"{len(tokens)} came for {len(losses)} losses, the smallest is {tokens.min()}."
            )
            raise NlpInputError(msg)
        return losses * tokens, tokens


class PerplexityMetric(Metric[TokenLoss]):
    """exp(summed negative log-likelihood / number of tokens): 'Perplexity'.

    Give the token counts (padding not counted) wherever batches differ in length: only then does
    every token weigh the same, and the result is that of one big batch.

    Args:
        batch_losses: Mean negative log-likelihood per token (natural logarithm) of each batch, as a
            cross-entropy loss gives it; one number or shape (n,).
        token_counts: Number of tokens that each loss is the mean of. Left out, each counts as one:
            right for losses per token.
    """

    takes_predictions: ClassVar[bool] = False

    def __init__(self, batch_losses: Any = None, token_counts: Any = None) -> None:
        super().__init__("Perplexity")
        if batch_losses is not None:
            self.update(batch_losses, token_counts)
        elif token_counts is not None:
            msg = "token_counts need the batch_losses that they belong to; only the counts came."
            raise NlpInputError(msg)

    def make_state(self) -> TokenLoss:
        """Summed loss and tokens."""
        return TokenLoss()

    def update(self, batch_losses: Any, token_counts: Any = None, /, **options: Any) -> None:
        """Take in the losses of one or more batches; options as for every metric."""
        super().update(batch_losses, token_counts, **options)

    def result_of(self, state: TokenLoss) -> float:
        """The formula; infinite where it is beyond float64."""
        try:
            return math.exp(state.total("nll") / state.total("tokens"))
        except OverflowError:
            return math.inf
