"""What the records say where the papers disagree: nothing yet, for none are there."""

from __future__ import annotations

from sgdnoise.claims import Claim

CLAIMS: tuple[Claim, ...] = ()
