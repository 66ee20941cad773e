# pages.sh MIXC FOLDER: manual pages and completions, as the program prints them.
set -e
mixc=$1 folder=$2
mkdir -p "$folder/man1"
"$mixc" help man >"$folder/man1/mixc.1"
for verb in $("$mixc" help | sed -n '/^Verbs/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    [ "$verb" = help ] || "$mixc" help man "$verb" >"$folder/man1/mixc-$verb.1"
done
for shell in bash zsh fish; do "$mixc" completion $shell >"$folder/$shell"; done
touch "$folder/stamp"
