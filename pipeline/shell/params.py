"""Reading params.yaml: one section at a time, into a frozen spec."""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from features.errors import InputError

PARAMS = Path("params.yaml")
MARKS_FILE = Path("marks.tsv")
"""Marks of clips, which decide what ``split`` leaves out, as settings do."""
SECTIONS = ("corpus", "data", "synthesize", "split", "features", "store", "train", "models")

Spec = TypeVar("Spec", bound=Struct)


class DataSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the clips come from."""

    npz: str


def read_section(dotted: str, spec: type[Spec]) -> Spec:
    """Parse one section of params.yaml, such as ``train`` or ``models.base``; other sections do not matter.

    Raises
    ------
    InputError
        If the file or the section is missing, or a setting is unknown, missing or of the wrong type or range. The
        message names the setting and suggests the closest valid name for an unknown one.
    """
    return _convert(_find(dotted, spec), spec, dotted)


def changed(spec: Spec, changes: Mapping[str, Any], dotted: str) -> Spec:
    """Settings with some of them changed, as section ``dotted`` of params.yaml says.

    Raises
    ------
    InputError
        As :func:`read_section` does.
    """
    _refuse_unknown(changes, spec.__struct_fields__, f"{dotted}.")
    merged = msgspec.to_builtins(spec)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged[name], dict)
        merged[name] = {**merged[name], **value} if both else value
    return _convert(merged, type(spec), dotted)


def _convert(section: dict[str, Any], spec: type[Spec], dotted: str) -> Spec:
    tag = spec.__struct_config__.tag_field
    _refuse_unknown(section, [*spec.__struct_fields__, *([tag] if tag else [])], f"{dotted}.")
    hints = get_type_hints(spec)
    nested = {name: _struct_in(setting) for name, setting in hints.items()}
    for name, inside in nested.items():
        if inside:
            _refuse_unknown(section.get(name), inside.__struct_fields__, f"{dotted}.{name}.")
    try:
        return msgspec.convert(section, spec)
    except ValidationError as error:
        found = re.fullmatch(r"(.*) - at `\$\.(\w+)(?:\.(\w+))?.*`", str(error))
        if not found:
            raise InputError(f"{PARAMS}, section {dotted}: {error}") from None
        problem, name, inner = found.groups()
        setting, value = hints[name], section[name]
        inside = nested[name]
        if inner and inside:
            setting, value = get_type_hints(inside)[inner], value[inner]
            dotted, name = f"{dotted}.{name}", inner
        elif isinstance(value, dict) and "`dict`" not in problem and "`object`" not in problem:
            raise InputError(f"{PARAMS}, section {dotted}.{name}: {problem}") from None
        if get_origin(setting) is Literal:
            problem = f"expected one of {_choices(setting)}"
        elif get_origin(setting) is tuple and get_origin(get_args(setting)[0]) is Literal:
            problem = f"expected a list of none or some of {_choices(get_args(setting)[0])}"
        raise InputError(f"{PARAMS}: {dotted}.{name} is {value!r}; {problem[0].lower()}{problem[1:]}") from None


def read_variant(dotted: str, specs: Mapping[str, type[Spec]], default: str) -> Spec:
    """Parse one section of params.yaml whose tag names one of ``specs``; all specs have the same ``tag_field``.

    A section without a tag is parsed as ``default``.

    Raises
    ------
    InputError
        As :func:`read_section` does, or if the tag is unknown.
    """
    section = _find(dotted, specs[default])
    field = specs[default].__struct_config__.tag_field or ""
    tag = section.get(field, default)
    if not isinstance(tag, str) or tag not in specs:
        raise InputError(f"{dotted}.{field} in {PARAMS} is {tag!r}; expected one of {', '.join(map(repr, specs))}")
    return read_section(dotted, specs[tag])


def read_networks() -> list[str]:
    """Names of the networks, in the order of params.yaml.

    Raises
    ------
    InputError
        If there is none, or a name cannot be that of a folder.
    """
    names = list(map(str, _find("models", Struct)))
    for name in names:
        refuse_odd_name(name)
    if not names:
        raise InputError(f"{PARAMS} has no network under models; expected one or more")
    return names


def refuse_odd_name(network: str) -> None:
    """Refuse a name that is not of letters, digits, ``_`` and ``-``: a folder and stages are named after it."""
    if not re.fullmatch(r"\w[\w-]*", network):
        raise InputError(
            f"{PARAMS} names a network {network!r}; expected letters, digits, _ and -, so rename it under models"
        )


def refuse_edited_settings(used: Mapping[str, Struct]) -> None:
    """Fail if a section, given by name as it was read, has been edited since.

    DVC records the settings when a stage has ended. It would record the new settings for what the old ones made.
    """
    for section, before in used.items():
        now = msgspec.structs.asdict(read_section(section, type(before)))
        for name, old in msgspec.structs.asdict(before).items():
            if now[name] != old:
                raise InputError(
                    f"{PARAMS} was edited while this ran ({section}.{name}: {old} -> {now[name]}), and DVC would "
                    "record the new settings for this result; run this again"
                )


def _choices(setting: Any) -> str:
    return ", ".join(map(repr, get_args(setting)))


def _struct_in(setting: Any) -> type[Struct] | None:
    """The settings that a setting holds, or may hold."""
    for each in (setting, *get_args(setting)):
        if isinstance(each, type) and issubclass(each, Struct):
            return each
    return None


def _refuse_unknown(section: Any, valid: Iterable[str], prefix: str) -> None:
    valid = list(valid)
    for key in section if isinstance(section, dict) else ():
        if key not in valid:
            near = difflib.get_close_matches(str(key), valid, n=1, cutoff=0.5)
            meant = f"did you mean {prefix}{near[0]}?" if near else f"expected one of {', '.join(valid)}"
            raise InputError(f"{PARAMS} has an unknown setting {prefix}{key}; {meant}")


def _find(dotted: str, spec: type[Struct]) -> dict[str, Any]:
    """A section as it is written; names of the spec's settings go into error messages."""
    try:
        section = YAML(typ="safe").load(PARAMS)
    except FileNotFoundError:
        raise InputError(f"there is no {PARAMS} in {Path.cwd()}; run this from the project's folder") from None
    except (YAMLError, ValueError, KeyError) as error:
        raise InputError(f"{PARAMS} is not valid YAML ({' '.join(str(error).split())}); correct it") from None
    _refuse_unknown(section, SECTIONS, "")
    for name in dotted.split("."):
        section = section.get(name) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        raise InputError(f"{PARAMS} has no section {dotted}; expected one with {', '.join(spec.__struct_fields__)}")
    return section
