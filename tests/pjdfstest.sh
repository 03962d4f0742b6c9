#!/bin/bash
# pjdfstest as root on a loop ext4, plain and through a mount, in the same run: test by test,
# no failure on the mount that the plain file system does not have too.
# usage: tests/pjdfstest.sh PROGRAM TEMPORARY-FOLDER [PATTERN...]
set -euo pipefail

program=$(realpath "$1")
# Short names: the path of a socket has 107 bytes at the most.
folder=$2/pj
shift 2
source "$(dirname "$0")/parts.sh"

mkdir -p "$folder"/{d,second}
cat > "$folder/config.toml" <<'END'
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}

[settings]
naptime = 0.01
allow_remount = false

[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
END
truncate -s 512M "$folder/image"
mkfs.ext4 -qF "$folder/image"
mount -o loop "$folder/image" "$folder/d"
# For the tests that want a second file system.
mount -t tmpfs -o mode=755 none "$folder/second"
mkdir "$folder/d"/{plain,mounted}

run() { # WHERE -> $folder/WHERE.{log,results}
    timeout 900 pjdfstest -c "$folder/config.toml" -s "$folder/second" \
        -p "$folder/d/$1" -- "${@:2}" > "$folder/$1.log" 2>&1 || true
    grep -q '^Summary' "$folder/$1.log" || {
        tail -20 "$folder/$1.log"
        fail "pjdfstest did not end on: $1"
    }
    grep -E ' (ok|FAILED|skipped)$' "$folder/$1.log" | awk '{print $1, $2}' | sort > "$folder/$1.results"
}

run plain "$@"
bounded 60 "$program" mount "$folder/d/mounted" --store "$folder/store"
run mounted "$@"
bounded 120 "$program" umount "$folder/d/mounted"

count() { grep -c " $2\$" "$folder/$1.results" || true; }
for where in plain mounted; do
    say "pjdfstest $where: $(count $where ok) ok, $(count $where FAILED) failed, $(count $where skipped) skipped"
done
[ "$(count plain ok)" -gt 0 ] || fail "pjdfstest ran no test"
if [ $# = 0 ] && [ "$(count plain ok)" -lt 350 ]; then
    fail "pjdfstest ran only $(count plain ok) tests: users or features are missing"
fi
comm -13 <(grep ' FAILED$' "$folder/plain.results") <(grep ' FAILED$' "$folder/mounted.results") > "$folder/ours"
comm -23 <(cut -d' ' -f1 "$folder/plain.results") <(cut -d' ' -f1 "$folder/mounted.results") > "$folder/lost"
while read -r name _; do
    say "fails on the mount alone: $name"
    grep -A3 "^$name .*FAILED" "$folder/mounted.log" | tail -n +2
done < "$folder/ours"
[ ! -s "$folder/lost" ] || fail "tests that did not run on the mount: $(tr '\n' ' ' < "$folder/lost")"
[ ! -s "$folder/ours" ] || fail "$(wc -l < "$folder/ours") tests fail on the mount alone"
# What is skipped must be skipped by both, but for what Linux FUSE itself cannot do.
comm -13 <(grep ' skipped$' "$folder/plain.results") <(grep ' skipped$' "$folder/mounted.results") |
    while read -r name _; do say "skipped on the mount alone: $name"; done
