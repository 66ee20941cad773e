// Pictures with labels: IDX files (also gzipped) or a folder of PNG/JPEG files for each class. All pictures are kept as
// bytes; a batch holds (value / 255 - mean) / deviation, mean and deviation of each channel over the training part.
#define _GNU_SOURCE
#include "checked.h"
#include "data_kind.h"
#include "picture.h"

#include <errno.h>
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_CHANNELS = 4 };

typedef struct Images {
    // One of the two: pixels from the start (IDX), or files that are read when the size is known.
    uint8_t     *pixel;                     // [n, height, width, channels]; owned
    const char **file;
    int32_t     *label;                     // [n]; in the arena
    size_t       n, n_train;                // pictures; the first n_train in `order` are for training
    bool         mixed;                     // training and validation come from one set, in shuffled order
    int64_t      height, width, channels;
    const char **class_name; int32_t n_classes;
    double       mean[MAX_CHANNELS], deviation[MAX_CHANNELS];
    bool         has_statistics;
    bool         flip;
    int32_t      crop;                      // largest shift in pixels
} Images;

static const DataFieldRow image_field[] = {
    {"image", DTYPE_F32, 4, "[B,Y,X,C]"}, {"labels", DTYPE_I32, 1, "[B]"}, {NULL, 0, 0, NULL},
};

static uint32_t big_endian(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

// Reads an IDX file of bytes: its sizes and where the data starts. The caller frees *out_file.
static Status read_idx(const char *path, int least_dims, int most_dims, char **out_file, uint32_t size[4], size_t *out_start,
                       StatusText *why)
{
    size_t n, wanted = 1;
    Status s = data_read_file(path, (size_t)8 << 30, out_file, &n, why);
    if (s != STATUS_OK)
        return s;
    const char *f = *out_file;
    int dims = n >= 4 ? f[3] : 0;
    bool ok = n >= 4 && f[0] == 0 && f[1] == 0 && f[2] == 8 && dims >= least_dims && dims <= most_dims &&
              n >= 4 + 4 * (size_t)dims;
    *out_start = 4 + 4 * (size_t)dims;
    for (int i = 0; i < 4; i++)
        size[i] = ok && i < dims ? big_endian(f + 4 + 4 * i) : 1;
    for (int i = 0; ok && i < 4; i++)
        ok = checked_mul(wanted, size[i], &wanted);
    if (ok && wanted == n - *out_start && size[0] > 0 && wanted > 0)
        return STATUS_OK;
    free(*out_file);
    return status_fail(why, STATUS_DAMAGED, ok ? "the IDX file '%s' is too short or too long for the sizes in its header"
                                               : "'%s' is not an IDX file of bytes with %d axes", path, least_dims);
}

// Adds one pair of IDX files to the set.
static Status add_idx(Dataset *d, Images *im, const char *images, const char *labels, StatusText *why)
{
    char *file = NULL, *label_file = NULL;
    uint32_t size[4], label_size[4];
    size_t start, label_start;
    Status s = read_idx(images, 3, 4, &file, size, &start, why);
    if (s != STATUS_OK)
        return s;
    s = read_idx(labels, 1, 1, &label_file, label_size, &label_start, why);
    if (s == STATUS_OK && label_size[0] != size[0])
        s = status_fail(why, STATUS_DAMAGED, "'%s' has %u pictures and '%s' has %u labels", images, size[0], labels,
                        label_size[0]);
    if (s == STATUS_OK && im->n && (im->height != size[1] || im->width != size[2] || im->channels != size[3]))
        s = status_fail(why, STATUS_DAMAGED, "the pictures of '%s' have another size than those before them", images);
    size_t bytes = (size_t)size[1] * size[2] * size[3];
    uint8_t *pixel = s == STATUS_OK ? realloc(im->pixel, (im->n + size[0]) * bytes) : NULL;
    if (s == STATUS_OK && !pixel)
        s = status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the pictures of '%s'", images);
    if (s == STATUS_OK) {
        int32_t *label = arena_array(d->arena, int32_t, im->n + size[0]);
        if (im->n)
            memcpy(label, im->label, im->n * sizeof *label);
        for (size_t i = 0; i < size[0]; i++) {
            label[im->n + i] = (unsigned char)label_file[label_start + i];
            if (label[im->n + i] >= im->n_classes)
                im->n_classes = label[im->n + i] + 1;
        }
        im->pixel = pixel;
        memcpy(pixel + im->n * bytes, file + start, size[0] * bytes);
        im->label = label;
        im->n += size[0];
        im->height = size[1], im->width = size[2], im->channels = size[3];
    }
    free(file);
    free(label_file);
    return s;
}

// "train-images.idx3-ubyte" -> "train-labels.idx1-ubyte".
static const char *labels_beside(Arena *arena, const char *images)
{
    char *path = arena_strdup(arena, images), *slash = strrchr(path, '/');
    char *word = strstr(slash ? slash : path, "images");
    if (!word)
        return NULL;
    memcpy(word, "labels", 6);
    char *idx = strstr(word, "idx3");
    if (idx)
        idx[3] = '1';
    return path;
}

static Status add_beside(Dataset *d, Images *im, const char *images, StatusText *why)
{
    const char *labels = labels_beside(d->arena, images);
    if (!labels)
        return status_fail(why, STATUS_BAD_MODEL, "the labels of '%s' are not known: its name has no 'images' in it; use "
                           "source = idx(\"IMAGES\", \"LABELS\")", images);
    return add_idx(d, im, images, labels, why);
}

// source = idx("IMAGES", "LABELS", "IMAGES", "LABELS"): the second pair is for validation.
static Status open_named(Dataset *d, Images *im, StatusText *why)
{
    const char *name[4];
    int n = 0;
    for (; n < 4; n++)
        if (!(name[n] = data_text(d, arena_printf(d->arena, "source.%d", n))))
            break;
    if (n != 2 && n != 4)
        return status_fail(why, STATUS_BAD_MODEL, "data: idx takes a file of pictures and one of labels, and perhaps the same "
                           "again for validation");
    Status s = add_idx(d, im, data_path(d, name[0]), data_path(d, name[1]), why);
    im->n_train = im->n;
    if (s == STATUS_OK && n == 4)
        s = add_idx(d, im, data_path(d, name[2]), data_path(d, name[3]), why);
    return s;
}

static bool has_word(const char *path, const char *word)
{
    const char *slash = strrchr(path, '/');
    return strstr(slash ? slash : path, word) != NULL;
}

static bool is_for_validation(const char *path)
{
    return has_word(path, "test") || has_word(path, "t10k") || has_word(path, "val");
}

// One file of pictures to train; when its name says so, the file of test pictures beside it validates.
static Status open_idx_file(Dataset *d, Images *im, const char *path, StatusText *why)
{
    static const char *const other[] = {"t10k", "test", "val"};
    Status s = add_beside(d, im, path, why);
    const char *slash = strrchr(path, '/'), *word = strstr(slash ? slash : path, "train");
    im->n_train = im->n;
    for (size_t i = 0; s == STATUS_OK && word && i < sizeof other / sizeof other[0]; i++) {
        const char *beside = arena_printf(d->arena, "%.*s%s%s", (int)(word - path), path, other[i], word + 5);
        struct stat st;
        if (stat(beside, &st) == 0)
            return add_beside(d, im, beside, why);
    }
    return s;
}

// IDX files of a folder: those with "train" in their names train, "test", "t10k" or "val" validate.
static Status open_idx_folder(Dataset *d, Images *im, const char *folder, StatusText *why)
{
    glob_t found = {0};
    Status s = STATUS_OK;
    int r = glob(arena_printf(d->arena, "%s/*images*", folder), 0, NULL, &found);
    for (int validate = 0; validate <= 1 && r == 0; validate++) {
        for (size_t i = 0; i < found.gl_pathc && s == STATUS_OK; i++)
            if (is_for_validation(found.gl_pathv[i]) == validate)
                s = add_beside(d, im, found.gl_pathv[i], why);
        if (!validate)
            im->n_train = im->n;
    }
    globfree(&found);
    return s;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Names of the entries of a folder that are folders (or files), sorted.
static size_t list_folder(Arena *arena, const char *folder, bool folders, const char ***out)
{
    glob_t found = {0};
    size_t n = 0, capacity = 0;
    *out = NULL;
    int r = glob(arena_printf(arena, "%s/*", folder), GLOB_NOSORT, NULL, &found);
    for (size_t i = 0; r == 0 && i < found.gl_pathc; i++) {
        struct stat st;
        if (stat(found.gl_pathv[i], &st) != 0 || (folders ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode)))
            continue;
        *out = arena_grow(arena, *out, n, &capacity, sizeof **out);
        (*out)[n++] = arena_strdup(arena, strrchr(found.gl_pathv[i], '/') + 1);
    }
    globfree(&found);
    if (n)
        qsort(*out, n, sizeof **out, compare_names);
    return n;
}

static Status add_class(Dataset *d, Images *im, const char *folder, const char *name, size_t *capacity, size_t *label_capacity,
                        StatusText *why)
{
    const char **file;
    int32_t label = 0;
    while (label < im->n_classes && strcmp(im->class_name[label], name) != 0)
        label++;
    if (label == im->n_classes)
        return status_fail(why, STATUS_DAMAGED, "the class '%s' in '%s' is not among those that were trained", name, folder);
    size_t n = list_folder(d->arena, arena_printf(d->arena, "%s/%s", folder, name), false, &file);
    for (size_t i = 0; i < n; i++) {
        im->file = arena_grow(d->arena, im->file, im->n, capacity, sizeof *im->file);
        im->label = arena_grow(d->arena, im->label, im->n, label_capacity, sizeof *im->label);
        im->file[im->n] = arena_printf(d->arena, "%s/%s/%s", folder, name, file[i]);
        im->label[im->n++] = label;
    }
    return STATUS_OK;
}

// FOLDER/CLASS/FILE, or FOLDER/train/CLASS/FILE with FOLDER/val (or test).
static Status open_class_folder(Dataset *d, Images *im, const char *folder, StatusText *why)
{
    const char *root[2] = {folder, NULL}, **name;
    size_t capacity = 0, label_capacity = 0;
    size_t n = list_folder(d->arena, folder, true, &name);
    const char *validate = NULL;
    bool has_train = false;
    for (size_t i = 0; i < n; i++) {
        has_train |= strcmp(name[i], "train") == 0;
        if (strcmp(name[i], "val") == 0 || strcmp(name[i], "test") == 0)
            validate = name[i];
    }
    if (has_train && validate) {
        root[0] = arena_printf(d->arena, "%s/train", folder);
        root[1] = arena_printf(d->arena, "%s/%s", folder, validate);
        n = list_folder(d->arena, root[0], true, &name);
    }
    if (im->n_classes == 0) {               // else they come from the checkpoint
        im->class_name = name;
        im->n_classes = (int32_t)n;
    }
    Status s = STATUS_OK;
    for (int r = 0; r < 2 && root[r] && s == STATUS_OK; r++) {
        n = list_folder(d->arena, root[r], true, &name);
        for (size_t i = 0; i < n && s == STATUS_OK; i++)
            s = add_class(d, im, root[r], name[i], &capacity, &label_capacity, why);
        if (r == 0)
            im->n_train = im->n;
    }
    if (s == STATUS_OK && im->n == 0)
        s = status_fail(why, STATUS_IO, "there are no pictures in the folders of '%s'", folder);
    return s;
}

// Position in the set of training (or validation) picture i.
static size_t picture_at(const Dataset *d, DataSplit split, uint64_t number, int64_t b)
{
    const Images *im = d->self;
    uint64_t sample = number * (uint64_t)d->batch + (uint64_t)b;
    uint64_t n = split == DATA_TRAIN ? im->n_train : im->n - im->n_train;
    uint64_t i = sample % n;
    if (split == DATA_TRAIN)                // every epoch has an order of its own
        i = data_shuffle(i, n, d->options.seed, sample / n + 1);
    else
        i += im->n_train;
    return im->mixed ? data_shuffle(i, im->n, 0, 0) : i;
}

static void measure(Images *im)
{
    size_t area = (size_t)(im->height * im->width);
    for (int64_t c = 0; c < im->channels; c++) {
        uint64_t histogram[256] = {0};
        for (size_t i = 0; i < im->n_train; i++) {
            size_t k = im->mixed ? data_shuffle(i, im->n, 0, 0) : i;
            const uint8_t *p = im->pixel + k * area * (size_t)im->channels + c;
            for (size_t j = 0; j < area; j++)
                histogram[p[j * (size_t)im->channels]]++;
        }
        double sum = 0, squares = 0, n = (double)im->n_train * (double)area;
        for (int v = 0; v < 256; v++) {
            sum += (double)histogram[v] * v / 255;
            squares += (double)histogram[v] * v / 255 * v / 255;
        }
        im->mean[c] = sum / n;
        double variance = squares / n - im->mean[c] * im->mean[c];
        im->deviation[c] = variance > 1e-12 ? sqrt(variance) : 1;
    }
    im->has_statistics = true;
}

// "pictures C mean deviation ..", then a line for each class.
static void make_state(Dataset *d, const Images *im)
{
    Text text = text_make(d->arena);
    text_printf(&text, "pictures %lld", (long long)im->channels);
    for (int64_t c = 0; c < im->channels; c++) {
        text_char(&text, ' ');
        text_double(&text, im->mean[c]);
        text_char(&text, ' ');
        text_double(&text, im->deviation[c]);
    }
    for (int32_t i = 0; im->class_name && i < im->n_classes; i++)
        text_printf(&text, "\n%s", im->class_name[i]);
    d->state = text_str(&text);
}

static Status restore_state(Dataset *d, Images *im, StatusText *why)
{
    const char *p = d->options.state;
    char *end = NULL;
    if (strncmp(p, "pictures ", 9) != 0)
        return status_fail(why, STATUS_DAMAGED, "the checkpoint was trained on data of another kind");
    long channels = strtol(p + 9, &end, 10);
    for (long c = 0; c < channels && c < MAX_CHANNELS; c++) {
        im->mean[c] = strtod(end, &end);
        im->deviation[c] = strtod(end, &end);
        if (!(im->deviation[c] > 0) || !isfinite(im->mean[c]))
            return status_fail(why, STATUS_DAMAGED, "the saved mean and deviation of the pictures are damaged");
    }
    im->has_statistics = channels > 0;
    size_t capacity = 0;
    for (p = strchr(p, '\n'); p; p = strchr(p, '\n')) {
        size_t n = strcspn(++p, "\n");
        im->class_name = arena_grow(d->arena, im->class_name, (size_t)im->n_classes, &capacity, sizeof *im->class_name);
        im->class_name[im->n_classes++] = arena_strndup(d->arena, p, n);
    }
    return STATUS_OK;
}

static Status load_files(Images *im, const DataSlot *slot, StatusText *why)
{
    size_t bytes, all;
    if (slot->size[3] != 1 && slot->size[3] != 3)
        return status_fail(why, STATUS_BAD_MODEL, "pictures have 1 or 3 channels, and the model wants %lld",
                           (long long)slot->size[3]);
    im->height = slot->size[1], im->width = slot->size[2], im->channels = slot->size[3];
    if (!checked_mul((size_t)im->height, (size_t)im->width, &bytes) || !checked_mul(bytes, (size_t)im->channels, &bytes) ||
        !checked_mul(bytes, im->n, &all) || all > (size_t)16 << 30)
        return status_fail(why, STATUS_TOO_LARGE, "%zu pictures of %lld x %lld pixels do not fit into memory", im->n,
                           (long long)im->width, (long long)im->height);
    free(im->pixel);
    im->pixel = malloc(all + 1);
    if (!im->pixel)
        return status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for %zu pictures (%zu bytes)", im->n, all);
    Status s = STATUS_OK;
    for (size_t i = 0; i < im->n && s == STATUS_OK; i++)
        s = picture_read(im->file[i], im->height, im->width, (int)im->channels, im->pixel + i * bytes, why);
    return s;
}

static Status images_bind(Dataset *d, const DataSlot *slot, size_t n, StatusText *why)
{
    Images *im = d->self;
    const DataSlot *image = data_slot(slot, n, "image");
    if (!image)
        return status_fail(why, STATUS_BAD_MODEL, "the model does not read the data's field `image`");
    bool same = im->pixel && image->size[1] == im->height && image->size[2] == im->width && image->size[3] == im->channels;
    if (!im->file && !same)
        return status_fail(why, STATUS_BAD_MODEL, "the pictures are [%lld,%lld,%lld] (Y, X, C), and the model wants "
                           "[%lld,%lld,%lld]", (long long)im->height, (long long)im->width, (long long)im->channels,
                           (long long)image->size[1], (long long)image->size[2], (long long)image->size[3]);
    Status s = im->file && !same ? load_files(im, image, why) : STATUS_OK;
    if (s == STATUS_OK && !im->has_statistics)
        measure(im);
    if (s == STATUS_OK && !d->state[0])
        make_state(d, im);
    return s;
}

static int64_t images_batches(const Dataset *d, DataSplit split)
{
    const Images *im = d->self;
    return (int64_t)(split == DATA_TRAIN ? im->n_train : im->n - im->n_train) / d->batch;
}

static Status images_batch(Dataset *d, DataSplit split, uint64_t number, const DataSlot *slot, size_t n, StatusText *why)
{
    (void)why;
    const Images *im = d->self;
    const DataSlot *image = data_slot(slot, n, "image"), *labels = data_slot(slot, n, "labels");
    int64_t h = im->height, w = im->width, ch = im->channels;
    for (int64_t b = 0; b < d->batch; b++) {
        size_t k = picture_at(d, split, number, b);
        bool flip = false;
        int64_t dy = 0, dx = 0;
        if (split == DATA_TRAIN) {
            Draws draws = draws_for(d->options.seed, STREAM_AUGMENT, number * (uint64_t)d->batch + (uint64_t)b);
            flip = im->flip && draw_below(&draws, 2);
            dy = (int64_t)draw_below(&draws, 2 * (uint32_t)im->crop + 1) - im->crop;
            dx = (int64_t)draw_below(&draws, 2 * (uint32_t)im->crop + 1) - im->crop;
        }
        const uint8_t *from = im->pixel + k * (size_t)(h * w * ch);
        float *to = (float *)image->data + b * h * w * ch;
        for (int64_t y = 0; y < h; y++)
            for (int64_t x = 0; x < w; x++) {
                int64_t sy = y + dy, sx = (flip ? w - 1 - x : x) + dx;
                bool inside = sy >= 0 && sy < h && sx >= 0 && sx < w;
                for (int64_t c = 0; c < ch; c++) {
                    double v = inside ? from[(sy * w + sx) * ch + c] / 255.0 : 0;
                    *to++ = (float)((v - im->mean[c]) / im->deviation[c]);
                }
            }
        if (labels && labels->dtype == DTYPE_I32)
            ((int32_t *)labels->data)[b] = im->label[k];
    }
    return STATUS_OK;
}

static void images_close(Dataset *d)
{
    free(((Images *)d->self)->pixel);
}

static int64_t images_range(const Dataset *d, const char *field)
{
    (void)field;
    return d->n_vocabulary;
}

static const DataKind images_kind = {image_field, images_bind, images_batch, images_batches, images_close, images_range, NULL};

static Status read_augment(Dataset *d, Images *im, StatusText *why)
{
    double count = 0, shift;
    bool is_list = data_text(d, "augment.count") != NULL;
    Status s = data_number(d, "augment.count", data_text(d, "augment") != NULL, 0, 100, &count, why);
    for (int i = 0; i < (int)count && s == STATUS_OK; i++) {
        const char *key = is_list ? arena_printf(d->arena, "augment.%d", i) : "augment";
        const char *name = data_text(d, key);
        if (name && strcmp(name, "flip") == 0) {
            im->flip = true;
        } else if (name && strcmp(name, "crop") == 0) {
            s = data_number(d, arena_printf(d->arena, "%s.0", key), 2, 0, 1000, &shift, why);
            im->crop = (int32_t)shift;
        } else {
            s = status_fail(why, STATUS_BAD_MODEL, "data: there is no augmentation `%s`; use flip and crop(PIXELS)",
                            name ? name : "");
        }
    }
    return s;
}

// Without files of their own, validation pictures are a share of all, chosen by a fixed shuffle.
static Status split_images(Dataset *d, Images *im, StatusText *why)
{
    double train, val;
    if (im->n_train == 0)                   // only validation files: they serve for both
        im->n_train = im->n;
    if (im->n_train < im->n)
        return STATUS_OK;
    Status s = data_number(d, "split.train", 0.9, 0, 1e9, &train, why);
    if (s == STATUS_OK)
        s = data_number(d, "split.val", train <= 1 ? 1 - train : 0, 0, 1e9, &val, why);
    if (s != STATUS_OK)
        return s;
    im->n_train = (size_t)((double)im->n * (train / (train + val)));
    im->mixed = true;
    if (im->n_train == im->n)
        im->n_train--;
    if (!(train + val > 0) || im->n < 2 || im->n_train < 1)
        return status_fail(why, STATUS_BAD_MODEL, "%zu pictures cannot be divided into a part to train and one to validate",
                           im->n);
    return STATUS_OK;
}

Status data_open_images(Dataset *d, const char *path, StatusText *why)
{
    Images *im = arena_new(d->arena, Images);
    struct stat st;
    d->self = im;
    d->kind = &images_kind;
    Status s = read_augment(d, im, why);
    if (s == STATUS_OK && d->options.state)
        s = restore_state(d, im, why);
    if (s != STATUS_OK)
        return s;
    if (!path)
        s = open_named(d, im, why);
    else if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        s = open_idx_folder(d, im, path, why);
    else
        s = open_idx_file(d, im, path, why);
    if (s == STATUS_OK && im->n == 0)
        s = open_class_folder(d, im, path, why);
    if (s == STATUS_OK)
        s = split_images(d, im, why);
    if (s != STATUS_OK)
        return s;
    d->n_vocabulary = im->n_classes;
    d->summary = arena_printf(d->arena, "%s: %zu pictures of %d classes, %zu to train, %zu to validate",
                              path ? path : data_text(d, "source.0"), im->n, im->n_classes, im->n_train, im->n - im->n_train);
    return s;
}
