"""The fault table in the docs is the one that the command writes, and nothing in it went wrong."""

from benchmarks.faults import END, FAULTS, OPERATIONS, PAGE, START


def test_the_table_is_whole_and_nothing_was_lost():
    text = PAGE.read_text()
    assert (text.count(START), text.count(END)) == (1, 1)
    table = text.split(START)[1].split(END)[0]
    assert all(f"| {name} |" in table for name in FAULTS)
    assert all(operation.name in table for operation in OPERATIONS)
    for bad in ("WRONG", "HALF DONE", "SEEN"):
        assert bad not in table
