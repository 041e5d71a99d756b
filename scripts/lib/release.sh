# shellcheck shell=bash
# Release builds of both programs: the same commit and compilers produce the same bytes anywhere.
# The Dockerfile uses the same flags, and tests/container/test_files.py compares the two. To be
# sourced.

# Panic messages contain source paths, so machine-specific prefixes are replaced.
release_rust_flags() { # SOURCE CARGO_HOME
    echo "--remap-path-prefix=$2=/cargo --remap-path-prefix=$1=/src"
}

release_c_flags() { # SOURCE CARGO_HOME
    echo "-ffile-prefix-map=$2=/cargo -ffile-prefix-map=$1=/src -DMI_DEFAULT_ALLOW_THP=0"
}

release_version() { # SOURCE
    sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' "$1/Cargo.toml"
}

release_api() { # SOURCE REVISION OUTPUT
    local release
    release=$(release_version "$1")+$2
    (cd "$1/api" && CGO_ENABLED=0 go build -trimpath -buildvcs=false \
        -ldflags "-s -w -buildid= -X main.release=$release" -o "$3" ./cmd/toolbridge-api)
}

release_mcp() { # SOURCE REVISION; into its target/release
    local home=${CARGO_HOME:-$HOME/.cargo} rust c
    rust=$(release_rust_flags "$1" "$home") c=$(release_c_flags "$1" "$home")
    # Some C dependencies embed the compile time, which SOURCE_DATE_EPOCH fixes.
    (cd "$1" &&
        GIT_REVISION=$2 CARGO_TARGET_DIR=$1/target RUSTFLAGS=$rust CFLAGS=$c SOURCE_DATE_EPOCH=0 \
            cargo build --release --locked --quiet)
}
