# Tutorials that say "every block runs" run as they are written, with a text made here and few steps. Their fences say
# what a block is:
#   ```mix FILE                            a file
#   ```mix FILE replaces LAYER [in BASE]   BASE (the tutorial's first file, unless said) with another layer of that name
#   ```sh                                  commands, one a line; ```sh fails: the command fails and prints the indented text below
. "$MIXC_TESTS/cli/lib.sh"
ln -s "$MIXC" mixc
PATH=$tmp:$PATH
ln -s "$MIXC_TESTS/../models" models
for i in $(seq 120); do echo "the sailor $i saw the sea, and the sea saw the sailor"; done >text.txt

# replace BASE LAYER FILE: BASE with the layer that stands in FILE instead.
replace() {
    awk -v layer="$2" -v with="$3" '
        $0 ~ "^layer " layer "[([]" { while ((getline line < with) > 0) print line; skip = 1 }
        !skip                       { print }
        skip && /}$/ && (/^}/ || /^layer/) { skip = 0 }' "$1"
}

run_block() {   # PAGE LINE FAILS: the commands in ./block
    local command status
    while read -r command; do
        [ -n "$command" ] || continue
        command=$(sed -E 's/--steps [0-9]+/--steps 2 train.batch=2/; s/-n [0-9]+/-n 4/' <<<"$command")
        eval "$command" >out 2>err </dev/null
        status=$?
        if [ -n "$3" ]; then
            [ $status = 1 ] || complain "$1:$2: exit $status, not 1: $command"
        elif [ $status != 0 ]; then
            complain "$1:$2: exit $status: $command"
            head -5 err >&2
        fi
    done <block
}

# Splits a page into numbered parts: N.kind (the fence's words), N.text.
split_page() {
    awk 'function part() { n++; file = sprintf("part%03d", n) }
         /^```./ && !inside { part(); sub(/^```/, ""); print NR " " $0 > (file ".kind"); printf "" > (file ".text"); inside = 1; next }
         /^```/  && inside  { inside = 0; shown = 1; next }
         inside             { print > (file ".text"); next }
         shown && /^    /   { print substr($0, 5) > (file ".shown"); next }
         /^[^ ]/            { shown = 0 }' "$1"
}

n=0
for page in $(grep -l '<!-- every block runs' "$MIXC_TESTS"/../docs/tutorials/*.md); do
    name=$(basename "$page") first=
    rm -f part*
    split_page "$page"
    for kind in part*.kind; do
        part=${kind%.kind}
        read -r line language a b c d e <"$kind"
        case $language in
        mix)
            : "${first:=$a}"
            if [ "$b" = replaces ]; then
                base=$first
                [ "$d" = in ] && base=$e
                replace "$base" "$c" "$part.text" >"$a"
                cmp -s "$a" "$base" && complain "$name:$line: $base has no layer $c"
            else
                cp "$part.text" "$a"
            fi
            expect 0 mixc fmt --check "$a" ;;
        sh)
            cp "$part.text" block
            run_block "$name" "$line" "$a"
            if [ -n "$a" ] && ! diff -u "$part.shown" err >&2; then complain "$name:$line: prints something else"; fi ;;
        esac
        n=$((n + 1))
    done
done
[ $n -ge 10 ] || complain "only $n blocks were found"
finish
