"""What Python modules do, told apart from how they are written and commented."""

import ast
import hashlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from features import LOADED_NS
from features.errors import InputError

CLOCK_NS = 10**7
"""How far behind the time at which file systems note a change may be."""


def sources_of(modules: Iterable[str]) -> list[str]:
    """The text of modules, by their names, as they were or would be loaded; imports none of them.

    Raises
    ------
    InputError
        If one was edited since this process began to load modules.
    """
    origins = [Path(spec.origin) for spec in map(find_spec, modules) if spec and spec.origin]
    texts = [origin.read_text() for origin in origins]
    refuse_edited(origins)
    return texts


def refuse_edited(sources: Iterable[Path]) -> None:
    """Refuse modules that were edited since this process began to load any: it may run them as they were before.

    Raises
    ------
    InputError
        Naming the first.
    """
    for source in sources:
        if source.stat().st_ctime_ns > LOADED_NS - CLOCK_NS:
            raise InputError(
                f"{source} was edited while this ran, which may have used it as it was before; run this again, "
                "and dask's workers before it if there are any"
            )


def code_fingerprint(sources: Iterable[str]) -> str:
    """Fingerprint of Python modules that comments, docstrings and layout do not change.

    Parameters
    ----------
    sources : iterable of str
        The text of each module.

    Returns
    -------
    str
        32 hexadecimal digits.

    Examples
    --------
    >>> code_fingerprint(["x = 1"]) == code_fingerprint(["x  =  1  # one"])
    True
    """
    hasher = hashlib.blake2b(digest_size=16)
    for source in sources:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                # A string that stands alone does nothing, be it a docstring or one under an attribute.
                node.body = [child for child in node.body if not _is_text(child)] or [ast.Pass()]
        hasher.update(ast.unparse(tree).encode() + b"\0")
    return hasher.hexdigest()


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
