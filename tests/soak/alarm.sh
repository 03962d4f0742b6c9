#!/bin/bash
# What raises an alarm in real work: builds that clean their output, checkouts of old branches, and
# what does not end well. Prints each alarm, and what commits cost with the alarm and without.
#   tests/soak/alarm.sh [ROUNDS [TREE]]
# TREE: a folder with many files of source, to be copied; by default what cargo has unpacked.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
tree=${2:-$(ls -d ~/.cargo/registry/src/*/ | head -n 1)}
program=$PWD/$(ls -d "${CARGO_TARGET_DIR:-target}"/release/rewindfs 2> /dev/null || true)
case ${CARGO_TARGET_DIR:-target} in /*) program=${CARGO_TARGET_DIR}/release/rewindfs ;; esac
folder=$(mktemp -d "${REWINDFS_TEST_DIR:-/var/tmp}/rewindfs-alarm-XXXXXX")
work=$folder/work
trap 'cd /; "$program" umount --force "$work" > /dev/null 2>&1 || true; rm -rf "$folder"' EXIT
mkdir "$work"

# A repository with an old branch and a new one: of 4,000 files every second one differs.
git -C "$work" init -q repo
cd "$work/repo"
git config user.name x; git config user.email x@example.org
mkdir -p src/{a,b,c,d}/{1,2,3,4,5}
for folder_of in src/*/*; do
    for file in $(seq 200); do printf 'old line %s of %s\n' "$file" "$folder_of" > "$folder_of/f$file.c"; done
done
git add -A; git commit -qm old; git branch old
for file in src/*/*/f*[02468].c; do echo 'a new line' >> "$file"; done
git rm -rqf src/d; git commit -qam new; git branch new
# A build of many small outputs, by make.
mkdir -p "$work/build/in"
for file in $(seq 1500); do echo "int f$file(void){return $file;}" > "$work/build/in/f$file.c"; done
printf 'all: $(patsubst in/%%.c,out/%%.o,$(wildcard in/*.c))\nout/%%.o: in/%%.c\n\t@mkdir -p out; gzip -c $< > $@\nclean:\n\trm -rf out\n' > "$work/build/Makefile"
mkdir "$work/tree"; cp -r "$tree"/. "$work/tree/" 2> /dev/null || true
echo "$(find "$work" -type f | wc -l) files"

"$program" mount "$work" > /dev/null 2>&1; "$program" sync "$work"
told() {
    "$program" list "$work" --log | { grep -c 'alarm: ' || true; }
}
for round in $(seq "$rounds"); do
    cd "$work/repo"
    git checkout -q old; sleep 1; git checkout -q new; "$program" sync "$work"
    echo "round $round: checkouts of old and new: $(told) alarms so far"
    cd "$work/build"
    make -s -j2 all; "$program" sync "$work"; make -s clean; "$program" sync "$work"
    echo "round $round: make all and clean: $(told) alarms so far"
    cd "$work/tree"
    find . -name '*.rs' | sed -n 1,300p | xargs sed -i 's/fn /fn  /'; "$program" sync "$work"
    echo "round $round: 300 files edited by sed: $(told) alarms so far"
done
cd "$work"
rm -rf tree; "$program" sync "$work"
echo "rm -rf of a tree: $(told) alarms so far"
"$program" list "$work" --log | grep 'alarm: '
# Of each command and folder one a day.
"$program" list "$work" --log --json | python3 -c '
import collections, json, sys
seen = collections.Counter()
for line in sys.stdin:
    line = json.loads(line)
    if line["deed"] == "alarm":
        seen[line["reason"].split(" (")[0], line["folder"]] += 1
assert seen and max(seen.values()) == 1, seen
'
echo "no command raised two in one folder"
