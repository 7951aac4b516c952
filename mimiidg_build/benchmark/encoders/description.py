"""What an encoder is, as its TOML file says: read and checked before any work, without loading the network."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mimiidg_build.datasets.toml_files import read_toml, validated
from mimiidg_build.errors import UsageError
from mimiidg_build.models import ENCODER_MARK
from mimiidg_build.schemas.encoders import EncoderFile
from mimiidg_build.storage.places import expanded

if TYPE_CHECKING:
    from mimiidg_build.models.frozen_encoder import EncoderSettings

FORMATS = {".pt2": "torch.export", ".pt": "TorchScript", ".onnx": "ONNX"}
LONGEST_NAME = 40  # characters of the file's name in a run's


@dataclass(frozen=True)
class Encoder:
    """A user's encoder as a model of a benchmark; ``name`` is the file's and the digest of all that decides it."""

    name: str
    settings: EncoderSettings


def read_encoders(files: Iterable[str | Path]) -> list[Encoder]:
    """The encoders that files describe, each once.

    Parameters
    ----------
    files : iterable of str or Path
        TOML files (``schemas.encoders.EncoderFile``), or the networks' own files with a TOML file of the same name
        beside.

    Returns
    -------
    list of Encoder

    Raises
    ------
    UsageError
        A file is missing or of another form, its digest is not the one expected, or a package for it is missing.
    """
    found = [_read(Path(expanded(str(file)))) for file in files]
    return list({encoder.name: encoder for encoder in found}.values())


def _read(path: Path) -> Encoder:
    from mimiidg_build.models.frozen_encoder import SHORT, EncoderSettings

    if path.suffix not in (".toml", *FORMATS):
        raise UsageError(f"{path}: an encoder is described by a .toml file, or is a {_formats()} file beside one")
    if path.suffix != ".toml" and not path.with_suffix(".toml").is_file():
        raise UsageError(
            f"{path} has no {path.with_suffix('.toml').name} beside it, which says how the encoder is used:\n"
            f'file = "{path.name}"\nsample_rate = 16000\npooling = "mean"'
        )
    description = path.with_suffix(".toml")
    said = validated(EncoderFile, read_toml(description), description)
    file = (description.parent / said.file).resolve()
    if path.suffix != ".toml" and file != path.resolve():
        raise UsageError(f"{description} is of another encoder than {path.name}: it has file = {said.file!r}")
    settings = EncoderSettings(
        epochs=0,
        batch_size=said.batch_size,
        file=str(file),
        sha256=file_digest(file),
        sample_rate=said.sample_rate,
        pooling=said.pooling,
        p=said.p,
    )
    if said.sha256 not in (None, settings.sha256):
        raise UsageError(
            f"{file} has the SHA-256 {settings.sha256}, and {description} expects {said.sha256}: it is another file, "
            "or damaged"
        )
    stem = re.sub(r"[^\w.+-]+", "_", description.stem)[:LONGEST_NAME]
    return Encoder(f"{stem}{ENCODER_MARK}{settings.digest[:SHORT]}", settings)


def file_digest(file: Path) -> str:
    """SHA-256 of an encoder's file; of an ONNX file together with the ``.onnx.data`` beside it, its weights.

    Raises
    ------
    UsageError
        There is no such file, it cannot be read, its name says none of the known formats, or ONNX files cannot be run
        here.
    """
    if file.suffix not in FORMATS:
        raise UsageError(f"{file}: expected a {_formats()} file, by its name")
    if file.suffix == ".onnx" and find_spec("onnxruntime") is None:
        raise UsageError(
            f"{file}: ONNX needs the package onnxruntime, which is not installed: pip install 'mimiidg_build[onnx]', "
            "or bring the encoder as a .pt2 file, which needs torch alone"
        )
    digest, weights = hashlib.sha256(), file.with_name(f"{file.name}.data")
    try:
        for part in (file, weights) if file.suffix == ".onnx" and weights.exists() else (file,):
            with part.open("rb") as content:
                while block := content.read(2**20):
                    digest.update(block)
    except OSError as error:
        raise UsageError(f"the encoder {error.filename or file} cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def check_unchanged(file: Path, sha256: str) -> None:
    """Refuse an encoder whose file is gone, or another one now.

    Raises
    ------
    UsageError
        It is; the message names the file.
    """
    if (found := file_digest(file)) != sha256:
        raise UsageError(
            f"{file} has changed: its SHA-256 is {found}, and the run is of {sha256}. Put the file "
            "back, or run the benchmark with --encoder again, which makes another run"
        )


def _formats() -> str:
    *most, last = (f"{suffix} ({kind})" for suffix, kind in FORMATS.items())
    return f"{', '.join(most)} or {last}"
