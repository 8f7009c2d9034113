"""The language of `-q`: `level>=WARN and (context.status>=500 or message ~ "time.?out")`.

expression: conjunction ("or" conjunction)*          also ||
conjunction: condition ("and" condition)*            also &&
condition: "not" condition | "(" expression ")"      also !
         | field
         | field ("=" | "!=" | "<" | "<=" | ">" | ">=") value
         | field ("~" | "!~") regular expression
         | field ["not"] "in" "(" value ("," value)* ")"
field: name ("." name)* ("[" text "]")*
value: number | true | false | null | word | text in quotes
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .expression import LEVELS, And, Comparison, Expression, Literal, Match, Not, Or, Present, any_of, pattern_of
from .fields import Field, UnknownFieldError, field

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      | (?P<operator>>=|<=|!=|==|!~|&&|\|\||[=<>~!(),\[\]])
      | (?P<word>[^\s()=<>!~,&|"'\[\]]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_CONSTANTS: dict[str, Literal] = {"true": True, "false": False, "null": None}
_COMPARISONS = ("=", "==", "!=", "<", "<=", ">", ">=")
_RESERVED = ("and", "or", "not")  # in quotes they are values
_DEEPEST = 50


class ExpressionError(ValueError):
    """A text is no expression: says what was expected, what was got, and at which character.

    Attributes:
        position: of the character, from 0.
    """

    def __init__(self, text: str, position: int, problem: str) -> None:
        # The mark stands under its character: one for one, and no other line's end than ours.
        said, line = ("".join(each if each.isprintable() else " " for each in part) for part in (problem, text))
        super().__init__(f"at character {position + 1}: {said}\n  {line}\n  {' ' * position}^")
        self.position = position


class _Token(NamedTuple):
    kind: str  # text, operator, word, end
    text: str
    position: int

    @property
    def is_value(self) -> bool:
        return self.kind == "text" or (self.kind == "word" and self.text.lower() not in _RESERVED)


def parse(text: str) -> Expression:
    """The expression that a text is.

    Raises:
        ExpressionError: it is none.
    """
    return _Parser(text).parse()


def _tokens(text: str) -> list[_Token]:
    tokens = []
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            position = at + len(text[at:]) - len(text[at:].lstrip())
            problem = "expected the closing quote" if text[position] in "\"'" else f"unexpected {text[position]!r}"
            raise ExpressionError(text, position, problem)
        kind = found.lastgroup or ""
        tokens.append(_Token(kind, found[kind], found.start(kind)))
        at = found.end()
    return [*tokens, _Token("end", "", len(text))]


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def parse(self) -> Expression:
        found = self._expression()
        if self._next.kind != "end":
            raise self._expected("'and', 'or' or the end")
        return found

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        self._at += token.kind != "end"
        return token

    def _accept(self, *texts: str) -> bool:
        """Take the next token if it is one of these words or operators."""
        token = self._next
        if token.kind in ("word", "operator") and token.text.lower() in texts:
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._expected(f"{text!r}")

    def _expected(self, what: str) -> ExpressionError:
        token = self._next
        got = "the end" if token.kind == "end" else repr(token.text)
        return ExpressionError(self._text, token.position, f"expected {what}, got {got}")

    def _expression(self) -> Expression:
        parts = [self._conjunction()]
        while self._accept("or", "||"):
            parts.append(self._conjunction())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _conjunction(self) -> Expression:
        parts = [self._condition()]
        while self._accept("and", "&&"):
            parts.append(self._condition())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _condition(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ExpressionError(self._text, self._next.position, f"expected at most {_DEEPEST} levels of nesting")
        found: Expression
        if self._accept("not", "!"):
            found = Not(self._condition())
        elif self._accept("("):
            found = self._expression()
            self._expect(")")
        else:
            found = self._comparison()
        self._depth -= 1
        return found

    def _comparison(self) -> Expression:
        subject = self._field()
        token = self._next
        if self._accept(*_COMPARISONS):
            return self._compared(subject, token.text)
        if self._accept("~", "!~"):
            match = Match(subject, self._pattern())
            return match if token.text == "~" else Not(match)
        if self._accept("in"):
            return self._membership(subject)
        following = self._tokens[min(self._at + 1, len(self._tokens) - 1)].text.lower()
        if token.text.lower() == "not" and following == "in":
            self._at += 2
            return Not(self._membership(subject))
        if token.kind == "text" or (token.kind == "word" and token.text.lower() not in ("and", "or")):
            raise self._expected("an operator such as = or >=")
        return Present(subject)

    def _compared(self, subject: Field, operator: str) -> Expression:
        value = self._value(subject)
        if operator == "!=":
            return Not(Comparison(subject, "=", value))
        return Comparison(subject, "=" if operator == "==" else operator, value)

    def _membership(self, subject: Field) -> Expression:
        self._expect("(")
        parts: list[Expression] = [Comparison(subject, "=", self._value(subject))]
        while self._accept(","):
            parts.append(Comparison(subject, "=", self._value(subject)))
        self._expect(")")
        return any_of(parts)

    def _field(self) -> Field:
        token = self._next
        if token.kind != "word":
            raise self._expected("a field such as level or context.status")
        self._at += 1
        path = []
        while self._accept("["):
            if self._next.kind != "text":
                raise self._expected("a key in quotes")
            path.append(_unquoted(self._take().text))
            self._expect("]")
        try:
            return field(token.text, path)
        except UnknownFieldError as error:
            problem = f"expected a field, got {token.text!r}. {error}"
            raise ExpressionError(self._text, token.position, problem) from None

    def _value(self, subject: Field) -> Literal:
        token = self._next
        if not token.is_value:
            raise self._expected("a value")
        self._at += 1
        if subject.name == "level":
            return self._level(token)
        if token.kind == "text":
            return _unquoted(token.text)
        if token.text.lower() in _CONSTANTS:
            return _CONSTANTS[token.text.lower()]
        return float(token.text) if _NUMBER.fullmatch(token.text) else token.text

    def _level(self, token: _Token) -> str:
        name = _unquoted(token.text) if token.kind == "text" else token.text
        if name.upper() not in LEVELS:
            problem = f"expected a level (DEBUG, INFO, WARN, ERROR), got {name!r}"
            raise ExpressionError(self._text, token.position, problem)
        return name.upper()

    def _pattern(self) -> re.Pattern[str]:
        token = self._next
        if not token.is_value:
            raise self._expected("a regular expression")
        self._at += 1
        try:
            return pattern_of(_unquoted(token.text) if token.kind == "text" else token.text)
        except re.error as error:
            problem = f"expected a regular expression, got {token.text!r}: {error}"
            raise ExpressionError(self._text, token.position, problem) from None


def _unquoted(text: str) -> str:
    """A text without its quotes; a backslash before a quote or a backslash goes, others stay, as patterns need them."""
    return re.sub(r"\\([\\\"'])", r"\1", text[1:-1])
