# The scripts of tests/bench: each can be read by bash, says what it measures and what it is given, takes no option that it does not
# know, and names only models, sizes, files and programs that are there; one runs in its quick form.
. "$MIXC_TESTS/cli/lib.sh"
bench=$MIXC_TESTS/bench root=$MIXC_TESTS/..

for script in "$bench"/*.sh; do
    name=$(basename "$script")
    bash -n "$script" 2>err || complain "$name: $(head -2 err)"
    [ "$name" != common.sh ] || continue
    expect 0 bash "$script" -h; says out "tests/bench/$name"; [ "$(wc -l <out)" -ge 3 ] || complain "$name -h says little"
    expect 2 bash "$script" --folder; says err "there is no option --folder"
    grep -q "$name" "$root"/docs/benchmarks/README.md "$root"/docs/*.md || complain "no page of docs names $name"
done

# models/NAME.mix, tests/bench/FILE, bench_NAME; --size SIZE behind a model
grep -ohE '(models|tests/bench)/[a-z0-9_]+\.(mix|py|sh)' "$bench"/*.sh | sort -u | while read -r file; do
    [ -e "$root/$file" ] || echo "$file"
done >missing
for name in $(grep -ohE '\bbench_[a-z]+' "$bench"/*.sh | sort -u); do
    [ -e "$bench/$name.c" ] || [ -e "$root/models/${name#bench_}.mix" ] || [ "$name" = bench_ ] || echo "$name" >>missing
done
for model in $(sed -n 's/^for model in \(.*\); do$/\1/p' "$bench/all.sh"); do [ -e "$root/models/$model.mix" ] || echo "$model" >>missing; done
grep -ohE 'models/[a-z0-9_]+\.mix --size (\$\(pick )?[a-z0-9_]+' "$bench"/*.sh | sed 's/\$(pick //' | sort -u | while read -r file _ size; do
    grep -q "^size $size " "$root/$file" || echo "$file has no size $size"
done >>missing
[ ! -s missing ] || complain "named, and not there: $(tr '\n' ' ' <missing)"

# quick forms; without a peer or a text, 77 and a reason
export MIXC_BENCH_QUICK=1
expect 0 bash "$bench/halted.sh"; says out "halted"
expect 77 env PYTHON=/nowhere/python bash "$bench/monarch.sh"; says err "not without PyTorch"
expect 2 bash "$bench/gpt.sh" /nowhere/text; says err "there is no text /nowhere/text"
finish
