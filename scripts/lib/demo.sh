# shellcheck shell=bash
# Some fifty items to try an assistant with: those of a small coffee roastery. To be sourced.

# Writes what is in demo/items.txt: a name by which later lines refer to the item, or -, then what
# it is, then its arguments. Due dates are in days from today. The arguments of this function are
# the command that makes a call.
demo_items() { # COMMAND…
    local name kind arguments uid days day
    local -A uids=()
    while read -r name kind arguments; do
        if [[ $arguments =~ \"due_date\":\"([+-]?[0-9]+)\" ]]; then
            days=${BASH_REMATCH[1]}
            day=$(day_from_today "$days")
            arguments=${arguments/"\"due_date\":\"$days\""/"\"due_date\":\"$day\""}
        fi
        if [[ $arguments =~ \"(parent_uid|chat_uid)\":\"([a-z]+)\" ]]; then
            arguments=${arguments/"\"${BASH_REMATCH[2]}\""/"\"${uids[${BASH_REMATCH[2]}]}\""}
        fi
        uid=$("$@" "create_$kind" --args "$arguments" --json |
            sed -n 's/^ *{*"uid": *"\([^"]*\)".*/\1/p' | head -n 1)
        [ -n "$uid" ] || return 1
        uids[$name]=$uid
    done <"$(dirname "${BASH_SOURCE[0]}")/../../demo/items.txt"
}

day_from_today() { # DAYS
    local days=$1
    # GNU, then BSD, which wants a sign.
    date -d "$days days" +%F 2>/dev/null && return
    case "$days" in [+-]*) ;; *) days=+$days ;; esac
    date -v "${days}d" +%F
}
