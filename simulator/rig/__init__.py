"""The rig: the real parts a run stands on, for the demo, the tests, the bench and the chaos run.

    redis_server.py      RedisServer: a private Redis on loopback, with or without TLS
    loopback_server.py   what it has in common with the registry: a program, a port, a folder
    certificates.py      a throw-away certificate authority for it
    engine.py            find_or_start_engine: the machine's Docker Engine, else a private one
    docker_engine.py     DockerEngine: where an Engine is, whether it answers, whose it is
    private_engine.py    PrivateEngine: a dockerd that disturbs no other
    engine_leftovers.py  what a private Engine leaves on a machine, and its removal
    image.py             build_image: a small image from the machine's own static busybox
    registry.py          Registry: a private image registry on loopback, with or without a password
    base_image.py        make_base_image: a Debian with Python and Redis, made by debootstrap
    processes.py         Program and wait_until: the project's programs as real processes
    errors.py            RigError: the family of everything that is missing
    packages.py          what may be installed on Debian or Ubuntu by root, and how

Everything started here dies with the process that started it, and everything made is removed.
"""
