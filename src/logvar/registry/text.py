"""The text of a part, `name(argument, setting=value, …)`: parsed (never evaluated) and written.

Names may have hyphens (`log-std`). Values are numbers, quoted texts, true and false, none, lists in
brackets, and nested parts: `full(scale=clamped(log-std, low=-3, high=1))`. A bare name is a part
without settings or the name of a choice; the setting that it is for decides which.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple


class Call(NamedTuple):
    """A part as written: its name, with arguments by position and by name."""

    name: str
    arguments: tuple[Any, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()


_NAME = r"[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*"
_TOKEN = re.compile(
    rf"""\s*(?:
        (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])|[-+]?inf\b)
      | (?P<name>{_NAME})
      | (?P<quoted>"(?:[^"\\]|\\.)*"|'[^'\\]*')
      | (?P<mark>[(),=\[\]])
    )""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "none": None}


def parsed(text: str) -> Call:
    """Parse the text of a part.

    Raises:
        ValueError: the text does not have this form; the message says what was expected where.

    Example:
        >>> parsed("floored(log-std, minimum=0.1)").settings
        (('minimum', 0.1),)
    """
    reader = _Reader(text)
    value = reader.value()
    reader.expect("")
    if not isinstance(value, Call):
        raise ValueError(f"expected a name, got {text.strip()!r}")
    return value


class _Reader:
    """Reads a text token by token, with one token of look-ahead."""

    def __init__(self, text: str):
        self._tokens = _tokens(text)
        self._advance()

    def _advance(self) -> None:
        self._kind, self._token = next(self._tokens)

    def _take(self) -> str:
        token = self._token
        self._advance()
        return token

    def _here(self) -> str:
        return repr(self._token) if self._token else "the end"

    def expect(self, token: str) -> None:
        """Check for this token and skip it; an empty token means the end of the text."""
        if self._token != token or self._kind == "quoted":
            wanted = repr(token) if token else "the end"
            raise ValueError(f"expected {wanted}, got {self._here()}")
        if token:
            self._advance()

    def value(self) -> Any:
        """Parse a number, a text, a list, a word such as true, or a part."""
        if self._kind == "number":
            return _number(self._take())
        if self._kind == "quoted":
            token = self._take()
            return json.loads(token) if token[0] == '"' else token[1:-1]
        if self._token == "[":
            return self._list()
        if self._kind != "name":
            raise ValueError(f"expected a name or a value, got {self._here()}")
        name = self._take()
        if name.lower() in _WORDS:
            return _WORDS[name.lower()]
        return self._call(name) if self._token == "(" else Call(name)

    def _list(self) -> tuple[Any, ...]:
        self.expect("[")
        values: list[Any] = []
        while self._token != "]":
            values.append(self.value())
            if self._token != "]":
                self.expect(",")
        self.expect("]")
        return tuple(values)

    def _call(self, name: str) -> Call:
        self.expect("(")
        arguments: list[Any] = []
        settings: list[tuple[str, Any]] = []
        while self._token != ")":
            value = self.value()
            if self._token == "=" and isinstance(value, Call) and value == Call(value.name):
                self.expect("=")
                key = value.name
                if key in dict(settings):
                    raise ValueError(f"{key!r} is set twice")
                settings.append((key, self.value()))
            elif settings:
                raise ValueError(f"an argument without a name comes after {settings[-1][0]}=…")
            else:
                arguments.append(value)
            if self._token != ")":
                self.expect(",")
        self.expect(")")
        return Call(name, tuple(arguments), tuple(settings))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"{text[position:].strip()[:1]!r} has no meaning here")
        yield str(match.lastgroup), str(match[str(match.lastgroup)])
        position = match.end()
    while True:
        yield "end", ""


def _number(token: str) -> int | float:
    return int(token) if re.fullmatch(r"[-+]?\d+", token) else float(token)


def formatted(name: str, arguments: tuple[Any, ...] = (), settings: Any = ()) -> str:
    """Return the text of a part, which `parsed` reads back.

    Values that are themselves parts are given as `Call`.

    Example:
        >>> formatted("mlp", settings={"hidden": (256, 128), "scale": Call("log-std")})
        'mlp(hidden=[256, 128], scale=log-std)'
    """
    parts = [as_text(argument) for argument in arguments]
    parts += [f"{key}={as_text(value)}" for key, value in dict(settings).items()]
    return f"{name}({', '.join(parts)})" if parts else name


def as_text(value: Any) -> str:
    """Return a setting's value as text."""
    if isinstance(value, Call):
        return formatted(*value)
    if isinstance(value, str):
        is_name = re.fullmatch(_NAME, value) and value.lower() not in _WORDS
        return value if is_name else json.dumps(value, ensure_ascii=False)
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    return f"[{', '.join(as_text(item) for item in value)}]"
