# shellcheck shell=bash disable=SC2034 # the variables are for the scripts
# A tenant's names, its files in tenants/NAME, and how its app is checked. Secrets leave those files
# through pipes only: never in an argument, never in output.

# Fly accepts names of up to 30 characters; "toolbridge-" has 11 of them.
tenant_limit=19

matches() { # TEXT PATTERN: matches the whole text, while grep matches a line
    local LC_ALL=C
    [[ "$1" =~ ^($2)$ ]]
}

name_tenant() { # NAME
    tenant=$1 app=toolbridge-$1 folder=tenants/$1
    [ -n "$tenant" ] || usage_error "which tenant?"
    if [ "${#tenant}" -gt "$tenant_limit" ] ||
        ! matches "$tenant" '[a-z]([a-z0-9-]*[a-z0-9])?'; then
        usage_error "\"$(printf '%s' "$tenant" | printable)\" cannot be a tenant's name: 1 to" \
            "$tenant_limit lower-case letters, digits and hyphens, a letter first and no hyphen" \
            "last"
    fi
    config=$folder/fly.toml secrets=$folder/secrets.env sent=$folder/sent
}

known_tenant() { # NAME
    name_tenant "$1"
    local each
    for each in "$config" "$secrets"; do
        [ -e "$each" ] ||
            fail "there is no $each: create it with scripts/new-tenant $tenant, or copy $folder" \
                "from where it was created"
    done
}

need_flyctl() {
    need flyctl "Install it: https://fly.io/docs/flyctl/install"
    flyctl auth whoami >/dev/null 2>&1 || fail "flyctl is not logged in: run flyctl auth login"
}

# A key of the tenant's fly.toml whose value is in quotes.
setting() { # KEY
    sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*\"\([^\"]*\)\".*/\1/p" "$config" | head -n 1
}
has_volume() { grep -Eq '^\[+mounts\]' "$config"; }

secret() { sed -n "s/^$1=//p" "$secrets"; } # NAME
secret_names() { sed -n 's/^\([A-Z0-9_]*\)=.*/\1/p' "$secrets"; }

# Writes a file atomically, readable by this user only.
put() { # FILE < CONTENT
    local new
    new=$(umask 077 && mktemp "$(dirname "$1")/.new.XXXXXX") || fail "$1 cannot be written"
    if cat >"$new" && mv -f "$new" "$1"; then return; fi
    rm -f "$new"
    fail "$1 cannot be written"
}

on_one_line() { paste -sd ' ' - | sed 's/ /, /g'; }

# Sends secrets to Fly, which passes them to the app with the next deploy.
stage_secrets() { # < NAME=VALUE lines
    flyctl secrets import --stage --app "$app"
}
# Records which secrets at Fly come from this folder. Written before they are sent, so that an
# interruption does not leave unknown ones.
note_sent() { # NAME…
    { cat "$sent" 2>/dev/null || true; printf '%s\n' "$@"; } | sort -u | put "$sent"
}

# A token of the user "toolbridge-smoke" for five minutes, if the tenant has a shared secret.
smoke_token() {
    secret JWT_HS256_SECRET |
        TENANT=$tenant ISSUER=$(setting JWT_ISSUER) AUDIENCE=$(setting JWT_AUDIENCE) \
            CLAIM=$(setting TENANT_CLAIM) python3 -c '
import base64, hashlib, hmac, json, os, sys, time
part = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=")
secret, now, env = sys.stdin.read().strip().encode(), int(time.time()), os.environ
claims = {"sub": "toolbridge-smoke", "iat": now, "exp": now + 300}
claims[env["CLAIM"] or "tenant_id"] = env["TENANT"]
for name, key in (("iss", "ISSUER"), ("aud", "AUDIENCE")):
    if env[key]:
        claims[name] = env[key]
if secret:
    signed = part(b"{\"alg\":\"HS256\",\"typ\":\"JWT\"}") + b"." + part(json.dumps(claims).encode())
    print((signed + b"." + part(hmac.new(secret, signed, hashlib.sha256).digest())).decode())'
}

# The check of a tenant: its address and, if fly.toml publishes it, that of its REST API.
smoke_command() {
    local url port
    url=$(setting TOOLBRIDGE_SERVER_PUBLIC_URL)
    port=$(awk '
        /^[[:space:]]*\[/ { ports = /\[\[services\.ports\]\]/ }
        ports && $1 == "port" { print $3; exit }' "$config")
    echo "scripts/smoke $url${port:+ --api $(sed -E 's|(://[^/:]*).*|\1|' <<<"$url"):$port}" \
        "--wait 60"
}

# Runs it, with the caller's token or else with a generated one.
smoke_tenant() {
    local command
    read -r -a command <<<"$(smoke_command)"
    TOOLBRIDGE_TOKEN=${TOOLBRIDGE_TOKEN:-$(smoke_token)} "${command[@]}"
}
