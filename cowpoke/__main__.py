"""`python -m cowpoke`: the command `cowpoke`, also from a checkout that is not installed."""

from cowpoke.cli.main import main

if __name__ == "__main__":
    main(prog_name="python -m cowpoke")
