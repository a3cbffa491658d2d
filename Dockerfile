# syntax=docker/dockerfile:1
# Four images from one file. `gateway` (the default) also runs permission-service and analytics; `worker` adds the
# `claude` program; `all-in-one` is the worker's image running the whole stack under its own supervisor.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=0
RUN python -m venv /opt/ccproxy
WORKDIR /src
COPY requirements.lock requirements-otel.lock ./
# `--build-arg OTEL=1` adds what OBSERVABILITY__OTLP_ENDPOINT needs.
ARG OTEL=""
RUN /opt/ccproxy/bin/pip install --require-hashes -r requirements${OTEL:+-otel}.lock
COPY . .
RUN /opt/ccproxy/bin/pip install --no-deps --no-build-isolation . \
    && /opt/ccproxy/bin/pip uninstall --yes hatchling editables

# The `claude` program comes from the wheel that bundles it, pinned by hash like everything else: no Node, no npm.
FROM build AS build-worker
RUN /opt/ccproxy/bin/pip install --require-hashes -r requirements-demo.lock \
    && /opt/ccproxy/bin/pip uninstall --yes hatchling editables

FROM python:${PYTHON}-slim-bookworm AS runtime
RUN groupadd --gid 1000 claude && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /data/home claude
COPY deploy/entrypoint.sh deploy/make-password.sh /usr/local/lib/ccproxy/
COPY deploy/ccproxy.sh /usr/local/bin/ccproxy
ENV PATH=/opt/ccproxy/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PUID=1000 \
    PGID=1000 \
    CLAUDE_HOME=/data/home \
    XDG_DATA_HOME=/data \
    SERVER__HOST=0.0.0.0 \
    SERVER__PORT=8000 \
    SERVER__RUN_DIR=/tmp/ccproxy
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/lib/ccproxy/entrypoint.sh"]

FROM runtime AS worker
# git and ripgrep are what Claude's tools expect to find.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git ripgrep ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build-worker /opt/ccproxy /opt/ccproxy
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s CMD ["ccproxy", "alive", "sdk_worker"]
CMD ["ccproxy-sdk-worker"]

FROM worker AS all-in-one
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["ccproxy", "alive", "gateway"]
CMD ["ccproxy", "serve"]

FROM runtime AS gateway
COPY --from=build /opt/ccproxy /opt/ccproxy
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["ccproxy", "alive", "gateway"]
CMD ["ccproxy-gateway"]
