# What is worked on: made here, the same bytes in every run; sourced by compare.sh.

# A tree that looks like source files: folder, files, average lines of a file, seed.
make_tree() {
    local folder=$1
    mkdir -p "$folder"
    awk -v files="$2" -v folder="$folder" 'BEGIN {
        for (i = 0; i < files; i += 20) printf "%s/part%02d/module%03d\n", folder, i / 500, i / 20
    }' | xargs mkdir -p
    awk -v files="$2" -v folder="$folder" -v lines="$3" -v seed="$4" '
        function rnd(n) { seed = (seed * 16807) % 2147483647; return seed % n }
        BEGIN {
            split("ba co de fi gu ha jo ke li mu na po re si tu va wo xe yi zu", syllable, " ")
            for (i = 0; i < 600; i++) {
                word[i] = ""
                for (k = rnd(3) + 1; k >= 0; k--) word[i] = word[i] syllable[rnd(20) + 1]
            }
            for (i = 0; i < files; i++) {
                path = sprintf("%s/part%02d/module%03d/%s%d.rs", folder, i / 500, i / 20, word[rnd(600)], i)
                for (k = rnd(2 * lines) + 1; k > 0; k--)
                    printf "%*slet %s_%s = %s(%s, %d); // %s %s\n", 4 * rnd(4), "", word[rnd(600)],
                        word[rnd(600)], word[rnd(600)], word[rnd(600)], rnd(1000), word[rnd(600)],
                        word[rnd(600)] > path
                close(path)
            }
        }'
}

# The next version of a tree, as a release follows another: files edited, added, removed, renamed.
next_version() { # folder, number
    find "$1" -name '*.rs' | sort | awk -v seed="$(($2 * 7919 + 17))" -v number="$2" '
        function rnd(n) { seed = (seed * 16807) % 2147483647; return seed % n }
        { path[NR] = $0 }
        END {
            for (i = 1; i <= NR; i++) {
                if (rnd(100) >= 5) continue
                n = 0
                while ((getline line < path[i]) > 0) text[++n] = line
                close(path[i])
                for (k = 1; k <= n; k++) {
                    if (rnd(12) == 0) printf "    changed(%d, %d);\n", number, rnd(1000) > path[i]
                    print text[k] > path[i]
                }
                print "// version " number > path[i]
                close(path[i])
                if (rnd(10) == 0) system("mv " path[i] " " path[i] ".v" number ".rs")
                else if (rnd(10) == 0) system("rm " path[i])
                else if (rnd(10) == 0) system("cp " path[i] " " path[i] ".added" number ".rs")
            }
        }'
}

# A C project: sources that include a header each, and a common one.
make_c_project() { # folder, sources
    mkdir -p "$1"
    echo '#include <stdio.h>
#include <stdlib.h>
#include <string.h>' > "$1/common.h"
    awk -v folder="$1" -v sources="$2" 'BEGIN {
        for (i = 0; i < sources; i++) {
            header = sprintf("%s/part%d.h", folder, i)
            source = sprintf("%s/part%d.c", folder, i)
            printf "#include \"common.h\"\n" > header
            printf "#include \"part%d.h\"\n", i > source
            for (k = 0; k < 40; k++) {
                printf "int part%d_%d(int a, const char *b);\n", i, k > header
                printf "int part%d_%d(int a, const char *b) {\n", i, k > source
                printf "    int n = a * %d;\n    for (int j = 0; j < a; j++) n += b[j] * %d;\n", k + 3, i + 5 > source
                printf "    if (n > %d) printf(\"%%d %%s\\n\", n, b);\n    return n;\n}\n", k * 77 > source
            }
            close(header)
            close(source)
        }
    }'
}

make_data() {
    say "== data"
    data=$work/data
    mkdir "$data"
    make_tree "$data/source" "$files" 150 1
    tar -cf "$data/source.tar" -C "$data" source
    make_tree "$data/client" $((files / 6)) 60 2
    tar -cf "$data/client.tar" -C "$data" client
    echo $((megabytes * 8192)) > "$data/object.bytes"
    make_c_project "$data/c" $([ $mode = smoke ] && echo 2 || echo 24)
    cp -r "$data/source" "$data/repo"
    git -C "$data/repo" init -q
    git -C "$data/repo" add .
    git -C "$data/repo" -c user.name=a -c user.email=a@example.org commit -q -m one
    git -C "$data/repo" gc -q
    local transactions=$((files * 4 / 5)) n
    {
        echo 'PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b);'
        for ((n = 0; n < transactions; n++)); do
            echo "BEGIN; INSERT INTO t(b) VALUES(printf('%0200d', $n)); COMMIT;"
        done
    } > "$data/wal.sql"
    {
        echo 'PRAGMA journal_mode=DELETE; CREATE TABLE t(a INTEGER PRIMARY KEY, b);'
        for ((n = 0; n < transactions / 25; n++)); do
            echo "BEGIN; INSERT INTO t(b) VALUES(printf('%0200d', $n)); COMMIT;"
        done
    } > "$data/rollback.sql"
}
