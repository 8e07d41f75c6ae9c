"""Metrics on ranked documents, a number per query and its mean over queries."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.inputs import as_whole
from tt_metrics._core.metric import Metric
from tt_metrics._core.segments import Segments
from tt_metrics._errors import MetricInputError
from tt_metrics._ranking.retrieval_math import (
    Documents,
    average_precision,
    ndcg,
    read_queries,
    reciprocal_rank,
)

__all__ = [
    "MeanAveragePrecisionMetric",
    "MeanReciprocalRankMetric",
    "NDCGMetric",
    "Queries",
    "RetrievalMetric",
]

Floats = NDArray[np.float64]
Score = Callable[[Documents, int | None], Floats]
Empty = Literal["zero", "one", "skip", "error"]


class Queries(Segments):
    """A number for each query, and whether it has a relevant document.

    Args:
        name: Of the number.
        score: Gives the number of each query.
        k: How many documents count; None for all.
    """

    names = ("score", "relevant")

    def __init__(self, name: str, score: Score, k: int | None) -> None:
        super().__init__()
        self._name, self._score, self._k = name, score, k

    @property
    def key(self) -> tuple[Hashable, ...]:
        return "Queries", self._name, self._k

    def columns(self, y_true: Any, y_predicted: Any) -> Sequence[Floats]:
        documents = read_queries(y_true, y_predicted)
        relevant = np.maximum.reduceat(documents.relevance, documents.starts) > 0
        return [self._score(documents, self._k), relevant.astype(np.float64)]


class RetrievalMetric(Metric[Queries]):
    """The mean over queries of a number that says how well a query's documents are ranked.

    Args:
        y_true: Relevances, at least 0: shape (queries, documents), or a list with one row per
            query, of any lengths.
        y_predicted: Scores, of the same shape.
        k: Only the first k documents count; None for all.
        empty: What a query without relevant documents has: ``"zero"`` or ``"one"``; ``"skip"``
            leaves it out of the mean; ``"error"`` raises.

    Raises:
        MetricInputError: When the result is asked for, with ``empty="error"``: a query has no
            relevant document.
    """

    result_name: ClassVar[str]

    def __init__(
        self,
        y_true: Any = None,
        y_predicted: Any = None,
        *,
        k: int | None = None,
        empty: Empty = "zero",
    ) -> None:
        if empty not in get_args(Empty):
            msg = f"empty must be one of {', '.join(get_args(Empty))}; it is {empty!r}."
            raise MetricInputError(msg)
        self.k = None if k is None else as_whole(k, "k", 1)
        self.empty = empty
        name = self.result_name if self.k is None else f"{self.result_name}_{self.k}"
        super().__init__(name, y_true, y_predicted)

    @property
    def settings(self) -> dict[str, Any]:
        return {"k": self.k, "empty": self.empty}

    @staticmethod
    @abstractmethod
    def scored(documents: Documents, k: int | None, /) -> Floats:
        """Give the number of each query, shape (queries,)."""

    def make_state(self) -> Queries:
        return Queries(self.result_name, self.scored, self.k)

    def result_of(self, state: Queries) -> float:
        """The mean over queries, weighted where weights came."""
        mean = state.mean("score")
        if self.empty == "zero":
            return mean
        relevant = state.mean("relevant")
        if self.empty == "one":
            return mean + (1 - relevant)
        if relevant == 0 or (self.empty == "error" and relevant < 1):
            query = int((state.rows[:, 1] == 0).argmax())
            msg = (
                f"{self.metric_name} needs a relevant document for each query; query {query} has "
                "none. Choose with `empty` what such queries count."
            )
            raise MetricInputError(msg)
        return mean / relevant


class NDCGMetric(RetrievalMetric):
    """Normalised discounted cumulative gain: 'NDCG', with k 'NDCG_<k>'.

    The sum of relevance / log2(1 + rank) over the documents, ranks from 1, over the largest sum
    that any ranking has (K. Järvelin and J. Kekäläinen, ACM TOIS 20, 2002). The gain is the
    relevance itself; pass 2**relevance - 1 for the exponential form. Documents of equal score get
    the mean discount of their ranks (F. McSherry and M. Najork, ECIR 2008).
    """

    result_name = "NDCG"

    @staticmethod
    def scored(documents: Documents, k: int | None, /) -> Floats:
        """Gain over the ideal gain."""
        return ndcg(documents, k)


class MeanReciprocalRankMetric(RetrievalMetric):
    """Mean of 1 / rank of the first relevant document: 'MRR', with k 'MRR_<k>'.

    A document's rank is the number of documents with at least its score, so equal scores gain
    nothing. A relevance above 0 is relevant. With ``k``, 0 where the rank is above it (E. M.
    Voorhees, The TREC-8 question answering track report, 1999).
    """

    result_name = "MRR"

    @staticmethod
    def scored(documents: Documents, k: int | None, /) -> Floats:
        """1 / rank of the first relevant one."""
        return reciprocal_rank(documents, k)


class MeanAveragePrecisionMetric(RetrievalMetric):
    """Mean over queries of the average precision: 'MAP', with k 'MAP_<k>'.

    1 / Q sum_q 1 / m_q sum_j P_qj over Q queries with m_q relevant documents each, where P_qj is
    the share of relevant ones among those with at least the score of relevant document j (C. D.
    Manning, P. Raghavan and H. Schütze, Introduction to Information Retrieval, 2008, section 8.4).
    For one query that is scikit-learn's `average_precision_score`, equal scores being found
    together. A relevance above 0 is relevant. With ``k``, documents whose rank is above it add 0,
    and the sum is still divided by the number of all relevant documents, as trec_eval's map_cut
    does.
    """

    result_name = "MAP"

    @staticmethod
    def scored(documents: Documents, k: int | None, /) -> Floats:
        """Mean precision at the relevant ones."""
        return average_precision(documents, k)
