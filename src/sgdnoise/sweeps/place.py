"""Where the missing runs of a study train, and whose records may stand beside those it has."""

from __future__ import annotations

from collections.abc import Mapping

from sgdnoise.config import RunConfig
from sgdnoise.records.record import Record, is_there
from sgdnoise.study.study import Study
from sgdnoise.training.devices import device_of
from sgdnoise.training.result import is_stacked


class Places:
    """The device of each missing run: `device_of`'s, unless its sweep began on the other one.

    A sweep goes on where it began, for no verdict rests on records of both. For the same reason one
    that begins joins the others of its study, where these are of one device and nothing is asked.

    Args:
        study: whose runs these are.
        records: what it has.
        gpu: whether sweeps that begin now do so on CUDA, also where `device_of` says `cpu`.
    """

    def __init__(self, study: Study, records: Mapping[str, Record], *, gpu: bool = False) -> None:
        self.scale, self.begun = study.scale, dict[str, str]()
        self.asked = "cuda" if gpu else None  # of sweeps that begin
        others: set[str] = set()
        for state in study.states(records):
            runs = [config.id for config in state.needed]
            devices = {records[run].device for run in runs if is_there(records, run)}
            others |= devices
            if len(devices) == 1:
                self.begun |= dict.fromkeys(runs, *devices)
        self.new = self.asked or (next(iter(others)) if len(others) == 1 else None)

    def of(self, config: RunConfig) -> str:
        """`cuda` or `cpu`: where a missing run trains. Stacked runs are faster on the CPU."""
        usual = device_of(self.scale, config)
        if usual == "cuda" or is_stacked(config):
            return usual
        return self.begun.get(config.id, self.new or usual)

    def takes(self, record: Record) -> bool:
        """Whether another experiment's record can stand for a missing run."""
        wanted = self.begun.get(record.id, self.asked)
        return wanted in (None, record.device)
