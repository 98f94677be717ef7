"""Text of records in Markdown: it is shown as it stands, whatever it holds."""

from __future__ import annotations

import re

_ACTIVE = re.compile(r"[!\"#$&'*<>@\[\\\]^_`{|}~]")


def literal(value: object) -> str:
    """A value's text with nothing left in it that Markdown, HTML or TeX would act on; one line.

    Entities and not backslashes: those are read alike in a table, in Jupyter and in the book.
    """
    return _ACTIVE.sub(lambda found: f"&#{ord(found[0])};", " ".join(str(value).split()))
