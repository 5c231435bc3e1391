"""Listening to the microphone; it needs the optional package ``sounddevice``."""

import queue
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from features.audio.windows import windows
from features.errors import InputError
from models.detection import WINDOWS_PER_CLIP, Averager, Detector, background_of
from pipeline.commands.models.network import Network
from pipeline.shell.stage import say


def listen(network: Network, threshold: float) -> None:
    """Print every word as it is heard, until Ctrl-C.

    Raises
    ------
    InputError
        If the package is not installed or there is no microphone.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # without PortAudio it cannot be imported either
        raise InputError(
            f"--microphone needs the package sounddevice and the PortAudio library ({error}); install them, the first "
            "with: uv sync --extra microphone"
        ) from None
    classify, corpus = network.load(), network.corpus
    average, detect = Averager(), Detector(threshold, background_of(corpus.words))
    hop = max(1, round(corpus.clip_samples / WINDOWS_PER_CLIP))
    heard: queue.SimpleQueue[NDArray[np.float32]] = queue.SimpleQueue()
    try:
        rate_hz = int(sounddevice.query_devices(kind="input")["default_samplerate"])
        stream = sounddevice.InputStream(
            samplerate=rate_hz,
            channels=1,
            dtype="float32",
            callback=lambda samples, frames, time, status: heard.put(samples[:, 0].copy()),
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise InputError(f"there is no microphone to listen to ({error}); connect one and run this again") from None
    with suppress(KeyboardInterrupt), stream:
        say(f"listening for words of at least {threshold:.1%}; Ctrl-C ends it")
        for batch in windows(_resampled(heard, rate_hz, corpus.sample_rate_hz), corpus.clip_samples, hop):
            for event in detect(average(classify(batch))):
                at_s = event.reported_s(corpus.clip_seconds)
                say(f"{at_s:8.2f} s  {corpus.words[event.word]} {event.probability:.1%}")


def _resampled(heard: "queue.SimpleQueue[Any]", from_hz: int, to_hz: int) -> Iterator[NDArray[np.float32]]:
    resampler = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")
    while True:
        yield resampler.resample_chunk(heard.get())
