#!/bin/bash
# run.sh PROGRAM FOLDER [garage|moto] [MEBIBYTES]: sets of every kind go to an S3 server, are verified
# and come back, byte by byte. `garage`: three nodes (start.sh), of which one is killed during an
# upload and another one during a recovery; then one is wiped and built again, and gives all of it. `moto`: one process, where the other is not there; pip gets
# it if it has to. Ends with a line that says what was done.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/parts.sh
program=$(realpath "$1")
mkdir -p "$2"
folder=$(mktemp -d "$(realpath "$2")/s3.XXXXXXXX")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rewindfs
export PATH=$PATH:$cache/tools/bin:$cache/moto/bin
kind=${3:-$(command -v garage > /dev/null && echo garage || echo moto)}
mib=${4:-300}
if [ "$kind" = moto ] && ! command -v moto_server > /dev/null; then
    python3 -m venv "$cache/moto" && "$cache/moto/bin/pip" install -q 'moto[server]' ||
        fail "there is no S3 server: cargo install garage --locked --root $cache/tools, or pip install 'moto[server]'"
fi
export REWINDFS_PASSWORD='correct horse'
url=s3://rewindfs/backups

end() {
    local file
    for file in "$folder"/server/*.pid; do
        [ ! -e "$file" ] || kill -9 "$(cat "$file")" 2> /dev/null || true
    done
    take_off_below "$folder"
    rm -rf --one-file-system "$folder"
}
trap end EXIT

server() {
    mkdir -p "$folder/server"
    if [ "$kind" = garage ]; then
        tests/s3/start.sh "$folder/server"
        source "$folder/server/environment"
        return
    fi
    local port=${MOTO_PORT:-}
    [ -n "$port" ] || port=$(python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
    setsid moto_server -H 127.0.0.1 -p "$port" > "$folder/server/log" 2>&1 < /dev/null &
    echo $! > "$folder/server/moto.pid"
    export AWS_ENDPOINT=http://127.0.0.1:$port AWS_ALLOW_HTTP=true AWS_REGION=us-east-1
    export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
    for _ in $(seq 450); do
        ! curl -fsS -X PUT "$AWS_ENDPOINT/rewindfs" > /dev/null 2>&1 || return 0
        kill -0 "$(cat "$folder/server/moto.pid")" 2> /dev/null || break
        sleep 0.2
    done
    fail "moto does not answer: $(cat "$folder/server/log")"
}

rewind() { bounded 500 "$program" "$@"; }

noise() { # MiB, file
    head -c "$(($1 << 20))" /dev/urandom > "$2"
}

same() { # what, one, other
    diff -r --no-dereference "$2" "$3" > "$folder/differences" ||
        fail "$1: $(head -5 "$folder/differences")"
    say "   $1: equal"
}

back() { # name, arguments: into the folder of this name
    local name=$1
    shift
    rewind recover "$url" --to "$folder/$name" "$@" > "$folder/told"
    tail -1 "$folder/told" | sed 's/^/   /'
}

stop() { kill -9 "$(cat "$folder/server/node-$1.pid")"; }
again() { tests/s3/start.sh "$folder/server" node "$1"; }

bytes_in() { du -sb "$1" 2> /dev/null | cut -f1 || true; }

# Runs a command, and kills a node when a folder has grown by so many bytes.
with_kill() { # node, folder, bytes, command...
    local n=$1 grows=$2 bytes=$3 before now
    shift 3
    before=$(bytes_in "$grows")
    now=$before
    "$@" > "$folder/told" 2>&1 &
    local pid=$!
    while kill -0 $pid 2> /dev/null && [ $((${now:-0} - ${before:-0})) -lt "$bytes" ]; do
        sleep 0.02
        now=$(bytes_in "$grows")
    done
    kill -0 $pid 2> /dev/null || fail "it had ended before node $n was killed: $(cat "$folder/told")"
    stop "$n"
    say "   node $n was killed after $(((${now:-0} - ${before:-0}) >> 20)) MiB"
    wait $pid || fail "with node $n killed: $(cat "$folder/told")"
    tail -1 "$folder/told" | sed 's/^/   /'
}

server
dir=$folder/work
mkdir "$dir"
rewind mount "$dir" > /dev/null
rewind umount "$dir" > /dev/null

say "== sets of every kind"
number=0
for way in --full --incremental --differential --incremental "--mixed --full-every 3"; do
    number=$((number + 1))
    mkdir -p "$dir/dir-$number"
    noise 3 "$dir/dir-$number/noise"
    seq $((number * 20000)) > "$dir/text"
    [ $number -lt 3 ] || rm -r "$dir/dir-$((number - 2))"
    # shellcheck disable=SC2086 # two words
    rewind backup "$dir" --to "$url" $way | sed 's/^/   /'
    cp -a "$dir" "$folder/state-$number"
done
rewind backups "$url" --verify > /dev/null || fail "verify"
for n in $(seq $number); do
    back "set-$n" --set "$n"
    same "set $n" "$folder/state-$n" "$folder/set-$n"
done
back paths text
same "one file" "$dir/text" "$folder/paths/text"

say "== the one that was recovered goes on, the old one is told"
back onward
echo more > "$folder/onward/more"
rewind backup "$folder/onward" --to "$url" > /dev/null
echo late > "$dir/late"
! "$program" backup "$dir" --to "$url" 2> "$folder/told" || fail "it was not fenced"
grep -q "is continued by another store" "$folder/told" || fail "$(cat "$folder/told")"
dir=$folder/onward

if [ "$kind" = garage ]; then
    say "== a node is killed during an upload"
    noise "$mib" "$dir/large"
    with_kill 2 "$folder/server/node-1/data" $((mib << 19)) "$program" backup "$dir" --to "$url"
    rewind backups "$url" --verify > /dev/null || fail "verify with two nodes"
    again 2

    say "== a node is killed during a recovery"
    with_kill 3 "$folder/.killed.rewind.recovering" $((mib << 19)) \
        "$program" recover "$url" --to "$folder/killed"
    same "with a node killed" "$dir" "$folder/killed"
    again 3

    say "== a node is wiped and built again"
    tests/s3/start.sh "$folder/server" rebuild 2
    stop 1
    # What it has itself it does not ask another one for.
    AWS_ENDPOINT=$(tests/s3/start.sh "$folder/server" endpoint 2)
    rewind backups "$url" --verify > /dev/null || fail "verify from the node that was built again"
    back rebuilt
    same "from the node that was built again, with another one stopped" "$dir" "$folder/rebuilt"
fi
say "passed: $kind, $(rewind backups "$url" --json | wc -l) sets"
