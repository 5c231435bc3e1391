"""Reading params.yaml: one section at a time, into a frozen spec."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec
from msgspec import Struct, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from features.errors import InputError

PARAMS = Path("params.yaml")
SECTIONS = ("data", "synthesize", "split", "features", "store", "train", "models")

Spec = TypeVar("Spec", bound=Struct)


class DataSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the clips come from."""

    npz: str


def read_section(dotted: str, spec: type[Spec]) -> Spec:
    """Parse one section of params.yaml.

    Parameters
    ----------
    dotted : str
        The section's name, such as ``train`` or ``models.base``.
    spec : type
        What to parse it into. Other sections' contents are not looked at.

    Raises
    ------
    InputError
        If the file or the section is missing, or a setting is unknown, missing or of the wrong type or range; names the
        setting and, where one is close, the valid name that was perhaps meant.
    """
    section = _find(dotted, spec)
    tag = spec.__struct_config__.tag_field
    _refuse_unknown(section, [*spec.__struct_fields__, *([tag] if tag else [])], f"{dotted}.")
    for field in msgspec.structs.fields(spec):
        if field.name not in section:
            raise InputError(f"{PARAMS} lacks the setting {dotted}.{field.name}; add it")
        try:
            msgspec.convert(section[field.name], field.type)
        except ValidationError:
            wrong = f"{dotted}.{field.name} in {PARAMS} is {section[field.name]!r}"
            raise InputError(f"{wrong}; expected {_expected(field.type)}") from None
    try:
        return msgspec.convert(section, spec)
    except ValidationError as error:
        raise InputError(f"{dotted} in {PARAMS}: {error}") from None


def read_variant(dotted: str, specs: Mapping[str, type[Struct]], default: str) -> Struct:
    """Parse one section of params.yaml whose tag says what it is parsed into.

    Parameters
    ----------
    dotted : str
        The section's name, such as ``models.base``.
    specs : dict
        What to parse it into, for each value of the tag; all have the same ``tag_field``.
    default : str
        The tag of a section without one.

    Raises
    ------
    InputError
        As :func:`read_section` does, or if the tag is unknown.
    """
    section = _find(dotted, specs[default])
    field = specs[default].__struct_config__.tag_field or ""
    tag = section.get(field, default)
    if not isinstance(tag, str) or tag not in specs:
        raise InputError(f"{dotted}.{field} in {PARAMS} is {tag!r}; expected {_one_of(specs)}")
    return read_section(dotted, specs[tag])


def refuse_edited_settings(used: Mapping[str, Struct]) -> None:
    """Refuse to end well if settings were edited since they were read.

    DVC notes the settings when a stage has ended, and would take what the old ones made for what the new ones ask for.

    Parameters
    ----------
    used : dict
        What each section was when it was read, by its name.

    Raises
    ------
    InputError
        Naming the settings, or if they cannot be read any more.
    """
    for section, before in used.items():
        now = read_section(section, type(before))
        edited = [
            f"{section}.{name}: {old} -> {getattr(now, name)}"
            for name, old in msgspec.structs.asdict(before).items()
            if getattr(now, name) != old
        ]
        if edited:
            raise InputError(
                f"{PARAMS} was edited while this ran ({', '.join(edited)}), and DVC would take the result for that of "
                "the new settings; run this again"
            )


def _find(dotted: str, spec: type[Struct]) -> dict[str, Any]:
    """A section as it is written; names of the spec's settings go into error messages."""
    section = _load()
    _refuse_unknown(section, SECTIONS, "")
    expected = ", ".join(spec.__struct_fields__)
    path = ""
    for name in dotted.split("."):
        path = f"{path}.{name}" if path else name
        if not isinstance(section, dict) or name not in section:
            raise InputError(f"{PARAMS} has no section {path}; expected one with {expected}")
        section = section[name]
    if not isinstance(section, dict):
        raise InputError(f"{dotted} in {PARAMS} is {section!r}; expected settings {expected} under it")
    return section


def _load() -> Any:
    try:
        return YAML(typ="safe").load(PARAMS)
    except FileNotFoundError:
        raise InputError(f"there is no {PARAMS} in {Path.cwd()}; run this from the project's folder") from None
    except MarkedYAMLError as error:
        where = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise InputError(f"{PARAMS} is not valid YAML: {error.problem}{where}; mend that line") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{PARAMS} is not text that YAML allows ({error}); save it as UTF-8") from None
    except (ValueError, KeyError) as error:  # what is written like a date, say, and is none
        raise InputError(f"{PARAMS} holds something that is no value ({error}); mend it") from None


def _refuse_unknown(section: Any, valid: Iterable[str], prefix: str) -> None:
    valid = list(valid)
    for key in section if isinstance(section, dict) else ():
        if key not in valid:
            near = difflib.get_close_matches(str(key), valid, n=1, cutoff=0.5)
            meant = f"did you mean {prefix}{near[0]}?" if near else f"expected one of {', '.join(valid)}"
            raise InputError(f"{PARAMS} has an unknown setting {prefix}{key}; {meant}")


def _one_of(values: Iterable[Any]) -> str:
    *others, last = map(repr, values)
    return f"{', '.join(others)} or {last}" if others else last


def _expected(annotation: Any) -> str:
    """What a setting may be, in words.

    Examples
    --------
    >>> from typing import Annotated, Literal
    >>> from msgspec import Meta
    >>> _expected(Annotated[int, Meta(ge=2, le=8)])
    'a whole number, at least 2 and at most 8'
    >>> _expected(Annotated[float, Meta(gt=0, lt=1)]), _expected(Literal["none", "lz4", "zstd"])
    ('a number, above 0 and below 1', "'none', 'lz4' or 'zstd'")
    """
    kind = msgspec.inspect.type_info(annotation)
    match kind:
        case msgspec.inspect.LiteralType():
            return _one_of(get_args(annotation))
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.StrType():
            return "text"
        case msgspec.inspect.IntType(gt, ge, lt, le) | msgspec.inspect.FloatType(gt, ge, lt, le):
            bounds = {"above": gt, "at least": ge, "below": lt, "at most": le}
            limits = " and ".join(f"{word} {bound:,}" for word, bound in bounds.items() if bound is not None)
            return f"a {'whole ' if isinstance(kind, msgspec.inspect.IntType) else ''}number, {limits}"
    raise TypeError(f"no words for {kind}")
