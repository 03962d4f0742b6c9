#!/bin/bash
# start.sh FOLDER: three Garage nodes on loopback that keep everything three times, with a bucket
# `rewindfs`. Writes FOLDER/environment, to be sourced by who uses it, and FOLDER/node-N.pid. The
# server is built once (`cargo install garage --locked --root CACHE/tools`, some ten minutes).
# `start.sh FOLDER node N` starts one of them again; `start.sh FOLDER rebuild N` takes all that it has
# away but its name (the pair of keys), and ends when it has again what the others have;
# `start.sh FOLDER endpoint N` prints where one is asked.
set -euo pipefail
folder=$(realpath -m "$1")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rewindfs
export PATH=$PATH:$cache/tools/bin
command -v garage > /dev/null || {
    echo "garage is missing: cargo install garage@2.5.0 --locked --root $cache/tools" >&2
    exit 1
}
base=${GARAGE_PORT:-3900}

node() { # number
    local n=$1
    mkdir -p "$folder/node-$n"
    RUST_LOG=garage=warn setsid garage -c "$folder/node-$n.toml" server \
        > "$folder/node-$n.log" 2>&1 < /dev/null &
    echo $! > "$folder/node-$n.pid"
}

garage_of() { # number, arguments
    local n=$1
    shift
    timeout 30 garage -c "$folder/node-$n.toml" "$@"
}

until_it_answers() { # number
    for _ in $(seq 450); do
        garage_of "$1" node id > /dev/null 2>&1 && garage_of "$1" status > /dev/null 2>&1 && return
        sleep 0.2
    done
    echo "node $1 does not answer:" >&2
    tail -20 "$folder/node-$1.log" >&2
    exit 1
}

connect() {
    for other in 2 3; do
        garage_of 1 node connect "$(garage_of $other node id -q)" > /dev/null
    done
}

blocks() { # number
    (cd "$folder/node-$1/data" && find . -type f ! -name garage-marker | sort)
}

# Blocks that both others have and this one does not.
lacking() { # number, one, other
    comm -23 <(comm -12 <(blocks "$2") <(blocks "$3")) <(blocks "$1")
}

rebuild() { # number, one, other
    local n=$1 keys
    kill -9 "$(cat "$folder/node-$n.pid")" 2> /dev/null || true
    keys=$(mktemp -d "$folder/keys.XXXXXX")
    mv "$folder/node-$n/meta/"node_key* "$keys"
    rm -r "$folder/node-$n"
    mkdir -p "$folder/node-$n"
    mv "$keys" "$folder/node-$n/meta"
    node "$n"
    until_it_answers "$n"
    connect || true
    garage_of "$n" worker set resync-tranquility 0 > /dev/null
    for try in $(seq 100); do
        [ $((try % 5)) != 1 ] || garage_of "$n" repair -a --yes tables > /dev/null || true
        # A block that came to be known is looked for after twice `rpc_timeout`, ten minutes; to be asked
        # for sooner it must not be in the queue.
        garage_of "$n" repair --yes clear-resync-queue > /dev/null
        garage_of "$n" repair --yes blocks > /dev/null
        sleep 2
        [ -n "$(lacking "$@")" ] || return 0
    done
    echo "node $n has not got: $(lacking "$@" | head -3)" >&2
    exit 1
}

if [ "${2:-}" = endpoint ]; then
    echo "http://127.0.0.1:$((base + $3 * 10))"
    exit 0
fi

if [ "${2:-}" = rebuild ]; then
    others=(1 2 3)
    unset "others[$3 - 1]"
    rebuild "$3" "${others[@]}"
    exit 0
fi

if [ "${2:-}" = node ]; then
    node "$3"
    until_it_answers "$3"
    connect || true
    exit 0
fi

mkdir -p "$folder"
secret=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
for n in 1 2 3; do
    s3=$((base + n * 10)) rpc=$((base + n * 10 + 1))
    cat > "$folder/node-$n.toml" << END
metadata_dir = "$folder/node-$n/meta"
data_dir = "$folder/node-$n/data"
db_engine = "sqlite"
replication_factor = 3
rpc_bind_addr = "127.0.0.1:$rpc"
rpc_public_addr = "127.0.0.1:$rpc"
rpc_secret = "$secret"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:$s3"
END
    chmod 600 "$folder/node-$n.toml"
    node $n
done
for n in 1 2 3; do until_it_answers $n; done
connect
for n in 1 2 3; do
    id=$(garage_of $n node id -q)
    garage_of 1 layout assign -z "zone-$n" -c 1G "${id%%@*}" > /dev/null
done
garage_of 1 layout apply --version 1 > /dev/null
garage_of 1 bucket create rewindfs > /dev/null
key=$(garage_of 1 key create rewindfs)
garage_of 1 bucket allow --read --write --owner rewindfs --key rewindfs > /dev/null
cat > "$folder/environment" << END
export AWS_ENDPOINT=http://127.0.0.1:$((base + 10))
export AWS_ALLOW_HTTP=true AWS_REGION=garage
export AWS_ACCESS_KEY_ID=$(sed -n 's/^Key ID: *//p' <<< "$key")
export AWS_SECRET_ACCESS_KEY=$(sed -n 's/^Secret key: *//p' <<< "$key")
END
chmod 600 "$folder/environment"
