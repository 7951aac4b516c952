"""The synthetic release: clean recordings in MIMII DG's layout, made from simple physics, nothing downloaded.

Data for trying, testing and timing, never for judging a detector. A release is named
``synthetic[-<percent>pct][-seed<k>][-eval]``: ``percent`` of the 18,000 published clips, a seed, and whether sections
03-05 come too. Everything follows from that name: the same name gives the same bytes, whatever the number of workers.

Audio is float32 [shape=(n_samples,)] in [-1, 1], 16 kHz, 10 s, or the same as 16-bit WAV inside a zip. Machine
recordings are clean; factory noise and pumps come apart, in ``noise.zip``. Only names and counts live here: numpy and
scipy are imported when audio is made.

Source: Dohi et al., "MIMII DG", arXiv:2205.13879, section 2 and Tables 1 and 2.
"""
