"""Augmentation of made-up spectra whose right answers are known."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from models.networks.front_end import FrontEnd, Statistics
from models.networks.transform import Transform
from models.settings import AugmentSpec
from models.training.augment import Augment

BINS, FRAMES = 20, 50
FRONT_END = FrontEnd(Transform(kind="power", n_fft=38, hop_length=10, window="hann"), 1000)  # a frame every 10 ms
RNG = np.random.default_rng(0)
STATISTICS = Statistics(RNG.uniform(-8, -2, BINS).astype(np.float32), RNG.uniform(0.5, 4, BINS).astype(np.float32))
NO_NOISE = np.zeros((0, BINS, FRAMES, 1), np.float32)


def normalised(power: np.ndarray) -> np.ndarray:
    mean, variance = (part[:, np.newaxis, np.newaxis] for part in STATISTICS)
    return ((np.log(power) - mean) / np.sqrt(variance)).astype(np.float32)


def power_of(values: np.ndarray) -> np.ndarray:
    mean, variance = (part[:, np.newaxis, np.newaxis] for part in STATISTICS)
    return np.exp(values.astype(np.float64) * np.sqrt(variance) + mean)


def augment(
    values: np.ndarray, step: int = 0, seed: int = 0, silence: np.ndarray = NO_NOISE, **settings: object
) -> np.ndarray:
    made = Augment(AugmentSpec(**settings), FRONT_END, STATISTICS, silence, seed)
    return made(tf.constant(values), tf.constant(step, tf.int64)).numpy()


SPECTRA = normalised(RNG.uniform(1e-6, 1e-2, (200, BINS, FRAMES, 1)))
ALL = {
    "shift_s": 0.1,
    "stretch": 0.1,
    "warp": 0.1,
    "gain_db": 6.0,
    "noise": 0.5,
    "time_masks": 2,
    "frequency_masks": 2,
}


def test_nothing_set_changes_nothing() -> None:
    np.testing.assert_array_equal(augment(SPECTRA), SPECTRA)


def test_every_draw_depends_on_seed_and_step_alone() -> None:
    noise = SPECTRA[:10]
    first = augment(SPECTRA, step=3, silence=noise, **ALL)
    np.testing.assert_array_equal(first, augment(SPECTRA, step=3, silence=noise, **ALL))
    assert np.abs(first - augment(SPECTRA, step=4, silence=noise, **ALL)).max() > 1
    assert np.abs(first - augment(SPECTRA, step=3, seed=1, silence=noise, **ALL)).max() > 1
    assert np.isfinite(first).all()


def test_gain_is_in_decibels_and_differs_from_clip_to_clip() -> None:
    decibels = 10 * np.log10(power_of(augment(SPECTRA, gain_db=6.0)) / power_of(SPECTRA))
    each = decibels.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(decibels, np.broadcast_to(each[:, None, None, None], decibels.shape), atol=1e-3)
    assert -6 <= each.min() < -5
    assert 5 < each.max() <= 6


def test_noise_is_added_at_the_ratio_asked_for_to_the_share_of_clips_asked_for() -> None:
    noise = normalised(RNG.uniform(1e-9, 1e-8, (5, BINS, FRAMES, 1)))
    settings = {"noise": 0.3, "noise_snr_db": (5.0, 20.0)}
    added = power_of(augment(SPECTRA, silence=noise, **settings)) - power_of(SPECTRA)
    ratio = power_of(SPECTRA).mean(axis=(1, 2, 3)) / np.maximum(added.mean(axis=(1, 2, 3)), 1e-12)
    noisy = ratio < 1e3
    assert noisy.mean() == pytest.approx(0.3, abs=0.1)
    decibels = 10 * np.log10(ratio[noisy])
    assert 4.9 < decibels.min() < 7
    assert 18 < decibels.max() < 20.1
    for clip in added[noisy]:  # it is one of the clips of noise
        shapes = [np.corrcoef(clip.ravel(), power_of(each).ravel())[0, 1] for each in noise]
        assert max(shapes) > 0.99
    np.testing.assert_array_equal(augment(SPECTRA, silence=NO_NOISE, **settings), SPECTRA)


def ramp(axis: int) -> np.ndarray:
    """Values that tell their own place on an axis."""
    places = np.arange((BINS, FRAMES)[axis], dtype=np.float32)
    return np.broadcast_to(places[:, None, None] if axis == 0 else places[None, :, None], (300, BINS, FRAMES, 1))


def test_a_shift_moves_all_frequencies_by_up_to_so_many_seconds() -> None:
    moved = augment(ramp(1), shift_s=0.08)[..., 0]
    by = moved[:, :, 25] - 25
    np.testing.assert_allclose(by, np.broadcast_to(by[:, :1], by.shape), atol=1e-4)
    assert -8 <= by.min() < -7
    assert 7 < by.max() <= 8
    expected = np.clip(np.arange(FRAMES) + by[:, :1], 0, FRAMES - 1)  # the first and last frame repeat
    np.testing.assert_allclose(moved[:, 3], expected, atol=1e-4)


def test_a_stretch_keeps_the_middle_and_changes_the_pace() -> None:
    moved = augment(ramp(1), stretch=0.2)[:, 0, :, 0]
    np.testing.assert_allclose(moved[:, 24:26].mean(axis=1), 24.5, atol=1e-3)
    pace = moved[:, 30] - moved[:, 29]
    assert 0.8 <= pace.min() < 0.82
    assert 1.18 < pace.max() <= 1.2001


def test_a_warp_scales_frequency() -> None:
    moved = augment(ramp(0), warp=0.1)[:, :, 7, 0]
    scale = moved[:, 10] / 10
    assert 0.9 <= scale.min() < 0.91
    assert 1.09 < scale.max() <= 1.1001
    np.testing.assert_allclose(moved, np.minimum(np.arange(BINS) * scale[:, None], BINS - 1), atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "axis", "widest"),
    [({"time_masks": 1, "time_mask_s": 0.1}, 1, 10), ({"frequency_masks": 1, "frequency_mask": 0.25}, 0, 5)],
)
def test_masks_are_specaugments(settings: dict[str, object], axis: int, widest: int) -> None:
    """One range of zeros, all widths up to the widest alike, never beyond an edge."""
    ones = np.ones((2000, BINS, FRAMES, 1), np.float32)
    masked = augment(ones, **settings)[..., 0] == 0
    lines = masked.any(axis=2 - axis)
    np.testing.assert_array_equal(masked, np.broadcast_to(np.expand_dims(lines, 2 - axis), masked.shape))
    widths = lines.sum(axis=1)
    counts = np.bincount(widths, minlength=widest + 1) / len(ones)
    np.testing.assert_allclose(counts, 1 / (widest + 1), atol=0.04)
    starts = np.abs(np.diff(np.pad(lines, ((0, 0), (1, 1))).astype(int), axis=1)).sum(axis=1)
    assert set(starts.tolist()) == {0, 2}
    assert lines[:, 0].any()
    assert lines[:, -1].any()


@pytest.mark.parametrize(("axis", "name"), [(0, "freq_mask"), (1, "time_mask")])
def test_masks_are_distributed_as_tensorflow_ios(axis: int, name: str) -> None:
    """Which masks one spectrogram at a time, (time, frequency), to a width below ``param``."""
    import tensorflow_io as tfio

    tf.random.set_seed(0)
    mask: Callable[..., tf.Tensor] = getattr(tfio.audio, name)
    one = tf.ones((FRAMES, BINS))
    theirs = np.stack([mask(one, 6).numpy().T == 0 for _ in range(1500)])
    settings = (
        {"frequency_masks": 1, "frequency_mask": 5 / BINS} if axis == 0 else {"time_masks": 1, "time_mask_s": 0.05}
    )
    ours = augment(np.ones((1500, BINS, FRAMES, 1), np.float32), **settings)[..., 0] == 0
    for each in (ours, theirs):  # how often each line is masked
        assert each.any(axis=2 - axis).mean() == pytest.approx(2.5 / (BINS, FRAMES)[axis], rel=0.1)
    np.testing.assert_allclose(ours.any(axis=2 - axis).mean(axis=0), theirs.any(axis=2 - axis).mean(axis=0), atol=0.06)


def test_what_needs_decibels_is_left_out_without_them() -> None:
    """Of MFCC, and where nothing is normalised."""
    mfcc = FrontEnd(Transform(kind="mfcc", n_fft=38, hop_length=10, window="hann"), 1000)
    for front_end, statistics in ((mfcc, STATISTICS), (FRONT_END, None)):
        made = Augment(AugmentSpec(gain_db=6.0, noise=1.0, warp=0.1), front_end, statistics, SPECTRA[:5], 0)
        np.testing.assert_array_equal(made(tf.constant(SPECTRA), tf.constant(0)), SPECTRA)
        made = Augment(AugmentSpec(shift_s=0.1), front_end, statistics, SPECTRA[:5], 0)
        assert np.abs(made(tf.constant(SPECTRA), tf.constant(0)) - SPECTRA).max() > 1


def test_ratios_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ValueError, match="noise_snr_db is 20 to 5; expected"):
        AugmentSpec(noise_snr_db=(20.0, 5.0))
    assert AugmentSpec(noise_snr_db=(5.0, 5.0)).noise_snr_db[0] < math.inf
