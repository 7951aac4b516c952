"""A store's files as zarr asks for them, each checked against its recorded digest when it is first read.

zarr takes a shard that is not there for one of zeros, and reads a flipped bit as it is: here both are errors. Imported
late, as zarr takes half a second to import.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from zarr.storage import LocalStore, WrapperStore

from mimiidg_build.storage.places import is_local, zarr_source
from mimiidg_build.store.recorded import Recorded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zarr.abc.store import ByteRequest, Store
    from zarr.core.buffer import Buffer, BufferPrototype


class CheckedStore(WrapperStore["Store"]):
    """Read-only; whole objects are hashed as they come, others before their first part is read.

    What zarr looks for on the way to an array and no store has, ``.zgroup`` and its kin, is answered with nothing, and
    so is the root's own metadata left to its seal. A chunk that is not recorded or not there is an error.
    """

    def __init__(self, store: Store, recorded: Recorded) -> None:
        super().__init__(store)
        self._recorded = recorded
        self._whole: set[str] = set()

    def _with_store(self, store: Store) -> CheckedStore:
        return CheckedStore(store, self._recorded)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """See ``zarr.abc.store.Store``."""
        if not self._recorded.is_recorded(key) and "/c/" not in key:
            return await super().get(key, prototype, byte_range)
        if byte_range is not None and key not in self._whole:
            await asyncio.to_thread(self._recorded.check, key)
            self._whole.add(key)
        found = await super().get(key, prototype, byte_range)
        if found is None:
            raise self._recorded.missing(key)
        if byte_range is None and key not in self._whole:
            self._recorded.check_content(key, found.to_bytes())
            self._whole.add(key)
        return found

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """See ``zarr.abc.store.Store``."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]


def checked_zarr(recorded: Recorded) -> Any:
    """What zarr opens to read a store, every byte of it checked."""
    source = zarr_source(recorded.path)
    return CheckedStore(LocalStore(source, read_only=True) if is_local(recorded.path) else source, recorded)
