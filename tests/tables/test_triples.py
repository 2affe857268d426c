import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model_core.tables.interactions import NO_TIME
from model_core.tables.triples import TripleFinder, distinct, distinct_triples, union

FAR = 2**61  # no key holds such times as they are

times = st.sampled_from([NO_TIME, -FAR, -1, 0, 5, FAR])
rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), times))


def columns(triples):
    return tuple(np.array(column, dtype=np.int64) for column in zip(*triples, strict=True)) or (
        np.zeros(0, dtype=np.int64),) * 3


def as_list(triples):
    return list(zip(*(column.tolist() for column in triples), strict=True))


def in_order(triples):
    return sorted(set(triples), key=lambda row: (row[2], row[0], row[1]))


@given(rows, rows)
def test_union_is_distinct_and_in_order(some, more):
    assert as_list(union([columns(some), columns(more)])) == in_order(some + more)
    assert as_list(distinct_triples(columns(some))) == in_order(some)


@given(rows, rows)
def test_finder_finds_what_is_there_and_nothing_else(among, wanted):
    among = in_order(among)
    wanted += [(entity, item + 5, time) for entity, item, time in wanted]  # items beyond the largest known
    expected = [among.index(row) if row in among else -1 for row in wanted]
    assert TripleFinder(columns(among))(columns(wanted)).tolist() == expected


@given(st.lists(st.integers(-3, 3)))
def test_distinct_integers_ascend(values):
    assert distinct(np.array(values, dtype=np.int64)).tolist() == sorted(set(values))
