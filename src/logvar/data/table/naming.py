"""The names of a later table's columns, as the schema of the first one writes them."""

import dataclasses
from collections import Counter

from logvar.data.table.frame import Table
from logvar.data.table.schema import Schema
from logvar.errors import LogvarError


def named_by_place(table: Table, schema: Schema, name: str) -> Table:
    """Return the table with the names of the schema, in its order.

    Raises:
        LogvarError: it has another number of columns.
    """
    if len(table.names) != len(schema):
        raise LogvarError(
            f"{name} has {len(table.names)} features, but VAE is expecting {len(schema)} features "
            f"as input ({', '.join(str(n) for n in schema.names[:5])} …): give the same columns"
        )
    return dataclasses.replace(table, names=schema.names)


def named_alike(table: Table, schema: Schema) -> Table:
    """Return the table with names as the schema writes them: 2019 for "2019", "age" for " age"."""
    texts = [str(name).strip() for name in table.names]
    times, own = Counter(texts), {str(name).strip(): name for name in schema.names}
    names = tuple(
        name if name in schema.names or times[text] > 1 else own.get(text, name)
        for text, name in zip(texts, table.names, strict=True)
    )
    return table if names == table.names else dataclasses.replace(table, names=names)
