"""`make dev`: the whole system on this machine; a change of its sources is taken over at once.

__main__.py     the command: what is started, and the loop that waits for changes
reloading.py    replace a running program by one with the new sources, without losing an event
sources.py      which program a changed file belongs to
showing.py      the log lines of all programs, as one stream for people
"""
