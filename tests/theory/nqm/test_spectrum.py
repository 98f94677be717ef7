"""The spectra of the noisy quadratic model."""

from __future__ import annotations

import numpy as np
import pytest
from theory.nqm.oracles import SMALL

from sgdnoise.theory import nqm
from sgdnoise.theory.nqm.spectrum import condensed


class TestSpectrum:
    def test_initial_losses_are_those_of_the_reference(self) -> None:
        # REFERENCE.md B8: 4.70 binned against 4.894 exact.
        assert nqm.spectrum("exact").initial_loss == pytest.approx(4.894, abs=5e-4)
        assert nqm.spectrum("binned").initial_loss == pytest.approx(4.70, abs=5e-3)

    @pytest.mark.parametrize("dims", [1, 2, 37, 10_000])
    def test_binning_rounds_down_by_less_than_a_level(self, dims: int) -> None:
        binned = nqm.spectrum("binned", dims)
        exact = nqm.spectrum("exact", dims)
        assert binned.dims == exact.dims == dims
        level = np.repeat(binned.curvature, binned.weight.astype(int))
        ratio = exact.curvature / level
        assert ratio.min() >= 1 - 1e-12
        assert ratio.max() < 1e4 ** (1 / 99) * (1 + 1e-12) or dims == 1
        assert level[0] == 1
        assert np.array_equal(binned.noise, binned.curvature)

    def test_condensing_keeps_the_initial_loss_and_nearly_the_rest(self) -> None:
        full = nqm.spectrum("exact")
        small = condensed(full)
        assert small.curvature.size < 200
        assert small.initial_loss == pytest.approx(full.initial_loss)
        steps = [10, 1000, 100_000]
        np.testing.assert_allclose(
            nqm.expected_loss(small, 0.3, 64, steps),
            nqm.expected_loss(full, 0.3, 64, steps),
            rtol=1e-3,
        )

    def test_preconditioning_multiplies_the_rates(self) -> None:
        half = SMALL.preconditioned(0.5)
        np.testing.assert_allclose(half.preconditioner, SMALL.curvature**-0.5)
        assert half.sharpness == 1
        with pytest.raises(ValueError, match="power"):
            SMALL.preconditioned(1.5)

    def test_bad_names_and_sizes_are_refused(self) -> None:
        with pytest.raises(ValueError, match="'exact' or 'binned'"):
            nqm.spectrum("rounded")  # type: ignore[arg-type]
        for dims in (0, -3, 2.5, True):
            with pytest.raises(ValueError, match="dims"):
                nqm.spectrum("exact", dims)  # type: ignore[arg-type]
