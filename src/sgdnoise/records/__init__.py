"""One record a run, and the store that keeps them."""

from sgdnoise.records.store import Record, Store, differences, record_of

__all__ = ["Record", "Store", "differences", "record_of"]
