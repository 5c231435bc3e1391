"""Where the commands ``features`` and ``models`` begin, in a package whose name no other project has.

Folders in ``PYTHONPATH`` come before installed packages, and another project may have a package named as one of ours.
So ours come first from here on.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))


def features() -> None:
    """Run the command ``features``."""
    from pipeline.commands.features.__main__ import main

    main()


def models() -> None:
    """Run the command ``models``."""
    from pipeline.commands.models.__main__ import main

    main()
