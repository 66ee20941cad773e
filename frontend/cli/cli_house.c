// Housekeeping verbs: cache, explain.
#include "cli.h"

#include "cache.h"
#include "explain.h"
#include "nearest.h"

#include <string.h>
#include <time.h>

typedef struct CacheList { Cli *cli; Text text; bool json, first; } CacheList;

static void list_entry(void *user, const CacheEntry *e)
{
    CacheList *list = user;
    if (list->json) {
        text_add(&list->text, list->first ? "\n  {\"name\": " : ",\n  {\"name\": ");
        text_json(&list->text, e->name);
        text_printf(&list->text, ", \"bytes\": %zu, \"used\": %lld, \"damaged\": %s}", e->bytes, (long long)e->used_s,
                    e->is_damaged ? "true" : "false");
        list->first = false;
        return;
    }
    char when[32] = "";
    time_t used = (time_t)e->used_s;
    struct tm tm;
    if (localtime_r(&used, &tm))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm);
    size_t about = e->about ? strcspn(e->about, "\n") : 0;
    text_printf(&list->text, "%.16s  %9.1f KiB  %s  %.*s%s\n", e->name, (double)e->bytes / 1024, when, (int)about,
                e->about ? e->about : "", e->is_damaged ? "  DAMAGED" : "");
}

static int cache_ls(Cli *cli, Cache *cache)
{
    CacheList list = {cli, text_make(&cli->arena), cli_has(cli, OPT_JSON), true};
    CacheTotal total = {0};
    StatusText why = {0};
    Status status = cache_list(cache, true, list_entry, &list, &total, &why);
    if (status != STATUS_OK)
        return cli_fail(cli, status, &why);
    if (list.json) {
        Text folder = text_make(&cli->arena);
        text_json(&folder, cache_folder(cache) ? cache_folder(cache) : "");
        printf("{\"folder\": %s, \"entries\": [%s\n], \"bytes\": %zu}\n", text_str(&folder), text_str(&list.text),
               total.bytes);
        return 0;
    }
    fputs(text_str(&list.text), stdout);
    printf("%zu entries, %.1f MiB in %s\n", total.n_entries, (double)total.bytes / 1048576, cache_folder(cache));
    return 0;
}

static int cache_remove(Cli *cli, Cache *cache, bool all)
{
    size_t most = (size_t)1 << 30;
    if (!cli_bytes(cli, OPT_MAX_MEM, &most))
        return status_exit_code(STATUS_BAD_USAGE);
    CacheTotal removed = {0};
    StatusText why = {0};
    Status status = all ? cache_clear(cache, &removed, &why) : cache_gc(cache, most, 0, &removed, &why);
    if (status != STATUS_OK)
        return cli_fail(cli, status, &why);
    cli_note(cli, "%zu entries removed, %.1f MiB", removed.n_entries, (double)removed.bytes / 1048576);
    return 0;
}

int cli_cache(Cli *cli)
{
    const char *what = cli_one_file(cli, "ls, gc or clear");
    if (!what)
        return status_exit_code(STATUS_BAD_USAGE);
    bool ls = !strcmp(what, "ls"), gc = !strcmp(what, "gc"), clear = !strcmp(what, "clear");
    if (!ls && !gc && !clear)
        return cli_usage(cli, "cache knows ls, gc and clear, not `%s`", what);
    Cache *cache = cache_open(NULL);
    int code;
    if (!cache_folder(cache))
        code = cli_failf(cli, STATUS_IO, "the cache is not in use: %s",
                         cache_refused(cache) ? cache_refused(cache) : "no folder");
    else
        code = ls ? cache_ls(cli, cache) : cache_remove(cli, cache, clear);
    cache_close(cache);
    return code;
}

int cli_explain(Cli *cli)
{
    if (cli->n_files == 0 && !cli_has(cli, OPT_JSON)) {
        for (const Explanation *e = explain_table(); e->code; e++)
            printf("%s  %s\n", e->code, e->title);
        return 0;
    }
    const char *code = cli_one_file(cli, "CODE");
    if (!code)
        return status_exit_code(STATUS_BAD_USAGE);
    const Explanation *found = explain_find(code);
    if (!found) {
        Nearest near = {0};
        for (const Explanation *e = explain_table(); e->code; e++)
            nearest_offer(&near, code, e->code);
        return near.best ? cli_usage(cli, "no diagnostic has the code `%s`; did you mean %s?", code, near.best)
                         : cli_usage(cli, "no diagnostic has the code `%s`; `mixc explain` lists them", code);
    }
    Text text = text_make(&cli->arena);
    if (cli_has(cli, OPT_JSON)) {
        text_add(&text, "{\"code\": ");
        text_json(&text, found->code);
        text_add(&text, ", \"title\": ");
        text_json(&text, found->title);
        text_add(&text, ", \"page\": ");
        text_json(&text, found->page);
        text_add(&text, "}\n");
    } else {
        explain_print(found, &text, cli->colour_out);
    }
    fputs(text_str(&text), stdout);
    return 0;
}
