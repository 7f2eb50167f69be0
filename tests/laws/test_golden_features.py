"""The golden features: what every configuration of the laws gave before the code was last rearranged."""

from helpers.golden_features import differences


def test_every_configuration_gives_its_golden_features():
    """To rounding, as another processor rounds differently; `golden_features.py compare` asks for equal bits."""
    different = {name: value for name, value in differences().items() if not value <= 1e-4}
    assert not different
