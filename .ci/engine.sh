# Sourced by .ci/run: a Docker engine, started here where none answers, and a base image.
# Sets DOCKER_HOST (only where it starts one) and BASE (empty: the Dockerfiles' own).

sudo=$([ "$(id -u)" = 0 ] || echo sudo)
docker=docker
engine_folder=

start_engine() {
    if ! docker info >/dev/null 2>&1; then
        if ! command -v dockerd >/dev/null && [ ! -x /usr/sbin/dockerd ]; then
            export DEBIAN_FRONTEND=noninteractive
            $sudo apt-get update -q
            $sudo apt-get install -qy --no-install-recommends docker.io debootstrap docker-registry
        fi
        engine_folder=$(mktemp -d /var/tmp/relrec-engine.XXXXXX)
        # No bridge and no iptables: builds and tests use the networks none and host.
        $sudo env PATH="$PATH:/usr/sbin:/sbin" dockerd --iptables=false --bridge=none \
            --data-root "$engine_folder/data" --exec-root "$engine_folder/exec" \
            --pidfile "$engine_folder/pid" --host "unix://$engine_folder/socket" \
            --group "$(id -gn)" >"$engine_folder/log" 2>&1 &
        export DOCKER_HOST="unix://$engine_folder/socket"
        for _ in $(seq 60); do
            docker info >/dev/null 2>&1 && break
            sleep 1
        done
        docker info >/dev/null || { tail -n 20 "$engine_folder/log" >&2; return 1; }
    fi
    # Debian's client has BuildKit built in; a newer one on PATH may lack its plugin.
    if ! docker buildx version >/dev/null 2>&1 && [ -x /usr/bin/docker ]; then
        docker=/usr/bin/docker
    fi
}

choose_base() {
    local public
    public=$(sed -n 's/^ARG BASE=//p' images/cpu/Dockerfile)
    BASE=
    if ! timeout 120 "$docker" pull --quiet "$public" >/dev/null 2>&1; then
        echo "no registry in reach: the base image is made from Debian's packages"
        BASE=relrec-base:bookworm
        if [ -z "$("$docker" images --quiet "$BASE")" ]; then
            command -v debootstrap >/dev/null || [ -x /usr/sbin/debootstrap ] ||
                $sudo apt-get install -qy --no-install-recommends debootstrap
            $sudo env PATH="$PATH:/usr/sbin:/sbin" DOCKER="$docker" DOCKER_HOST="${DOCKER_HOST:-}" \
                sh images/debian_base.sh "$BASE"
        fi
    fi
}

stop_engine() {
    [ -n "$engine_folder" ] || return 0
    local pid
    pid=$($sudo cat "$engine_folder/pid" 2>/dev/null || true)
    if [ -n "$pid" ]; then
        $sudo kill "$pid" || true
        for _ in $(seq 30); do
            $sudo kill -0 "$pid" 2>/dev/null || break
            sleep 1
        done
    fi
    # What the engine has mounted below its folder must not be followed by rm.
    awk -v folder="$engine_folder/" 'index($2, folder) == 1 {print $2}' /proc/mounts |
        sort -r | while read -r place; do $sudo umount "$place" || true; done
    $sudo rm -rf --one-file-system "$engine_folder"
    engine_folder=
    unset DOCKER_HOST
}
