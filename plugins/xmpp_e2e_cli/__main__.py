"""``xmpp-e2e`` and ``python -m xmpp_e2e_cli``. Imports nothing of the extra ``cli`` before it knows that it is there."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

EXTRA = ("typer", "rich", "segno", "zxcvbn")
"""What the extra ``cli`` installs."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line (``words`` without the program's name; None: those of the process); returns the exit code."""
    if missing := [name for name in EXTRA if importlib.util.find_spec(name) is None]:
        print(
            f"The command xmpp-e2e needs {' and '.join(missing)}, which did not come with the library.\n"
            "Install what it needs with: pip install 'xmpp-e2e[cli]'",
            file=sys.stderr,
        )
        return 1
    from xmpp_e2e_cli.app import run

    return run(sys.argv[1:] if words is None else list(words))


if __name__ == "__main__":
    sys.exit(main())
