"""A lent array arrives whole, without a copy, and is let go when the taker is done."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from npc_networks.serving.dlpack import Lent


def take(lent: Any) -> npt.NDArray[Any]:
    return np.from_dlpack(lent)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.int64])
def test_arrives_whole(dtype: type[np.generic]) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)

    taken = take(Lent(array))

    assert taken.dtype == array.dtype
    np.testing.assert_array_equal(taken, array)
    assert np.shares_memory(taken, array)


def test_memory_out_of_order_is_put_in_order() -> None:
    array = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)

    np.testing.assert_array_equal(take(Lent(array)), array)


def test_array_lives_exactly_as_long_as_the_taker() -> None:
    array = np.zeros(1000, dtype=np.uint8)
    alive = weakref.ref(array)
    taken = take(Lent(array))
    del array
    gc.collect()
    assert alive() is not None

    del taken
    gc.collect()

    assert alive() is None


def test_text_is_refused() -> None:
    with pytest.raises(TypeError, match="only numbers"):
        Lent(np.array(["a"]))
