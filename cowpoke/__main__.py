"""`python -m cowpoke`: the command `cowpoke`, also from a checkout that is not installed."""

from cowpoke.cli.main import COMPLETE_VARIABLE, main

if __name__ == "__main__":
    # The image's `cowpoke` is this module, and completes like an installed one.
    main(prog_name="python -m cowpoke", complete_var=COMPLETE_VARIABLE)
