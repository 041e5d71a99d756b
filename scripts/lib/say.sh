# shellcheck shell=bash
# Output of the scripts: help from the comment at the top of a script, and errors in one sentence.

help_and_exit() {
    awk 'NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' \
        "$(dirname "${BASH_SOURCE[0]}")/../$(basename "$0")"
    exit 0
}

usage_error() { # SENTENCE
    echo "scripts/$(basename "$0"): $*; see scripts/$(basename "$0") --help" >&2
    exit 64
}

fail() { # SENTENCE
    echo "scripts/$(basename "$0"): $*" >&2
    exit 1
}

# The value of an option, which must not be missing, empty or the next option.
value_of() { # OPTION [VALUE]
    case "${2:-}" in
    '' | -*) usage_error "$1 needs a value" ;;
    esac
    printf '%s' "$2"
}

# Removes control characters from external text.
printable() {
    LC_ALL=C tr -d '\000-\037\177' | cut -c 1-300
}

# The token in a file, without white space. A pipe is a file too; a folder or a huge file is an
# error.
token_of() { # FILE
    local token
    { [ -r "$1" ] && [ ! -d "$1" ]; } || usage_error "$1 cannot be read"
    token=$(head -c 65537 "$1" | tr -d '[:space:]\000')
    [ -n "$token" ] || usage_error "$1 is empty"
    [ "${#token}" -le 65536 ] || usage_error "$1 is too long to be a token"
    printf '%s' "$token"
}
