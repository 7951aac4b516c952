"""The TOML file that describes a frozen encoder which a user brings: where its network is, and how it is used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mimiidg_build.schemas.manifests import Strict

Pooling = Literal["mean", "max", "gem"]


class EncoderFile(Strict):
    """A frozen encoder: samples, float32 (batch_size, n_samples) in [-1, 1], to (batch_size, n_frames, size) or
    (batch_size, size).

    ``file`` is relative to the TOML file's folder. ``pooling`` is over frames: mean, maximum, or generalised mean with
    the exponent ``p``. ``sha256`` is what the file's digest is expected to be.
    """

    file: Annotated[str, Field(min_length=1)]
    sample_rate: Annotated[int, Field(ge=1000, le=384_000)]
    pooling: Pooling = "mean"
    p: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 3.0
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 1
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _has_use_for_p(self) -> EncoderFile:
        if "p" in self.model_fields_set and self.pooling != "gem":
            raise ValueError(f'p is the exponent of pooling = "gem"; found pooling = "{self.pooling}"')
        return self
