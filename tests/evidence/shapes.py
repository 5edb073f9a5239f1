"""What a function is when its names are left out, so that what is known of it outlives a rename and a move.

The shape is a hash of the syntax in which each name and each text is replaced by a number, the same one wherever it stands
again. Docstrings, annotations and the parts of messages (f-strings) are left out. So to rename a function, a module or an
attribute, to move a function elsewhere and to word a message anew leave the shape as it is; to compare the other way round, to
ask something else or to look at another attribute change it.
"""

from __future__ import annotations

import ast
import hashlib

_NOTHING_SAID = frozenset({"annotation", "returns", "type_comment", "ctx", "kind", "type_params", "decorator_list"})


def shape(node: ast.AST, *more: str) -> str:
    """The shape of a piece of syntax, and of what else tells it from others."""
    said = "\n".join((_Shaper().of(node), *more))
    return hashlib.sha256(said.encode()).hexdigest()[:12]


class _Shaper:
    """Writes syntax down, and counts the names."""

    def __init__(self) -> None:
        self._names: dict[str | bytes, int] = {}

    def of(self, value: object) -> str:
        if isinstance(value, ast.JoinedStr):
            return "message"
        if isinstance(value, ast.AST):
            fields = (f"{name}={self.of(part)}" for name, part in ast.iter_fields(value) if name not in _NOTHING_SAID)
            return f"{type(value).__name__}({','.join(fields)})"
        if isinstance(value, list):
            return f"[{','.join(self.of(part) for part in value if not _is_docstring(part))}]"
        if isinstance(value, str | bytes):
            return f"#{self._names.setdefault(value, len(self._names))}"
        return repr(value)


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
