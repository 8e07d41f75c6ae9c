"""Plain text from text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from tt_nlp._errors import NlpInputError

__all__ = ["find_sub_list", "normalize_string", "unicode_to_ascii"]

# What Unicode does not decompose, spelled as a reader would who lacks the character.
_SPELLED = {
    ord(char): text
    for text, chars in {
        "ss": "ß",
        "SS": "ẞ",
        "ae": "æ",
        "AE": "Æ",
        "oe": "œ",
        "OE": "Œ",
        "th": "þ",
        "Th": "Þ",
        "o": "ø",
        "O": "Ø",
        "l": "ł",
        "L": "Ł",
        "d": "đð",
        "D": "ĐÐ",
        "h": "ħ",
        "H": "Ħ",
        "i": "\N{LATIN SMALL LETTER DOTLESS I}",
        "/": "\N{FRACTION SLASH}",
        "'": "\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}",
        '"': "\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}„«»",
        "-": "\N{HYPHEN}\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}",
    }.items()
    for char in chars
}
_END_MARK = re.compile(r"([.!?])")


def unicode_to_ascii(text_string: str) -> str:
    """Give the closest ASCII text: accents fall off, and so do letters of other scripts.

    >>> unicode_to_ascii("½ Ångström, Łódź, Straße")
    '1/2 Angstrom, Lodz, Strasse'
    """
    decomposed = unicodedata.normalize("NFKD", text_string)
    return decomposed.translate(_SPELLED).encode("ascii", "ignore").decode("ascii")


def normalize_string(text_string: str, unicode_to_ascii_convert: bool = True) -> str:
    """Lower-case words and the marks ``. ! ?``, each mark a word of its own, one space between.

    >>> normalize_string("  C'est déjà fini?! 100 % ")
    'c est deja fini ? !'

    Args:
        text_string: Any text.
        unicode_to_ascii_convert: Bring it to ASCII first; otherwise letters of all scripts stay.
    """
    text = unicode_to_ascii(text_string) if unicode_to_ascii_convert else text_string
    marked = _END_MARK.sub(r" \1 ", text.lower())
    return " ".join("".join(char if _stays(char) else " " for char in marked).split())


def _stays(char: str) -> bool:
    """Letters, the marks that belong to letters (as in Hindi), and ends of sentences."""
    return char in ".!?" or unicodedata.category(char)[0] in "LM"


def find_sub_list(sub_list: Sequence[Any], main_list: Sequence[Any]) -> tuple[int, int] | None:
    """Find where a list first occurs inside another: first and last position, both included.

    >>> find_sub_list(["the", "cat"], ["see", "the", "cat", "run"])
    (1, 2)

    Returns:
        The positions, or ``None`` where it does not occur.
    """
    width = len(sub_list)
    if not width:
        msg = "sub_list must hold at least one item; it is empty."
        raise NlpInputError(msg)
    wanted = list(sub_list)
    for start in range(len(main_list) - width + 1):
        if list(main_list[start : start + width]) == wanted:
            return start, start + width - 1
    return None
