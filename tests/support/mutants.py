"""Mutants of a source file: every change of its syntax tree at one place that tests/mutation.py knows of."""

import ast
import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
FUNCTIONS = {"sorted": "list", "reversed": "list", "min": "max", "max": "min", "any": "all", "all": "any"}
LOGGERS = ("log", "logger", "logging", "warnings")
DELETED = (ast.Raise, ast.AugAssign, ast.Delete, ast.Continue, ast.Break)  # and calls, and assignments to x.y and x[y]


class Mutant(NamedTuple):
    """One change: bytes start:stop of a file become `after`; where it is, from the inside out, as (first line, last line)."""

    file: str
    line: int
    start: int
    stop: int
    before: str
    after: str
    header: tuple[int, int]  # the statement, without the statements inside it
    scopes: tuple[tuple[int, int], ...]  # the functions and classes around it

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.change}"

    @property
    def change(self) -> str:
        return " → ".join(" ".join(text.split()) for text in (self.before, self.after))

    def apply(self, source: bytes) -> bytes:
        """The source with the change in it."""
        changed = source[: self.start] + self.after.encode() + source[self.stop :]
        ast.parse(changed)
        return changed


def replacements(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """(what is replaced, by what): the changes at one node."""

    def changed(**fields: Any) -> tuple[ast.AST, ast.AST]:
        other = copy.copy(node)
        vars(other).update(fields)
        return node, other

    match node:
        case ast.Compare(ops=ops):
            yield from (changed(ops=[*ops[:at], COMPARISONS[type(op)](), *ops[at + 1 :]]) for at, op in enumerate(ops))
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            yield changed(op=OPERATORS[type(op)]())
        case ast.BoolOp(op=op):
            yield changed(op=ast.And() if isinstance(op, ast.Or) else ast.Or())
        case ast.UnaryOp(operand=operand):
            yield node, operand
        case ast.Constant(value=bool(value)):
            yield changed(value=not value)
        case ast.Constant(value=int(value)):
            yield changed(value=value + 1)
        case ast.Constant(value=float(value)):
            yield changed(value=2 * value or 1.0)
        case ast.Return(value=value) if value and not (isinstance(value, ast.Constant) and value.value is None):
            yield changed(value=ast.Constant(None))
        case ast.Slice(lower=lower, upper=upper):
            bounds = [bound for bound in (lower, upper) if bound and not isinstance(bound, ast.Constant)]
            yield from ((bound, ast.BinOp(bound, ast.Add(), ast.Constant(1))) for bound in bounds)
        case ast.Call(func=ast.Name(id="sorted" | "reversed"), args=args):
            yield changed(func=ast.Name("list"), args=args, keywords=[])
        case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
            yield changed(func=ast.Name(FUNCTIONS[name]))
        case ast.Call(keywords=keywords) if any(keyword.arg == "kind" for keyword in keywords):
            yield changed(keywords=[keyword for keyword in keywords if keyword.arg != "kind"])
    match node:
        case ast.If(test=test) | ast.IfExp(test=test):
            yield from ((test, ast.Constant(value)) for value in (True, False))
        case ast.While(test=test):
            yield test, ast.Constant(False)
        case ast.comprehension(ifs=ifs):
            yield from ((test, ast.Constant(value)) for test in ifs for value in (True, False))
        case ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield node, ast.Pass()
        case _ if isinstance(node, DELETED):
            yield node, ast.Pass()


def is_left_alone(node: ast.AST) -> bool:
    """Whether nothing at or below a node is changed: text, imports, logging, assertions, stubs, types."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.JoinedStr() | ast.Assert() | ast.Expr(value=ast.Constant()):
            return True
        case ast.ClassDef(bases=bases):
            return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in bases)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            return name in LOGGERS
    return False


def children(node: ast.AST) -> Iterator[ast.AST]:
    """What is changed below a node: not annotations, what an exception says, or the assertion that zip(strict=True) is."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns") or isinstance(node, ast.Raise):
            continue
        for child in value if isinstance(value, list) else [value]:
            is_zip = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "zip" and name == "keywords"
            if isinstance(child, ast.AST) and not is_zip:
                yield child


def mutants_of(file: str, source: bytes) -> Iterator[Mutant]:
    """All mutants of a file."""
    tree = ast.parse(source)
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))

    def visit(node: ast.AST, header: tuple[int, int], scopes: tuple[tuple[int, int], ...]) -> Iterator[Mutant]:
        if is_left_alone(node):
            return
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            header = (node.lineno, max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            scopes = ((node.lineno, node.end_lineno or node.lineno), *scopes)
        for old, new in replacements(node):
            start, stop = lines[old.lineno - 1] + old.col_offset, lines[old.end_lineno - 1] + old.end_col_offset  # type: ignore
            text = ast.unparse(new)
            if isinstance(new, ast.expr) and not isinstance(new, ast.Constant | ast.Name | ast.Call):
                text = f"({text})"
            if text != ast.unparse(old):
                yield Mutant(file, old.lineno, start, stop, source[start:stop].decode(), text, header, scopes)  # type: ignore
        for child in children(node):
            yield from visit(child, header, scopes)

    yield from visit(tree, (1, 1), ())
