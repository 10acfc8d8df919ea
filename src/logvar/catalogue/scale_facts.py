"""Write the recorded facts of the scales, on a CPU.

python -m logvar.catalogue.scale_facts src/logvar/scale_facts.json
"""

import sys
from pathlib import Path

from logvar.scale_facts import as_json
from logvar.scales.facts import facts
from logvar.scales.registry import REGISTRY
from logvar.storage.files import write_atomically


def computed() -> str:
    """Return the text of the file, computed from the scales themselves."""
    return as_json([facts(name) for name, entry in REGISTRY.items() if not entry.wraps])


if __name__ == "__main__":
    write_atomically(Path(sys.argv[1]), computed())
