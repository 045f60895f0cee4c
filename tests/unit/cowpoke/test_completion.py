"""`cowpoke completion SHELL` prints what completes subcommands in a real shell."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
#: shell -> a command that loads the script `$1` and prints what completes `cowpoke dead`.
ASK = {
    "bash": 'source "$1"; COMP_WORDS=(cowpoke dead); COMP_CWORD=1; _cowpoke_completion cowpoke; '
    'printf "%s\\n" "${COMPREPLY[@]}"',
    # Its widgets need a terminal: the answer is asked for, and the script is compiled.
    "zsh": 'zsh -n "$1" && COMP_WORDS="cowpoke dead" COMP_CWORD=1 '
    "_COWPOKE_COMPLETE=zsh_complete cowpoke",
    "fish": 'source $argv[1]; complete --do-complete "cowpoke dead"',
}


@pytest.mark.parametrize("shell", ASK)
def test_a_shell_completes_a_subcommand(shell, tmp_path):
    """With the script of the command, as an operator installs it."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    program = tmp_path / "cowpoke"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={PROJECT} exec {sys.executable} -m cowpoke "$@"\n', "ascii"
    )
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
    script = tmp_path / "script"
    with script.open("w") as file:
        subprocess.run([program, "completion", shell], env=environment, stdout=file, check=True)
    flags = {"bash": ["--norc", "-c"], "zsh": ["-f", "-c"], "fish": ["--no-config", "-c"]}[shell]
    arguments = [script] if shell == "fish" else [shell, script]
    asked = subprocess.run(
        [shell, *flags, ASK[shell], *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (asked.returncode, asked.stderr) == (0, "")
    assert "dead-letters" in asked.stdout
    assert "worker" not in asked.stdout


def test_another_shell_is_refused():
    """With the names of those that are known."""
    ended = subprocess.run(
        [sys.executable, "-m", "cowpoke", "completion", "tcsh"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "'bash', 'zsh', 'fish'" in ended.stderr
