"""All public names: text metrics, vocabulary and text processing."""

from __future__ import annotations

from tt_nlp._answer_metrics import ExactMatchTextMetric as ExactMatchTextMetric
from tt_nlp._answer_metrics import F1TextMetric as F1TextMetric
from tt_nlp._errors import NlpError as NlpError
from tt_nlp._errors import NlpInputError as NlpInputError
from tt_nlp._perplexity import PerplexityMetric as PerplexityMetric
from tt_nlp._text import find_sub_list as find_sub_list
from tt_nlp._text import normalize_string as normalize_string
from tt_nlp._text import unicode_to_ascii as unicode_to_ascii
from tt_nlp._vocabulary import Vocabulary as Vocabulary

__all__ = [
    "ExactMatchTextMetric",
    "F1TextMetric",
    "NlpError",
    "NlpInputError",
    "PerplexityMetric",
    "Vocabulary",
    "find_sub_list",
    "normalize_string",
    "unicode_to_ascii",
]
