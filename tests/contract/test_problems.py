"""docs/cli.md lists each problem as the code has it."""

from tests.problems_table import table, written


def test_the_table_of_problems_is_that_of_the_code():
    """Run `python -m tests.problems_table` after a change."""
    assert written() == table()
