// mixc eval and mixc generate: what a trained model is used for.
#include "clock.h"
#include "cli_trained.h"
#include "route_stats.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int open_trained(Cli *cli, const char *path, Trained *out)
{
    if (cli_is_folder(path))
        return cli_open_run(cli, path, out);
    if (access(path, F_OK) != 0)
        return cli_failf(cli, STATUS_IO, "%s: cannot be opened: %s", path, strerror(errno));
    if (!cli_has(cli, OPT_WEIGHTS))
        return cli_usage(cli, "%s is a file: --weights W is needed (or give the folder of a run)", path);
    *out = (Trained){path, cli_weights_path(cli, cli->value[OPT_WEIGHTS]), cli_folder_of(&cli->arena, path), 0};
    return 0;
}

// Builds, loads and fills a net with the trained weights. NULL: *out_exit.
static Net *load_trained(Cli *cli, const Trained *trained, ModeName mode, int64_t rows, CliModel *model,
                         Checkpoint *about, int *out_exit)
{
    model->ast = cli_parse(cli, trained->model_path, out_exit);
    if (!model->ast)
        return NULL;
    model->module = cli_build_mode(cli, model->ast, mode, rows, out_exit);
    if (!model->module)
        return NULL;
    cli->diag = diag_make(&cli->arena, &cli->sources);    // its warnings were for training
    *out_exit = cli_engine_open(cli, &model->engine);
    if (*out_exit)
        return NULL;
    model->generate = mode == MODE_GENERATE && !engine_is_reference(model->engine);
    Net *net = cli_model_load(cli, model, out_exit);
    StatusText why = {0};
    Status status = net ? checkpoint_load(&cli->arena, trained->weights_path, net, true, true, about, &why) : STATUS_OK;
    if (status == STATUS_OK)
        return net;
    net_free(net);
    *out_exit = cli_fail(cli, status, &why);
    return NULL;
}

// What fits the data: the share of right labels, or the perplexity of tokens.
static void print_score(Cli *cli, const EvalScore *score, double seconds, int64_t step)
{
    bool labels = isfinite(score->accuracy);
    const char *name = labels ? "accuracy" : "perplexity";
    double value = labels ? score->accuracy : exp(score->loss);
    if (cli_has(cli, OPT_JSON))
        printf("{\"loss\": %.9g, \"%s\": %.9g, \"batches\": %lld, \"seconds\": %.6f, \"step\": %lld}\n", score->loss, name,
               value, (long long)score->batches, seconds, (long long)step);
    else
        printf(labels ? "loss %.5f   %s %.2f%%   %lld batches%s\n" : "loss %.5f   %s %.4g   %lld batches%s\n", score->loss, name,
               labels ? 100 * value : value, (long long)score->batches,
               step ? arena_printf(&cli->arena, "   after step %lld", (long long)step) : "");
}

static int measure(Cli *cli, const Trained *trained, Net *net, const Module *m, const Checkpoint *about)
{
    StatusText why = {0};
    Dataset *data = NULL;
    EvalScore score = {0};
    double begin = 0, seconds = 0;
    int64_t batches = 0;
    if (!cli_int(cli, OPT_STEPS, 1, INT64_MAX, &batches))
        return status_exit_code(STATUS_BAD_USAGE);
    DataOptions options = {
        .path = cli->value[OPT_DATA], .base = trained->base, .state = about->data_state, .seed = about->seed};
    Status status = data_open(&cli->arena, m->data, m->n_data, &options, &data, &why);
    size_t n_slots;
    DataSlot *slot = data_slots_of(&cli->arena, net, &n_slots);
    if (status == STATUS_OK)
        status = data_bind(data, slot, n_slots, &why);
    if (status == STATUS_OK)
        status = data_check_ranges(data, module_graph(m, "main"), &why);
    if (status == STATUS_OK) {
        begin = clock_seconds();
        status = eval_score(net, data, batches, &score, &why);
        seconds = clock_seconds() - begin;
    }
    if (status == STATUS_OK)
        print_score(cli, &score, seconds, about->step);
    if (data)
        data_close(data);
    if (status == STATUS_OK && !isfinite(score.loss) && route_stats_check(m, net, &why) != STATUS_OK)
        return cli_fail(cli, STATUS_NUMERIC, &why);
    if (status == STATUS_OK && !isfinite(score.loss))
        return cli_failf(cli, STATUS_NUMERIC, "the loss is not a number");
    return status == STATUS_OK ? 0 : cli_fail(cli, status, &why);
}

int cli_eval(Cli *cli)
{
    const char *path = cli_one_file(cli, "DIR or FILE");
    Trained trained;
    if (!path)
        return status_exit_code(STATUS_BAD_USAGE);
    int code = open_trained(cli, path, &trained);
    if (code)
        return code;
    CliModel model = {0};
    Checkpoint about = {0};
    cli->with_routing_stats = true;         // to name the route when the loss is no number
    Net *net = load_trained(cli, &trained, MODE_EVAL, 0, &model, &about, &code);
    if (net)
        code = measure(cli, &trained, net, model.module, &about);
    net_free(net);
    cli_model_close(&model);
    return code;
}

typedef struct Stream {
    Cli             *cli;
    const Tokenizer *tokenizer;
    Text             text;                  // decoded so far
    size_t           printed;
    Text             json;
    bool             is_json, first;
} Stream;

static void flush_text(Stream *s, bool all)
{
    size_t whole =
        all ? s->text.n : s->printed + tokenizer_whole(text_str(&s->text) + s->printed, s->text.n - s->printed);
    fwrite(text_str(&s->text) + s->printed, 1, whole - s->printed, stdout);
    fflush(stdout);
    s->printed = whole;
}

static bool stream_token(void *user, int32_t token, double probability)
{
    Stream *s = user;
    size_t begin = s->text.n;
    tokenizer_decode(s->tokenizer, &token, 1, &s->text);
    if (s->is_json) {
        text_printf(&s->json, "%s\n  {\"token\": %d, \"probability\": %.6g, \"text\": ", s->first ? "" : ",", token,
                    probability);
        text_json(&s->json, text_str(&s->text) + begin);
        text_char(&s->json, '}');
        s->first = false;
        return true;
    }
    flush_text(s, false);
    return !ferror(stdout);
}

static const char *read_prompt(Cli *cli, size_t *out_n)
{
    const char *prompt = cli_has(cli, OPT_PROMPT) ? cli->value[OPT_PROMPT] : "";
    if (!strcmp(prompt, "-")) {
        uint32_t file = sources_read(&cli->sources, "-");
        *out_n = cli->sources.file[file].n;
        return cli->sources.file[file].data;
    }
    *out_n = strlen(prompt);
    return prompt;
}

static bool generate_options(const Cli *cli, const Module *m, GenerateOptions *out)
{
    *out = (GenerateOptions){
        .sample = sample_options(m->generate, m->n_generate), .seed = (uint32_t)cli->seed, .n_tokens = 200};
    for (size_t i = 0; i < m->n_generate; i++)
        if (!strcmp(m->generate[i].key, "max_tokens"))
            out->n_tokens = strtoll(m->generate[i].value, NULL, 10);
    return cli_int(cli, OPT_TOKENS, 1, INT32_MAX, &out->n_tokens)
           && cli_double(cli, OPT_TEMPERATURE, &out->sample.temperature)
           && cli_int(cli, OPT_TOP_K, 1, INT32_MAX, &out->sample.top_k)
           && cli_double(cli, OPT_TOP_P, &out->sample.top_p);
}

static int continue_text(Cli *cli, Net *net, const CliModel *model, const Checkpoint *about)
{
    StatusText why = {0};
    Generator generator = {0};
    const Module *m = model->module;
    GenerateOptions options;
    Tokenizer *tokenizer = NULL;
    int32_t *prompt = NULL, zero = 0;
    size_t n_bytes, n_prompt = 0;
    if (!generate_options(cli, m, &options))
        return status_exit_code(STATUS_BAD_USAGE);
    Status status = generator_make(&cli->arena, model->engine, &cli->diag, m, net, &generator, &why);
    if (status == STATUS_OK)
        status = about->data_state
                     ? tokenizer_restore(&cli->arena, about->data_state, &tokenizer, &why)
                     : status_fail(&why, STATUS_BAD_MODEL, "the run does not say how its text became tokens");
    const char *text = read_prompt(cli, &n_bytes);
    if (status == STATUS_OK && n_bytes)
        status = tokenizer_encode(tokenizer, text, n_bytes, &cli->arena, &prompt, &n_prompt, &why);
    else if (status == STATUS_OK
             && tokenizer_encode(tokenizer, "\n", 1, &cli->arena, &prompt, &n_prompt, &(StatusText){0})
                    != STATUS_OK)
        n_prompt = 0;
    if (status != STATUS_OK) {
        generator_close(&generator);
        return cli_fail(cli, status, &why);
    }
    if (generator.no_steps && cli_has(cli, OPT_VERBOSE))
        fprintf(stderr, "each token computes the whole window: %s\n", generator.no_steps);
    Stream stream = {.cli = cli, .tokenizer = tokenizer, .text = text_make(&cli->arena), .json = text_make(&cli->arena),
                     .is_json = cli_has(cli, OPT_JSON), .first = true};
    if (!stream.is_json)
        fwrite(text, 1, n_bytes, stdout);
    status = generator_run(&generator, n_prompt ? prompt : &zero, n_prompt ? n_prompt : 1, &options, stream_token,
                           &stream, &why);
    generator_close(&generator);
    if (stream.is_json) {
        Text head = text_make(&cli->arena);
        text_json(&head, text);
        printf("{\"prompt\": %s, \"tokens\": [%s\n], \"text\": ", text_str(&head), text_str(&stream.json));
        head = text_make(&cli->arena);
        text_json(&head, text_str(&stream.text));
        printf("%s}\n", text_str(&head));
    } else {
        flush_text(&stream, true);
        putchar('\n');
    }
    return status == STATUS_OK ? 0 : cli_fail(cli, status, &why);
}

int cli_generate(Cli *cli)
{
    const char *path = cli_one_file(cli, "DIR");
    Trained trained;
    if (!path)
        return status_exit_code(STATUS_BAD_USAGE);
    if (!cli_is_folder(path))
        return errno == ENOENT ? cli_fail_open(cli, path)
                               : cli_failf(cli, STATUS_IO, "%s: this is not the folder of a run; `mixc train FILE --out DIR` makes one", path);
    int code = open_trained(cli, path, &trained);
    if (code)
        return code;
    CliModel model = {0};
    Checkpoint about = {0};
    Net *net = load_trained(cli, &trained, MODE_GENERATE, 1, &model, &about, &code);
    if (net)
        code = continue_text(cli, net, &model, &about);
    net_free(net);
    cli_model_close(&model);
    return code;
}
