# shellcheck shell=bash
# JSON for scripts, with python3, which is preinstalled more often than jq.

need_json() {
    need python3 "Install it: apt-get install python3 (Debian), xcode-select --install (macOS)"
}

# Prints the value at a path of the JSON on standard input, such as result.tools.0.name; "#" counts
# a list, and JSON in a string is parsed if the path continues. Exits with 1 if there is no value.
json() { # PATH
    python3 -c '
import json, sys
try:
    value = json.load(sys.stdin)
    for part in sys.argv[1].split("."):
        if isinstance(value, str):
            value = json.loads(value)
        if part == "#":
            value = len(value)
        else:
            value = value[int(part)] if isinstance(value, list) else value[part]
except (ValueError, LookupError, TypeError, RecursionError):
    sys.exit(1)
print(value if isinstance(value, str) else json.dumps(value))' "$1"
}

# Prints the names in a list of objects, one per line. The case of "name" does not matter, because
# flyctl has changed it before.
json_names() {
    python3 -c '
import json, sys
try:
    items = json.load(sys.stdin) or []
    named = [value for item in items for key, value in item.items() if key.lower() == "name"]
    print(*named, sep="\n")
except (ValueError, AttributeError, TypeError):
    sys.exit(1)'
}
