"""Writes the table of problems in docs/cli.md: `python -m tests.problems_table`."""

from pathlib import Path

from cowpoke.overview.conditions import CONDITIONS

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
_BEGIN = "<!-- problems: written by `python -m tests.problems_table`, held by a test -->"
_END = "<!-- /problems -->"


def table() -> str:
    """One row per code: meaning, whether it needs a person, what to do."""
    rows = ["| code | meaning | needs a person | what to do |", "|---|---|---|---|"]
    rows += [
        f"| `{one.code}` | {one.meaning} | {'yes' if one.needs_person else 'no'} | {one.advice} |"
        for one in CONDITIONS.values()
    ]
    return "\n".join(rows)


def written() -> str:
    """The table as the page has it."""
    text = PAGE.read_text(encoding="utf-8")
    return text.partition(_BEGIN)[2].partition(_END)[0].strip()


def write() -> None:
    """Replace the table in the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    PAGE.write_text(
        f"{before}{_BEGIN}\n\n{table()}\n\n{_END}{rest.partition(_END)[2]}", encoding="utf-8"
    )


if __name__ == "__main__":
    write()
