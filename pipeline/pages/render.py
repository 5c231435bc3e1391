"""Filling a page's template. Text is escaped; a content security policy lets only the page's own scripts run."""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent


def _compact(number: float) -> str:
    """A number of bytes or operations with three digits: ``1.20 G``."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g} "


def render(template: str, scripts: Sequence[str], connect: str = "'none'", **values: Any) -> str:
    """Fill a template of this folder.

    Parameters
    ----------
    template : str
        Name of the file.
    scripts : sequence of str
        Names of the files of JavaScript that become part of the page.
    connect : str
        Where the page's scripts may send requests, as a content security policy names it.
    **values
        Of the template's variables.
    """
    code = "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in scripts)
    digest = b64encode(sha256(code.encode()).digest()).decode()
    local = "'self'" if connect != "'none'" else ""
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; connect-src {connect}; "
        f"img-src data: {local}; media-src blob: {local}; base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    environment.filters["points"] = lambda share: f"{100 * share:+.1f}"
    environment.filters["compact"] = _compact
    environment.filters["thousands"] = lambda number: f"{number:,}"
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(
        policy=policy,
        style=Markup(style),  # noqa: S704  (a file of this folder)
        script=Markup(code),  # noqa: S704
        **values,
    )
