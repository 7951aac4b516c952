"""The leaderboard of a store: every system that was run on it, as a page, JSON and CSV (``schemas.leaderboards``).

``content`` finds out everything, ``notes`` what is to be read with it; ``page`` shows it, ``written`` writes and reads.
"""
