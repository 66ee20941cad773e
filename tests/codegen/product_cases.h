// Graphs with product and row kernels, small enough for CUDA text on host threads.
#ifndef MIXC_TEST_PRODUCT_CASES_H
#define MIXC_TEST_PRODUCT_CASES_H

#include "loop_cases.h"

static const LoopCase product_case[] = {
    {"product", 3e-6, {"T = 33, D = 35, F = 40", "T = 64, D = 32, F = 32"},
     "graph @main\naxis @\n{\n"
     "  %1.x = arg \"x\" : f32[T,D]\n  %2.w = param \"w\" : f32[D,F]\n  %3.b = param \"b\" : f32[F]\n"
     "  %4 = contract %1, %2 {over = [D]}\n  %5.u = add %4, %3\n  %6.h = map %5 {f = silu}\n"
     "  %7.g = param \"g\" : f32[D]\n  %8 = mul %1, %7\n  %9.y = contract %6, %8 {over = [T]}\n"
     "  result \"u\" = %5\n  result \"h\" = %6\n  result \"y\" = %9\n}\n"},
    {"batched", 3e-6, {"B = 2, H = 2, T = 17, S = 19, K = 34"},
     "graph @main\naxis @\n{\n"
     "  %1.q = arg \"q\" : f32[B,T,H,K]\n  %2.k = arg \"k\" : f32[B,S,H,K]\n  %3.s = contract %1, %2 {over = [K]}\n"
     "  result \"s\" = %3\n}\n"},
    {"attention", 3e-6, {"B = 2, H = 2, T : time = 9, T' : time = 9 twin T, K = 6", "B = 1, H = 1, T : time = 1, T' : time = 1 twin T, K = 5"},
     "graph @main\naxis @\n{\n"
     "  %1.q = arg \"q\" : f32[B,T,H,K]\n  %2.k = arg \"k\" : f32[B,T',H,K]\n  %3.v = arg \"v\" : f32[B,T',H,K]\n"
     "  %4.s = contract %1, %2 {over = [K]}\n  %5 = index {axis = T'}\n  %6 = index {axis = T}\n  %7 = le %5, %6\n"
     "  %8 = const {value = -1e30} : f32[]\n  %9 = select %7, %4, %8\n  %10.m = reduce %9 {f = max, over = [T']}\n"
     "  %11 = sub %9, %10\n  %12.e = map %11 {f = exp}\n  %13.l = reduce %12 {f = sum, over = [T']}\n  %14.p = div %12, %13\n"
     "  %15.o = contract %14, %3 {over = [T']}\n  result \"o\" = %15\n  result \"m\" = %10\n}\n"},
    {"attention_gradients", 3e-6, {"B = 2, H = 1, T : time = 9, T' : time = 9 twin T, K = 6"},
     "graph @main\naxis @\n{\n"
     "  %1.q = arg \"q\" : f32[B,T,H,K]\n  %2.k = arg \"k\" : f32[B,T',H,K]\n  %3.v = arg \"v\" : f32[B,T',H,K]\n"
     "  %4.do = arg \"do\" : f32[B,T,H,K]\n  %5.l = arg \"positive_l\" : f32[B,T,H]\n  %6.s = contract %1, %2 {over = [K]}\n"
     "  %7.e = map %6 {f = tanh}\n  %8.p = mul %7, %5\n  %9.dv = contract %8, %4 {over = [T]}\n"
     "  %10.dp = contract %4, %3 {over = [K]}\n  %11 = mul %10, %8\n  %12.d = reduce %11 {f = sum, over = [T']}\n"
     "  %13 = sub %10, %12\n  %14.ds = mul %13, %8\n  %15.dq = contract %14, %2 {over = [T']}\n"
     "  %16.dk = contract %14, %1 {over = [T]}\n  grad \"input.q\" = %15\n  grad \"input.k\" = %16\n  grad \"input.v\" = %9\n}\n"},
    {"routed_update", 5e-6, {"T = 20, K = 2, E : expert = 3, D = 36, F = 50"},
     "graph @step\naxis @\n{\n"
     "  %1.i = arg \"i\" : int[T,K]\n  %2 = const {value = 1} : int[]\n  %3 = sub %1, %2\n"
     "  %4.x = arg \"x\" : f32[T,D]\n  %5.du = arg \"du\" : f32[T,K,F]\n  %6.W = param \"W\" : f32[E,D,F]\n"
     "  %7.m = state \"m\" : f32[E,D,F]\n  %8 = mul %4, %5\n  %9.dW = put_add %8, %3 {over = [T,K], to = E}\n"
     "  %10 = mul %9, %9\n  %11.norm = reduce %10 {f = sum, over = [E,D,F]}\n  %12 = const {value = 0.9} : f32[]\n"
     "  %13 = mul %7, %12\n  %14.m = add %13, %9\n  %15 = mul %14, %12\n  %16 = sub %6, %15\n"
     "  %17 = take %6, %3 {axis = E}\n  %18.y = contract %4, %17 {over = [D]}\n"
     "  watch \"norm\" = %11\n  next \"W\" = %16\n  next \"m\" = %14\n  result \"y\" = %18\n}\n"},
};
enum { N_PRODUCT_CASES = sizeof product_case / sizeof *product_case };

#endif
