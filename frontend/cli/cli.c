// The command line: options, dispatch and messages. Verbs are rows of verbs.def, options rows of options.def.
#include "cli.h"

#include "nearest.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const OptionRow option_row[OPT_COUNT] = {
#define OPTION(id, name, letter, argument, what) [OPT_##id] = {name, letter, argument, what},
#include "options.def"
#undef OPTION
};

const VerbRow verb_row[] = {
#define VERB(id, name, usage, summary, options, examples) {#name, usage, summary, examples, options, cli_##name},
#include "verbs.def"
#undef VERB
};
const size_t verb_count = sizeof verb_row / sizeof *verb_row;

static_assert(OPT_COUNT <= 64, "options of a verb are bits of a uint64_t");

bool cli_has(const Cli *cli, OptionId option)
{
    return cli->value[option] != NULL;
}

// A message may quote a file: control characters of it must not reach a terminal.
static void print_clean(const char *format, va_list args)
{
    char small[2000], *text = small;
    va_list again;
    va_copy(again, args);
    const int n = vsnprintf(small, sizeof small, format, args);
    if (n >= (int)sizeof small && (text = malloc((size_t)n + 1)))
        vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    text = text ? text : small;             // no memory for a long one: its beginning
    for (unsigned char *c = (unsigned char *)text; *c; c++)
        if ((*c < 32 && *c != '\n' && *c != '\t') || *c == 127)
            *c = '?';
    fputs(text, stderr);
    if (text != small)
        free(text);
}

static void say(const Cli *cli, const char *kind, const char *colour, const char *format, va_list args)
{
    fflush(stdout);
    fprintf(stderr, "%smixc%s%s: %s%s", cli->colour_err ? colour : "", cli->verb ? " " : "",
            cli->verb ? cli->verb->name : "", kind, cli->colour_err ? "\033[0m" : "");
    print_clean(format, args);
    fputc('\n', stderr);
}

int cli_usage(const Cli *cli, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(cli, "", "\033[1;31m", format, args);
    va_end(args);
    fprintf(stderr, "help: mixc %s%s--help\n", cli->verb ? cli->verb->name : "", cli->verb ? " " : "");
    return status_exit_code(STATUS_BAD_USAGE);
}

int cli_failf(const Cli *cli, Status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(cli, "", "\033[1;31m", format, args);
    va_end(args);
    return status_exit_code(status);
}

int cli_fail(const Cli *cli, Status status, const StatusText *why)
{
    return cli_failf(cli, status, "%s", why && why->text[0] ? why->text : status_sentence(status));
}

void cli_note(const Cli *cli, const char *format, ...)
{
    if (cli_has(cli, OPT_QUIET))
        return;
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

bool cli_int(const Cli *cli, OptionId option, int64_t low, int64_t high, int64_t *out)
{
    if (!cli_has(cli, option))
        return true;
    char *end;
    errno = 0;
    long long value = strtoll(cli->value[option], &end, 10);
    if (end == cli->value[option] || *end || errno || value < low || value > high) {
        cli_usage(cli, "--%s takes a whole number from %lld to %lld, not `%s`", option_row[option].name, (long long)low,
                  (long long)high, cli->value[option]);
        return false;
    }
    *out = value;
    return true;
}

bool cli_double(const Cli *cli, OptionId option, double *out)
{
    if (!cli_has(cli, option))
        return true;
    char *end;
    double value = strtod(cli->value[option], &end);
    if (end == cli->value[option] || *end || !isfinite(value) || value < 0) {
        cli_usage(cli, "--%s takes a number that is not negative, not `%s`", option_row[option].name,
                  cli->value[option]);
        return false;
    }
    *out = value;
    return true;
}

bool cli_bytes(const Cli *cli, OptionId option, size_t *out)
{
    if (!cli_has(cli, option))
        return true;
    char *end;
    double value = strtod(cli->value[option], &end);
    static const char units[] = "KMGT";
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (unit) {
        value *= ldexp(1, 10 * (int)(unit - units + 1));
        end++;
    }
    if (end == cli->value[option] || *end || !(value >= 0 && value < 1e18)) {
        cli_usage(cli, "--%s takes a size such as 800M or 8G, not `%s`", option_row[option].name, cli->value[option]);
        return false;
    }
    *out = (size_t)value;
    return true;
}

const char *cli_one_file(const Cli *cli, const char *what)
{
    if (cli->n_files == 1)
        return cli->file[0];
    if (cli->n_files == 0)
        cli_usage(cli, "%s is missing", what);
    else
        cli_usage(cli, "one %s, please: `%s` is a second one", what, cli->file[1]);
    return NULL;
}

static bool allowed(const Cli *cli, size_t option)
{
    uint64_t mask = OPTIONS_COMMON | (cli->verb ? cli->verb->options : 0);
    return mask >> option & 1;
}

static int unknown_option(Cli *cli, const char *name)
{
    Nearest near = {0};
    for (size_t i = 0; i < OPT_COUNT; i++)
        if (allowed(cli, i))
            nearest_offer(&near, name, option_row[i].name);
    if (near.best)
        return cli_usage(cli, "there is no option --%s; did you mean --%s?", name, near.best);
    return cli_usage(cli, "there is no option --%s", name);
}

// Takes one option with its argument. Returns 0, or an exit code.
static int take_option(Cli *cli, size_t option, const char *inline_value, int argc, char **argv, int *i)
{
    const OptionRow *row = &option_row[option];
    cli->times[option]++;
    cli->value[option] = "";
    if (!row->argument)
        return inline_value ? cli_usage(cli, "--%s takes no argument", row->name) : 0;
    if (!inline_value) {
        if (*i + 1 >= argc)
            return cli_usage(cli, "--%s needs an argument: %s", row->name, row->argument);
        inline_value = argv[++*i];
    }
    cli->value[option] = inline_value;
    return 0;
}

static int take_long(Cli *cli, const char *text, int argc, char **argv, int *i)
{
    const char *equals = strchr(text, '=');
    const char *name = equals ? arena_strndup(&cli->arena, text, (size_t)(equals - text)) : text;
    for (size_t o = 0; o < OPT_COUNT; o++)
        if (allowed(cli, o) && !strcmp(option_row[o].name, name))
            return take_option(cli, o, equals ? equals + 1 : NULL, argc, argv, i);
    return unknown_option(cli, name);
}

// -vv, -o FILE, -oFILE
static int take_letters(Cli *cli, const char *text, int argc, char **argv, int *i)
{
    for (const char *c = text; *c; c++) {
        size_t o = 0;
        while (o < OPT_COUNT && !(option_row[o].letter == *c && allowed(cli, o)))
            o++;
        if (o == OPT_COUNT)
            return cli_usage(cli, "there is no option -%c", *c);
        if (option_row[o].argument)
            return take_option(cli, o, c[1] ? c + 1 : NULL, argc, argv, i);
        take_option(cli, o, NULL, argc, argv, i);
    }
    return 0;
}

// T=64, train.batch=8: a name (with dots), then =. Given twice, the later one counts, as with options.
static bool take_binding(Cli *cli, const char *text)
{
    const char *c = text;
    if (!isalpha((unsigned char)*c) && *c != '_')
        return false;
    while (isalnum((unsigned char)*c) || *c == '_' || *c == '.' || *c == '\'')
        c++;
    if (*c != '=')
        return false;
    for (size_t i = 0; i < cli->n_bindings; i++)
        if (strlen(cli->binding[i].name) == (size_t)(c - text) && !strncmp(cli->binding[i].name, text, (size_t)(c - text))) {
            cli->binding[i].value = c + 1;
            return true;
        }
    cli->binding = arena_grow(&cli->arena, cli->binding, cli->n_bindings, &cli->binding_capacity, sizeof *cli->binding);
    cli->binding[cli->n_bindings++] =
        (Binding){.name = arena_strndup(&cli->arena, text, (size_t)(c - text)), .value = c + 1};
    return true;
}

static int take_all(Cli *cli, int argc, char **argv, int first)
{
    bool only_files = false;
    for (int i = first; i < argc; i++) {
        const char *a = argv[i];
        int code = 0;
        if (!only_files && !strcmp(a, "--"))
            only_files = true;
        else if (!only_files && a[0] == '-' && a[1] == '-')
            code = take_long(cli, a + 2, argc, argv, &i);
        else if (!only_files && a[0] == '-' && a[1])
            code = take_letters(cli, a + 1, argc, argv, &i);
        else if (only_files || !take_binding(cli, a)) {
            cli->file = arena_grow(&cli->arena, cli->file, cli->n_files, &cli->file_capacity, sizeof *cli->file);
            cli->file[cli->n_files++] = a;
        }
        if (code)
            return code;
    }
    return 0;
}

static int settle(Cli *cli)
{
    const char *when = cli_has(cli, OPT_COLOR) ? cli->value[OPT_COLOR] : "auto";
    const char *no_color = getenv("NO_COLOR");
    if (strcmp(when, "auto") && strcmp(when, "always") && strcmp(when, "never"))
        return cli_usage(cli, "--color takes auto, always or never, not `%s`", when);
    bool automatic = !strcmp(when, "auto") && !(no_color && no_color[0]);
    cli->colour_out = !strcmp(when, "always") || (automatic && cli->tty_out);
    cli->colour_err = !strcmp(when, "always") || (automatic && cli->tty_err);
    int64_t threads = 0, seed = 0;
    if (!cli_int(cli, OPT_THREADS, 1, 4096, &threads) || !cli_int(cli, OPT_SEED, 0, UINT32_MAX, &seed))
        return status_exit_code(STATUS_BAD_USAGE);
    cli->threads = (int)threads;
    cli->seed = (uint64_t)seed;
    const char *device = getenv("MIXC_DEVICE");
    cli->device = cli_has(cli, OPT_DEVICE) ? cli->value[OPT_DEVICE] : device && device[0] ? device : NULL;
    const char *dtype = cli->value[OPT_DTYPE];
    if (dtype && strcmp(dtype, "f32") && strcmp(dtype, "bf16"))
        return cli_usage(cli, "--dtype takes f32 or bf16, not `%s`", dtype);
    return 0;
}

static const VerbRow *find_verb(const char *name)
{
    for (size_t i = 0; i < verb_count; i++)
        if (!strcmp(verb_row[i].name, name))
            return &verb_row[i];
    return NULL;
}

static int unknown_verb(Cli *cli, const char *name)
{
    Nearest near = {0};
    for (size_t i = 0; i < verb_count; i++)
        nearest_offer(&near, name, verb_row[i].name);
    if (near.best)
        return cli_usage(cli, "there is no verb `%s`; did you mean `%s`?", name, near.best);
    return cli_usage(cli, "there is no verb `%s`, and no file of that name", name);
}

// `mixc FILE` is check and show.
static int check_and_show(Cli *cli)
{
    cli->verb = find_verb("check");
    int code = cli_has(cli, OPT_JSON) ? 0 : cli_check(cli);     // one document of JSON, not two
    if (code)
        return code;
    cli->verb = find_verb("show");
    return cli_show(cli);
}

static int run_command(Cli *cli, int argc, char **argv)
{
    if (argc < 2)
        return cli_print_help(cli, NULL), status_exit_code(STATUS_BAD_USAGE);
    const char *name = argv[1];
    bool file_alone = false;
    int first = 1;
    if (name[0] != '-' || !name[1]) {
        cli->verb = find_verb(name);
        file_alone = !cli->verb && access(name, R_OK) == 0;
        if (!cli->verb && !file_alone)
            return unknown_verb(cli, name);
        first = file_alone ? 1 : 2;
    }
    int code = take_all(cli, argc, argv, first);
    if (!code)
        code = settle(cli);
    if (code)
        return code;
    if (cli_has(cli, OPT_VERSION))
        return cli_print_version();
    if (cli_has(cli, OPT_HELP))
        return cli_print_help(cli, cli->verb);
    if (file_alone)
        return check_and_show(cli);
    if (!cli->verb)
        return cli_usage(cli, "which verb?");
    return cli->verb->run(cli);
}

// What is needed to see a mistake of ours again: the command line and the files that were read, in a new folder.
static void write_bundle(const Cli *cli, int argc, char **argv)
{
    char folder[64];
    snprintf(folder, sizeof folder, "mixc-bug-%ld", (long)getpid());
    if (mkdir(folder, 0777) != 0)
        return;
    Text text = text_make(cli->diag.arena);
    text_printf(&text, "mixc %s (%s)\n", MIXC_VERSION, MIXC_COMMIT);
    for (int i = 0; i < argc; i++)
        text_printf(&text, "%s%s", i ? " " : "", argv[i]);
    text_add(&text, "\n\n");
    diag_print(&cli->diag, &text, false);
    bool ok = cli_write(cli, arena_printf(cli->diag.arena, "%s/command.txt", folder), text_str(&text), text.n) == 0;
    for (size_t i = 1; i < cli->sources.n_files && ok; i++) {
        const SourceFile *f = &cli->sources.file[i];
        const char *slash = strrchr(f->name, '/');
        const char *path = arena_printf(cli->diag.arena, "%s/%zu-%s", folder, i, slash ? slash + 1 : f->name);
        ok = cli_write(cli, path, f->data, f->n) == 0;
    }
    if (ok)
        fprintf(stderr, "mixc: this is a mistake of ours; %s holds what is needed to see it again\n", folder);
}

int cli_main(int argc, char **argv)
{
    Cli cli = {0};
    arena_init(&cli.arena);
    cli.sources = sources_make(&cli.arena);
    cli.diag = diag_make(&cli.arena, &cli.sources);
    cli.tty_out = isatty(STDOUT_FILENO);
    cli.tty_err = isatty(STDERR_FILENO);
    int code = run_command(&cli, argc, argv);
    if (code == status_exit_code(STATUS_INTERNAL))
        write_bundle(&cli, argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0)
        code = cli_failf(&cli, STATUS_IO, "standard output could not be written: %s", strerror(errno));
    arena_free(&cli.arena);
    return code;
}
