"""The synthetic release: clean recordings in MIMII DG's layout, made from simple physics, nothing downloaded.

In: the name of a synthetic release. Out: its zip archives, byte for byte the same from the same name whatever the
number of workers, and a local server that offers them as Zenodo would.
Imports: errors, schemas, storage, parallel, datasets.

Data for trying, testing and timing. It is calibrated on the baselines of the paper (``microphone``, ``body`` and
``faults`` are how; figures in data_manifests/README.md), yet no number from it says how good a detector is. A release
is named ``synthetic[-<percent>pct][-seed<k>][-eval]``: ``percent`` of the 18,000 published clips, a seed, and whether
sections 03-05 come too. Audio is float32 [shape=(n_samples,)] in [-1, 1], 16 kHz, 10 s, or the same as 16-bit WAV
inside a zip. Machine recordings are clean; factory noise and pumps come apart, in ``noise.zip``.

``contents`` decides what each archive holds, ``machines`` (one module each: ``bearing`` to ``valve``) and ``factory``
make the sound from the signals of ``dsp``; it leaves through a ``body``, is damaged by ``faults``, and is heard by a
``microphone``; in ``synthetic-2ch`` by two, in the noise of a ``hall``. ``archive`` packs it into zips (``zip_file``).
``local_zenodo`` serves it.

Source: Dohi et al., "MIMII DG", arXiv:2205.13879, section 2 and Tables 1 and 2.
"""
