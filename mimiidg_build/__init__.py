"""Build datasets like MIMII DG and benchmark anomalous sound detectors on them."""

__version__ = "0.1.0"
