"""Former place of :mod:`features.fingerprint`'s functions of code; change the last import of it, then delete this."""

from features.fingerprint import code_fingerprint, sources_of

__all__ = ["code_fingerprint", "sources_of"]
