"""Reading params.yaml: one section at a time, into a frozen spec."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from features.errors import InputError

PARAMS = Path("params.yaml")
SECTIONS = ("data", "synthesize", "split", "features", "store", "train", "models")

Spec = TypeVar("Spec", bound=BaseModel)


class DataSpec(BaseModel):
    """Where the clips come from."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

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
    section = _load()
    _refuse_unknown(section, SECTIONS, "")
    path = ""
    for name in dotted.split("."):
        path = f"{path}.{name}" if path else name
        if not isinstance(section, dict) or name not in section:
            raise InputError(f"{PARAMS} has no section {path}; expected one with {', '.join(spec.model_fields)}")
        section = section[name]
    if not isinstance(section, dict):
        raise InputError(
            f"{path} in {PARAMS} is {section!r}; expected settings {', '.join(spec.model_fields)} under it"
        )
    _refuse_unknown(section, spec.model_fields, f"{path}.")
    try:
        return spec.model_validate(section)
    except ValidationError as error:
        raise InputError(_describe(error, path)) from None


def refuse_edited_settings(used: Mapping[str, BaseModel]) -> None:
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
        now = read_section(section, type(before)).model_dump()
        edited = [
            f"{section}.{name}: {old} -> {now[name]}" for name, old in before.model_dump().items() if now[name] != old
        ]
        if edited:
            raise InputError(
                f"{PARAMS} was edited while this ran ({', '.join(edited)}), and DVC would take the result for that of "
                "the new settings; run this again"
            )


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


def _refuse_unknown(section: Any, valid: Iterable[str], prefix: str) -> None:
    valid = list(valid)
    for key in section if isinstance(section, dict) else ():
        if key not in valid:
            near = difflib.get_close_matches(str(key), valid, n=1, cutoff=0.5)
            meant = f"did you mean {prefix}{near[0]}?" if near else f"expected one of {', '.join(valid)}"
            raise InputError(f"{PARAMS} has an unknown setting {prefix}{key}; {meant}")


def _describe(error: ValidationError, path: str) -> str:
    """Put the first complaint of a validation into one sentence that names the setting."""
    first = error.errors()[0]
    name = ".".join([path, *map(str, first["loc"])])
    if first["type"] == "missing":
        return f"{PARAMS} lacks the setting {name}; add it"
    complaint = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"{path} in {PARAMS}: {complaint}"
    complaint = complaint.removeprefix("Input should be ")
    return f"{name} in {PARAMS} is {first['input']!r}; expected {complaint}"
