#!/bin/bash
# What questions about the past cost with ten states and with many, of a tree of many files. First
# counted (places looked for in a store in memory), then measured on a mount: the medians of the
# milliseconds and of the processor milliseconds of the daemon, of questions about what did not change
# meanwhile, each about another file.
#   tests/soak/many-states.sh [FILES [STATES [SECONDS]]]
# SECONDS: after so many the states that there are by then have to do.
set -euo pipefail
cd "$(dirname "$0")/../.."
files=${1:-100000}
states=${2:-10000}
seconds=${3:-600}
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
program=$target/release/rewindfs
folder=$(mktemp -d "${REWINDFS_TEST_DIR:-/var/tmp}/rewindfs-many-states-XXXXXX")
work=$folder/work
trap 'cd /; "$program" umount --force "$work" > /dev/null 2>&1 || true; rm -rf "$folder"' EXIT

# In memory each state is a commit: with all of the files that takes hours.
REWINDFS_COST_FILES=2000 REWINDFS_COST_STATES=$states \
    cargo test --release --lib -- --nocapture --test-threads 1 cost_no_more_than_ten |
    grep -E 'seeks|test result'

mkdir "$work"
python3 - "$work" "$files" << 'END'
import os, sys
work, files = sys.argv[1], int(sys.argv[2])
for n in range(files):
    if n % 100 == 0:
        os.mkdir(f"{work}/d{n // 100}")
    with open(f"{work}/d{n // 100}/f{n}", "w") as file:
        file.write(f"{n}\n" * 8)
END
"$program" mount -o interval=100ms,settle=50ms "$work" > /dev/null 2>&1
"$program" sync "$work"
python3 - "$program" "$work" "$files" "$states" "$seconds" << 'END'
import glob, json, os, statistics, subprocess, sys, time
program, work = sys.argv[1:3]
files, states, seconds = map(int, sys.argv[3:6])
TRIES = 25
status = subprocess.run([program, "status", work, "--json"], capture_output=True, text=True)
daemon = json.loads(status.stdout)["mounted"]["pid"]
place = lambda n: f"d{n // 100}/f{n}"
made = 0
# Files that are asked about, and never changed.
asked = iter(range(1, files, max(2, files // 2000)))
spare = set(range(1, files, max(2, files // 2000)))
steps = 0

def make(until):
    """States in each of which one file was changed."""
    global made, steps
    began = time.monotonic()
    while made < until and time.monotonic() - began < seconds:
        steps += 1
        n = steps * 7919 % files
        if n in spare:
            continue
        with open(f"{work}/{place(n)}", "r+") as file:
            file.write(f"{made}")
        subprocess.run([program, "sync", work], check=True, capture_output=True)
        made += 1

def spent():
    total = 0
    for path in glob.glob(f"/proc/{daemon}/task/*/schedstat"):
        try:
            total += int(open(path).read().split()[0])
        except OSError:
            pass
    return total / 1e6

def cost(question):
    times, work_done = [], []
    for _ in range(TRIES):
        n = next(asked)
        before, began = spent(), time.perf_counter()
        question(n)
        times.append((time.perf_counter() - began) * 1000)
        work_done.append(spent() - before)
    return statistics.median(times), statistics.median(work_done)

def run(*words):
    done = subprocess.run([program, *words], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout

def costs():
    now = time.time()
    stamp = lambda at: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + "Z"
    last = f"@{stamp(now)}"
    past = f"{work}/.snapshots"
    with open(f"{work}/{place(0)}", "r+") as file:
        file.write(f"{now}")
    run("sync", work)
    return {
        "a lookup in `first`": cost(lambda n: os.stat(f"{past}/first/{place(n)}")),
        "a file in @TIME": cost(lambda n: os.stat(f"{past}/{last}/{place(n)}")),
        ".history of a file": cost(lambda n: os.listdir(f"{past}/.history/{place(n)}")),
        "log of a file": cost(lambda n: run("log", f"{work}/{place(n)}")),
        "log of the last second": cost(lambda n: run("log", work, "--since", "1s")),
        "diff of the newest two": cost(lambda n: run("diff", work, last, "live")),
    }

make(10)
time.sleep(2)
few = costs()
make(states)
time.sleep(2)
many = costs()
print(f"{files} files, {made} states")
for question, (then, work_then) in few.items():
    now, work_now = many[question]
    print(f"{question:24}  {then:7.2f} ms, now {now:7.2f} ms; the daemon {work_then:6.2f} ms, now {work_now:6.2f} ms")
END
