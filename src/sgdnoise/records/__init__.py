"""One record a run, and the store that keeps them: see `store`."""

from sgdnoise.records.store import (
    Record,
    Store,
    code_digest,
    differences,
    environment,
    git_revision,
    record_of,
    to_frame,
)

__all__ = [
    "Record",
    "Store",
    "code_digest",
    "differences",
    "environment",
    "git_revision",
    "record_of",
    "to_frame",
]
