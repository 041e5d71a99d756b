# shellcheck shell=bash
# What each part of scripts/test needs besides Rust and Go, and how it is installed. To be sourced.

requirements() { # PART
    case "$1" in
    scripts) echo cc curl openssl python3 venv shellcheck ;;
    go) echo cc python3 postgresql ;;
    rust) echo cc openssl kill ;;
    observability) echo cc python3 prometheus ;;
    clients) echo cc python3 venv npm chromium ;;
    browser) echo cc python3 npm chromium ;;
    conformance) echo cc python3 npm ;;
    container) echo python3 buildah debootstrap ;;
    fuzz) echo cc c++ ;;
    esac
}

installed() { # REQUIREMENT
    case "$1" in
    c++) command -v "${CXX:-c++}" ;;
    venv) python3 -c 'import ensurepip' ;;
    # The program: a shell has one of its own.
    kill) type -P kill ;;
    postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' || command -v initdb ;;
    prometheus) command -v prometheus && command -v promtool ;;
    npm) command -v node && command -v npm ;;
    chromium)
        command -v "${CHROMIUM:-chromium}" || command -v chromium-browser ||
            command -v google-chrome
        ;;
    # Debian keeps it where only root's PATH leads.
    debootstrap) command -v debootstrap || [ -x /usr/sbin/debootstrap ] ;;
    *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

# The value of a field of /etc/os-release, such as ID.
os_release() { # FIELD
    local file=${OS_RELEASE:-/etc/os-release}
    sed -n "s/^$1=\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" "$file" 2>/dev/null || true
}

# Debian, Ubuntu, and what says that it is like them.
has_apt() {
    case " $(os_release ID) $(os_release ID_LIKE) " in
    *" debian "* | *" ubuntu "*) command -v apt-get >/dev/null ;;
    *) return 1 ;;
    esac
}

apt_packages() { # REQUIREMENT
    case "$1" in
    cc) echo gcc libc6-dev ;;
    c++) echo g++ ;;
    venv) echo python3-venv ;;
    kill) echo procps ;;
    npm) command -v node >/dev/null || echo nodejs; command -v npm >/dev/null || echo npm ;;
    # The image is Debian, and Ubuntu does not bring the keys of its archive along.
    debootstrap) echo debootstrap; [ "$(os_release ID)" = debian ] || echo debian-archive-keyring ;;
    chromium)
        if [ "$(os_release ID)" = ubuntu ]; then echo chromium-browser; else echo chromium; fi
        ;;
    *) echo "$1" ;;
    esac
}

how_to_get() { # REQUIREMENT
    case "$1" in
    cc | c++) echo "a C and C++ compiler: xcode-select --install (macOS), gcc-c++ (Fedora)" ;;
    python3 | venv) echo "Python 3.11 or newer with venv: brew install python (macOS)" ;;
    npm) echo "Node.js with npm: brew install node (macOS), or https://nodejs.org" ;;
    chromium) echo "Chromium: brew install --cask chromium (macOS), or CHROMIUM=BINARY" ;;
    buildah | debootstrap) echo "$1: Linux only" ;;
    *) echo "$1: brew install $1 (macOS), or your system's package of that name" ;;
    esac
}

missing_for() { # PART…: one requirement a line
    local part each
    for part in "$@"; do
        for each in $(requirements "$part"); do
            installed "$each" || echo "$each"
        done
    done | sort -u
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

can_be_root() { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }

apt_install() { # PACKAGE…
    # Another apt may be running, such as the one that looks for updates.
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq)
    as_root "${apt[@]}" update &&
        as_root "${apt[@]}" install --yes --no-install-recommends "$@" >/dev/null
}

# Installs what these parts need, as far as that is possible here and wanted: asks on a terminal.
set_up() { # yes|ask PART…
    local consent=$1 missing packages=() each answer
    shift
    mapfile -t missing < <(missing_for "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    if ! has_apt || ! can_be_root; then
        echo "These are missing here:"
        for each in "${missing[@]}"; do echo "  $(how_to_get "$each")"; done | sort -u
        return 0
    fi
    for each in "${missing[@]}"; do
        mapfile -t -O "${#packages[@]}" packages < <(apt_packages "$each" | tr ' ' '\n')
    done
    echo "These packages are missing here: ${packages[*]}"
    if [ "$consent" = ask ]; then
        if ! [ -t 0 ]; then
            echo "--yes installs them without asking."
            return 0
        fi
        read -r -p "Install them now with apt-get? [Y/n] " answer || answer=n
        case "$answer" in '' | [yY]*) ;; *) return 0 ;; esac
    fi
    echo "installing them…"
    apt_install "${packages[@]}" || echo "apt-get could not install all of them" >&2
}
