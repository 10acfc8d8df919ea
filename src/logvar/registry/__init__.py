"""Parts by name: the text form `name(argument=value, …)`, and the registry of one kind of part.

`text` reads and writes the text form; `parts` declares settings and defines registries.
"""

from logvar.registry.parts import Entry, Registry, setting
from logvar.registry.text import Call, formatted, parsed

__all__ = ["Call", "Entry", "Registry", "formatted", "parsed", "setting"]
