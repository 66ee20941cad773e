// Pictures as data: IDX files, folders of PNG and JPEG files, scaling, splits and augmentation.
#include "data_case.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jpeglib.h>
#include <png.h>

static void test_idx_digits(void **state)
{
    (void)state;
    const char *data = MIXC_SHARED "/data";
    if (access(data, F_OK) != 0)
        skip();
    Arena arena = {0};
    StatusText why = {0};
    Dataset *d = NULL;
    DataOptions options = {.path = data};
    assert_int_equal(data_open(&arena, NULL, 0, &options, &d, &why), STATUS_OK);
    assert_int_equal(data_vocabulary(d), 10);
    assert_non_null(strstr(data_summary(d), "1797 pictures of 10 classes, 1437 to train, 360 to validate"));
    enum { B = 64 };
    static float image[B * 64];
    int32_t labels[B];
    DataSlot slot[] = {{"image", DTYPE_F32, 4, {B, 8, 8, 1}, image}, {"labels", DTYPE_I32, 1, {B}, labels}};
    bind(d, slot, 2);
    double sum = 0, squares = 0;
    int seen[10] = {0};
    for (uint64_t k = 0; k < 22; k++) {     // one epoch and a little: mean 0, deviation 1, every class
        batch(d, DATA_TRAIN, k, slot, 2);
        for (int i = 0; i < B * 64; i++)
            sum += image[i], squares += (double)image[i] * image[i];
        for (int b = 0; b < B; b++)
            seen[labels[b]]++;
    }
    assert_true(fabs(sum / (22 * B * 64)) < 0.02 && fabs(squares / (22 * B * 64) - 1) < 0.02);
    for (int i = 0; i < 10; i++)
        assert_true(seen[i] > 100);
    assert_int_equal(data_batches(d, DATA_VAL), 5);
    // The saved state gives the same numbers back.
    float before = image[77];
    options.state = data_state(d);
    Dataset *e = NULL;
    assert_int_equal(data_open(&arena, NULL, 0, &options, &e, &why), STATUS_OK);
    bind(e, slot, 2);
    batch(e, DATA_TRAIN, 21, slot, 2);
    assert_true(image[77] == before);
    slot[0].size[1] = 9;
    assert_int_equal(data_bind(e, slot, 2, &why), STATUS_BAD_MODEL);
    assert_string_equal(why.text, "the pictures are [8,8,1] (Y, X, C), and the model wants [9,8,1]");
    data_close(d);
    data_close(e);
    arena_free(&arena);
}

static void write_png(const char *name, int width, int height, int level)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .width = (unsigned)width, .height = (unsigned)height,
                       .format = PNG_FORMAT_RGB};
    unsigned char *p = calloc((size_t)(width * height), 3);
    for (int i = 0; i < width * height; i++)
        p[3 * i] = (unsigned char)level, p[3 * i + 1] = (unsigned char)(i % width < width / 2 ? 0 : 255);
    assert_true(png_image_write_to_file(&image, path_of(name), 0, p, 0, NULL));
    free(p);
}

// A grey JPEG, the left half dark and the right half bright.
static void write_jpeg(const char *name, int width, int height)
{
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    unsigned char row[64];
    FILE *f = fopen(path_of(name), "w");
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    jpeg_stdio_dest(&info, f);
    info.image_width = (unsigned)width, info.image_height = (unsigned)height;
    info.input_components = 1, info.in_color_space = JCS_GRAYSCALE;
    jpeg_set_defaults(&info);
    jpeg_start_compress(&info, TRUE);
    for (int x = 0; x < width; x++)
        row[x] = x < width / 2 ? 20 : 220;
    for (int y = 0; y < height; y++)
        jpeg_write_scanlines(&info, (JSAMPROW[]){row}, 1);
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    fclose(f);
}

static void test_jpeg(void **state)
{
    (void)state;
    Arena arena = {0};
    mkdir(path_of("jpegs"), 0700);
    mkdir(path_of("jpegs/train"), 0700);
    mkdir(path_of("jpegs/train/one"), 0700);
    mkdir(path_of("jpegs/val"), 0700);
    mkdir(path_of("jpegs/val/one"), 0700);
    write_jpeg("jpegs/train/one/a.jpg", 48, 32);             // wider than wanted: the middle is taken
    write_jpeg("jpegs/val/one/b.jpg", 16, 16);
    Dataset *d = open_data(&arena, NULL, FIELDS({"source", "jpegs"}));
    float image[16 * 16];
    DataSlot slot[] = {{"image", DTYPE_F32, 4, {1, 16, 16, 1}, image}};
    bind(d, slot, 1);
    for (DataSplit split = DATA_TRAIN; split <= DATA_VAL; split++) {
        batch(d, split, 0, slot, 1);
        for (int y = 0; y < 16; y++) {
            assert_true(image[y * 16] < -0.7f && image[y * 16 + 5] < -0.7f);
            assert_true(image[y * 16 + 10] > 0.7f && image[y * 16 + 15] > 0.7f);
        }
    }
    data_close(d);
    FILE *f = fopen(path_of("jpegs/val/one/b.jpg"), "r+");
    fseek(f, 20, SEEK_SET);
    fwrite("garbage in the header", 1, 21, f);
    fclose(f);
    d = open_data(&arena, NULL, FIELDS({"source", "jpegs"}));
    StatusText why = {0};
    assert_int_equal(data_bind(d, slot, 1, &why), STATUS_DAMAGED);
    assert_non_null(strstr(why.text, "b.jpg' is damaged"));
    data_close(d);
    arena_free(&arena);
}

static void test_folders_of_pictures(void **state)
{
    (void)state;
    Arena arena = {0};
    mkdir(path_of("pets"), 0700);
    mkdir(path_of("pets/cat"), 0700);
    mkdir(path_of("pets/dog"), 0700);
    for (int i = 0; i < 10; i++) {
        char name[64];
        snprintf(name, sizeof name, "pets/%s/%d.png", i % 2 ? "cat" : "dog", i);
        write_png(name, 16 + i, 16, i % 2 ? 255 : 0);
    }
    Dataset *d = open_data(&arena, NULL, FIELDS({"source", "pets"}, {"split.train", "0.8"}, {"split.val", "0.2"},
                                                {"augment.count", "2"}, {"augment.0", "flip"}, {"augment.1", "crop"},
                                                {"augment.1.0", "1"}));
    float image[4 * 8 * 8 * 3];
    int32_t labels[4];
    DataSlot slot[] = {{"image", DTYPE_F32, 4, {4, 8, 8, 3}, image}, {"labels", DTYPE_I32, 1, {4}, labels}};
    bind(d, slot, 2);
    assert_non_null(strstr(data_state(d), "\ncat\ndog"));
    for (uint64_t k = 0; k < 10; k++) {
        batch(d, DATA_VAL, k, slot, 2);
        for (int b = 0; b < 4; b++) {
            const float *p = image + b * 8 * 8 * 3;
            assert_true((p[0] > 0) == (labels[b] == 0));             // red: cats
            assert_true(p[1] < 0 && p[7 * 3 + 1] > 0);               // green: the right half
        }
        batch(d, DATA_TRAIN, k, slot, 2);
    }
    data_close(d);
    arena_free(&arena);
    write_file("pets/dog/broken.png", "\x89PNG\r\n\x1a\nrest", 12);
    Dataset *e = open_data(&arena, NULL, FIELDS({"source", "pets"}));
    StatusText why = {0};
    assert_int_equal(data_bind(e, slot, 2, &why), STATUS_DAMAGED);
    assert_non_null(strstr(why.text, "broken.png' is damaged"));
    data_close(e);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idx_digits),
        cmocka_unit_test(test_folders_of_pictures),
        cmocka_unit_test(test_jpeg),
    };
    return run_in_folder("data of pictures", tests, sizeof tests / sizeof *tests);
}
