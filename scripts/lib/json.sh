# shellcheck shell=bash
# JSON for scripts, with python3, which the operating systems that people work on bring along more often than jq.

need_json() {
    need python3 "Install it: apt-get install python3 (Debian), xcode-select --install (macOS)"
}

# What stands at a path of the JSON on standard input (result.tools.0.name; result.tools.# counts; JSON in a string is read
# where the path goes on); code 1 when nothing does.
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

# The names in a list of objects, one a line, whichever way "name" is spelt: flyctl has changed it before.
json_names() {
    python3 -c '
import json, sys
try:
    items = json.load(sys.stdin) or []
    print(*[value for item in items for key, value in item.items() if key.lower() == "name"], sep="\n")
except (ValueError, AttributeError, TypeError):
    sys.exit(1)'
}
