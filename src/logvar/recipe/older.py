"""Settings of earlier versions, converted to this one.

Recipes of version 0.1 had a setting for each number of a part; now these are in the part's text.
Old recipes are still read, and an old name in a call is answered with its new spelling.
"""

import types
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from logvar.errors import LogvarError, unknown_name
from logvar.registry import formatted, parsed
from logvar.registry.parts import converted_to, in_words


class _Moved(NamedTuple):
    """The new place of a setting."""

    part: str
    name: str
    default: Any
    example: str


MOVED: Mapping[str, _Moved] = types.MappingProxyType(
    {
        "noise": _Moved("likelihood", "noise", "shared", "normal"),
        "noise_sigma": _Moved("likelihood", "sigma", 1.0, "normal"),
        "noise_scale": _Moved("likelihood", "scale", "log-std", "normal"),
        "noise_floor": _Moved("likelihood", "floor", 1e-3, "normal"),
        "degrees_of_freedom": _Moved("likelihood", "degrees_of_freedom", 4.0, "student-t"),
        "hidden": _Moved("network", "hidden", (256, 128), "mlp"),
        "analytic_kl": _Moved("objective", "analytic_kl", True, "elbo"),
        "beta": _Moved("objective", "beta", 1.0, "elbo"),
        "beta_warmup": _Moved("objective", "warmup", 0.0, "elbo"),
        "free_bits": _Moved("objective", "free_bits", 0.0, "elbo"),
        "n_samples": _Moved("objective", "samples", 1, "elbo"),
        "weight_decay": _Moved("optimizer", "weight_decay", 0.0, "adam"),
    }
)
_DEFAULTS = {"likelihood": "auto", "network": "auto", "objective": "elbo", "optimizer": "adam"}
_WITHOUT = {"bernoulli": (), "conv": (), "tutorial": (), "iwae": ("samples",)}
"""Parts that ignored the settings beside them, with those that they did use."""


def unknown_setting(name: str, known: Iterable[str], value: Any = None) -> LogvarError:
    """Build the error for a name that is not a setting, or no longer one."""
    if name not in MOVED:
        return unknown_name("setting", name, known)
    part, spelling = spelled(name, "…" if value is None else _value(MOVED[name], value))
    return LogvarError(f"{name} is a setting of the {part}: write {part}={spelling!r}")


def spelled(name: str, value: str) -> tuple[str, str]:
    """Return (part, its text with the setting) for an old setting."""
    moved = MOVED[name]
    if moved.name == "hidden" and value[:1].isdigit():
        value = f"[{value}]"
    return moved.part, f"{moved.example}({moved.name}={value})"


def upgraded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the settings of any version to those of this version.

    Raises:
        LogvarError: an old setting is given together with a part in the new spelling.
    """
    settings = dict(settings)
    for part, default in _DEFAULTS.items():
        old = {name: settings.pop(name) for name in MOVED if name in settings and _is(part, name)}
        if not old:
            continue
        text = settings.get(part, default)
        if "(" in str(text):
            name = min(old)
            raise LogvarError(f"{name} is {old[name]!r}: {unknown_setting(name, (), old[name])}")
        changed = {
            MOVED[name].name: _as_call(MOVED[name], value)
            for name, value in ((name, _checked(name, value)) for name, value in old.items())
            if _kept(text, MOVED[name], value)
        }
        settings[part] = formatted(text, settings=changed)
    return settings


def _checked(name: str, value: Any) -> Any:
    """An old setting's value in the type that it had.

    Raises:
        LogvarError: it has another.
    """
    default = MOVED[name].default
    kind = tuple[int, ...] if isinstance(default, tuple) else type(default)
    converted = converted_to(kind, value)
    if converted is None:
        raise LogvarError(f"{name} is {value!r}: expected {in_words(kind)}")
    return converted


def _is(part: str, name: str) -> bool:
    return MOVED[name].part == part


def _kept(text: str, moved: _Moved, value: Any) -> bool:
    """Return whether a setting must be written: it had an effect, and is not the default."""
    if moved.name not in _WITHOUT.get(text, (moved.name,)):
        return False
    if moved.name == "degrees_of_freedom" and text != "student-t":
        return False
    # A plain "adamw" had no decay unless one was set, and "iwae" one sample.
    if text in ("adamw", "iwae"):
        return True
    return bool(value != moved.default)


def _as_call(moved: _Moved, value: Any) -> Any:
    """Return a setting's value for the text of a part; a nested part is not quoted."""
    return parsed(value) if isinstance(value, str) and moved.name == "scale" else value


def _value(moved: _Moved, value: Any) -> str:
    try:
        text = formatted("x", settings={"v": _as_call(moved, value)})
    except (TypeError, ValueError):
        return "…"
    return text[len("x(v=") : -1]
