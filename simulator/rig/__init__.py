"""The rig: real parts for demo, tests, benchmark and chaos run.

    redis_server.py      RedisServer: a private Redis on loopback, with or without TLS
    loopback_server.py   common base of Redis and registry: a program, a port, a folder
    certificates.py      a temporary certificate authority for TLS
    engine.py            find_or_start_engine: the machine's Docker Engine, else a private one
    docker_engine.py     DockerEngine: address, health and owner of an Engine
    private_engine.py    PrivateEngine: a dockerd that is isolated from others
    engine_leftovers.py  leftovers of a private Engine, and their removal
    image.py             build_image: a small image from the machine's own static busybox
    registry.py          Registry: a private image registry on loopback, with or without a password
    base_image.py        make_base_image: a Debian with Python and Redis, made by debootstrap
    processes.py         Program and wait_until: the project's programs as real processes
    errors.py            RigError: base class of the rig's errors
    packages.py          installation of packages on Debian or Ubuntu as root

Everything started here ends with the process that started it, and is removed.
"""
