// mixc train --resume: what the command asks for is held against what the run was started with. A change that would make
// it another run is named and refused; --force goes on with it all the same.
#include "cli_trained.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

// Keys that change how long a run is or what is said of it, but no step of it.
static bool is_harmless(const char *name)
{
    static const char *const key[] = {"train.steps", "train.log", "train.eval", "train.save", "generate"};
    for (size_t i = 0; i < sizeof key / sizeof *key; i++) {
        size_t n = strlen(key[i]);
        if (!strncmp(name, key[i], n) && (name[n] == 0 || name[n] == '.'))
            return true;
    }
    return false;
}

typedef struct Differences { Text text; size_t n; } Differences;

static void differ(Differences *d, const char *what, const char *was, const char *is)
{
    text_printf(&d->text, "\n  %s: it was %s, now it is %s", what, was ? was : "not given", is);
    d->n++;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

static void compare_bindings(const Cli *cli, const RunConfig *run, Differences *d)
{
    for (size_t i = 0; i < cli->n_bindings; i++) {
        const char *name = cli->binding[i].name, *was = NULL;
        for (size_t k = 0; k < run->n_bindings; k++)
            if (!strcmp(run->name[k], name))
                was = run->value[k];
        if (!is_harmless(name) && !same_text(was, cli->binding[i].value))
            differ(d, name, was, cli->binding[i].value);
    }
}

static void compare_option(const Cli *cli, OptionId option, const char *what, const char *was, const char *is, Differences *d)
{
    if (cli_has(cli, option) && !same_text(was, is))
        differ(d, what, was, is);
}

// The first line in which two texts part; 0: they are the same.
static unsigned first_difference(const char *a, size_t n_a, const char *b, size_t n_b)
{
    unsigned line = 1;
    for (size_t i = 0; i < n_a || i < n_b; i++) {
        if (i >= n_a || i >= n_b || a[i] != b[i])
            return line;
        line += a[i] == '\n';
    }
    return 0;
}

static void compare_model(Cli *cli, const char *kept, const SourceFile *source, Differences *d)
{
    Sources sources = sources_make(&cli->arena);
    uint32_t file = sources_read(&sources, kept);
    if (!file)
        return;                             // a run whose copy was taken away: nothing to compare with
    unsigned line = first_difference(sources.file[file].data, sources.file[file].n, source->data, source->n);
    if (line) {
        text_printf(&d->text, "\n  %s: it is not the model of the run; compare line %u with %s", source->name, line, kept);
        d->n++;
    }
}

int cli_resume_check(Cli *cli, const char *folder, const RunConfig *run, const SourceFile *source, const char *data)
{
    if (cli_has(cli, OPT_WEIGHTS))
        return cli_usage(cli, "--weights says where a run starts, --resume goes on from its own checkpoint: give one of them");
    Differences d = {.text = text_make(&cli->arena)};
    const char *seed = arena_printf(&cli->arena, "%u", run->seed);
    compare_option(cli, OPT_SIZE, "--size", run->size, cli->value[OPT_SIZE], &d);
    compare_option(cli, OPT_DATA, "--data", run->data, data, &d);
    compare_option(cli, OPT_DTYPE, "--dtype", run->dtype ? run->dtype : "f32", cli->value[OPT_DTYPE], &d);
    compare_option(cli, OPT_SEED, "--seed", seed, arena_printf(&cli->arena, "%u", (uint32_t)cli->seed), &d);
    compare_bindings(cli, run, &d);
    compare_model(cli, run_path(&cli->arena, folder, "model.mix"), source, &d);
    if (d.n == 0)
        return 0;
    if (cli_has(cli, OPT_FORCE)) {
        cli_note(cli, "mixc train: %s goes on with changes:%s", folder, text_str(&d.text));
        return 0;
    }
    return cli_usage(cli, "%s was started with something else:%s\nthe bits of an unbroken run would be lost; leave %s out, start "
                     "a run of its own with another --out, or go on all the same with --force", folder, text_str(&d.text),
                     d.n == 1 ? "it" : "them");
}
