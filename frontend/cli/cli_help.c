// mixc help, --help and --version, completion: all from verbs.def and options.def.
#include "cli.h"

#include "device.h"
#include "nearest.h"
#include "pass.h"

#include <string.h>

static void print_options(uint64_t mask)
{
    for (size_t o = 0; o < OPT_COUNT; o++) {
        if (!(mask >> o & 1))
            continue;
        const OptionRow *row = &option_row[o];
        char left[64];
        snprintf(left, sizeof left, "%c%c%s--%s%s%s", row->letter ? '-' : ' ', row->letter ? row->letter : ' ',
                 row->letter ? ", " : "  ", row->name, row->argument ? " " : "", row->argument ? row->argument : "");
        printf("  %-26s %s\n", left, row->what);
    }
}

static void help_verb(const Cli *cli, const VerbRow *verb)
{
    const char *bold = cli->colour_out ? "\033[1m" : "", *plain = cli->colour_out ? "\033[0m" : "";
    printf("%smixc %s%s - %s\n\n%sExamples%s\n", bold, verb->name, plain, verb->summary, bold, plain);
    for (const char *line = verb->examples; *line;) {
        size_t n = strcspn(line, "\n");
        printf("  %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
    printf("\n%sUsage%s\n  mixc %s %s\n", bold, plain, verb->name, verb->usage);
    if (verb->options) {
        printf("\n%sOptions%s\n", bold, plain);
        print_options(verb->options);
    }
    printf("\n%sEverywhere%s\n", bold, plain);
    print_options(OPTIONS_COMMON);
    printf("  %-26s %s\n", "NAME=VALUE", "bind an axis or constant (T=64), or override a key (train.batch=8)");
}

static void markdown_options(uint64_t mask)
{
    for (size_t o = 0; o < OPT_COUNT; o++) {
        const OptionRow *row = &option_row[o];
        if (!(mask >> o & 1))
            continue;
        printf("- `--%s%s%s`", row->name, row->argument ? " " : "", row->argument ? row->argument : "");
        if (row->letter)
            printf(", `-%c`", row->letter);
        printf(": %s\n", row->what);
    }
}

// The reference of docs/command-line.md.
static void help_markdown(void)
{
    for (size_t i = 0; i < verb_count; i++) {
        const VerbRow *verb = &verb_row[i];
        printf("### %s\n\n`mixc %s%s%s`: %s.\n\n```sh\n%s\n```\n\n", verb->name, verb->name,
               verb->usage[0] ? " " : "", verb->usage, verb->summary, verb->examples);
        if (verb->options) {
            markdown_options(verb->options);
            printf("\n");
        }
    }
    printf("### Everywhere\n\n");
    markdown_options(OPTIONS_COMMON);
    printf(
        "- `NAME=VALUE`: bind an axis or constant (`T=64`), or override a key (`train.batch=8`)\n\n### Keys of sections that a run reads\n\n"
        "| key | what |\n|---|---|\n");
#define KEY(section, name, form, what) printf("| `%s.%s` | %s |\n", section, name, what);
#include "run_keys.def"
#undef KEY
}

// Text for a manual page: a backslash is an escape there, a hyphen-minus must say so, and a dot begins a request.
static void man_text(const char *text)
{
    for (const char *c = text; *c; c++) {
        if ((*c == '.' || *c == '\'') && (c == text || c[-1] == '\n'))
            printf("\\&");
        if (*c == '\\')
            printf("\\e");
        else if (*c == '-')
            printf("\\-");
        else
            putchar(*c);
    }
}

static void man_options(uint64_t mask)
{
    for (size_t o = 0; o < OPT_COUNT; o++) {
        const OptionRow *row = &option_row[o];
        if (!(mask >> o & 1))
            continue;
        printf(".TP\n\\fB");
        if (row->letter)
            printf("\\-%c\\fR, \\fB", row->letter);
        printf("\\-\\-");
        man_text(row->name);
        printf("\\fR%s%s%s\n", row->argument ? " \\fI" : "", row->argument ? row->argument : "", row->argument ? "\\fR" : "");
        man_text(row->what);
        putchar('\n');
    }
}

// mixc-VERB.1
static void man_verb(const VerbRow *verb)
{
    printf(".TH MIXC-%s 1 \"\" \"mixc %s\"\n.SH NAME\nmixc\\-%s \\- ", verb->name, MIXC_VERSION, verb->name);
    man_text(verb->summary);
    printf("\n.SH SYNOPSIS\n\\fBmixc %s\\fR ", verb->name);
    man_text(verb->usage);
    printf("\n.SH EXAMPLES\n.nf\n");
    man_text(verb->examples);
    printf("\n.fi\n");
    if (verb->options) {
        printf(".SH OPTIONS\n");
        man_options(verb->options);
    }
    printf(".SH EVERYWHERE\n");
    man_options(OPTIONS_COMMON);
    printf(".SH SEE ALSO\n.BR mixc (1)\n");
}

// mixc.1
static void man_all(void)
{
    printf(".TH MIXC 1 \"\" \"mixc %s\"\n.SH NAME\nmixc \\- compiles and trains sparse and structured neural networks\n"
           ".SH SYNOPSIS\n\\fBmixc\\fR \\fIVERB\\fR ...\n.br\n\\fBmixc\\fR \\fIFILE\\fR\n.SH VERBS\n", MIXC_VERSION);
    for (size_t i = 0; i < verb_count; i++) {
        printf(".TP\n.BR mixc\\-%s (1)\n", verb_row[i].name);
        man_text(verb_row[i].summary);
        putchar('\n');
    }
    printf(".SH EXIT STATUS\n0 ok, 1 the model or the data is wrong, 2 usage, 3 no compiler or device, 4 memory, 5 a number is not\n"
           "finite or differs, 6 files, 70 a mistake of the program, 130 interrupted after saving.\n"
           ".SH ENVIRONMENT\n.TP\n.B MIXC_CACHE_DIR\ncompiled kernels and measured times\n.TP\n.B CC\nthe C compiler\n.TP\n"
           ".B NO_COLOR\nno colours\n");
}

int cli_print_help(const Cli *cli, const VerbRow *verb)
{
    if (!verb || !strcmp(verb->name, "help")) {
        const char *wanted = verb && cli->n_files ? cli->file[0] : NULL;
        Nearest near = {0};
        if (wanted && !strcmp(wanted, "markdown"))
            return help_markdown(), 0;
        if (wanted && cli_print_reference(wanted))
            return 0;
        if (wanted && !strcmp(wanted, "man") && cli->n_files == 1)
            return man_all(), 0;
        const bool man = wanted && !strcmp(wanted, "man");
        wanted = man ? cli->file[1] : wanted;
        for (size_t i = 0; wanted && i < verb_count; i++) {
            if (!strcmp(verb_row[i].name, wanted))
                return man ? man_verb(&verb_row[i]) : help_verb(cli, &verb_row[i]), 0;
            nearest_offer(&near, wanted, verb_row[i].name);
        }
        if (wanted)
            return cli_usage(cli, "there is no verb `%s`%s%s%s", wanted, near.best ? "; did you mean `" : "",
                             near.best ? near.best : "", near.best ? "`?" : "");
        printf(
            "mixc - compiles and trains sparse and structured neural networks\n\nExamples\n"
            "  mixc train models/gpt.mix --data text.txt --out run  train\n"
            "  mixc generate run -p \"To be\" -n 200                  sample from it\n"
            "  mixc models/gpt.mix                                  check a model and list its parameters\n\nVerbs\n");
        for (size_t i = 0; i < verb_count; i++)
            printf("  %-11s %s\n", verb_row[i].name, verb_row[i].summary);
        printf("\n`mixc VERB --help` shows examples and options.\n"
               "Exit codes: 0 ok, 1 the model or the data is wrong, 2 usage, 3 no compiler or device, 4 memory,\n"
               "5 a number is not finite or differs, 6 files, 70 our bug, 130 interrupted after saving.\n");
        return 0;
    }
    help_verb(cli, verb);
    return 0;
}

int cli_print_version(void)
{
    printf("mixc %s (%s)\n", MIXC_VERSION, MIXC_COMMIT);
    return 0;
}

// What may follow an option; empty: a file, a number, a text of the reader's.
static void option_words(OptionId option, Text *out)
{
    static const struct { OptionId option; const char *words; } known[] = {
        {OPT_COLOR, "auto always never"}, {OPT_DEVICE, "cuda cpu sim null eval"}, {OPT_DTYPE, "f32 bf16"}, {OPT_MODE, "train eval generate"},
        {OPT_GRAPH, "main next block"}, {OPT_TARGET, "c cuda"}, {OPT_PROGRESS, "tty plain json"}, {OPT_AFTER, "all build codegen"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].option == option)
            text_add(out, known[i].words);
    for (size_t i = 0; i < pass_count && (option == OPT_AFTER || option == OPT_PASSES); i++)
        text_printf(out, "%s%s", out->n ? " " : "", pass_table[i].name);
}

// Behind an option: its words; sizes and layers out of the model that the command names.
static void complete_values(Arena *arena)
{
    printf("    local before=\"${COMP_WORDS[COMP_CWORD-1]}\" file=\"\"\n"
           "    for file in \"${COMP_WORDS[@]:2}\"; do case \"$file\" in *.mix) break ;; esac; done\n"
           "    case \"$before\" in\n"
           "    --size) words=$(sed -n 's/^size  *\\([A-Za-z0-9_]*\\).*/\\1/p' \"$file\" 2>/dev/null) ;;\n"
           "    --entry) words=$(sed -n 's/^\\(layer\\|model\\)  *\\([A-Za-z0-9_]*\\).*/\\2/p' \"$file\" 2>/dev/null) ;;\n");
    for (size_t o = 0; o < OPT_COUNT; o++) {
        Text words = text_make(arena);
        option_words((OptionId)o, &words);
        if (words.n)
            printf("    --%s) words=\"%s\" ;;\n", option_row[o].name, text_str(&words));
    }
    printf("    esac\n    [ -z \"$words\" ] || { COMPREPLY=($(compgen -W \"$words\" -- \"$word\")); return; }\n");
}

static void complete_bash(Arena *arena)
{
    printf("_mixc() {\n    local word=\"${COMP_WORDS[COMP_CWORD]}\" verb=\"${COMP_WORDS[1]}\" words=\"\"\n");
    complete_values(arena);
    printf("    if [ \"$COMP_CWORD\" = 1 ]; then\n        words=\"");
    for (size_t i = 0; i < verb_count; i++)
        printf("%s%s", i ? " " : "", verb_row[i].name);
    printf("\"\n    else\n        case \"$verb\" in\n");
    for (size_t i = 0; i < verb_count; i++) {
        printf("        %s) words=\"", verb_row[i].name);
        bool any = false;
        for (size_t o = 0; o < OPT_COUNT; o++)
            if ((verb_row[i].options | OPTIONS_COMMON) >> o & 1) {
                printf("%s--%s", any ? " " : "", option_row[o].name);
                any = true;
            }
        printf("\" ;;\n");
    }
    printf("        esac\n    fi\n    COMPREPLY=($(compgen -W \"$words\" -- \"$word\") $(compgen -f -- \"$word\"))\n}\n"
           "complete -o filenames -F _mixc mixc\n");
}

static void complete_zsh(Arena *arena)
{
    printf("#compdef mixc\nautoload -U +X bashcompinit && bashcompinit\n");
    complete_bash(arena);
}

static void complete_fish(Arena *arena)
{
    for (size_t i = 0; i < verb_count; i++) {
        printf("complete -c mixc -n __fish_use_subcommand -a %s -d '%s'\n", verb_row[i].name, verb_row[i].summary);
        for (size_t o = 0; o < OPT_COUNT; o++)
            if ((verb_row[i].options | OPTIONS_COMMON) >> o & 1) {
                Text words = text_make(arena);
                option_words((OptionId)o, &words);
                printf("complete -c mixc -n '__fish_seen_subcommand_from %s' -l %s%s", verb_row[i].name, option_row[o].name,
                       option_row[o].argument ? " -r" : "");
                printf(words.n ? " -f -a '%s'\n" : "%s\n", text_str(&words));
            }
    }
}

int cli_completion(Cli *cli)
{
    const char *shell = cli_one_file(cli, "a shell (bash, zsh or fish)");
    if (!shell)
        return 2;
    if (!strcmp(shell, "bash"))
        complete_bash(&cli->arena);
    else if (!strcmp(shell, "zsh"))
        complete_zsh(&cli->arena);
    else if (!strcmp(shell, "fish"))
        complete_fish(&cli->arena);
    else
        return cli_usage(cli, "no completion for `%s`: bash, zsh and fish are known", shell);
    return 0;
}

int cli_help(Cli *cli)
{
    return cli_print_help(cli, cli->verb);
}
