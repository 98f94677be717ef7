"""One progress bar for terminals, notebooks and logs: text on stderr, or nothing."""

from __future__ import annotations

import os
import sys
from typing import Any

from tqdm import tqdm


def bar(*, silent: bool = False, **options: Any) -> tqdm:
    """A text progress bar on stderr, or nothing if `silent`.

    Plain tqdm, never its widget, which would pull the widget manager into a page. Silent where
    `SGDNOISE_QUIET` is set; where stderr is no terminal it reports every ten seconds.
    """
    if not sys.stderr.isatty():
        options = {"mininterval": 10.0, "maxinterval": 30.0, **options}
    quiet = silent or bool(os.environ.get("SGDNOISE_QUIET"))
    return tqdm(**{"file": sys.stderr, "disable": quiet, "dynamic_ncols": True, **options})
