// See progress.h.
#include "progress.h"

#include "route_chart.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SPARKS = 10 };

static bool terminal_is_utf8(void)
{
    const char *names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && value[0])
            return strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "utf-8");
    }
    return false;
}

Progress progress_make(ProgressKind kind, FILE *out, const char *unit, const RunLog *log)
{
    return (Progress){.kind = kind, .out = out, .utf8 = terminal_is_utf8(), .unit = unit, .log = log, .last_val = NAN, .last_accuracy = NAN,
                      .last_shown_s = -1e9};
}

// The last rows' losses in ten steps of height.
static void sparkline(const RunLog *log, Text *out)
{
    size_t n = 0, from = log->n_rows > 400 ? log->n_rows - 400 : 0;
    double mean[SPARKS] = {0}, low = INFINITY, high = -INFINITY;
    size_t rows = log->n_rows - from;
    for (size_t k = 0; k < SPARKS; k++) {
        double sum = 0, count = 0;
        for (size_t i = from + k * rows / SPARKS; i < from + (k + 1) * rows / SPARKS; i++)
            if (isfinite(log->row[i].loss)) {
                sum += log->row[i].loss;
                count++;
            }
        if (count > 0) {
            mean[n] = sum / count;
            low = fmin(low, mean[n]);
            high = fmax(high, mean[n]);
            n++;
        }
    }
    if (n < 2)
        return;
    text_add(out, "  ");
    for (size_t k = 0; k < n; k++) {
        int level = high > low ? (int)((mean[k] - low) / (high - low) * 7.999) : 0;
        char block[4] = {(char)0xE2, (char)0x96, (char)(0x81 + level), 0};
        text_add(out, block);
    }
}

static void rate_text(Text *out, double rate, const char *unit)
{
    if (rate >= 1e6)
        text_printf(out, "  %.2fM %s", rate / 1e6, unit);
    else if (rate >= 1e4)
        text_printf(out, "  %.1fk %s", rate / 1e3, unit);
    else
        text_printf(out, "  %.0f %s", rate, unit);
}

static void time_text(Text *out, double seconds)
{
    long s = (long)(seconds + 0.5);
    if (s >= 86400)
        text_printf(out, "%ldd%02ldh", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        text_printf(out, "%ldh%02ldm", s / 3600, s / 60 % 60);
    else if (s >= 60)
        text_printf(out, "%ldm%02lds", s / 60, s % 60);
    else
        text_printf(out, "%lds", s);
}

// Resident memory of this process.
static double resident_bytes(void)
{
    FILE *in = fopen("/proc/self/statm", "r");
    long pages = 0, resident = 0;
    int n = in ? fscanf(in, "%ld %ld", &pages, &resident) : 0;
    if (in)
        fclose(in);
    return n == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) : NAN;
}

void progress_line(const Progress *p, const LogRow *row, Text *out)
{
    text_printf(out, "step %lld/%lld  %.0f%%", (long long)row->step, (long long)row->steps,
                row->steps ? 100.0 * (double)row->step / (double)row->steps : 100.0);
    if (isfinite(row->loss))
        text_printf(out, "  loss %.4g", row->loss);
    if (p->utf8 && p->kind == PROGRESS_TTY)
        sparkline(p->log, out);
    double val = isfinite(row->val_loss) ? row->val_loss : p->last_val;
    if (isfinite(val))
        text_printf(out, "  val %.4g", val);
    double accuracy = isfinite(row->val_accuracy) ? row->val_accuracy : p->last_accuracy;
    if (isfinite(accuracy))
        text_printf(out, "  acc %.1f%%", 100 * accuracy);
    if (isfinite(row->lr))
        text_printf(out, "  lr %.2g", row->lr);
    if (isfinite(row->grad_norm))
        text_printf(out, "  |g| %.2g", row->grad_norm);
    if (isfinite(row->tokens_per_s))
        rate_text(out, row->tokens_per_s, p->unit);
    double memory = resident_bytes();
    if (isfinite(memory))
        text_printf(out, memory > 1e9 ? "  %.1fG" : "  %.0fM", memory / (memory > 1e9 ? 1073741824.0 : 1048576.0));
    if (isfinite(row->seconds) && row->step > 0 && row->step < row->steps) {
        text_add(out, "  eta ");
        time_text(out, row->seconds / (double)row->step * (double)(row->steps - row->step));
    }
}

// Cuts a line of UTF-8 to so many columns, at a double space.
static size_t cut(const char *line, size_t columns)
{
    size_t shown = 0, good = 0, i = 0;
    for (; line[i]; i++) {
        if (((unsigned char)line[i] & 0xC0) == 0x80)
            continue;
        if (line[i] == ' ' && line[i + 1] == ' ')
            good = i;
        if (++shown > columns)
            return good;
    }
    return i;
}

// The route with the busiest expert, for the eye.
static void say_worst_route(const Progress *p, const LogRow *row)
{
    const LogRoute *worst = NULL;
    double most = 0;
    for (size_t i = 0; i < row->n_routes; i++)
        for (size_t e = 0; e < row->route[i].n_experts; e++)
            if (row->route[i].load[e] > most) {
                most = row->route[i].load[e];
                worst = &row->route[i];
            }
    if (!worst)
        return;
    Arena scratch = {0};
    Text line = text_make(&scratch);
    route_line(worst, &line);
    fprintf(p->out, "route %s  %s%s\n", worst->name, text_str(&line), row->n_routes > 1 ? "  [the least even one]" : "");
    arena_free(&scratch);
}

void progress_row(Progress *p, const LogRow *row, double now_s, bool last)
{
    Arena scratch = {0};
    Text line = text_make(&scratch);
    bool evaluated = isfinite(row->val_loss);
    if (p->kind == PROGRESS_JSON) {
        log_row_print(row, &line);
        fprintf(p->out, "%s\n", text_str(&line));
    } else if (p->kind == PROGRESS_TTY && (evaluated || last || now_s - p->last_shown_s >= 0.05)) {
        progress_line(p, row, &line);
        struct winsize size = {0};
        size_t columns = ioctl(fileno(p->out), TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 100;
        fprintf(p->out, "\r%.*s\033[K", (int)cut(text_str(&line), columns - 1), text_str(&line));
        p->line_open = true;
        p->last_shown_s = now_s;
        if (evaluated || last)
            progress_end(p);
    } else if (p->kind == PROGRESS_PLAIN && (evaluated || last || now_s - p->last_shown_s >= 2)) {
        progress_line(p, row, &line);
        fprintf(p->out, "%s\n", text_str(&line));
        p->last_shown_s = now_s;
    }
    if ((evaluated || last) && (p->kind == PROGRESS_TTY || p->kind == PROGRESS_PLAIN))
        say_worst_route(p, row);
    fflush(p->out);
    if (evaluated)
        p->last_val = row->val_loss;
    if (isfinite(row->val_accuracy))
        p->last_accuracy = row->val_accuracy;
    arena_free(&scratch);
}

void progress_end(Progress *p)
{
    if (p->line_open) {
        fputc('\n', p->out);
        fflush(p->out);
    }
    p->line_open = false;
}

void progress_say(Progress *p, const char *format, ...)
{
    if (p->kind == PROGRESS_NONE)
        return;
    progress_end(p);
    FILE *out = p->kind == PROGRESS_JSON ? stderr : p->out;
    va_list args;
    va_start(args, format);
    vfprintf(out, format, args);
    va_end(args);
    fputc('\n', out);
    fflush(out);
}
