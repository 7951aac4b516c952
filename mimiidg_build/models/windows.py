"""Windows of consecutive frames, cut from stored log-mels without copying them.

Conventions
-----------
Log-mel is (clip, frame, mel), contiguous. A window is ``width`` consecutive frames of one clip, every ``hop`` frames;
windows are numbered clip by clip: window ``i`` is number ``i % per_clip`` of clip ``i // per_clip``.

``width`` consecutive frames of a contiguous log-mel are ``width * mel`` consecutive numbers in memory. So all windows
are rows of one overlapping view, and a batch is one gather of rows: nothing is stored ``width / hop`` times over.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def n_windows(n_frames: int, width: int, hop: int) -> int:
    """How many windows a clip has.

    Parameters
    ----------
    n_frames, width, hop : int, frames
        Of the clip, of a window, and from one window to the next.

    Raises
    ------
    ValueError
        The clip is shorter than a window.

    Examples
    --------
    >>> n_windows(313, 5, 1), n_windows(313, 64, 16), n_windows(313, 64, 1)
    (309, 16, 250)
    """
    if n_frames < width:
        raise ValueError(f"a window of {width} frames does not fit into a clip of {n_frames}")
    return (n_frames - width) // hop + 1


class Windows:
    """All windows of a set of clips.

    Parameters
    ----------
    logmel : Tensor [shape=(n_clips, n_frames, n_mels)], dB
        Any float type and device; made contiguous if it is not.
    width, hop : int, frames
        Of a window, and from one window to the next.

    Raises
    ------
    ValueError
        The log-mel is not a floating 3-d tensor, or a clip is shorter than a window.

    Examples
    --------
    >>> windows = Windows(torch.arange(8.0).reshape(2, 4, 1), width=2, hop=1)
    >>> len(windows), windows.batch(torch.tensor([0, 5]))[..., 0].tolist()
    (6, [[0.0, 1.0], [6.0, 7.0]])
    """

    def __init__(self, logmel: Tensor, width: int, hop: int) -> None:
        if logmel.ndim != 3 or not logmel.is_floating_point():
            raise ValueError(f"expected float log-mel (clip, frame, mel), found {logmel.dtype} {tuple(logmel.shape)}")
        self.logmel = logmel.contiguous()
        self.width, self.hop = width, hop
        n_clips, n_frames, self.n_mels = logmel.shape
        self.per_clip = n_windows(n_frames, width, hop)
        # Row r starts at frame r of all clips joined. Rows that run from one clip into the next exist, too;
        # ``_first_frame`` never points at them.
        # max: of no clips there are no rows
        shape, stride = (max(0, n_clips * n_frames - width + 1), width * self.n_mels), (self.n_mels, 1)
        # as_strided counts from the start of the storage, where a slice of a larger tensor does not begin.
        self._rows = self.logmel.as_strided(shape, stride, self.logmel.storage_offset())
        starts = torch.arange(self.per_clip, device=logmel.device) * hop
        self._first_frame = (torch.arange(n_clips, device=logmel.device)[:, None] * n_frames + starts).flatten()

    def __len__(self) -> int:
        return self._first_frame.numel()

    def batch(self, numbers: Tensor) -> Tensor:
        """Windows by number, in float32: Tensor [shape=(len(numbers), width, n_mels)]. One gather, on the device."""
        rows = self._rows.index_select(0, self._first_frame.index_select(0, numbers))
        return rows.view(-1, self.width, self.n_mels).float()

    def clips_of(self, numbers: Tensor) -> Tensor:
        """The clip that each window is from."""
        return torch.div(numbers, self.per_clip, rounding_mode="floor")

    def by_clip(self, limit: int) -> Iterator[Tensor]:
        """All windows in order, whole clips at a time, at most about ``limit`` windows.

        Yields
        ------
        Tensor [shape=(some clips, per_clip, width, n_mels)], float32
            Its windows overlap in memory where the log-mel is float32, too: not to be changed in place.
        """
        step = max(1, limit // self.per_clip)
        # A view of the clips, not a gather of rows: scoring with the autoencoder spent a tenth of its time on that.
        every = self.logmel.unfold(1, self.width, self.hop).transpose(2, 3)
        for first in range(0, len(every), step):
            yield every[first : first + step].float()


class WholeClips:
    """Clips as windows, one each: for models that take whole clips.

    Parameters
    ----------
    features : Tensor [shape=(n_clips, ...)]
    """

    def __init__(self, features: Tensor) -> None:
        self._features = features

    def __len__(self) -> int:
        return len(self._features)

    def batch(self, numbers: Tensor) -> Tensor:
        """Clips by number, as stored."""
        return self._features.index_select(0, numbers)

    def clips_of(self, numbers: Tensor) -> Tensor:
        """The numbers themselves: window and clip are the same."""
        return numbers
