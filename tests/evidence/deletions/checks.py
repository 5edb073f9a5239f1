"""The checks of a module, found in its syntax, each with the source that the module would have without it.

Mutation testing (DeMillo, Lipton, Sayward, 1978) with one operator: leaving out. An `assert` is a word to mypy and no check,
and what only words a message (inside an f-string, or for the log) decides nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tests.evidence.shapes import shape

_STRICT = frozenset({"validate", "strict"})
"""Keywords that make a call of the standard library refuse what it would otherwise let pass."""
EXCUSE = "no test fails without"
"""So begins a comment, on the line of a check or above it, that says why it is there nevertheless. It excuses one check."""
_EXPRESSION = "({})"


@dataclass(frozen=True)
class Check:
    """One check, and its module without it."""

    path: str
    """Of the module, from the top of the repository."""
    place: str
    """The function, with its class: ``Channel.receive``; empty outside of functions."""
    text: str
    """What is left out, on one line."""
    how: str
    """``never`` or ``always`` true, ``left out``, ``not caught`` or ``added``."""
    lines: frozenset[int]
    """Where it stands, from 1; empty if it is read when the module is imported."""
    without: str
    """The source of the module without it."""
    excuse: int = 0
    """The line of the comment in which somebody says why no test fails without it; 0 if there is none."""


@dataclass(frozen=True)
class Unit:
    """A function with what is inside it, or a statement outside of functions; and its checks, in the order of its source."""

    path: str
    place: str
    """The function, with its class; of a statement the class that it is in, or nothing."""
    shape: str
    """What it is without its names, and which checks it has."""
    checks: tuple[Check, ...]


def find(path: str, source: str) -> list[Unit]:
    """All that has checks in the module, in the order of its source."""
    finder = _Finder(path, source)
    tree = ast.parse(source)
    finder.visit(tree)
    units = []
    for _, group in groupby(finder.found, key=lambda found: found[0]):
        found = list(group)
        node, place, _ = found[0]
        units.append(_unit(path, place, node, [check for _, _, check in found]))
    return units


def _unit(path: str, place: str, node: ast.AST, checks: list[Check]) -> Unit:
    return Unit(path, place, shape(node, *(check.how for check in checks)), tuple(checks))


def additions(path: str, source: str) -> Unit:
    """Every row that the table of states does not have: a trigger that would be let pass without a word."""
    module: dict[str, Any] = {"__name__": path}
    exec(compile(source, path, "exec"), module)
    found = []
    for state in module["State"]:
        for trigger in module["Trigger"]:
            if (state, trigger) not in module["TRANSITIONS"]:
                row = f"{state}, {trigger}"
                with_it = f"{source}\n\nTRANSITIONS[{row}] = {state}\n"
                found.append(Check(path, "", f"({row}): {state}", "added", frozenset(), with_it))
    return _unit(path, "", ast.parse(source), found)


class _Finder(ast.NodeVisitor):
    """Walks through a module and collects its checks."""

    def __init__(self, path: str, source: str) -> None:
        self.found: list[tuple[ast.AST, str, Check]] = []
        """Each with the function or statement that it is a part of, and the name of that."""
        self._path = path
        self._source = source.encode()
        self._starts = [0]
        for line in self._source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._lines = source.splitlines()
        self._place: list[str] = []
        self._in_function = False
        self._unit: tuple[ast.AST, str] = (ast.Module([], []), "")

    # --- where we are ----------------------------------------------------------------------------------------------

    def visit_Module(self, node: ast.Module) -> None:
        self._statements(node.body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._place.append(node.name)
        self._statements(node.body)
        self._place.pop()

    def _statements(self, body: list[ast.stmt]) -> None:
        for statement in body:
            if not self._in_function:
                self._unit = (statement, ".".join(self._place))
            self.visit(statement)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outside = self._in_function
        self._place.append(node.name)
        if not outside:
            self._unit = (node, ".".join(self._place))
        self._in_function = True
        for statement in node.body:
            self.visit(statement)
        self._in_function = outside
        self._place.pop()

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    # --- what is no check ------------------------------------------------------------------------------------------

    def visit_Assert(self, node: ast.Assert) -> None:
        """A word to mypy."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Part of a message; and before Python 3.12 its parts do not say where they stand."""

    # --- conditions ------------------------------------------------------------------------------------------------

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return
        only_raises = not node.orelse and isinstance(node.body[-1], ast.Raise)
        self._condition(node.test, "never", *(() if only_raises else ("always",)))
        self._each((*node.body, *node.orelse))

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._condition(node.test, "never", "always")
        self._each((node.body, node.orelse))

    def visit_While(self, node: ast.While) -> None:
        if isinstance(node.test, ast.Constant):
            self.visit(node.test)
        else:
            self._condition(node.test, "never")
        self._each((*node.body, *node.orelse))

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.visit(node.iter)
        for test in node.ifs:
            self._condition(test, "always")

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        word = " and " if isinstance(node.op, ast.And) else " or "
        for left_out in node.values:
            rest = [f"({self._text(value)})" for value in node.values if value is not left_out]
            if _binds(left_out):
                rest.insert(0, f"[{self._text(left_out)}, {word == ' and '}][1]")
            self._add(left_out, "left out", node, _EXPRESSION.format(word.join(rest)))
        for value in node.values:
            self._parts(value)

    def visit_Compare(self, node: ast.Compare) -> None:
        self._condition(node, "never", "always")

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._condition(node, "never", "always")
        else:
            self.generic_visit(node)

    def _condition(self, test: ast.expr, *ways: str) -> None:
        for how in ways:
            truth = how == "always"
            constant = f"[{self._text(test)}, {truth}][1]" if _binds(test) else str(truth)
            self._add(test, how, test, _EXPRESSION.format(constant))
        self._parts(test)

    def _parts(self, test: ast.expr) -> None:
        """What is inside a condition that was dealt with as a whole."""
        if isinstance(test, ast.Compare):
            for operator, other in zip(test.ops, test.comparators, strict=True):
                if isinstance(operator, ast.In | ast.NotIn):
                    self._entries(other)
            self.generic_visit(test)
        elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self._parts(test.operand)
        else:
            self.visit(test)

    # --- statements ------------------------------------------------------------------------------------------------

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call | ast.Await):
            if ast.unparse(node.value).startswith("log."):
                return
            self._add(node, "left out", node, "pass")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id == "_":
                self._add(node, "left out", node, "pass")
        if not self._in_function and isinstance(node.targets[0], ast.Name):
            self._entries(node.value)
        self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            if not self._in_function:
                self._entries(node.value)
            self.visit(node.value)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        assert node.type is not None
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        for kind in caught:
            rest = "".join(f"{self._text(other)}, " for other in caught if other is not kind)
            self._add(kind, "not caught", node.type, f"({rest})")
        self._each(tuple(node.body))

    # --- entries of tables, alternatives, strictness ---------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg in _STRICT and isinstance(keyword.value, ast.Constant) and keyword.value.value is True:
                self._add(keyword, "left out", keyword.value, "False")
        for argument in node.args:
            if isinstance(argument, ast.BinOp) and isinstance(argument.op, ast.BitOr):
                self._alternatives(argument)
        if isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            self._entries(node.args[1])
        self.generic_visit(node)

    def _alternatives(self, union: ast.BinOp) -> None:
        members = list(_members(union))
        for member in members:
            rest = [self._text(other) for other in members if other is not member]
            self._add(member, "left out", union, _EXPRESSION.format(" | ".join(rest)))

    def _entries(self, table: ast.expr) -> None:
        """Each entry of a table that is written out."""
        if isinstance(table, ast.Call) and len(table.args) == 1 and ast.unparse(table.func) in ("frozenset", "set"):
            table = table.args[0]
        if isinstance(table, ast.Dict):
            pairs = [
                f"**{self._text(value)}" if key is None else f"{self._text(key)}: {self._text(value)}"
                for key, value in zip(table.keys, table.values, strict=True)
            ]
            for number, pair in enumerate(pairs):
                rest = "{" + ", ".join(pairs[:number] + pairs[number + 1 :]) + "}"
                self._add(table.keys[number] or table.values[number], "left out", table, rest, text=pair)
        elif isinstance(table, ast.Set | ast.Tuple | ast.List):
            for entry in table.elts:
                rest = "".join(f"{self._text(other)}, " for other in table.elts if other is not entry)
                self._add(entry, "left out", table, f"({rest})")

    # --- in general ------------------------------------------------------------------------------------------------

    def _each(self, nodes: tuple[ast.AST, ...]) -> None:
        for node in nodes:
            self.visit(node)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt | ast.keyword)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._starts[node.lineno - 1] + node.col_offset,
            self._starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def _text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self._source[start:end].decode()

    def _add(self, left_out: ast.AST, how: str, replaced: ast.AST, by: str, *, text: str = "") -> None:
        start, end = self._span(replaced)
        assert isinstance(left_out, ast.expr | ast.stmt | ast.keyword)
        # the lines below keep their numbers
        gap = "\n" * self._source[start:end].count(b"\n")
        by = by[:-1] + gap + by[-1] if by[-1] in ")}" else by + gap
        lines = range(left_out.lineno, (left_out.end_lineno or left_out.lineno) + 1)
        check = Check(
            path=self._path,
            place=".".join(self._place),
            text=" ".join((text or ast.unparse(left_out)).split()),
            how=how,
            lines=frozenset(lines) if self._in_function else frozenset(),
            without=(self._source[:start] + by.encode() + self._source[end:]).decode(),
            excuse=self._excuse(left_out.lineno),
        )
        self.found.append((*self._unit, check))

    def _excuse(self, line: int) -> int:
        """Where the comment is: at the end of the line, or in a line of its own above it."""
        for number in (line, line - 1):
            before, mark, comment = self._lines[number - 1].partition("# ")
            if mark and comment.startswith(EXCUSE) and (number == line or not before.strip()):
                return number
        return 0


def _binds(node: ast.AST) -> bool:
    """Does it name something that is used further on?"""
    return any(isinstance(inner, ast.NamedExpr) for inner in ast.walk(node))


def _members(union: ast.expr) -> Iterator[ast.expr]:
    if isinstance(union, ast.BinOp) and isinstance(union.op, ast.BitOr):
        yield from _members(union.left)
        yield from _members(union.right)
    else:
        yield union
