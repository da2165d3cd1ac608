"""Our types of asyncpg against asyncpg itself; one rule: what they say is there is there."""

import ast
import builtins
import inspect
from typing import Any

import asyncpg
import pytest

from architecture.tree import ROOT, Function, parse

STUB = parse(ROOT / "typings" / "asyncpg" / "__init__.pyi")
CLASSES = [one for one in STUB.body if isinstance(one, ast.ClassDef) and one.name[0] != "_"]
FUNCTIONS = [one for one in STUB.body if isinstance(one, Function)]


def check_parameters(told: Function, real: Any) -> None:
    """Each parameter that we name is one of the library's."""
    known = inspect.signature(real).parameters
    more = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values())
    for one in (*told.args.args, *told.args.kwonlyargs):
        assert more or one.arg in known, f"{told.name}: {one.arg}"


@pytest.mark.parametrize("told", FUNCTIONS, ids=lambda told: told.name)
def test_functions(told: Function) -> None:
    """Every function is one of the library's, with the parameters that we name."""
    check_parameters(told, getattr(asyncpg, told.name))


@pytest.mark.parametrize("told", CLASSES, ids=lambda told: told.name)
def test_classes(told: ast.ClassDef) -> None:
    """Every class is one of the library's, with the bases, methods and fields that we name."""
    real = getattr(asyncpg, told.name)
    for base in map(ast.unparse, told.bases):
        assert issubclass(real, getattr(asyncpg, base, None) or getattr(builtins, base))
    for member in told.body:
        if isinstance(member, Function):
            method = getattr(real, member.name)
            if not inspect.ismethoddescriptor(method):  # one written in C names no parameters
                check_parameters(member, method)
        elif isinstance(member, ast.AnnAssign):
            assert hasattr(real, ast.unparse(member.target))
