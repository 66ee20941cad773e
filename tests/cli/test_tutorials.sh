# The pages of docs/tutorials do what they say: `mix` blocks are accepted, `sh` blocks run line by line, three steps of every
# training, of two layers on the reference evaluator, on 300 made-up pictures in the place of Debian's.
. "$MIXC_TESTS/cli/lib.sh"
pages=("$MIXC_TESTS"/../docs/tutorials/*.md)
[ -f "${pages[0]}" ] || exit 77
mkdir build pictures
ln -s "$MIXC_TESTS/../models" models
ln -s "$MIXC" build/mixc

# idx FILE MAGIC COUNT..: the header of an IDX file of bytes.
idx() {
    printf "\\x00\\x00\\x08\\x0$2" >"$1"
    local n
    for n in "${@:3}"; do printf "\\x00\\x00\\x$(printf %02x $((n / 256)))\\x$(printf %02x $((n % 256)))" >>"$1"; done
}
for part in train:300 t10k:100; do
    n=${part#*:} name=pictures/${part%:*}
    idx $name-images-idx3-ubyte 3 $n 28 28
    for ((i = 0; i < n * 28 * 28 / 16; i++)); do printf 'to be or not to.'; done >>$name-images-idx3-ubyte
    idx $name-labels-idx1-ubyte 1 $n
    for ((i = 0; i < n; i++)); do printf "\\x0$((i * 7 % 10))"; done >>$name-labels-idx1-ubyte
    gzip $name-images-idx3-ubyte $name-labels-idx1-ubyte
done

n=0
for page in "${pages[@]}"; do
    awk -v page="$(basename "$page" .md)" '
        /^```mix$/ { file = page "-" NR ".mix"; printf "" > file; next }
        /^```sh$/  { file = page ".commands"; next }
        /^```/     { file = ""; next }
        file       { print > file }' "$page"
done
for file in *.mix; do
    [ -f "$file" ] || continue
    expect 0 "$MIXC" check "$file"; empty out; empty err
    n=$((n + 1))
done
for file in *.commands; do
    [ -f "$file" ] || continue
    while read -r line; do
        [ -n "$line" ] || continue
        line=$(sed -E 's|/usr/share/datasets/fashion-mnist|pictures|; s/--steps [0-9]+/--steps 3/; s/ train [^ ]+/& --device eval L=2 train.batch=4/' <<<"$line")
        expect 0 bash -c "$line"
        n=$((n + 1))
    done <"$file"
done
[ $n -ge 8 ] || complain "only $n blocks and commands were found"
[ -s runs/wide/report.html ] || complain "no report"
says runs/wide/log.jsonl '"val_accuracy"'
says runs/wide/log.jsonl '"routes"'
finish
