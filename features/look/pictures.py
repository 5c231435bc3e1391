"""Clips as pictures and sound: PNG with axes in Hz and seconds, WAV, and blocks for a terminal."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import soundfile
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.color import Color
from rich.style import Style
from rich.text import Text

from features.look.shades import COLOURS, shades
from features.store.writer import FeatureAxes

mpl.rcParams["font.family"] = ["DejaVu Sans", "NanumGothic"]
"""The second has Hangul. The package that carries it is not imported, because that changes more settings."""
for _folder in getattr(find_spec("koreanize_matplotlib"), "submodule_search_locations", None) or ():
    font_manager.fontManager.addfont(str(Path(_folder, "fonts", "NanumGothic.ttf")))

SHEET_COLUMNS = 3
DPI = 110
TICKS = 6
"""Mel bands whose frequency a picture names."""
DENSITY = " .:-=+*#%@"
"""Characters from light to dense."""
BLOCK_ROWS = 16
"""Height of a clip in a terminal, in characters."""


def draw_spectrograms(path: Path, features: NDArray[Any], axes: FeatureAxes, unit: str, titles: list[str]) -> None:
    """Draw clips side by side as a PNG.

    Parameters
    ----------
    features : array, shape (clips, frequency, time)
    unit : str
        Of the features.
    titles : list of str
        One for each clip.
    """
    hertz = axes.frequency_units == "Hz"
    figure, places = _sheet(titles, "frequency in Hz" if hertz else axes.frequency_units, height_in=3.0)
    half_frame, half_row, rows = axes.time_s[1] / 2, axes.frequency[1] / 2, len(axes.frequency)
    even = axes.frequency[0] == 0  # bins and coefficients; mel bands lie closer at low frequencies
    low, high = (-half_row, axes.frequency[-1] + half_row) if even else (-0.5, rows - 0.5)
    edges = (-half_frame, axes.time_s[-1] + half_frame, low, high)
    ticks = np.unique(np.linspace(0, rows - 1, min(rows, TICKS)).round().astype(int))
    drawn = [shades(clip, unit) for clip in features]
    scale = mpl.colors.Normalize(min(low for _, low, _, _ in drawn), max(high for _, _, high, _ in drawn))
    for place, (values, _, _, _) in zip(places, drawn, strict=True):
        place.imshow(values, origin="lower", aspect="auto", extent=edges, cmap=COLOURS, norm=scale)
        if not even:
            place.set_yticks(ticks, [f"{axes.frequency[row]:.0f}" for row in ticks])
    figure.colorbar(mpl.cm.ScalarMappable(scale, COLOURS), ax=places, label=drawn[0][3], shrink=0.9)
    figure.savefig(path, dpi=DPI)


def draw_waveforms(path: Path, waveforms: NDArray[Any], rate_hz: int, titles: list[str]) -> None:
    """Draw the samples of clips side by side as a PNG.

    Parameters
    ----------
    waveforms : array, shape (clips, samples)
        In [-1, 1].
    rate_hz : int
    titles : list of str
        One for each clip.
    """
    figure, places = _sheet(titles, "amplitude", height_in=2.4)
    time_s = np.arange(waveforms.shape[1]) / rate_hz
    for place, clip in zip(places, waveforms, strict=True):
        place.plot(time_s, clip, linewidth=0.5)
        place.set_ylim(-1.05, 1.05)
    figure.savefig(path, dpi=DPI)


def _sheet(titles: list[str], vertical: str, height_in: float) -> tuple[Figure, list[Axes]]:
    """A figure with labelled axes for each title, side by side."""
    columns = min(len(titles), SHEET_COLUMNS)
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(4.2 * columns + 0.6, height_in * rows), layout="constrained")
    places = []
    for number, title in enumerate(titles, start=1):
        places.append(figure.add_subplot(rows, columns, number, xlabel="time in s", ylabel=vertical))
        places[-1].set_title(title, fontsize="medium", parse_math=False)  # a file may be called a$b$.wav
    return figure, places


def write_wav(path: Path, waveform: NDArray[Any], rate_hz: int) -> None:
    """Write a clip as 16-bit sound.

    Parameters
    ----------
    waveform : array, shape (samples,)
        In [-1, 1]; values outside are clipped, the rest rounded to the nearest of 65,536 levels.
    """
    levels = np.clip(np.rint(np.asarray(waveform) * 2.0**15), -(2**15), 2**15 - 1)
    soundfile.write(path, levels.astype(np.int16), rate_hz, subtype="PCM_16")


def blocks(features: NDArray[Any], axes: FeatureAxes, unit: str, columns: int, *, plain: bool = False) -> Text:
    """Draw a clip for a terminal, high frequencies on top.

    Parameters
    ----------
    features : array, shape (frequency, time)
    unit : str
        Of the features.
    columns : int
        Width in characters, at most the number of frames.
    plain : bool
        Draw with ASCII characters from light to dense, for terminals without colours or without UTF-8; otherwise with
        coloured half blocks, two values to a character.
    """
    values, low, high, _ = shades(features, unit)
    values = np.clip((values - low) / (high - low), 0, 1)
    columns, rows = min(columns, values.shape[1]), min(BLOCK_ROWS, values.shape[0] // 2)
    cells = _shrink(_shrink(values, rows if plain else 2 * rows).T, columns).T[::-1]
    text = Text()
    for row in range(rows):
        top = axes.frequency[round((len(axes.frequency) - 1) * (1 - row / rows))]
        mark = f"{top:5.0f} {axes.frequency_units[:2]} " if row % 4 == 0 else " " * 9
        text.append(mark, "dim")
        if plain:
            text.append("".join(DENSITY[int(cell * (len(DENSITY) - 1))] for cell in cells[row]))
        else:
            colours = (mpl.colormaps[COLOURS](cells[2 * row : 2 * row + 2])[..., :3] * 255).astype(int)
            for upper, lower in zip(*colours, strict=True):
                text.append("▀", Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower)))
        text.append("\n")
    text.append(f"{'':9}0 s{axes.time_s[-1]:>{columns - 5}.2f} s", "dim")
    return text


def _shrink(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Average neighbouring rows down to ``size`` rows."""
    return np.stack([rows.mean(axis=0) for rows in np.array_split(values, size)])
