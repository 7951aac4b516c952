"""What ``peers.py`` runs: one program a peer, alone with it in an environment that has nothing of this project.

Each takes a folder of WAV files, a folder of noise and an empty folder, and leaves there the log-mels of every clip:
16 kHz, FFT of 1024, hop of 512, 128 bands, or what the peer has that is nearest. It prints how many clips those are.
They are written as the peers' own documents do it, in one process.
"""
