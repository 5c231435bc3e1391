import numpy as np

from features.look.shades import decibels, shades


def test_a_silent_clip_is_dark() -> None:
    assert (decibels(np.zeros((3, 4))) == -80).all()
    assert (decibels(np.full((3, 4), np.nan)) == -80).all()


def test_equal_loudness_has_equal_shades_in_every_unit() -> None:
    magnitude = np.random.default_rng(0).uniform(1e-3, 50, (20, 30))
    drawn = shades(magnitude, "magnitude")
    for unit, values in (("power", magnitude**2), ("dB", 20 * np.log10(magnitude))):
        np.testing.assert_allclose(shades(values, unit)[0], drawn[0], atol=1e-9)
        assert shades(values, unit)[1:] == drawn[1:] == (-80.0, 0.0, "dB relative to the loudest bin")
