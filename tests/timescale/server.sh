#!/usr/bin/env bash
# A real TimescaleDB for the tests, without containers: Debian 13's package in a root of its own.
#   server.sh start   makes the root when it is missing, starts a fresh server, prints ESCAPEMENT_TEST_TIMESCALE_URL=...
#   server.sh stop    stops it
# Needs root on Debian or Ubuntu. ESCAPEMENT_TIMESCALE_ROOT names the root's directory; it is kept for later runs and
# shared by all checkouts, each of which has a server of its own.
set -euo pipefail

root=${ESCAPEMENT_TIMESCALE_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/escapement-timescale}
bin=/usr/lib/postgresql/17/bin
checkout=$(cd "$(dirname "$0")" && pwd -P | cksum | cut -d ' ' -f 1)
data=/var/lib/postgresql/escapement-tests-$checkout
log=$root.$checkout.log

say() { printf '%s\n' "$*" >&2; }

make_root() {
    [ -x "$root$bin/postgres" ] && [ -e "$root/.complete" ] && return
    say "making a Debian 13 root with TimescaleDB in $root (under a minute)"
    if ! command -v debootstrap >/dev/null; then
        apt-get update -qq >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap >&2
    fi
    rm -rf "$root"
    mkdir -p "$root"
    chmod 755 "$root"
    debootstrap --variant=minbase --include=postgresql-17,postgresql-17-timescaledb trixie "$root" >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        exit 1
    }
    touch "$root/.complete"
}

# Runs a command inside the root as the server's user, with its own /proc and /dev/shm.
inside() {
    # shellcheck disable=SC2016 # the inner shell expands them
    setsid unshare -m sh -c '
        root=$1; shift
        mount -t proc proc "$root/proc"
        mkdir -p "$root/dev/shm"
        mount -t tmpfs tmpfs "$root/dev/shm"
        exec chroot --userspec=postgres:postgres "$root" "$@"' sh "$root" "$@"
}

stop() {
    if [ -e "$root$data/postmaster.pid" ]; then
        pid=$(head -n 1 "$root$data/postmaster.pid")
        if [ -r "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -- "-D $data "; then
            kill -INT "$pid"
            for _ in $(seq 100); do
                [ -e "/proc/$pid" ] || break
                sleep 0.1
            done
            [ ! -e "/proc/$pid" ] || kill -9 "$pid"
        fi
    fi
    rm -rf "${root:?}$data" "$log"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start() {
    [ "$(id -u)" = 0 ] || { say "server.sh has to run as root"; exit 1; }
    mkdir -p "$(dirname "$root")"
    (flock 9 && make_root) 9>"$root.lock"
    stop
    inside "$bin/initdb" -D "$data" -U postgres --auth=trust --encoding=UTF8 --no-locale >"$log" 2>&1 || {
        cat "$log" >&2
        exit 1
    }
    port=$(free_port)
    # No background workers: they hold connections to databases that tests want to drop.
    inside "$bin/postgres" -D "$data" -p "$port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off \
        -c shared_preload_libraries=timescaledb -c timescaledb.telemetry_level=off \
        -c timescaledb.max_background_workers=0 >"$log" 2>&1 </dev/null &
    for _ in $(seq 300); do
        if grep -q 'ready to accept connections' "$log"; then
            echo "ESCAPEMENT_TEST_TIMESCALE_URL=postgresql://postgres@127.0.0.1:$port/postgres"
            return
        fi
        sleep 0.1
    done
    cat "$log" >&2
    exit 1
}

case ${1:-} in
    start) start ;;
    stop) stop ;;
    *) say "usage: server.sh start | stop"; exit 2 ;;
esac
