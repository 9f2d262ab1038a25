"""Values of several groups, given back to each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultimate_rvc.web.portions import portions


@given(st.lists(st.lists(st.integers())))
def test_each_group_gets_its_values_in_order(groups: list[list[int]]) -> None:
    together = [value for group in groups for value in group]
    assert list(portions(together, [len(group) for group in groups])) == groups


@pytest.mark.parametrize("values", [[1, 2], [1, 2, 3, 4]])
def test_a_value_too_few_or_too_many_is_an_error(values: list[int]) -> None:
    with pytest.raises(ValueError, match="groups of"):
        portions(values, [1, 2])
