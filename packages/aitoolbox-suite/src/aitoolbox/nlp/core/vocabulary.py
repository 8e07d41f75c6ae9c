"""The words of a corpus and their numbers."""

from tt_nlp.api import Vocabulary

__all__ = ["Vocabulary"]
