#!/bin/sh
# A TimescaleDB for this machine alone, in Docker. Its data is kept in a volume; running this again does no harm.
# POSTGRES_PASSWORD and DATABASE_URL are written into .env beside this file when they are not there yet.
# Usage: ./run_timescaledb_docker.sh [PORT]
set -eu
cd "$(dirname "$0")"
image=timescale/timescaledb:2.22.1-pg17
name=escapement-timescaledb
port=${1:-5432}

command -v docker >/dev/null 2>&1 || {
    echo "There is no Docker; without it the program runs a PostgreSQL of its own, or name one with DATABASE_URL" >&2
    exit 1
}
umask 077
touch .env
setting() { sed -n "s/^$1=//p" .env | tail -n 1; }
keep() { # replaces an empty line of that name, or adds one
    grep -v "^$1=\$" .env >.env.new || true
    printf '%s=%s\n' "$1" "$2" >>.env.new
    mv .env.new .env
}

[ -n "$(setting POSTGRES_PASSWORD)" ] || keep POSTGRES_PASSWORD "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"
POSTGRES_PASSWORD=$(setting POSTGRES_PASSWORD)
export POSTGRES_PASSWORD
if docker container inspect "$name" >/dev/null 2>&1; then
    docker start "$name" >/dev/null
else
    # Without its value, the name of the variable lets the password stay out of the list of processes.
    docker run --detach --name "$name" --restart unless-stopped --shm-size 256m --publish "127.0.0.1:$port:5432" \
        --volume escapement-timescaledb:/var/lib/postgresql/data \
        --env POSTGRES_USER=escapement --env POSTGRES_DB=escapement --env POSTGRES_PASSWORD \
        --env TIMESCALEDB_TELEMETRY=off "$image" >/dev/null
fi
tries=0
until docker exec "$name" pg_isready -q -h 127.0.0.1 -U escapement -d escapement; do
    tries=$((tries + 1))
    [ "$tries" -lt 120 ] || {
        echo "TimescaleDB does not answer; docker logs $name says why" >&2
        exit 1
    }
    sleep 1
done
if [ -n "$(setting DATABASE_URL)" ]; then
    echo "TimescaleDB runs on port $port of this machine. DATABASE_URL in .env stays as it is."
else
    keep DATABASE_URL "postgresql://escapement:$POSTGRES_PASSWORD@127.0.0.1:$port/escapement"
    echo "TimescaleDB runs on port $port of this machine, and .env names it. Next: .venv/bin/escapement db init"
fi
