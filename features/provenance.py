"""How two stores came about, compared: which setting, library or code differs."""

from typing import Any

SECTIONS = ("features", "store", "split")


def provenance_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say of each setting and version what it was and what it is.

    Parameters
    ----------
    before, now : dict
        Attributes of feature stores, as far as they are known.

    Examples
    --------
    >>> provenance_changes({"features": {"n_fft": 258}}, {"features": {"n_fft": 512}})
    ['features.n_fft: 258 -> 512']
    """
    changes = []
    for section in SECTIONS:
        changes += _changes(f"{section}.", before.get(section, {}), now.get(section, {}))
    old, new = before.get("made_by", {}), now.get("made_by", {})
    changes += _changes("library ", old.get("libraries", {}), new.get("libraries", {}))
    if old.get("code") != new.get("code"):
        changes.append("the code that computes features is another")
    return changes


def _changes(prefix: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [
        f"{prefix}{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
