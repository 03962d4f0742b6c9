#!/bin/sh
# How long it takes until a directory of many files can be used again (`recover --hot`), from a place on a
# local disk; what was fetched by then, and how much memory daemon and fetching process take at most.
#
#     tests/soak/hot-many.sh [FILES [FOLDER]]
#
# As root, or as a user who may mount. REWINDFS names the program; a release build, or the figures mean nothing.
set -eu
files=${1:-1000000}
folder=${2:-/var/tmp}
program=${REWINDFS:-rewindfs}
top=$(mktemp -d "$folder/rewindfs-hot-XXXXXX")
trap 'timeout 60 "$program" umount --force "$top/again" 2>/dev/null || true; rm -rf "$top"' EXIT
export REWINDFS_PASSWORD=many

python3 - "$top/source" "$files" <<'PY'
import os, sys
top, files = sys.argv[1], int(sys.argv[2])
for n in range(files):
    if n % 1000 == 0:
        folder = f"{top}/{n // 100000:03}/{n // 1000:06}"
        os.makedirs(folder)
    with open(f"{folder}/file-{n:08}", "w") as file:
        file.write(f"{n}\n" * 20)
PY
"$program" mount "$top/source" >/dev/null
"$program" sync "$top/source"
"$program" backup "$top/source" --to "$top/place"
"$program" umount "$top/source"

began=$(date +%s.%N)
"$program" recover "$top/place" --to "$top/again" --hot --json
echo "usable after $(echo "$(date +%s.%N) - $began" | bc) s"
began=$(date +%s.%N)
number=$(printf %08d $((files / 2 + 7)))
cat "$top"/again/*/"$(printf %06d $((files / 2000)))/file-$number" >/dev/null
echo "a file in the midst is read after $(echo "$(date +%s.%N) - $began" | bc) s"

peak() {
    awk '/VmHWM/ { print int($2 / 1024) " MiB" }' "/proc/$1/status" 2>/dev/null || true
}
daemon=$("$program" status "$top/again" --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["mounted"]["pid"])')
while "$program" status "$top/again" --json | grep -q '"filling"'; do
    child=$(pgrep -P "$daemon" || true)
    echo "daemon at most $(peak "$daemon"), who fetches $(peak "${child:-0}")"
    sleep "${EVERY:-15}"
done
echo "all of it after $(echo "$(date +%s.%N) - $began" | bc) s; daemon at most $(peak "$daemon")"
"$program" umount "$top/again"
diff -r "$top/source" "$top/again" && echo "equal"
