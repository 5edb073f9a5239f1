"""``xmpp-e2e`` and ``python -m xmpp_e2e_cli``. Checks that the extra ``cli`` is installed before it imports any of it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

EXTRA = ("typer", "rich", "segno", "zxcvbn")
"""The packages of the extra ``cli``."""


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code. ``words`` is argv without the program; None takes it from the process."""
    if missing := [name for name in EXTRA if importlib.util.find_spec(name) is None]:
        print(
            f"The command xmpp-e2e needs {' and '.join(missing)}. The library does not install these.\n"
            "Install them with: pip install 'xmpp-e2e[cli]'",
            file=sys.stderr,
        )
        return 1
    from xmpp_e2e_cli.app import run

    return run(sys.argv[1:] if words is None else list(words))


if __name__ == "__main__":
    sys.exit(main())
