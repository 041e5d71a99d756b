# shellcheck shell=bash
# How both programs are built for release: the same commit and the same compilers make the same bytes, wherever that is. The
# Dockerfile says the same, and tests/container/test_files.py compares the two. To be sourced.

# Of a path, something remains in what is said when a program panics: names that all places have in common stand in for folders.
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
    (cd "$1/api" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.release=$release" \
        -o "$3" ./cmd/toolbridge-api)
}

release_mcp() { # SOURCE REVISION; into its target/release
    local home=${CARGO_HOME:-$HOME/.cargo} rust c
    rust=$(release_rust_flags "$1" "$home") c=$(release_c_flags "$1" "$home")
    # Some C of a dependency says when it was compiled; with SOURCE_DATE_EPOCH that is always the same moment.
    (cd "$1" && GIT_REVISION=$2 CARGO_TARGET_DIR=$1/target RUSTFLAGS=$rust CFLAGS=$c SOURCE_DATE_EPOCH=0 \
        cargo build --release --locked --quiet)
}
