"""Metrics of texts."""  # noqa: N999 - the module has this name in AIToolbox

from tt_nlp.api import ExactMatchTextMetric, F1TextMetric, PerplexityMetric

__all__ = ["ExactMatchTextMetric", "F1TextMetric", "PerplexityMetric"]
