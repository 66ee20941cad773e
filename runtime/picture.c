// See picture.h.
#define _GNU_SOURCE
#include "picture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

enum { MAX_PIXELS = 100000000 };

typedef struct Picture {
    uint8_t *pixel;                         // [height, width, channels]; owned
    size_t   height, width, channels;
} Picture;

static Status make_room(Picture *p, const char *path, StatusText *why)
{
    if (p->height == 0 || p->width == 0 || p->height > MAX_PIXELS / p->width)
        return status_fail(why, STATUS_DAMAGED, "the picture '%s' has %zu x %zu pixels", path, p->width, p->height);
    p->pixel = calloc(p->height * p->width, p->channels);
    return p->pixel ? STATUS_OK : status_fail(why, STATUS_OUT_OF_MEMORY, "no memory for the picture '%s'", path);
}

static Status read_png(FILE *f, const char *path, Picture *p, StatusText *why)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_stdio(&image, f))
        return status_fail(why, STATUS_DAMAGED, "the picture '%s' is damaged: %s", path, image.message);
    image.format = p->channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
    p->height = image.height;
    p->width = image.width;
    Status s = make_room(p, path, why);
    if (s == STATUS_OK && !png_image_finish_read(&image, NULL, p->pixel, 0, NULL))
        s = status_fail(why, STATUS_DAMAGED, "the picture '%s' is damaged: %s", path, image.message);
    png_image_free(&image);
    return s;
}

typedef struct JpegErrors {
    struct jpeg_error_mgr base;             // first: the library hands back a pointer to it
    jmp_buf jump;
    char    message[JMSG_LENGTH_MAX];
} JpegErrors;

static void jpeg_failed(j_common_ptr info)
{
    JpegErrors *e = (JpegErrors *)info->err;
    info->err->format_message(info, e->message);
    longjmp(e->jump, 1);
}

static void jpeg_silent(j_common_ptr info)
{
    (void)info;
}

// Everything that may jump back is called from here; what must survive the jump is reached through pointers.
static Status decode_jpeg(struct jpeg_decompress_struct *info, JpegErrors *errors, FILE *f, const char *path, Picture *p,
                          StatusText *why)
{
    if (setjmp(errors->jump))
        return status_fail(why, STATUS_DAMAGED, "the picture '%s' is damaged: %s", path, errors->message);
    jpeg_create_decompress(info);
    jpeg_stdio_src(info, f);
    jpeg_read_header(info, TRUE);
    info->out_color_space = p->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(info);
    p->height = info->output_height;
    p->width = info->output_width;
    Status s = (size_t)info->output_components == p->channels ? make_room(p, path, why)
             : status_fail(why, STATUS_DAMAGED, "the picture '%s' has colours that cannot be converted", path);
    while (s == STATUS_OK && info->output_scanline < info->output_height) {
        JSAMPROW row = p->pixel + (size_t)info->output_scanline * p->width * p->channels;
        jpeg_read_scanlines(info, &row, 1);
    }
    return s;
}

static Status read_jpeg(FILE *f, const char *path, Picture *p, StatusText *why)
{
    struct jpeg_decompress_struct info;
    JpegErrors errors = {.message = ""};
    memset(&info, 0, sizeof info);
    info.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = jpeg_failed;
    errors.base.output_message = jpeg_silent;
    Status s = decode_jpeg(&info, &errors, f, path, p, why);
    jpeg_destroy_decompress(&info);
    return s;
}

// The share of pixel i that lies in [begin, end).
static double covered(size_t i, double begin, double end)
{
    double low = (double)i > begin ? (double)i : begin, high = (double)i + 1 < end ? (double)i + 1 : end;
    return high > low ? high - low : 0;
}

static void shrink(const Picture *p, size_t height, size_t width, uint8_t *out)
{
    double step = (double)p->height / (double)height, step_x = (double)p->width / (double)width;
    if (step_x < step)
        step = step_x;                      // the same in both directions: shapes are kept
    double top = ((double)p->height - step * (double)height) / 2, left = ((double)p->width - step * (double)width) / 2;
    for (size_t y = 0; y < height; y++) {
        double y0 = top + step * (double)y, y1 = y0 + step;
        for (size_t x = 0; x < width; x++) {
            double x0 = left + step * (double)x, x1 = x0 + step, sum[3] = {0, 0, 0}, area = 0;
            for (size_t i = (size_t)y0; i < p->height && (double)i < y1; i++)
                for (size_t k = (size_t)x0; k < p->width && (double)k < x1; k++) {
                    double a = covered(i, y0, y1) * covered(k, x0, x1);
                    const uint8_t *from = p->pixel + (i * p->width + k) * p->channels;
                    area += a;
                    for (size_t c = 0; c < p->channels; c++)
                        sum[c] += a * from[c];
                }
            for (size_t c = 0; c < p->channels; c++)
                out[(y * width + x) * p->channels + c] = (uint8_t)(area > 0 ? sum[c] / area + 0.5 : 0);
        }
    }
}

Status picture_read(const char *path, int64_t height, int64_t width, int channels, uint8_t *out, StatusText *why)
{
    unsigned char head[8] = {0};
    FILE *f = fopen(path, "re");
    if (!f)
        return status_fail(why, STATUS_IO, "the picture '%s' cannot be opened: %s", path, strerror(errno));
    size_t n = fread(head, 1, sizeof head, f);
    rewind(f);
    Picture p = {.channels = (size_t)channels};
    Status s;
    if (n >= 8 && png_sig_cmp(head, 0, 8) == 0)
        s = read_png(f, path, &p, why);
    else if (n >= 3 && head[0] == 0xff && head[1] == 0xd8 && head[2] == 0xff)
        s = read_jpeg(f, path, &p, why);
    else
        s = status_fail(why, STATUS_DAMAGED, "the picture '%s' is neither PNG nor JPEG", path);
    fclose(f);
    if (s == STATUS_OK)
        shrink(&p, (size_t)height, (size_t)width, out);
    free(p.pixel);
    return s;
}
