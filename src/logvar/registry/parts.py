"""The registry of one kind of part, and how a part declares its settings.

A part is a class, or a function, that is called with its settings. A dataclass declares each
setting once, with `setting`: help text, range and choices are given with the default, and are used
for the check, the error, `--help` and the catalogue.
"""

import dataclasses
import difflib
import inspect
import math
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from logvar.errors import LogvarError, unknown_name
from logvar.registry.text import Call, as_text, formatted, parsed

Part = TypeVar("Part")


@dataclasses.dataclass(frozen=True)
class Entry(Generic[Part]):
    """A named part in a registry."""

    build: Callable[..., Part]
    formula: str = ""
    reference: str = ""
    """The source; presets name the code whose constants they use."""
    preset: bool = False
    """Whether it is another entry with fixed constants."""
    wraps: bool = False
    """Whether its first argument is another part of the same kind."""


@dataclasses.dataclass(frozen=True)
class _Limits:
    """The values that a setting accepts."""

    help: str
    at_least: float | int = -math.inf
    above: float | int = -math.inf
    at_most: float | int = math.inf
    below: float | int = math.inf
    choices: tuple[str, ...] = ()
    part: "Registry | None" = None
    """The registry for a setting that is itself a part, such as a posterior's scale."""

    def expected(self) -> str:
        """Return the range in words, for errors and help; empty if every value is accepted."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        low = high = ""
        if self.above > -math.inf:
            low = f"above {self.above:g}"
        elif self.at_least > -math.inf:
            low = f"at least {self.at_least:g}"
        if self.below < math.inf:
            high = f"below {self.below:g}"
        elif self.at_most < math.inf:
            high = f"at most {self.at_most:g}"
        return " and ".join(part for part in (low, high) if part)

    def accepts(self, value: Any) -> bool:
        """Return whether a value of the right type is in range; every item, if it is a list."""
        if self.choices:
            return value in self.choices
        values = value if isinstance(value, tuple) else (value,)
        return all(
            not isinstance(v, int | float)
            or (self.at_least <= v <= self.at_most and self.above < v < self.below)
            for v in values
        )


def setting(default: Any = dataclasses.MISSING, *, help: str, **limits: Any) -> Any:
    """Declare a field of a part's dataclass as a setting with help and range.

    Args:
        default: the default value; without it, the setting is required.
        help: one line for `--help` and the catalogue.
        limits: `at_least`, `above`, `at_most`, `below` (numbers), `choices` (texts), or `part`
            (the registry for a setting that is itself a part).
    """
    return dataclasses.field(default=default, metadata={"limits": _Limits(help, **limits)})


class SettingText(NamedTuple):
    """A setting in words, for the catalogue, the documentation and `--help`."""

    name: str
    default: str
    """The default as text; empty if the setting is required."""
    expected: str
    """The accepted values; empty if every value of its type is accepted."""
    help: str


class Registry(Generic[Part]):
    """The parts of one kind by name: built from text, and described as text.

    Args:
        kind: the name of the kind in messages, such as "scale".
        base: the class of built parts; an instance is accepted wherever text is.
        entries: the parts in the order of the catalogue.
    """

    def __init__(self, kind: str, base: type[Part], entries: Mapping[str, Entry[Part]]):
        self.kind = kind
        self.base = base
        self.entries = dict(entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def names(self) -> list[str]:
        """Return the names, in the order of the catalogue."""
        return list(self.entries)

    def extended(self, classes: Collection[type]) -> "Registry[Part]":
        """Return this registry plus a user's own classes of the kind, each by its class name."""
        own = {c.__name__: Entry(c) for c in classes if issubclass(c, self.base)}
        if not own:
            return self
        copy = type(self)(self.kind, self.base, self.entries | own)
        return copy

    def is_own(self, part: Part) -> bool:
        """Return whether a part's class is not in this registry."""
        return self._call(part) is None

    def get(self, part: str | Part, /, *arguments: Any, **settings: Any) -> Part:
        """Return the part of this text; an object of the kind is returned unchanged.

        Raises:
            LogvarError: the text cannot be read, the name is unknown (the nearest one is named), or
                a setting is unknown, of the wrong type or out of range.
        """
        if isinstance(part, self.base):
            return part
        if not isinstance(part, str):
            raise LogvarError(
                f"{self.kind} is {part!r}: expected a name such as {self.names()[0]!r}, or a "
                f"{self.base.__name__}"
            )
        try:
            call = parsed(part)
        except ValueError as error:
            raise LogvarError(
                f"{self.kind} {part!r} cannot be read: {error}; write it as 'name' or "
                "'name(setting=value)'"
            ) from error
        given = dict(call.settings) | settings
        return self._built(Call(call.name, (*call.arguments, *arguments), tuple(given.items())))

    def _built(self, call: Call) -> Part:
        name, arguments, settings = call.name, call.arguments, dict(call.settings)
        if name not in self.entries:
            if name[:1].isupper() and name.lower() not in self.entries:
                raise LogvarError(
                    f"{self.kind} {name!r} is a class of your own, which text cannot give: pass "
                    f"the object in Python, or logvar.load(path, parts=[{name}])"
                )
            raise unknown_name(self.kind, name, self.entries)
        entry = self.entries[name]
        if entry.wraps and arguments:
            first = arguments[0]
            inner = self._built(first) if isinstance(first, Call) else self.get(first)
            arguments = (inner, *arguments[1:])
        arguments, settings = self._named(name, entry, arguments, settings)
        checked = {key: self._checked(name, entry, key, value) for key, value in settings.items()}
        try:
            return entry.build(*arguments, **checked)
        except (TypeError, ValueError) as error:
            if isinstance(error, LogvarError):
                raise
            reason = str(error).splitlines()[0].split("()", 1)[-1].strip()
            example = self._example(name, entry)
            raise LogvarError(f"{self.kind} {name!r}: {reason}; write it as {example!r}") from error

    def _example(self, name: str, entry: Entry[Part]) -> str:
        """Return a part's text with its required settings."""
        if entry.wraps:
            return f"{name}({self.names()[0]}, …)"
        fields = self.settings(name).values()
        needed = [f"{field.name}=…" for field in fields if field.default is dataclasses.MISSING]
        return f"{name}({', '.join(needed)})" if needed else name

    def _named(
        self, name: str, entry: Entry[Part], arguments: Sequence[Any], settings: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return arguments of a dataclass by name if possible, so that each is checked."""
        known = list(self.settings(name))
        declared = inspect.isclass(entry.build) and dataclasses.is_dataclass(entry.build)
        if declared and not known and not entry.wraps and (arguments or settings):
            given = ", ".join([*map(as_text, arguments), *settings])
            raise LogvarError(f"{self.kind} {name!r} takes no settings, got {given}")
        wrapped, rest = (arguments[:1], arguments[1:]) if entry.wraps else ((), arguments)
        if known and len(rest) > len(known):
            raise LogvarError(
                f"{self.kind} {name!r} got {len(rest)} settings: expected at most {len(known)}, "
                f"{', '.join(known)}"
            )
        for key in settings:
            if known and key not in known:
                raise unknown_name(f"setting of {self.kind} {name!r}", key, known)
        if not known:
            return tuple(arguments), settings
        by_position = dict(zip(known, rest, strict=False))
        for key in by_position:
            if key in settings:
                raise LogvarError(f"{self.kind} {name!r}: {key} is given twice; leave one out")
        return tuple(wrapped), by_position | settings

    def _checked(self, name: str, entry: Entry[Part], key: str, value: Any) -> Any:
        """Return a setting's value in its own type, after checking its range."""
        if isinstance(value, Call):
            value = self._nested(value)
        field = self.settings(name).get(key)
        limits: _Limits | None = field.metadata.get("limits") if field is not None else None
        if field is None or limits is None:
            return value
        if limits.part is not None:
            return limits.part.get(value)
        if value is None and "none" in limits.choices:
            value = "none"  # without quotes, the word is read as None
        kind = typing.get_type_hints(entry.build)[key]
        converted = converted_to(kind, value)
        expected = limits.expected()
        if converted is None or not limits.accepts(converted):
            near = difflib.get_close_matches(str(value), limits.choices, n=1, cutoff=0.5)
            hint = f": did you mean {near[0]!r}?" if near else ""
            wanted = expected if converted is not None or limits.choices else in_words(kind)
            raise LogvarError(f"{self.kind} {name!r}: {key} is {value!r}, expected {wanted}{hint}")
        return converted

    def _nested(self, call: Call) -> Any:
        """A bare name is kept as a word for the setting to read; anything else is a part's text."""
        return call.name if call == Call(call.name) else formatted(*call)

    def settings(self, name: str) -> dict[str, dataclasses.Field]:
        """Return the settings of a part by name, in the order of its dataclass."""
        entry = self.entries[name]
        if not (inspect.isclass(entry.build) and dataclasses.is_dataclass(entry.build)):
            return {}
        fields = [field for field in dataclasses.fields(entry.build) if field.init]
        return {field.name: field for field in (fields[1:] if entry.wraps else fields)}

    def setting_texts(self, name: str) -> list[SettingText]:
        """Return the settings of a part in words, in the order of its dataclass."""
        found = []
        for key, field in self.settings(name).items():
            limits: _Limits | None = field.metadata.get("limits")
            default = ""
            if field.default is not dataclasses.MISSING:
                registry = limits.part if limits is not None else None
                value = field.default if registry is None else registry.describe(field.default)
                default = value if registry is not None else as_text(self.plain(value))
            expected = "" if limits is None else limits.expected()
            if limits is not None and limits.part is not None:
                expected = f"a {limits.part.kind}"
            found.append(SettingText(key, default, expected, "" if limits is None else limits.help))
        return found

    def describe(self, part: str | Part) -> str:
        """Return the text from which `get` builds this part again.

        A part of a user's own class is written with its class name; the registry `extended` by that
        class can read the text.

        Raises:
            LogvarError: its settings cannot be written as text.
        """
        built = self.get(part)
        call = self._call(built) or self._call_of_own(built)
        try:
            return formatted(*call)
        except TypeError as error:
            raise LogvarError(
                f"{self.kind} {type(built).__name__} cannot be written down ({error}): give it "
                "fields that are numbers, texts, true or false, or lists of those"
            ) from error

    def _call_of_own(self, part: Part) -> Call:
        name = type(part).__name__
        if not dataclasses.is_dataclass(part):
            if vars(part):
                raise LogvarError(
                    f"{self.kind} {name} cannot be written down: make it a dataclass, or an "
                    "equinox.Module, whose fields are its settings"
                )
            return Call(name)
        return self._with_settings(name, part)

    def _call(self, part: Part) -> Call | None:
        for name, entry in self.entries.items():
            if not entry.wraps and self._equal(entry, part):
                return Call(name)
        for name, entry in self.entries.items():
            if entry.build is type(part):
                return self._with_settings(name, part)
        return None

    def _equal(self, entry: Entry[Part], part: Part) -> bool:
        """Return whether the entry without settings equals this part."""
        if inspect.isclass(entry.build) and not isinstance(part, entry.build):
            return False
        try:
            plain = entry.build()
        except TypeError:  # a setting is required
            return False
        return type(plain) is type(part) and self.same(plain, part)

    @staticmethod
    def same(one: Any, other: Any) -> bool:
        """Return whether two built parts are equal."""
        return bool(one == other)

    def _with_settings(self, name: str, part: Part) -> Call:
        arguments: list[Any] = []
        settings: dict[str, Any] = {}
        for field in dataclasses.fields(part):  # type: ignore[arg-type]
            value, limits = getattr(part, field.name), field.metadata.get("limits")
            if not field.init:
                continue
            if limits is not None and limits.part is not None:
                text = limits.part.describe(value)
                if text != limits.part.describe(field.default):
                    settings[field.name] = parsed(text)
            elif isinstance(value, self.base):
                arguments.append(parsed(self.describe(value)))
            elif field.default is dataclasses.MISSING or value != field.default:
                settings[field.name] = self.plain(value)
        return Call(name, tuple(arguments), tuple(settings.items()))

    @staticmethod
    def plain(value: Any) -> Any:
        """Return a setting's value in a form that text can express."""
        return value


def converted_to(kind: Any, value: Any) -> Any:
    """Return the equivalent value of this type, such as 1.0 for 1; None if there is none."""
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, tuple | list):
            return None
        items = [converted_to(typing.get_args(kind)[0], item) for item in value]
        return None if any(item is None for item in items) else tuple(items)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    return value if kind in (bool, str) and isinstance(value, kind) else None


def in_words(kind: Any) -> str:
    """A setting's type in words."""
    if typing.get_origin(kind) is tuple:
        return "a list such as [1, 2]"
    return {int: "an integer", float: "a number", bool: "true or false"}.get(kind, "a text")
