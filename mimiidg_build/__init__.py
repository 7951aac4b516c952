"""Build datasets like MIMII DG and benchmark anomalous sound detectors on them."""

from mimiidg_build.settings import __version__

__all__ = ["__version__"]
