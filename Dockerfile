# One image for bridge, worker, Flower and the simulated server; the command says which.
# The base is any image with Python 3.11 or newer, its venv module and CA certificates.
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}

# pip's ordinary settings, for networks with a package index of their own; absent means pip's defaults.
ARG PIP_INDEX_URL
ARG PIP_TRUSTED_HOST

# A Redis for a single host that gives no REDIS_URL to the image's agent arguments. Empty: none.
ARG REDIS_PACKAGE=redis-server
RUN if [ -n "${REDIS_PACKAGE}" ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends "${REDIS_PACKAGE}" \
        && rm -rf /var/lib/apt/lists/*; \
    fi

COPY requirements-runtime.lock /opt/cowpoke/
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps \
        --require-hashes -r /opt/cowpoke/requirements-runtime.lock

# Version and subcommands stand in pyproject.toml.
COPY pyproject.toml /opt/cowpoke/
COPY celeryconfig.py /opt/cowpoke/
COPY cowpoke /opt/cowpoke/cowpoke
COPY worker /opt/cowpoke/worker
COPY bridge /opt/cowpoke/bridge
COPY simulator /opt/cowpoke/simulator
RUN /opt/venv/bin/python -m compileall -q /opt/cowpoke \
    && groupadd --system --gid 10001 cowpoke \
    && useradd --system --uid 10001 --gid cowpoke --no-create-home --home-dir /nonexistent cowpoke \
    && printf '%s\n' '#!/bin/sh' 'PYTHONPATH=/opt/cowpoke exec /opt/venv/bin/python -m cowpoke "$@"' \
        >/opt/venv/bin/cowpoke \
    && chmod 755 /opt/venv/bin/cowpoke \
    # The arguments of rancher/agent start its replacement; all others are a command, as they were.
    && printf '%s\n' '#!/bin/sh' 'case "${1:-}" in' \
        '    http://*|https://*|register|run|upgrade|inspect-host|state) exec cowpoke agent "$@" ;;' \
        '    --) shift ;;' \
        'esac' \
        '# Only the agent and the worker need root.' \
        'if [ "$(id -u)" = 0 ] && [ "$*" = "python -m bridge" ]; then' \
        '    exec setpriv --reuid cowpoke --regid cowpoke --init-groups "$@"' \
        'fi' \
        'exec "$@"' >/opt/venv/bin/cowpoke-entry \
    && chmod 755 /opt/venv/bin/cowpoke-entry \
    # A new volume on such a folder has its owner and mode. Redis and the worker run as other users.
    && mkdir /etc/cowpoke \
    && install -d -m 755 /etc/cowpoke/redis \
    && install -d -m 700 /etc/cowpoke/worker \
    && install -d -m 700 -o cowpoke -g cowpoke /etc/cowpoke/bridge /etc/cowpoke/flower \
    && install -d -m 700 -o cowpoke -g cowpoke /var/lib/cowpoke/flower

ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /opt/cowpoke
# Root only starts the agent, whose command on Rancher's page names no user, and the worker: both
# need the Engine's socket. docker-compose.yml runs each other program as the user cowpoke.
USER root
ENTRYPOINT ["cowpoke-entry"]
CMD ["python", "-m", "bridge"]
