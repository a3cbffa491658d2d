# Three images from one file. `gateway` (the default) also runs the permission service and analytics; `worker` adds the
# `claude` program and the tools that its agents expect; `all-in-one` runs the whole stack under its own supervisor.
# Packages come before the source, so that a changed source file installs none of them again.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_PYTHON=/opt/ccproxy/bin/python
RUN apt-get update && apt-get install --yes --no-install-recommends binutils
RUN python -m venv --without-pip /opt/ccproxy
WORKDIR /src
COPY requirements.lock requirements-otel.lock ./
# `--build-arg OTEL=1` adds the packages that OBSERVABILITY__OTLP_ENDPOINT needs.
ARG OTEL=""
RUN pip install --no-compile --require-hashes -r requirements${OTEL:+-otel}.lock

# Our own package, as files below /product at their final paths.
FROM packages AS product
COPY . .
RUN pip install --no-compile --no-deps --no-build-isolation --root /product .

FROM packages AS gateway-packages
COPY deploy/trim-packages.sh ./
RUN pip uninstall --yes hatchling editables && ./trim-packages.sh /opt/ccproxy

# The `claude` program comes from the wheel that bundles it, pinned by hash like every package: no Node, no npm.
FROM packages AS worker-packages
COPY requirements-demo.lock deploy/trim-packages.sh ./
RUN pip install --no-compile --require-hashes -r requirements-demo.lock \
    && pip uninstall --yes hatchling editables \
    && ./trim-packages.sh /opt/ccproxy

FROM python:${PYTHON}-slim-bookworm AS runtime
RUN groupadd --gid 1000 claude \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /data/home claude \
    && install --directory --owner claude --group claude /data /data/home /data/ccproxy /data/workspace
COPY deploy/entrypoint.sh deploy/prepare.sh /usr/local/lib/ccproxy/
COPY deploy/compile.py /usr/local/lib/ccproxy/
COPY deploy/ccproxy.sh /usr/local/lib/ccproxy/bin/ccproxy
ENV PATH=/usr/local/lib/ccproxy/bin:/opt/ccproxy/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    CLAUDE_HOME=/data/home \
    XDG_DATA_HOME=/data \
    SERVER__HOST=0.0.0.0 \
    SERVER__PORT=8000 \
    SERVER__RUN_DIR=/tmp/ccproxy \
    CCPROXY_ALIVE_FILE=/tmp/ccproxy-alive
WORKDIR /data
USER claude
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/lib/ccproxy/entrypoint.sh"]

FROM runtime AS worker
USER root
# Claude's tools expect git and ripgrep.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git ripgrep ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt
COPY --from=worker-packages /opt/ccproxy /opt/ccproxy
COPY --from=product /product/ /
RUN python /usr/local/lib/ccproxy/compile.py
USER claude
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s CMD ["ccproxy-alive", "sdk_worker"]
CMD ["ccproxy-sdk-worker"]

FROM worker AS all-in-one
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s CMD ["ccproxy-alive", "gateway"]
CMD ["ccproxy", "serve"]

FROM runtime AS gateway
USER root
COPY --from=gateway-packages /opt/ccproxy /opt/ccproxy
COPY --from=product /product/ /
RUN python /usr/local/lib/ccproxy/compile.py
USER claude
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s CMD ["ccproxy-alive", "gateway"]
CMD ["ccproxy-gateway"]
