# syntax=docker/dockerfile:1
# One container per tenant: the REST API and the MCP server beside it, both under supervisord.
#
#   docker build -t toolbridge .
#
# A REST API of your own takes the place of ours (docs/API-CONTRACT.md says what it has to do):
#
#   --build-arg API=registry.example.com/acme-api:1.4 --build-arg API_PATH=/usr/local/bin/acme-api     from an image
#   --build-arg API=api-file --build-arg API_FILE=dist/acme-api                                        from a file

ARG API=api-built

# ---- the REST API --------------------------------------------------------------------------------------------------
FROM golang:1.26.8-bookworm AS api-built
WORKDIR /src/api
COPY api/go.mod api/go.sum ./
RUN go mod download
COPY api ./
ARG RELEASE=0.1.0
ARG GIT_REVISION=
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -o /toolbridge-api \
    -ldflags "-s -w -buildid= -X main.release=${RELEASE}${GIT_REVISION:++${GIT_REVISION}}" ./cmd/toolbridge-api

FROM scratch AS api-file
ARG API_FILE=dist/toolbridge-api
COPY --chmod=0755 ${API_FILE} /toolbridge-api

# Whoever names an image of their own names its tag too.
# hadolint ignore=DL3006
FROM ${API} AS api

# ---- the MCP server ------------------------------------------------------------------------------------------------
FROM rust:1.95.0-slim-bookworm AS mcp
WORKDIR /src
# Neither a path of the machine that builds nor the hour gets into the binary, so that any machine makes the same: scripts/reproducible.
ARG RUSTFLAGS="--remap-path-prefix=/usr/local/cargo=/cargo"
ARG CFLAGS="-ffile-prefix-map=/usr/local/cargo=/cargo -DMI_DEFAULT_ALLOW_THP=0"
ARG SOURCE_DATE_EPOCH=0
# The dependencies are a layer of their own: cargo builds them for a program that does nothing yet.
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
# cargo goes by the times of files, and those of the sources are older than the empty program's.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked

# ---- what runs -----------------------------------------------------------------------------------------------------
FROM debian:12.15-slim
ARG RELEASE=0.1.0
ARG GIT_REVISION=
LABEL org.opencontainers.image.title="ToolBridge MCP" \
      org.opencontainers.image.description="A tenant's notes, tasks, comments and chats for AI assistants: REST API and MCP server" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${RELEASE}" \
      org.opencontainers.image.revision="${GIT_REVISION}"
# The release of Debian is pinned; within it security fixes are wanted, so no versions here.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates supervisor \
    && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* \
    && groupadd --gid 10001 toolbridge-api \
    && useradd --uid 10001 --gid 10001 --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin toolbridge-api \
    && groupadd --gid 10002 toolbridge-mcp \
    && useradd --uid 10002 --gid 10002 --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin toolbridge-mcp \
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

# Where a container differs from a developer's machine. What a tenant needs besides is in fly.toml and its secrets. Our API demands
# version 2 of the tenant signature; the server sends version 1 too, so that a REST API of your own needs to know no other.
ENV TOOLBRIDGE_HOST=0.0.0.0 \
    TOOLBRIDGE_PORT=8001 \
    TOOLBRIDGE_GO_API_BASE_URL=http://127.0.0.1:8081 \
    HTTP_ADDR=127.0.0.1:8081 \
    TOOLBRIDGE_METRICS_ADDR=0.0.0.0:9091 \
    METRICS_ADDR=:9092 \
    TOOLBRIDGE_AUDIT_TO=stdout \
    TENANT_SIGNATURE_DEMANDED=v2 \
    DATABASE_URL=sqlite:///data/api/toolbridge.db
# Only /data and /tmp are written to: the root file system may be read-only. supervisord is root, since each program has a
# user of its own: 10001 the API, 10002 the MCP server.
WORKDIR /data
VOLUME /data
EXPOSE 8001 9091 9092
STOPSIGNAL SIGTERM
# With the MCP server off, for want of a tenant secret, this asks the API.
HEALTHCHECK --interval=15s --timeout=5s --start-period=90s \
    CMD ["/usr/local/bin/toolbridge-run", "mcp", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/toolbridge-container"]
