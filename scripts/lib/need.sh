# shellcheck shell=bash
# Requirements of the scripts: each function says what is missing and how to get it, and exits with
# 69.

need() { # COMMAND HOW-TO-GET-IT
    command -v "$1" >/dev/null && return
    echo "$(basename "$0"): $1 is missing. $2" >&2
    exit 69
}

at_least() { # HAVE WANT
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

need_rust() {
    local want have
    want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    need cargo "Install Rust $want or newer: https://rustup.rs"
    have=$(rustc --version | cut -d' ' -f2)
    at_least "$have" "$want" && return
    echo "$(basename "$0"): Rust $have is too old, $want or newer is needed: rustup update" >&2
    exit 69
}

need_go() {
    local want have
    want=$(sed -n 's/^go //p' api/go.mod)
    need go "Install Go $want or newer: https://go.dev/dl"
    # An older Go fetches the one that go.mod names, unless it is told not to.
    have=$(cd api && go env GOVERSION 2>/dev/null | sed 's/^go//')
    [ -n "$have" ] && at_least "$have" "$want" && return
    echo "$(basename "$0"): Go is too old, $want or newer is needed: https://go.dev/dl" >&2
    exit 69
}

need_postgres() {
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
        command -v initdb >/dev/null && return
    echo "$(basename "$0"): PostgreSQL's server programs are missing. Install them: apt-get" \
        "install postgresql (Debian), brew install postgresql (macOS)" >&2
    exit 69
}

make_secrets() {
    need openssl "Install it with your system's packages."
    cat <<ENV
ENV=dev
TOOLBRIDGE_ENV=dev
TOOLBRIDGE_TENANT_ID=dev-tenant
TOOLBRIDGE_TENANT_HEADER_SECRET=$(openssl rand -hex 32)
JWT_HS256_SECRET=$(openssl rand -hex 32)
ENV
}

port_free() { # PORT VARIABLE
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null || return 0
    echo "$(basename "$0"): port $1 is in use; choose another with $2=…" >&2
    exit 69
}

wait_healthy() { # PID LOG COMMAND…
    local pid=$1 log=$2 tries=0
    shift 2
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if ! kill -0 "$pid" 2>/dev/null || [ "$tries" -gt 150 ]; then
            echo "$(basename "$0"): $1 did not become ready; the end of $log:" >&2
            tail -n 5 "$log" >&2
            exit 1
        fi
        sleep 0.2
    done
}
