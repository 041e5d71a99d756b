# syntax=docker/dockerfile:1
# One container per tenant: the REST API and the MCP server, under supervisord.
#
#   docker build -t toolbridge .
#
# To use a REST API of your own (docs/API-CONTRACT.md has its requirements), from an image or a
# file:
#
#   --build-arg API=registry.example.com/acme-api:1.4 --build-arg API_PATH=/usr/local/bin/acme-api
#   --build-arg API=api-file --build-arg API_FILE=dist/acme-api

ARG API=api-built

# ---- the REST API --------------------------------------------------------------------------------
FROM golang:1.26.8-bookworm AS api-built
WORKDIR /src/api
COPY api/go.mod api/go.sum ./
RUN go mod download
COPY api ./
ARG RELEASE=0.1.0
ARG GIT_REVISION=
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -o /toolbridge-api \
    -ldflags "-s -w -buildid= -X main.release=${RELEASE}${GIT_REVISION:++${GIT_REVISION}}" \
    ./cmd/toolbridge-api

FROM scratch AS api-file
ARG API_FILE=dist/toolbridge-api
COPY --chmod=0755 ${API_FILE} /toolbridge-api

# The tag is part of the argument.
# hadolint ignore=DL3006
FROM ${API} AS api

# ---- the MCP server ------------------------------------------------------------------------------
FROM rust:1.95.0-slim-bookworm AS mcp
WORKDIR /src
# No path and no time of the build gets into the binary, so that every machine builds the same bytes
# (scripts/reproducible).
ARG RUSTFLAGS="--remap-path-prefix=/usr/local/cargo=/cargo"
ARG CFLAGS="-ffile-prefix-map=/usr/local/cargo=/cargo -DMI_DEFAULT_ALLOW_THP=0"
ARG SOURCE_DATE_EPOCH=0
# The dependencies are a layer of their own: cargo builds them for an empty program.
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
RUN mkdir -p src tests/it tests/conformance benches \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs tests/it/main.rs tests/conformance/server.rs benches/micro.rs \
    && cargo build --release --locked \
    && rm -rf src tests benches
COPY src src
COPY tests/it/main.rs tests/it/main.rs
COPY tests/conformance/server.rs tests/conformance/server.rs
COPY benches/micro.rs benches/micro.rs
ARG GIT_REVISION=
# cargo compares modification times, and the sources are older than the empty program.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked

# ---- the image -----------------------------------------------------------------------------------
FROM debian:12.15-slim
ARG RELEASE=0.1.0
ARG GIT_REVISION=
LABEL org.opencontainers.image.title="ToolBridge MCP" \
      org.opencontainers.image.description="A tenant's notes, tasks, comments and chats for AI \
assistants: REST API and MCP server" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${RELEASE}" \
      org.opencontainers.image.revision="${GIT_REVISION}"
# Debian's release is pinned, but not the packages, so that they get security fixes.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates supervisor \
    && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* \
    && groupadd --gid 10001 toolbridge-api \
    && useradd --uid 10001 --gid 10001 --home-dir /nonexistent --no-create-home \
        --shell /usr/sbin/nologin toolbridge-api \
    && groupadd --gid 10002 toolbridge-mcp \
    && useradd --uid 10002 --gid 10002 --home-dir /nonexistent --no-create-home \
        --shell /usr/sbin/nologin toolbridge-mcp \
    && install -d -m 0711 /data \
    && install -d -o toolbridge-api -g toolbridge-api -m 0700 /data/api \
    && install -d -o toolbridge-mcp -g toolbridge-mcp -m 0700 /data/audit
COPY supervisord.conf /etc/toolbridge/supervisord.conf
COPY --chmod=0755 scripts/container /usr/local/bin/toolbridge-container
COPY --chmod=0755 scripts/container-run /usr/local/bin/toolbridge-run
COPY --chmod=0755 scripts/container-end /usr/local/bin/toolbridge-container-end
COPY --from=mcp /src/target/release/toolbridge-mcp /usr/local/bin/toolbridge-mcp
ARG API_PATH=/toolbridge-api
COPY --from=api ${API_PATH} /usr/local/bin/toolbridge-api

# Settings of every container; fly.toml and the secrets have those of a tenant. Our API requires
# version 2 of the tenant signature. The server also sends version 1, which suffices for a REST API
# of your own.
ENV TOOLBRIDGE_HOST=0.0.0.0 \
    TOOLBRIDGE_PORT=8001 \
    TOOLBRIDGE_GO_API_BASE_URL=http://127.0.0.1:8081 \
    HTTP_ADDR=127.0.0.1:8081 \
    TOOLBRIDGE_METRICS_ADDR=0.0.0.0:9091 \
    METRICS_ADDR=:9092 \
    TOOLBRIDGE_AUDIT_TO=stdout \
    TENANT_SIGNATURE_DEMANDED=v2 \
    DATABASE_URL=sqlite:///data/api/toolbridge.db
# Only /data and /tmp are written to: the root file system may be read-only. supervisord runs as
# root, because each program has its own user: 10001 the API, 10002 the MCP server.
WORKDIR /data
VOLUME /data
EXPOSE 8001 9091 9092
STOPSIGNAL SIGTERM
# Asks the API if the MCP server is off because there is no tenant secret.
HEALTHCHECK --interval=15s --timeout=5s --start-period=90s \
    CMD ["/usr/local/bin/toolbridge-run", "mcp", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/toolbridge-container"]
