"""Compiled code: what runs over every sample of a clip, with the same bits on every processor.

``level`` and ``mixing`` are loops over samples; ``logmel`` is a log-mel spectrogram, made of ``frames`` (samples into
frames), ``fft`` (frames into power), its own mel product and the logarithm of ``decibels``, over the memory that
``layout`` draws; ``mel`` is the end of log-mel spectrograms of other settings.
``compilation`` says how all of it is compiled and cached. What the results mean stands with the callers.

In: arrays of samples, whose types the compiler checks and whose lengths callers check. Out: sums, mixtures, log-mel.
Imports: no other room.
"""
