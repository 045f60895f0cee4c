# The programs of cowpoke. Two images can be made:
#
#   docker build --target program .     bridge, worker, Flower, simulated server; starts as `cowpoke`
#   docker build .                      the same for the command of Rancher's page: it starts as root,
#                                       and has a Redis for a host without a hub
#
# `scripts/image` builds with version, revision and time. The base is any image with Python 3.11 or
# newer, its venv module and CA certificates. The same base, lock and sources give the same layers.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
# pip's ordinary settings, for networks with a package index of their own; absent means pip's defaults.
ARG PIP_INDEX_URL
ARG PIP_TRUSTED_HOST
# Byte code depends on the order of sets, and so on the seed.
ENV PYTHONHASHSEED=0
COPY requirements-runtime.lock /build/
# pip stays in this stage. Byte code that names no time is as good, and the same everywhere. The lock
# alone decides about this layer: it has a time of its own, and no version of ours makes a new one.
RUN python3 -m venv /build/pip \
    && python3 -m venv --without-pip /opt/venv \
    && /build/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile \
        --disable-pip-version-check --no-deps --require-hashes -r /build/requirements-runtime.lock \
    && find /opt/venv -depth -type d -name tests -exec rm -r {} + \
    && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib \
    && mkdir -p /dependencies/opt \
    && mv /opt/venv /dependencies/opt/ \
    && find /dependencies -exec touch --no-dereference --date=@315532800 {} +

# Version and subcommands stand in pyproject.toml.
COPY pyproject.toml /opt/cowpoke/
COPY celeryconfig.py /opt/cowpoke/
COPY cowpoke /opt/cowpoke/cowpoke
COPY worker /opt/cowpoke/worker
COPY bridge /opt/cowpoke/bridge
COPY simulator /opt/cowpoke/simulator
COPY deploy/image /build/bin
# The time of our files, in seconds since 1970: that of the commit.
ARG SOURCE_DATE_EPOCH=315532800
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/cowpoke \
    && mkdir -p /image/opt /image/usr/local /image/etc \
    && cp -a /opt/cowpoke /image/opt/ \
    && install -D --target-directory /image/usr/local/bin /build/bin/* \
    && cp -a /etc/passwd /etc/group /image/etc/ \
    && echo 'cowpoke:*:10001:10001::/nonexistent:/usr/sbin/nologin' >>/image/etc/passwd \
    && echo 'cowpoke:*:10001:' >>/image/etc/group \
    # A new volume on such a folder has its owner and mode. Redis and the worker run as other users.
    && install -d -m 755 /image/etc/cowpoke/redis \
    && install -d -m 700 /image/etc/cowpoke/worker /image/etc/cowpoke/host \
    && install -d -m 700 -o 10001 -g 10001 /image/etc/cowpoke/bridge /image/etc/cowpoke/flower \
    && find /image -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

FROM ${BASE_IMAGE} AS files
COPY --from=build /dependencies/ /
COPY --from=build /image/ /
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /opt/cowpoke
HEALTHCHECK --interval=30s --timeout=20s --start-period=30s CMD ["cowpoke-healthcheck"]
ENTRYPOINT ["cowpoke-entry"]
CMD ["python", "-m", "bridge"]
LABEL org.opencontainers.image.title=cowpoke \
    org.opencontainers.image.description="Runs Rancher 1.x host events as Celery tasks on Redis" \
    org.opencontainers.image.licenses=Apache-2.0

# The worker needs root for the Engine's socket: its container names the user.
FROM files AS program
USER cowpoke
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${REVISION}

# The command on Rancher's page names no user, and needs the Engine's socket.
FROM files AS agent
# A Redis for a host that is given no other. Empty: none.
ARG REDIS_PACKAGE=redis-server
RUN if [ -n "${REDIS_PACKAGE}" ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends "${REDIS_PACKAGE}" \
        && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/ldconfig; \
    fi
USER root
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${REVISION}
