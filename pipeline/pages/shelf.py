"""The clips of one or several stores, to be filtered, sorted and paged through."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from features.errors import InputError
from features.look.measures import measure
from features.look.media import flac, webp
from features.look.summary import numbered_chunks
from features.split.marks import Mark, Marks
from features.store.reader import FeatureStore, Store, WaveformStore
from models.predictions import Predictions

PAGE_CLIPS = 24
ORDERS = {
    "number": "as they lie in the store",
    "loudest": "loudest first",
    "quietest": "quietest first",
    "most speech": "most speech first",
    "least speech": "least speech first",
    "most silence": "most silence first",
    "most clipped": "most clipped samples first",
    "least confident": "least confident first",
    "most confident": "most confident first",
}


class Query(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which clips to list, in which order; an empty text is any."""

    set: str = ""
    word: str = ""
    heard: str = ""
    """What the network heard."""
    network: str = ""
    wrong: bool = False
    """Only clips that the network got wrong."""
    mark: str = ""
    find: str = ""
    """A row of the npz, or a part of a recording's path."""
    order: str = "number"
    page: int = 0


@dataclass(frozen=True)
class Shelved:
    """A set: its store, its waveforms and features where they are, and what networks predict for its clips."""

    store: Store
    waveforms: WaveformStore | None
    features: FeatureStore | None
    predictions: Mapping[str, Predictions]


class Shelf:
    """Clips of sets, numbered one after the other.

    Parameters
    ----------
    sets : dict
        By name.
    """

    def __init__(self, sets: Mapping[str, Shelved]) -> None:
        self.sets = sets
        self.words: list[str] = next(iter(sets.values())).store.attributes["words"]
        stores = [shelved.store for shelved in sets.values()]
        self._starts = np.cumsum([0, *(store.clips for store in stores)])
        self.clips = int(self._starts[-1])
        self._labels = np.concatenate([store.labels for store in stores])
        self._rows = np.concatenate([store.source_rows for store in stores])
        self._recordings = np.concatenate([store.recordings for store in stores])
        self._digests = np.concatenate([store.digests for store in stores])
        self._measures = {
            name: np.full(self.clips, np.nan, np.float32)
            for name in ("loudness_db", "speech_s", "silence_s", "clipped_samples")
        }
        self.measured = 0
        """Clips whose loudness and so on are known, or never will be."""
        self.damage = ""
        """Why some are not known, in words."""
        self.networks = sorted({network for shelved in sets.values() for network in shelved.predictions})
        self._heard = {network: np.full(self.clips, -1, np.int16) for network in self.networks}
        self._sure = {network: np.full(self.clips, np.nan) for network in self.networks}
        for start, shelved in zip(self._starts.tolist(), sets.values(), strict=False):
            for network, predictions in shelved.predictions.items():
                self._heard[network][start : start + shelved.store.clips] = predictions.predicted
                self._sure[network][start : start + shelved.store.clips] = predictions.confidences

    @property
    def can_measure(self) -> bool:
        """Whether the waveforms of all sets are there."""
        return all(shelved.waveforms for shelved in self.sets.values())

    def measure(self, stop: threading.Event) -> None:
        """Measure all clips, until told to stop; what is known so far can be used meanwhile."""
        for start, shelved in zip(self._starts.tolist(), self.sets.values(), strict=False):
            if not shelved.waveforms:
                continue
            try:
                for first, chunk in numbered_chunks(shelved.waveforms):
                    if stop.is_set():
                        return
                    found = measure(chunk, shelved.store.attributes["sample_rate_hz"])
                    place = slice(start + first, start + first + len(chunk))
                    for name, values in self._measures.items():
                        values[place] = getattr(found, name)
                    self.measured = place.stop
            except InputError as error:
                self.damage = str(error)
            self.measured = start + shelved.store.clips

    def find(self, query: Query, marks: Marks) -> dict[str, Any]:
        """A page of clips, and how many there are in all.

        Parameters
        ----------
        query : Query
        marks : dict
            All marks, by digest and word.

        Raises
        ------
        ValueError
            If the query needs a network and names none.
        """
        if not query.network and (query.heard or query.wrong or "confident" in query.order):
            raise ValueError("choose a network first")
        chosen = np.ones(self.clips, bool)
        if query.set:
            at = list(self.sets).index(query.set)
            chosen[: self._starts[at]] = chosen[self._starts[at + 1] :] = False
        if query.word:
            chosen &= self._labels == self.words.index(query.word)
        if query.network:
            heard = self._heard[query.network]
            if query.heard:
                chosen &= heard == self.words.index(query.heard)
            if query.wrong:
                chosen &= (heard >= 0) & (heard != self._labels)
        if query.find.strip():
            wanted = query.find.strip()
            chosen &= (self._rows.astype(str) == wanted) | (np.char.find(self._recordings, wanted) >= 0)
        numbers = np.flatnonzero(chosen)
        if query.mark:
            numbers = numbers[[self._mark_of(number, marks) == query.mark for number in numbers.tolist()]]
        numbers = numbers[self._order(query, numbers)]
        page = numbers[query.page * PAGE_CLIPS : (query.page + 1) * PAGE_CLIPS]
        return {
            "total": len(numbers),
            "page": query.page,
            "pages": max(1, -(-len(numbers) // PAGE_CLIPS)),
            "measured": self.measured,
            "damage": self.damage,
            "clips": [self._about(int(number), query.network, marks) for number in page],
        }

    def _order(self, query: Query, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        keys = {
            "loudest": -self._measures["loudness_db"],
            "quietest": self._measures["loudness_db"],
            "most speech": -self._measures["speech_s"],
            "least speech": self._measures["speech_s"],
            "most silence": -self._measures["silence_s"],
            "most clipped": -self._measures["clipped_samples"],
        }
        if query.network:
            keys["least confident"] = self._sure[query.network]
            keys["most confident"] = -self._sure[query.network]
        if query.order not in keys:
            return np.arange(len(numbers))
        return np.argsort(keys[query.order][numbers], kind="stable")  # NaN, unknown, comes last

    def _about(self, number: int, network: str, marks: Marks) -> dict[str, Any]:
        name, inside = self.place(number)
        about: dict[str, Any] = {
            "set": name,
            "number": inside,
            "row": int(self._rows[number]),
            "recording": str(self._recordings[number]),
            "label": int(self._labels[number]),
            "mark": self._mark_of(number, marks),
            "sound": bool(self.sets[name].waveforms),
            "picture": bool(self.sets[name].features),
        }
        if not np.isnan(self._measures["loudness_db"][number]):
            about |= {measure: round(float(values[number]), 2) for measure, values in self._measures.items()}
        if network and self._heard[network][number] >= 0:
            predictions = self.sets[name].predictions[network]
            about["heard"] = int(predictions.predicted[inside])
            about["probabilities"] = predictions.probabilities[inside].tolist()
        return about

    def place(self, number: int) -> tuple[str, int]:
        """Set of a clip, and its number in the set's store."""
        at = int(np.searchsorted(self._starts, number, "right")) - 1
        return list(self.sets)[at], number - int(self._starts[at])

    def mark_of_clip(self, name: str, inside: int, mark: str) -> Mark:
        """What to save for a clip; see :class:`~features.split.marks.Mark`."""
        number = self.number_of(name, inside)
        word = self.words[self._labels[number]]
        return Mark(self._digests[number].tobytes().hex(), word, int(self._rows[number]), mark)

    def number_of(self, name: str, inside: int) -> int:
        """Number of a clip among all.

        Raises
        ------
        LookupError
            If there is no such clip.
        """
        if name not in self.sets or not 0 <= inside < self.sets[name].store.clips:
            raise LookupError(f"there is no clip {inside} in {name}")
        return int(self._starts[list(self.sets).index(name)]) + inside

    def sound(self, name: str, inside: int) -> bytes:
        """A clip as FLAC; raises LookupError where there is none."""
        self.number_of(name, inside)
        waveforms = self.sets[name].waveforms
        if waveforms is None:
            raise LookupError(f"the waveforms of {name} are not there")
        return flac(waveforms.read(inside, inside + 1)[0], waveforms.attributes["sample_rate_hz"])

    def picture(self, name: str, inside: int) -> bytes:
        """A clip's spectrogram as WebP; raises LookupError where there is none."""
        self.number_of(name, inside)
        features = self.sets[name].features
        if features is None:
            raise LookupError(f"the features of {name} are not there")
        return webp(features.read(inside, inside + 1)[0], features.attributes["unit"])

    def left_out(self, marks: Marks) -> list[Mark]:
        """Marks of clips that are in none of the sets."""
        known = {digest.tobytes().hex() for digest in self._digests} if marks else set()
        return [mark for mark in marks.values() if mark.digest not in known]

    def _mark_of(self, number: int, marks: Marks) -> str:
        found = marks.get((self._digests[number].tobytes().hex(), self.words[self._labels[number]]))
        return found.mark if found else ""
