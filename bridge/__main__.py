"""`python -m bridge`: run the bridge; `key` makes a key for QUEUE_KEY."""

from bridge.commands import bridge as main

if __name__ == "__main__":
    main(prog_name="python -m bridge")
