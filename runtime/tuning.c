// See tuning.h.
#define _GNU_SOURCE
#include "tuning.h"

#include "cache.h"
#include "sha256.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { APPLICATION = 0x6d697863, SCHEMA = 2, WAIT_MS = 2000 };      // "mixc"

const char *const tuning_outcome_text[TUNING_OUTCOME_COUNT] = {"ok", "wrong", "crashed", "refused"};

struct Tuning {
    sqlite3 *db;
    char    *path;
    char     place[65];                     // SHA-256 of the place's text
    bool     to_write;
};

static const char make_tables[] =
    "PRAGMA application_id = 1835628643;"
    "CREATE TABLE place (id TEXT PRIMARY KEY, text TEXT NOT NULL);"
    "CREATE TABLE timing (kernel TEXT, place TEXT, schedule TEXT, outcome TEXT NOT NULL, seconds REAL NOT NULL,"
    " beside REAL NOT NULL, about TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (kernel, place, schedule)) WITHOUT ROWID;";

// What version 2 has besides.
static const char add_tables[] =
    "PRAGMA user_version = 2;"
    "CREATE TABLE race (kernel TEXT, place TEXT, schedule TEXT, number INTEGER, ratio REAL NOT NULL, rounds INTEGER NOT NULL,"
    " wins INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (kernel, place, schedule, number)) WITHOUT ROWID;"
    "CREATE TABLE constant (place TEXT, name TEXT, value REAL NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (place, name)) WITHOUT ROWID;";

const char *tuning_path(const Tuning *t)
{
    return t->path;
}

static int64_t ask_number(sqlite3 *db, const char *query)
{
    sqlite3_stmt *s = NULL;
    int64_t n = -1;
    if (sqlite3_prepare_v2(db, query, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        n = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return n;
}

typedef enum FileState { FILE_OURS, FILE_OLD, FILE_EMPTY, FILE_FOREIGN, FILE_BUSY } FileState;

static bool is_valid(sqlite3 *db, const char *query)
{
    sqlite3_stmt *s = NULL;
    const bool good = sqlite3_prepare_v2(db, query, -1, &s, NULL) == SQLITE_OK;
    sqlite3_finalize(s);
    return good;
}

// `whole`: every page is looked at.
static FileState look_at(sqlite3 *db, bool whole)
{
    const int64_t tables = ask_number(db, "SELECT count(*) FROM sqlite_master"), version = ask_number(db, "PRAGMA user_version");
    if (tables < 0)
        return sqlite3_errcode(db) == SQLITE_BUSY || sqlite3_errcode(db) == SQLITE_LOCKED ? FILE_BUSY : FILE_FOREIGN;
    if (ask_number(db, "PRAGMA application_id") != APPLICATION || version < 1 || version > SCHEMA)
        return tables == 0 && ask_number(db, "PRAGMA application_id") == 0 ? FILE_EMPTY : FILE_FOREIGN;
    bool good = is_valid(db, "SELECT kernel, place, schedule, outcome, seconds, beside, about, at FROM timing");
    if (version == SCHEMA)
        good = good && is_valid(db, "SELECT kernel, place, schedule, number, ratio, rounds, wins, at FROM race")
            && is_valid(db, "SELECT place, name, value, at FROM constant");
    if (whole && good) {
        sqlite3_stmt *s = NULL;
        good = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW
            && !strcmp((const char *)sqlite3_column_text(s, 0), "ok");
        sqlite3_finalize(s);
    }
    return !good ? FILE_FOREIGN : version == SCHEMA ? FILE_OURS : FILE_OLD;
}

// The file leaves under a name that nothing has.
static bool move_aside(const char *path, StatusText *note)
{
    char *to = NULL;
    bool moved = false;
    for (int i = 1; i < 1000 && !moved; i++) {
        free(to);
        if (asprintf(&to, "%s.damaged-%d", path, i) < 0)
            return false;
        moved = access(to, F_OK) != 0 && rename(path, to) == 0;
    }
    if (moved) {
        static const char *const beside[] = {"-journal", "-wal", "-shm"};
        for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
            char *name = NULL;
            if (asprintf(&name, "%s%s", path, beside[i]) >= 0)
                unlink(name);
            free(name);
        }
        status_fail(note, STATUS_DAMAGED, "%s was damaged or not a tuning database; it is now %s, and a new one is begun", path, to);
    }
    free(to);
    return moved;
}

static Status fail_sql(const Tuning *t, StatusText *why)
{
    const int code = sqlite3_errcode(t->db);
    const char *what = code == SQLITE_BUSY || code == SQLITE_LOCKED ? "another process holds it locked" : sqlite3_errmsg(t->db);
    return status_fail(why, STATUS_IO, "the tuning database %s cannot be used: %s", t->path, what);
}

// A writer holds the file for itself while it looks and makes tables, so that nobody sees them half made.
static Status open_file(Tuning *t, bool to_write, FileState *out_state, StatusText *why)
{
    const int flags = to_write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    if (sqlite3_open_v2(t->path, &t->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return fail_sql(t, why);
    sqlite3_busy_timeout(t->db, WAIT_MS);
    const int held = to_write ? sqlite3_exec(t->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) : SQLITE_OK;
    if (held != SQLITE_OK && held != SQLITE_NOTADB && held != SQLITE_CORRUPT)
        return fail_sql(t, why);
    *out_state = held == SQLITE_OK ? look_at(t->db, to_write) : FILE_FOREIGN;
    return STATUS_OK;
}

static Status make_place(Tuning *t, const char *place, StatusText *why)
{
    sqlite3_stmt *s = NULL;
    bool good = sqlite3_prepare_v2(t->db, "INSERT OR IGNORE INTO place VALUES (?, ?)", -1, &s, NULL) == SQLITE_OK;
    if (good) {
        sqlite3_bind_text(s, 1, t->place, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 2, place, -1, SQLITE_STATIC);
        good = sqlite3_step(s) == SQLITE_DONE;
    }
    Status status = good ? STATUS_OK : fail_sql(t, why);
    sqlite3_finalize(s);
    return status;
}

static Status prepare(Tuning *t, const char *place, bool to_write, StatusText *note, StatusText *why)
{
    FileState state;
    Status status = open_file(t, to_write, &state, why);
    if (status == STATUS_OK && state == FILE_FOREIGN && to_write) {
        sqlite3_close(t->db);
        t->db = NULL;
        if (!move_aside(t->path, note))
            return status_fail(why, STATUS_IO, "%s is not a tuning database and cannot be moved away: %s", t->path, strerror(errno));
        status = open_file(t, to_write, &state, why);
    }
    if (status != STATUS_OK)
        return status;
    if (state == FILE_BUSY)
        return fail_sql(t, why);
    if (state == FILE_FOREIGN || (state == FILE_EMPTY && !to_write))
        return status_fail(why, STATUS_DAMAGED, "%s is not a tuning database", t->path);
    if (state == FILE_OLD && !to_write)
        return status_fail(why, STATUS_DAMAGED, "%s is of an earlier version; `mixc tune` brings it up to date", t->path);
    if (state == FILE_EMPTY && sqlite3_exec(t->db, make_tables, NULL, NULL, NULL) != SQLITE_OK)
        return fail_sql(t, why);
    if (state != FILE_OURS && sqlite3_exec(t->db, add_tables, NULL, NULL, NULL) != SQLITE_OK)
        return fail_sql(t, why);
    status = to_write ? make_place(t, place, why) : STATUS_OK;
    if (status == STATUS_OK && to_write && sqlite3_exec(t->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        status = fail_sql(t, why);
    return status;
}

static void set_place(Tuning *t, const char *place)
{
    uint8_t digest[32];
    sha256_of(place, strlen(place), digest);
    sha256_hex(digest, t->place);
}

Status tuning_move(Tuning *t, const char *place, StatusText *why)
{
    set_place(t, place);
    return t->to_write ? make_place(t, place, why) : STATUS_OK;
}

// The path of the database; NULL: no folder is used. *out_refused says why, for as long as the cache is open.
static char *database_path(Cache *cache, const char **out_refused)
{
    const char *where = cache_folder(cache);
    char *path = NULL;
    *out_refused = cache_refused(cache);
    if (!where || *out_refused || asprintf(&path, "%s/tuning.db", where) < 0)
        return NULL;
    return path;
}

bool tuning_is_there(const char *folder)
{
    const char *refused;
    Cache *cache = cache_open(folder);
    char *path = database_path(cache, &refused);
    const bool is_there = path && access(path, R_OK) == 0;
    free(path);
    cache_close(cache);
    return is_there;
}

Status tuning_open(const char *folder, const char *place, bool to_write, Tuning **out, StatusText *note, StatusText *why)
{
    *out = NULL;
    const char *refused;
    Cache *cache = cache_open(folder);
    Tuning *t = calloc(1, sizeof *t);
    Status status = STATUS_OK;
    if (!t)
        status = status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the tuning database");
    else if (!(t->path = database_path(cache, &refused)) && to_write)
        status = status_fail(why, STATUS_IO, "there is no folder to keep times in%s%s", refused ? ": " : "", refused ? refused : "");
    cache_close(cache);
    if (status == STATUS_OK && t->path && (to_write || access(t->path, R_OK) == 0)) {
        set_place(t, place);
        t->to_write = to_write;
        status = prepare(t, place, to_write, note, why);
        if (status == STATUS_OK) {
            *out = t;
            return STATUS_OK;
        }
    }
    tuning_close(t);
    return status;
}

void tuning_close(Tuning *t)
{
    if (!t)
        return;
    sqlite3_close(t->db);
    free(t->path);
    free(t);
}

static void bind_kernel(sqlite3_stmt *s, int at, uint64_t kernel)
{
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)kernel);
    sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT);
}

Status tuning_put(Tuning *t, const TuningRow *row, StatusText *why)
{
    sqlite3_stmt *s = NULL;
    Status status = STATUS_OK;
    if (sqlite3_prepare_v2(t->db, "INSERT OR IGNORE INTO timing VALUES (?, ?, ?, ?, ?, ?, ?, ?)", -1, &s, NULL) != SQLITE_OK)
        return fail_sql(t, why);
    bind_kernel(s, 1, row->kernel);
    sqlite3_bind_text(s, 2, t->place, -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 3, row->schedule, -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 4, tuning_outcome_text[row->outcome], -1, SQLITE_STATIC);
    sqlite3_bind_double(s, 5, row->seconds);
    sqlite3_bind_double(s, 6, row->beside);
    sqlite3_bind_text(s, 7, row->about, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 8, (sqlite3_int64)time(NULL));
    if (sqlite3_step(s) != SQLITE_DONE)
        status = fail_sql(t, why);
    sqlite3_finalize(s);
    return status;
}

// Binds (kernel, place, schedule) to 1, 2, 3 of a query. False: it cannot be asked.
static bool ask_of(Tuning *t, const char *query, uint64_t kernel, const char *schedule, sqlite3_stmt **out)
{
    *out = NULL;
    if (sqlite3_prepare_v2(t->db, query, -1, out, NULL) != SQLITE_OK)
        return false;
    bind_kernel(*out, 1, kernel);
    sqlite3_bind_text(*out, 2, t->place, -1, SQLITE_STATIC);
    sqlite3_bind_text(*out, 3, schedule, -1, SQLITE_STATIC);
    return true;
}

bool tuning_find(Tuning *t, uint64_t kernel, const char *schedule, double *out_ratio)
{
    sqlite3_stmt *s;
    const bool has = ask_of(t, "SELECT outcome = 'ok' AND beside > 0, seconds/max(beside, 1e-12) FROM timing"
                               " WHERE kernel = ? AND place = ? AND schedule = ?", kernel, schedule, &s) && sqlite3_step(s) == SQLITE_ROW;
    if (has)
        *out_ratio = sqlite3_column_int(s, 0) ? sqlite3_column_double(s, 1) : 0;
    sqlite3_finalize(s);
    return has;
}

Status tuning_put_race(Tuning *t, const TuningRace *race, StatusText *why)
{
    sqlite3_stmt *s;
    if (!ask_of(t, "INSERT OR IGNORE INTO race VALUES (?, ?, ?, ?, ?, ?, ?, ?)", race->kernel, race->schedule, &s))
        return fail_sql(t, why);
    sqlite3_bind_int(s, 4, race->number);
    sqlite3_bind_double(s, 5, race->ratio);
    sqlite3_bind_int(s, 6, race->rounds);
    sqlite3_bind_int(s, 7, race->wins);
    sqlite3_bind_int64(s, 8, (sqlite3_int64)time(NULL));
    const Status status = sqlite3_step(s) == SQLITE_DONE ? STATUS_OK : fail_sql(t, why);
    sqlite3_finalize(s);
    return status;
}

bool tuning_has_race(Tuning *t, uint64_t kernel, const char *schedule, int number)
{
    sqlite3_stmt *s;
    bool has = false;
    if (ask_of(t, "SELECT 1 FROM race WHERE kernel = ? AND place = ? AND schedule = ? AND number = ?", kernel, schedule, &s)) {
        sqlite3_bind_int(s, 4, number);
        has = sqlite3_step(s) == SQLITE_ROW;
    }
    sqlite3_finalize(s);
    return has;
}

Status tuning_put_constant(Tuning *t, const char *name, double value, StatusText *why)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(t->db, "INSERT OR REPLACE INTO constant VALUES (?, ?, ?, ?)", -1, &s, NULL) != SQLITE_OK)
        return fail_sql(t, why);
    sqlite3_bind_text(s, 1, t->place, -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 2, name, -1, SQLITE_STATIC);
    sqlite3_bind_double(s, 3, value);
    sqlite3_bind_int64(s, 4, (sqlite3_int64)time(NULL));
    const Status status = sqlite3_step(s) == SQLITE_DONE ? STATUS_OK : fail_sql(t, why);
    sqlite3_finalize(s);
    return status;
}

bool tuning_constant(Tuning *t, const char *name, double *out_value)
{
    sqlite3_stmt *s = NULL;
    bool has = false;
    if (sqlite3_prepare_v2(t->db, "SELECT value FROM constant WHERE place = ? AND name = ?", -1, &s, NULL) == SQLITE_OK) {
        sqlite3_bind_text(s, 1, t->place, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 2, name, -1, SQLITE_STATIC);
        has = sqlite3_step(s) == SQLITE_ROW;
        if (has)
            *out_value = sqlite3_column_double(s, 0);
    }
    sqlite3_finalize(s);
    return has;
}

static void visit_all(Tuning *t, const char *query, TuningVisit *visit, void *user)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(t->db, query, -1, &s, NULL) == SQLITE_OK) {
        sqlite3_bind_text(s, 1, t->place, -1, SQLITE_STATIC);
        while (sqlite3_step(s) == SQLITE_ROW) {
            const char *kernel = (const char *)sqlite3_column_text(s, 0), *schedule = (const char *)sqlite3_column_text(s, 1),
                       *outcome = (const char *)sqlite3_column_text(s, 2), *about = (const char *)sqlite3_column_text(s, 5);
            TuningRow row = {.schedule = schedule, .seconds = sqlite3_column_double(s, 3), .about = about,
                             .beside = sqlite3_column_double(s, 4), .outcome = TUNING_REFUSED, .final = sqlite3_column_double(s, 6),
                             .rounds = sqlite3_column_int(s, 7), .wins = sqlite3_column_int(s, 8)};
            if (!kernel || !schedule || !outcome || !about)
                continue;
            row.kernel = strtoull(kernel, NULL, 16);
            for (int o = 0; o < TUNING_OUTCOME_COUNT; o++)
                if (!strcmp(outcome, tuning_outcome_text[o]))
                    row.outcome = (TuningOutcome)o;
            visit(user, &row);
        }
    }
    sqlite3_finalize(s);
}

// The verdict of the last races on a schedule, once there are all of them: the median of three ratios.
#define VERDICTS \
    "(SELECT kernel, schedule, sum(ratio) - min(ratio) - max(ratio) AS final, sum(rounds) AS rounds, sum(wins) AS wins FROM race" \
    " WHERE place = ?1 GROUP BY kernel, schedule HAVING count(*) = 3)"
static_assert(TUNING_RACES == 3, "the queries take the middle one of three");

void tuning_list(Tuning *t, TuningVisit *visit, void *user)
{
    visit_all(t, "SELECT t.kernel, t.schedule, outcome, seconds, beside, about, coalesce(final, 0), coalesce(rounds, 0), coalesce(wins, 0)"
                 " FROM timing t LEFT JOIN " VERDICTS " v ON t.kernel = v.kernel AND t.schedule = v.schedule WHERE t.place = ?1"
                 " ORDER BY t.kernel, seconds/max(beside, 1e-12), t.schedule", visit, user);
}

// Sure: of n rounds it won more than n/2 + sqrt(n), twice the deviation of what chance would give.
void tuning_winners(Tuning *t, TuningVisit *visit, void *user)
{
    visit_all(t, "SELECT t.kernel, t.schedule, outcome, seconds, beside, about, min(final), rounds, wins"
                 " FROM timing t JOIN " VERDICTS " v ON t.kernel = v.kernel AND t.schedule = v.schedule WHERE t.place = ?1"
                 " AND outcome = 'ok' AND final > 0 AND final < 0.985 AND beside*(1 - final) > 1e-7"
                 " AND 2*wins > rounds AND (2*wins - rounds)*(2*wins - rounds) > 4*rounds GROUP BY t.kernel",
              visit, user);
}
