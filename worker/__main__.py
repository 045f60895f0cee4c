"""`python -m worker`: run the lanes of this host; `explain` shows what an event would create."""

from worker.commands import worker as main

if __name__ == "__main__":
    main(prog_name="python -m worker")
