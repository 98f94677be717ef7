"""One run, as the store keeps it: a canonical JSON line with its sum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sgdnoise.config import RunConfig, canonical_json, id_of, make_config
from sgdnoise.errors import InputError
from sgdnoise.records.shape import misshapen

# What differs between two runs of one config on one machine without meaning anything.
_VOLATILE = ("seconds", "date")


@dataclass(frozen=True)
class Record:
    """One run, as the store keeps it."""

    config: RunConfig
    status: str
    metrics: dict[str, float | None]
    curves: dict[str, list[float | None]]
    provenance: dict[str, Any]
    reason: str | None = None

    @property
    def id(self) -> str:
        """The run's identity, its config's."""
        return self.config.id

    @property
    def device(self) -> str:
        """The kind of device that trained it: `cpu` or `cuda`."""
        return "cpu" if str(self.provenance.get("device")).startswith("CPU") else "cuda"

    def line(self) -> str:
        """The record as its line, without the newline."""
        body = {
            "id": self.id,
            "config": self.config.identity(),
            "status": self.status,
            "metrics": self.metrics,
            "curves": self.curves,
            "provenance": self.provenance,
        }
        if self.reason is not None:
            body["reason"] = self.reason
        return canonical_json({**body, "sha256": _hash(body)})

    @classmethod
    def parse(cls, line: str) -> Record:
        """The record of a line.

        Raises:
            ValueError: one clause that says what is wrong with the line.
        """
        try:
            body = _DECODER.decode(line)
        except (ValueError, RecursionError):  # a number of too many digits is a ValueError as well
            raise ValueError("is cut short or is not JSON") from None
        if not (isinstance(body, dict) and body.keys() >= _FIELDS):
            raise ValueError("is not a record")
        if not isinstance(body["sha256"], str):
            raise ValueError("is not a record: its sha256 is no text")
        # The line is canonical, so that without this one key it is what was hashed.
        summed = line.strip().replace(f',"sha256":"{body["sha256"]}"', "", 1)
        if body["sha256"] != hashlib.sha256(summed.encode()).hexdigest():
            raise ValueError("was altered: its sha256 does not fit")
        if wrong := misshapen(body):
            raise ValueError(f"is not a record: {wrong}")
        try:
            config = make_config(**body["config"])
        except InputError as error:
            raise ValueError(f"is of another version: {error}") from None
        # The last for values that the config would take for others, as text for a number.
        if not config.id == body["id"] == id_of(body["config"]):
            raise ValueError("has a config that is not the run of its id")
        return cls(
            config,
            body["status"],
            body["metrics"],
            body["curves"],
            body["provenance"],
            body.get("reason"),
        )

    def comparable(self) -> str:
        """The record without times and dates: equal for two equal runs on one machine."""
        kept = {k: v for k, v in self.provenance.items() if k not in _VOLATILE}
        body = [self.id, self.status, self.metrics, self.curves, kept, self.reason]
        return canonical_json(body)


def is_there(records: Mapping[str, Record], run: str) -> bool:
    """Whether a run has a record, and not that of a failure, which is tried once more."""
    return run in records and records[run].status != "failed"


def _hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)

_FIELDS = {"id", "config", "status", "metrics", "curves", "provenance", "sha256"}
