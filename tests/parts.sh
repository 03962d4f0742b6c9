# What the parts of the test run share; sourced. Needs bash with -euo pipefail.

say() { printf '%s\n' "$*"; }

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# A command that may hang, for at most so many seconds.
bounded() {
    local seconds=$1
    shift
    timeout --kill-after=10 "$seconds" "$@" || {
        local code=$?
        [ $code != 124 ] && [ $code != 137 ] || fail "took more than $seconds s: $*"
        fail "ended with $code: $*"
    }
}

# Takes off whatever is mounted below a folder, whoever uses it: FUSE connections are aborted first,
# so that nothing waits for a daemon that is no more. Loop devices go with their mounts.
take_off_below() {
    local folder=$1 device kind point
    while read -r device point kind; do
        case $kind in
        fuse*) echo 1 > "/sys/fs/fuse/connections/${device#*:}/abort" 2> /dev/null || true ;;
        esac
        timeout 30 umount -l "$point" 2> /dev/null || true
    done < <(
        awk -v folder="$folder/" '
            index($5, folder) == 1 { for (i = 7; $i != "-"; i++); print $3, $5, $(i + 1) }
        ' /proc/self/mountinfo | tac
    )
}
