"""Speech from espeak-ng, called in this process through ctypes.

The library and its voices come from the ``espeakng-loader`` package. The C interface is documented in espeak-ng's
``src/include/espeak-ng/speak_lib.h``; only the calls that turn one word into samples are bound.
"""

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples go to the callback, espeak_Synth returns when all are said
CHARS_UTF8 = 1
RATE, PITCH = 1, 3  # espeak_PARAMETER
CARICATURES = ("robo", "croak", "klatt", "tweaky", "fast", "zac")
"""Parts of the names of voice variants that hardly sound like a person."""
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Speaker:
    """One voice: an accent, a variant of the vocal tract, a pitch and a speaking rate."""

    accent: str
    """An espeak-ng voice, such as ``en-us``."""
    variant: str
    """A file of espeak-ng's ``voices/!v``, such as ``f1``."""
    pitch: int
    """0 to 99; 50 is the voice's own pitch."""
    rate: int
    """Words per minute, 80 to 450."""

    @property
    def name(self) -> str:
        """The speaker in one word, for example ``en-us+f1/p50/r150``."""
        return f"{self.accent}+{self.variant}/p{self.pitch}/r{self.rate}"


def languages() -> list[str]:
    """Languages that espeak-ng speaks, as their codes, sorted."""
    return sorted({file.name for file in Path(espeakng_loader.get_data_path(), "lang").rglob("*") if file.is_file()})


def human_variants() -> list[str]:
    """Names of the voice variants that sound like a person and the same in every run, sorted."""
    files = Path(espeakng_loader.get_data_path(), "voices", "!v").iterdir()
    return sorted(
        file.name
        for file in files
        if not any(part in file.name.lower() for part in CARICATURES)
        and not re.search(r"^breath\b", file.read_text("utf-8"), re.MULTILINE)  # its noise is random
    )


class Voice:
    """The synthesiser, started anew. It is one in a process, and its sound depends a little on what it said before.

    Examples
    --------
    >>> voice = Voice()
    >>> samples = voice.say("yes", Speaker("en-us", "f1", 50, 150))
    >>> voice.sample_rate_hz
    22050
    """

    def __init__(self) -> None:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        library.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
            ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        self.sample_rate_hz = library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
        if self.sample_rate_hz <= 0:
            raise RuntimeError(f"espeak-ng did not start (its status is {self.sample_rate_hz})")
        self._library = library
        self._spoken = bytearray()
        self._callback = CALLBACK(self._receive)  # kept: the library calls it for as long as it runs
        library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._spoken += ctypes.string_at(samples, 2 * count)
        return 0

    def say(self, text: str, speaker: Speaker) -> NDArray[np.float32]:
        """Speak a text.

        Returns
        -------
        float32 array, shape (samples,)
            The speech in [-1, 1] at ``sample_rate_hz``, of any length.

        Raises
        ------
        RuntimeError
            If the library lacks the voice or cannot speak.
        """
        self._spoken.clear()
        voice = f"{speaker.accent}+{speaker.variant}".encode()
        encoded = text.encode() + b"\0"
        status = self._library.espeak_SetVoiceByName(voice)
        status = status or self._library.espeak_SetParameter(RATE, speaker.rate, 0)
        status = status or self._library.espeak_SetParameter(PITCH, speaker.pitch, 0)
        status = status or self._library.espeak_Synth(encoded, len(encoded), 0, 0, 0, CHARS_UTF8, None, None)
        status = status or self._library.espeak_Synchronize()
        if status:
            raise RuntimeError(f"espeak-ng could not say {text!r} as {speaker.name} (its status is {status})")
        return np.frombuffer(bytes(self._spoken), np.int16).astype(np.float32) / 32768
