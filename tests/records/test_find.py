"""Which store is found; `tests/test_checkout.py` has the checkouts it is looked for in."""

from __future__ import annotations

import pytest

from sgdnoise.errors import InputError
from sgdnoise.records.find import find_store


@pytest.mark.parametrize("name", ["x" * 5000, "re\0sults"])
def test_a_name_that_no_folder_can_have_is_refused_in_one_line(name):
    with pytest.raises(InputError, match="there is no store") as caught:
        find_store(name)
    assert "\n" not in str(caught.value)
