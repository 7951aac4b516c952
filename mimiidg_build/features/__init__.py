"""Features of clips: log-mel spectrograms.

In: samples, int16 [shape=(n_samples,)]. Out: log-mel in dB, float32 [shape=(n_frames, n_mels)].
Imports: kernels.
"""
