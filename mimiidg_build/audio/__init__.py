"""Samples in and out: members of zip archives read in place, WAV files, resampling, power and peak.

In: archives and recordings. Out: checked samples, int16 (clip, sample), or an error that names the file.
Imports: errors, storage, kernels.
"""
