#!/usr/bin/env bash
# Installs the XMPP servers that the tests start for themselves, on Debian, without letting the packages start them.
#
# usage: install.sh prosody [ejabberd] [lua-unbound] [prosody-modules]
#
# Quick and silent when all of them are there. Otherwise needs root, and leaves behind: the packages; no running daemon;
# none enabled that this script brought. /usr/sbin/policy-rc.d is put back as it was, whatever ends the script; if that
# is SIGKILL, then by its next run (and only then a unit that the interrupted packages enabled stays enabled).
set -euo pipefail
# Otherwise what fails inside $(...) does not end the script: a word that `program` refuses would go on to apt-get.
shopt -s inherit_errexit

readonly policy=/usr/sbin/policy-rc.d
readonly saved=$policy.before-xmpp-e2e
readonly mark="# xmpp-e2e: nothing starts while the test servers are installed"
readonly lock=/run/lock/xmpp-e2e-install

# The command that is there when a package is. `prosody --version` may not return, so nothing is run to find out.
# lua-unbound is the resolver with which Prosody finds other servers; it brings no command, but a library. Of prosody-modules
# a gateway needs the one for XEP-0356.
program() {
    case $1 in
        prosody) echo prosody ;;
        ejabberd) echo ejabberdctl ;;
        lua-unbound) echo lunbound.so ;;
        prosody-modules) echo mod_privilege.lua ;;
        *) echo "install.sh: '$1' is not what the tests use (prosody, ejabberd, lua-unbound, prosody-modules)" >&2; return 1 ;;
    esac
}

missing() {
    local package name
    for package in "$@"; do
        name=$(program "$package")
        case $name in
            *.lua) [[ -e /usr/lib/prosody/modules/${name%.lua}/$name ]] || echo "$package" ;;
            *.so) compgen -G "/usr/lib/*/lua/5.4/$name" >/dev/null || echo "$package" ;;
            *) PATH=$PATH:/usr/sbin command -v "$name" >/dev/null || echo "$package" ;;
        esac
    done
}

changed_policy() { [[ -e $saved || -L $saved ]] || grep -qsF "$mark" "$policy"; }

restore_policy() {
    if [[ -e $saved || -L $saved ]]; then
        mv -fT "$saved" "$policy"
    elif grep -qsF "$mark" "$policy"; then
        rm -f "$policy"
    fi
    rm -f "$policy.new-xmpp-e2e"
}

forbid_starting() {
    # Prepared beside it and then moved: an interruption finds the old rule or the new one, and never half a file.
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy.new-xmpp-e2e"
    chmod 755 "$policy.new-xmpp-e2e"
    if [[ -e $policy || -L $policy ]]; then mv -T "$policy" "$saved"; fi
    mv -fT "$policy.new-xmpp-e2e" "$policy"
}

# Whatever has files on the disk, even if it was interrupted before it was configured.
installed() { dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | awk '$1 !~ /^.[nc]/ {print $2}' | sort; }

services() {
    local folder
    for folder in /etc/systemd/system /lib/systemd/system /usr/lib/systemd/system /etc/init.d; do
        if [[ -d $folder ]]; then find "$folder" -maxdepth 1 -printf '%f\n'; fi
    done | sort -u
}

# Only what the packages that are new have brought, and only names that no service of the machine bore before.
disable_newcomers() {
    local packages=$1 services=$2 package path name
    comm -13 "$packages" <(installed) | while read -r package; do
        dpkg-query -L "$package" | sed "s|^|$package |"
    done | while read -r package path; do
        name=${path##*/}
        grep -qxF -- "$name" "$services" && continue
        case $path in
            */systemd/system/*.service | */systemd/system/*.socket | */systemd/system/*.timer)
                echo "install.sh: disabling $name"
                if command -v systemctl >/dev/null; then
                    systemctl --quiet disable "$name"
                else
                    # Without systemd the package enables its unit all the same, and systemd may come later.
                    DPKG_MAINTSCRIPT_PACKAGE=$package deb-systemd-helper disable "$name" >/dev/null
                fi
                ;;
            /etc/init.d/*)
                update-rc.d "$name" disable >/dev/null
                ;;
        esac
    done
}

before=                                             # a folder with what the machine had

# A signal ends the script, and its end restores: nothing stays enabled, and then the policy is as it was.
finish() {
    trap '' HUP INT TERM
    if [[ -s $before/services ]]; then disable_newcomers "$before/packages" "$before/services" || true; fi
    restore_policy
    if [[ -n $before ]]; then rm -rf "$before"; fi
}

main() {
    local wanted server
    (($#)) || { echo "usage: install.sh prosody [ejabberd] [lua-unbound] [prosody-modules]" >&2; exit 2; }
    for server in "$@"; do program "$server" >/dev/null || exit 2; done
    if ((EUID == 0)); then
        exec 9>"$lock"
        # The policy of a killed run goes back first; while another run is at work, its lock says so.
        if changed_policy; then flock 9; restore_policy; fi
    fi
    wanted=$(missing "$@")
    [[ -n $wanted ]] || exit 0
    # shellcheck disable=SC2086 # a list of words
    set -- $wanted
    if ! command -v apt-get >/dev/null; then
        echo "install.sh: the tests need $*, and there is no apt-get here. Install it by this system's own means." >&2
        exit 1
    fi
    if ((EUID != 0)); then
        echo "install.sh: the tests need $*. Installing takes root: run 'sudo $(realpath "$0") $*'," >&2
        echo "or 'sudo apt-get install --no-install-recommends $*' (which starts and enables the server)." >&2
        exit 1
    fi
    flock 9
    before=$(mktemp -d)
    trap finish EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    services >"$before/services.part"
    installed >"$before/packages"
    mv "$before/services.part" "$before/services"
    forbid_starting
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
    # The lock stays ours: a child must not hold it beyond us.
    apt-get -qq update </dev/null 9>&-
    apt-get -qq install -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" </dev/null 9>&-
    wanted=$(missing "$@")
    [[ -z $wanted ]] || { echo "install.sh: installed, and yet not found: $wanted" >&2; exit 1; }
}

main "$@"
