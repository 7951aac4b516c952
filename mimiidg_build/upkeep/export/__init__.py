"""Export: a store's clips as files that other programs read, whole or not at all.

``export`` is the way in, ``target`` the folder that an export grows in, ``clips`` the clips as WAV files. One module for
each thing that an export can be: ``released`` (the dataset's own layout, as folders or zip archives), ``dcase`` (what the
organisers' baselines and evaluators look for), ``webdataset`` (tar archives), ``huggingface`` (parquet). ``about`` and
``description`` are what stands beside.
"""

from mimiidg_build.upkeep.export.export import export_store

__all__ = ["export_store"]
