// Graphs with long convolutions.
#ifndef MIXC_TEST_CONV_CASES_H
#define MIXC_TEST_CONV_CASES_H

#include "text.h"

// Several convolutions in one graph, so that they are compiled once: a filter over rows (gated on the way in), a filter's gradient.
// Lengths that are no good sizes, filters that reach both ways.
static inline void add_case(Text *axes, Text *body, int *id, const int size[5], int number)
{
    const int B = size[0], T = size[1], S = size[2], C = size[3], left = size[4], n = number, v = *id;
    text_printf(axes, "%s B%d : batch = %d, T%d : time = %d, S%d = %d, C%d = %d", n ? "," : "axis", n, B, n, T, n, S, n, C);
    text_printf(body, " %%%d = arg \"x%d\" : f32[B%d,T%d,C%d]\n %%%d = arg \"k%d\" : f32[S%d,C%d]\n", v, n, n, n, n, v + 1, n, n, n);
    text_printf(body, " %%%d = arg \"g%d\" : f32[B%d,T%d,C%d]\n %%%d = mul %%%d, %%%d\n", v + 2, n, n, n, n, v + 3, v, v + 2);
    text_printf(body, " %%%d = fftconv %%%d, %%%d {axis = T%d, taps = S%d, to = T%d, left = %d, over = [], circular = 0}\n",
                v + 4, v + 3, v + 1, n, n, n, left);
    text_printf(body, " %%%d = fftconv %%%d, %%%d {axis = T%d, taps = T%d, to = S%d, left = %d, over = [B%d], circular = 0}\n",
                v + 5, v, v + 2, n, n, n, T - 1 - left, n);
    *id += 6;
}

// Circular ones; several axes of rows and filters; filters that lack the innermost axis.
static const char *const cases[] = {
    "graph @main\naxis B : batch = 3, T : time = 128, C = 6, U : time = 101, H = 3, I = 5, J = 20, V : time = 130, W : time = 200, S = 77\n{\n"
    " %1 = arg \"x1\" : f32[B,T,C]\n %2 = arg \"k2\" : f32[T,C]\n"
    " %3 = fftconv %1, %2 {axis = T, taps = T, to = T, left = 5, over = [], circular = 1}\n"
    " %4 = arg \"x4\" : f32[C,B,U]\n %5 = arg \"k5\" : f32[U,C]\n"
    " %6 = fftconv %4, %5 {axis = U, taps = U, to = U, left = 5, over = [], circular = 1}\n"
    " %7 = arg \"x7\" : f32[B,U,H,I,J]\n %8 = arg \"k8\" : f32[U,H]\n"
    " %9 = fftconv %7, %8 {axis = U, taps = U, to = U, left = 0, over = [], circular = 0}\n"
    " %10 = fftconv %7, %8 {axis = U, taps = U, to = U, left = 0, over = [H], circular = 0}\n"
    " %11 = arg \"x11\" : f32[B,C,V]\n %12 = arg \"k12\" : f32[H,C,V]\n"
    " %13 = fftconv %11, %12 {axis = V, taps = V, to = V, left = 64, over = [], circular = 0}\n"
    " %14 = arg \"x14\" : f32[B,W,J]\n %15 = arg \"k15\" : f32[S,J]\n"
    " %16 = fftconv %14, %15 {axis = W, taps = S, to = W, left = -9, over = [], circular = 1}\n"
    " %17 = fftconv %14, %15 {axis = W, taps = S, to = W, left = 0, over = [J], circular = 1}\n"
    " result \"a\" = %3\n result \"b\" = %6\n result \"c\" = %9\n result \"d\" = %10\n result \"e\" = %13\n result \"f\" = %16\n"
    " result \"g\" = %17\n}\n",
    // skips by rows, by filters that lack the lanes, and one that varies along the sequence
    "graph @main\naxis B : batch = 2, T : time = 160, H = 3, C = 18\n{\n %1 = arg \"x\" : f32[B,T,H,C]\n %2 = arg \"k\" : f32[T,H]\n"
    " %3 = arg \"s\" : f32[H]\n %4 = arg \"c\" : f32[C]\n %5 = arg \"t\" : f32[T,H]\n"
    " %6 = fftconv %1, %2 {axis = T, taps = T, to = T, left = 9, over = [], circular = 0}\n %7 = mul %3, %1\n %8 = add %7, %6\n"
    " %9 = fftconv %1, %2 {axis = T, taps = T, to = T, left = 0, over = [], circular = 0}\n %10 = mul %1, %4\n %11 = add %9, %10\n"
    " %12 = fftconv %1, %2 {axis = T, taps = T, to = T, left = 1, over = [], circular = 0}\n %13 = mul %1, %5\n %14 = add %13, %12\n"
    " %15 = fftconv %1, %2 {axis = T, taps = T, to = T, left = 2, over = [], circular = 0}\n %16 = mul %1, %1\n %17 = add %15, %16\n"
    " %18 = fftconv %1, %2 {axis = T, taps = T, to = T, left = 3, over = [], circular = 1}\n %19 = mul %1, %3\n %20 = add %18, %19\n"
    " result \"y\" = %8\n result \"z\" = %11\n result \"w\" = %14\n result \"q\" = %17\n result \"r\" = %20\n}\n",
    // a value computed in place that is not 0 where what it is made of is
    "graph @main\naxis B : batch = 2, T : time = 11, S = 5, C = 20\n{\n %1 = arg \"x\" : f32[B,T,C]\n %2 = arg \"k\" : f32[S,C]\n"
    " %3 = arg \"g\" : f32[B,T]\n %4 = map %3 {f = exp}\n %5 = div %1, %4\n %6 = map %5 {f = cos}\n"
    " %7 = fftconv %6, %2 {axis = T, taps = S, to = T, left = 2, over = [], circular = 0}\n result \"y\" = %7\n}\n",
};

// What stands before and behind a convolution is part of its kernel, for short filters and for long ones. The result of the
// convolution itself may be kept too. A skip joins the filter at lag 0, wherever in the filter that is, if it is there.
static const char *const gated =
    "graph @main\naxis B : batch = 3, T : time = %d, S = %d, C = 21\n{\n %%1 = arg \"x\" : f32[B,T,C]\n"
    " %%2 = arg \"k\" : f32[S,C]\n %%3 = arg \"before\" : f32[B,T,C]\n %%4 = arg \"behind\" : f32[B,T,C]\n %%5 = arg \"skip\" : f32[C]\n"
    " %%6 = mul %%1, %%3\n %%7.conv = fftconv %%6, %%2 {axis = T, taps = S, to = T, left = %d, over = [], circular = 0}\n"
    " %%8 = mul %%6, %%5\n %%9 = add %%7, %%8\n %%10.y = mul %%9, %%4\n result \"y\" = %%10\n%s}\n";

#endif
