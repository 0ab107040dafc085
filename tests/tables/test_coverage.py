"""Coverage: which methods are compared over which rows, and that trying a method costs others nothing."""

from hypothesis import given
from hypothesis import strategies as st

from benchmark.tables.coverage import compared_rows

ROWS = [f"row {index}" for index in range(8)]
Having = dict[str, frozenset[str]]
having = st.dictionaries(st.sampled_from("abcdefg"), st.frozensets(st.sampled_from(ROWS)), max_size=7)


@given(having)
def test_compared_methods_have_all_rows_and_the_others_lack_some(found: Having) -> None:
    compared = compared_rows(found)
    for method, rows in found.items():
        if not compared.rows:
            assert compared.methods == ()
        elif method in compared.methods:
            assert compared.rows <= rows
        else:
            assert compared.lacking[method]
            assert set(compared.lacking[method]) == compared.rows - rows


@given(having, st.frozensets(st.sampled_from(ROWS), max_size=3))
def test_a_method_that_is_tried_on_few_rows_changes_nothing(found: Having, tried: frozenset[str]) -> None:
    most = max(map(len, found.values()), default=0)
    before, after = compared_rows(found), compared_rows({**found, "tried": tried})
    if 2 * len(tried) < most:
        assert (after.methods, after.rows) == (before.methods, before.rows)


def test_what_most_methods_have_decides() -> None:
    all_rows, one_less = frozenset(ROWS), frozenset(ROWS[:-1])
    few = compared_rows({"a": all_rows, "b": all_rows, "c": one_less})
    assert (few.methods, few.rows, few.lacking) == (("a", "b"), all_rows, {"c": (ROWS[-1],)})
    most = compared_rows({"a": all_rows, "b": one_less, "c": one_less})
    assert (most.methods, most.rows) == (("a", "b", "c"), one_less)


def test_one_of_two_methods_on_a_further_row_costs_the_other_nothing() -> None:
    compared = compared_rows({"a": frozenset(ROWS), "b": frozenset(ROWS[:-1])})
    assert (compared.methods, compared.rows) == (("a", "b"), frozenset(ROWS[:-1]))


def test_methods_that_each_lack_another_row_are_compared_over_the_rest() -> None:
    compared = compared_rows({name: frozenset(ROWS) - {ROWS[index]} for index, name in enumerate("abc")})
    assert (compared.methods, compared.rows) == (("a", "b", "c"), frozenset(ROWS[3:]))


def test_where_no_row_has_more_than_half_of_the_methods_half_is_enough() -> None:
    one = frozenset(ROWS[:4])
    compared = compared_rows({"a": one, "b": one, "c": frozenset(ROWS[4:6]), "d": frozenset(ROWS[6:])})
    assert (compared.methods, compared.rows) == (("a", "b"), one)


def test_two_methods_that_overlap_are_compared_over_what_they_share() -> None:
    compared = compared_rows({"a": frozenset(ROWS[:6]), "b": frozenset(ROWS[2:])})
    assert (compared.methods, compared.rows) == (("a", "b"), frozenset(ROWS[2:6]))


def test_nothing_is_compared_over_nothing() -> None:
    assert compared_rows({}).methods == ()
    assert compared_rows({"a": frozenset(), "b": frozenset()}).methods == ()
