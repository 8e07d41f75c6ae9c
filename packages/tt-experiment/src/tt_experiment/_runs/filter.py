"""Turns the text of a filter into a test, by recursive descent; nothing of the text is ever run."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tt_experiment._runs.values import Name, is_nothing
from tt_experiment.errors import QueryError
from tt_experiment.runs import RunSummary, Scalar

__all__ = ["Parser"]

_MAX_TEXT = 10_000
_MAX_DEPTH = 50
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<date>\d{4}-\d\d-\d\d(?:T[\d:.+Z-]*)?)
    | (?P<number>[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf\b))
    | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<name>(?:(?:param|metric|result|last|min|max|best)\.)?`[^`]+`|[^\W\d][\w./@]*)
    | (?P<sign>==|!=|<=|>=|[<>=~(),])
    )""",
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS: dict[str, Scalar] = {
    "true": True,
    "false": False,
    "none": None,
    "null": None,
    "nan": math.nan,
}
_WORDS = frozenset(("and", "or", "not", "in"))
_ORDER: dict[str, Callable[[float | str, float | str], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class _Word(Name):
    """A bare word on the right: text where the run has no such name."""

    def of(self, run: RunSummary) -> Scalar:
        return super().of(run) if self.is_known(run) else self.text


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


Operand = Name | Scalar
Test = Callable[[RunSummary], bool]


class Parser:
    """Reads one filter.

    Raises:
        QueryError: The text is too long, or holds what no filter is made of.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0
        self.asked: list[Name] = []
        """Names that the filter asks for."""

    def parse(self) -> Test:
        """The filter as a test of a run.

        Raises:
            QueryError: It is no filter.
        """
        test = self._either()
        if self._peek() is not None:
            raise self._error("'and', 'or' or the end")
        return test

    def _either(self) -> Test:
        tests = [self._all()]
        while self._take("or"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda run: any(test(run) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._take("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda run: all(test(run) for test in tests)

    def _one(self) -> Test:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            msg = f"a filter has at most {_MAX_DEPTH} brackets and 'not' within each other"
            raise QueryError(msg)
        test = self._negation()
        self._depth -= 1
        return test

    def _negation(self) -> Test:
        if self._take("not"):
            inner = self._one()
            return lambda run: not inner(run)
        if self._take("("):
            inner = self._either()
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Test:
        left = self._operand(Name)
        tests: list[Test] = []
        while (sign := self._sign()) is not None:
            if sign == "in":
                equal = [_compared(left, "==", item) for item in self._list()]
                return lambda run: any(test(run) for test in equal) and _holds(tests, run)
            if sign == "not in":
                tests += [_compared(left, "!=", item) for item in self._list()]
                break
            right = self._operand(_Word)
            tests.append(_compared(left, sign, right))
            left = right
        if not tests:
            raise self._error("a comparison like < or ==")
        return lambda run: _holds(tests, run)

    def _sign(self) -> str | None:
        for sign in ("==", "=", "!=", "<=", ">=", "<", ">", "~", "in"):
            if self._take(sign):
                return "==" if sign == "=" else sign
        if self._take("not"):
            self._expect("in")
            return "not in"
        return None

    def _list(self) -> list[Operand]:
        self._expect("(")
        items = [self._operand(_Word)]
        while self._take(","):
            items.append(self._operand(_Word))
        self._expect(")")
        return items

    def _operand(self, kind: type[Name]) -> Operand:
        token = self._peek()
        if token is None or token.kind == "sign" or token.text in _WORDS:
            raise self._error("a name or a value")
        self._next += 1
        if token.kind != "name" or token.text.lower() in _CONSTANTS:
            return _constant(token)
        name = Name.parse(token.text)
        if kind is _Word and name.kind is None and "`" not in token.text:
            return _Word(name.text)
        self.asked.append(name)
        return name

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, text: str) -> bool:
        token = self._peek()
        found = token is not None and token.kind in ("sign", "name") and token.text == text
        self._next += found
        return found

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._error(repr(text))

    def _error(self, wanted: str) -> QueryError:
        token = self._peek()
        found = f"{token.text!r} at character {token.at + 1}" if token else "the end"
        return QueryError(f"a filter must have {wanted} here. Got {found} of {_cut(self._text)!r}")


def _tokens(text: str) -> Iterator[_Token]:
    if len(text) > _MAX_TEXT:
        msg = f"a filter has at most {_MAX_TEXT} characters. Got {len(text)}"
        raise QueryError(msg)
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            msg = (
                f"a filter is made of names, numbers, quoted text and comparisons. Got {text[at]!r}"
                f" at character {at + 1} of {_cut(text)!r}: put a name with it in `backticks`"
            )
            raise QueryError(msg)
        kind = str(match.lastgroup)
        yield _Token(kind, match[kind], match.start(kind))
        at = match.end()


def _cut(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:120]}..."


def _constant(token: _Token) -> Scalar:
    if token.kind == "number":
        return float(token.text)
    if token.kind == "text":
        return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
    return token.text if token.kind == "date" else _CONSTANTS[token.text.lower()]


def _holds(tests: Sequence[Test], run: RunSummary) -> bool:
    return all(test(run) for test in tests)


def _compared(left: Operand, sign: str, right: Operand) -> Test:
    for nothing, other in ((right, left), (left, right)):
        if not isinstance(nothing, Name) and is_nothing(nothing):
            return _is_nothing(other, sign, none=nothing is None)
    return lambda run: _compare(_of(left, run), sign, _of(right, run))


def _of(operand: Operand, run: RunSummary) -> Scalar:
    return operand.of(run) if isinstance(operand, Name) else operand


def _is_nothing(operand: Operand, sign: str, *, none: bool) -> Test:
    """A comparison with ``none`` or ``nan`` as such."""
    if sign == "==":
        return lambda run: is_nothing(value := _of(operand, run)) and (value is None) == none
    if sign == "!=":
        return lambda run: not (is_nothing(v := _of(operand, run)) and (v is None or not none))
    msg = f"none and nan are compared by == or !=. Got {sign!r}"
    raise QueryError(msg)


def _compare(left: Scalar, sign: str, right: Scalar) -> bool:
    if left is None or right is None or is_nothing(left) or is_nothing(right):
        return False
    if sign == "~":
        return str(right).casefold() in str(left).casefold()
    alike = _kind(left) is _kind(right)
    if sign in ("==", "!="):
        return (alike and left == right) == (sign == "==")
    return alike and _ORDER[sign](left, right)


def _kind(value: Scalar) -> type:
    """Text, truth or number."""
    return float if type(value) is int else type(value)
