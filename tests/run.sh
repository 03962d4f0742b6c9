#!/bin/bash
# Runs every test there is. `--quick`: the part that ends within three minutes when the build is
# warm. What cannot run here is a failure that says what is missing. Ends with the line
# `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/.."
source tests/parts.sh

quick=
case ${1:-} in
--quick) quick=1 ;;
'') ;;
*)
    echo "usage: tests/run.sh [--quick]" >&2
    exit 2
    ;;
esac

cache=${XDG_CACHE_HOME:-$HOME/.cache}/rewindfs
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
export PATH=$PATH:$cache/tools/bin:/usr/sbin:/sbin
export CARGO_TERM_COLOR=never RUST_BACKTRACE=0
unset REWINDFS_STORE REWINDFS_SEED REWINDFS_BLESS
[ -z "$quick" ] || export REWINDFS_QUICK=1

# Every file of the run lies here; whatever happens, nothing stays mounted below it.
mountpoint -q /sys/fs/fuse/connections || mount -t fusectl none /sys/fs/fuse/connections 2> /dev/null
folder=$(mktemp -d "${TMPDIR:-/var/tmp}/rewindfs-run.XXXXXXXX")
chmod 755 "$folder"
export REWINDFS_TEST_DIR=$folder
clean_up() {
    take_off_below "$folder"
    # Daemons go with their connections; give them the moment they need to let go of their files.
    for _ in $(seq 50); do
        grep -qs "$folder" /proc/self/mountinfo || break
        sleep 0.1
    done
    rm -rf --one-file-system "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

passed=0
failed=0
failures=()

# What the machine must have. All of it is named at once.
missing=()
need() { # what, how to get it
    missing+=("$1: $2")
}
[ "$(id -u)" = 0 ] || need "root" "run it as root (mounts, loop devices, other users)"
[ -c /dev/fuse ] || need "/dev/fuse" "modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN"
[ ! -c /dev/fuse ] || [ "$(stat -c %a /dev/fuse)" = 666 ] || need "/dev/fuse for ordinary users" "chmod 666 /dev/fuse"
[ -c /dev/loop-control ] || need "/dev/loop-control" "modprobe loop"
while read -r tool package; do
    command -v "$tool" > /dev/null || need "$tool" "apt-get install $package"
done <<'END'
fusermount3 fuse3
clang clang
setfattr attr
setfacl acl
rsync rsync
mkfs.ext4 e2fsprogs
mkfs.xfs xfsprogs
mkfs.btrfs btrfs-progs
vim.tiny vim-tiny
git git
curl curl
perl perl
python3 python3
setpriv util-linux
END
for tool in pjdfstest fsx; do
    [ -n "$quick" ] && [ $tool = pjdfstest ] && continue
    command -v $tool > /dev/null ||
        need "$tool" "cargo install --root $cache/tools pjdfstest@0.2.2 fsx@0.3.2"
done
if [ ${#missing[@]} -gt 0 ]; then
    say "The tests cannot run here. What is missing:"
    printf '  %s\n' "${missing[@]}"
    say ""
    say "0 passed, ${#missing[@]} failed"
    exit 1
fi

# A part of the run: its name, a bound in seconds, a command. Tests that cargo counts are counted
# one by one, everything else as one.
part() {
    local name=$1 bound=$2 log=$folder/part.log code=0 began=$SECONDS
    shift 2
    say "== $name"
    timeout --kill-after=20 "$bound" "$@" > "$log" 2>&1 || code=$?
    take_off_below "$folder"
    local ok bad
    ok=$(awk '/^test result:/ { n += $4 } END { print n + 0 }' "$log")
    bad=$(awk '/^test result:/ { n += $6 } END { print n + 0 }' "$log")
    [ "$bad" = 0 ] || failures+=("$(grep -oE '^test .* \.\.\. FAILED' "$log" | sed 's/^test //; s/ \.\.\. FAILED//')")
    if [ $code != 0 ]; then
        cat "$log"
        [ $code != 124 ] && [ $code != 137 ] || say "took more than $bound s and was stopped"
        if [ "$bad" = 0 ]; then
            bad=1
            failures+=("$name")
        fi
    elif [ "$ok" = 0 ]; then
        ok=1
        grep -vE '^ *(Compiling|Finished|Checking|Running|Blocking|Downloaded|Downloading|Updating|Fresh) ' "$log" | tail -40
    else
        # A green run of cargo that ran nothing would be no proof.
        grep -E '^test result:|^ +Running ' "$log"
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    say "   $((SECONDS - began)) s"
}

# Building comes first, with a bound of its own: RocksDB takes long the first time.
part "build" 3000 cargo build --release --tests
part "format" 60 cargo fmt --check
part "lints" 900 cargo clippy --release --all-targets -- -D warnings
program=$CARGO_TARGET_DIR/release/rewindfs

if [ -x "$program" ]; then
    part "unit tests" 900 cargo test --release --lib --bins
    part "architecture" 120 cargo test --release --test tidy
    part "decoders" 600 cargo test --release --test decoders
    # More threads than processors: most of the time a test waits for a time to pass.
    part "suite" $([ -n "$quick" ] && echo 170 || echo 1800) cargo test --release --test suite -- --test-threads 6
    part "harness" 600 tests/harness.sh "$program" "$folder"
    if [ -n "$quick" ]; then
        part "fsx" 60 tests/fsx.sh "$program" "$folder" 1 5000
    else
        part "pjdfstest" 1200 tests/pjdfstest.sh "$program" "$folder"
        part "fsx" 1800 tests/fsx.sh "$program" "$folder" 5 100000
        part "real input" 1800 tests/real.sh "$program" "$folder"
        part "order" 600 tests/soak/order.sh 40
        part "s3" 900 tests/s3/run.sh "$program" "$folder"
        part "stalls" 300 tests/soak/stall.sh 1 64 "$program" "$folder"
    fi
else
    failed=$((failed + 1))
    failures+=("there is no program to be tested")
fi

say ""
if [ ${#failures[@]} -gt 0 ]; then
    say "failed:"
    printf '%s\n' "${failures[@]}" | sed 's/^/  /'
fi
say "$passed passed, $failed failed"
[ $failed = 0 ]
