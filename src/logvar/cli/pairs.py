"""Values by column, as a flag has them: "education=Doctorate, age=40"; imports nothing heavy."""

import re

from logvar.errors import LogvarError

_HOW = 'expected NAME=VALUE, NAME=VALUE, as in "education=Doctorate, sex=Female"'
_QUOTED, _PLAIN_NAME, _PLAIN_VALUE = r'"((?:[^"]|"")*)"', r'([^=",]+?)', r'((?:[^",][^,]*?)?)'
_PAIR = re.compile(rf"\s*(?:{_QUOTED}|{_PLAIN_NAME})\s*=\s*(?:{_QUOTED}|{_PLAIN_VALUE})\s*(?:,|$)")


def pairs_of(text: str, flag: str = "--where") -> dict[str, str]:
    """Return the values by column of a text such as "education=Doctorate, age=40".

    A name or a value with a comma, or a name with an "=", stands in double quotes.

    Raises:
        LogvarError: it cannot be read, or names a column twice.

    Example:
        >>> pairs_of('education=Doctorate, town="Washington, D.C."')
        {'education': 'Doctorate', 'town': 'Washington, D.C.'}
    """
    found: dict[str, str] = {}
    at = 0
    while at < len(text.rstrip()):
        match = _PAIR.match(text, at)
        if match is None:
            raise LogvarError(f"{flag} {text!r} cannot be read at {text[at:].strip()!r}: {_HOW}")
        quoted_name, name, quoted_value, value = match.groups()
        name = quoted_name.replace('""', '"') if name is None else name.strip()
        value = quoted_value.replace('""', '"') if value is None else value
        if name in found:
            raise LogvarError(f"{flag} {text!r} gives {name!r} twice: give it one value")
        found[name] = value
        at = match.end()
    if not found:
        raise LogvarError(f"{flag} is empty: {_HOW}")
    return found
