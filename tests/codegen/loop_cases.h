// Graphs that loop kernels are tested with, each at several sizes: odd ones, one element, a vector exactly, many rows.
#ifndef MIXC_TEST_LOOP_CASES_H
#define MIXC_TEST_LOOP_CASES_H

enum { LOOP_CASE_SIZES = 5 };

typedef struct LoopCase {
    const char *name;
    double      tolerance;                  // relative to 1 + the largest number
    const char *sizes[LOOP_CASE_SIZES];     // NULL-terminated; take the place of @
    const char *text;
} LoopCase;

#define REDUCTION_SIZES {"A = 5, B = 7, C = 19", "A = 33, B = 2, C = 64", "A = 300, B = 20, C = 16", "A = 1, B = 1, C = 1"}
#define REDUCTION(over)                                                                                             \
    "graph @main\naxis @\n{\n  %1.x = arg \"x\" : f32[A,B,C]\n  %2.s = reduce %1 {f = sum, over = [" over "]}\n"     \
    "  %3.m = reduce %1 {f = max, over = [" over "]}\n  %4 = mul %1, %1\n"                                           \
    "  %5.q = reduce %4 {f = sum, over = [" over "]}\n  %6.n = reduce %1 {f = min, over = [" over "]}\n"              \
    "  result \"s\" = %2\n  result \"m\" = %3\n  result \"q\" = %5\n  result \"n\" = %6\n}\n"

static const LoopCase loop_case[] = {
    {"elementwise", 1e-6, {"B = 3, D = 37"},
     "graph @main\naxis @\n{\n"
     "  %1.x = arg \"x\" : f32[B,D]\n  %2.w = param \"w\" : f32[D]\n  %3 = mul %1, %2\n"
     "  %4 = map %3 {f = gelu}\n  %5 = const {value = 0.5} : f32[]\n  %6.y = sub %4, %5\n"
     "  result \"y\" = %6\n}\n"},
    {"elementwise_2", 1e-6, {"B = 300, D = 100"},
     "graph @main\naxis @\n{\n"
     "  %1.x = arg \"x\" : f32[B,D]\n  %2.z = arg \"z\" : f32[B,D]\n  %3 = add %1, %2\n"
     "  %4.y = map %3 {f = tanh}\n  result \"y\" = %4\n}\n"},
    {"softmax", 1e-6, {"B = 5, D = 37", "B = 200, D = 64", "B = 70, D = 1", "B = 3, D = 15"},
     "graph @main\naxis @\n{\n"
     "  %1.x = arg \"x\" : f32[B,D]\n  %2.m = reduce %1 {f = max, over = [D]}\n  %3 = sub %1, %2\n"
     "  %4.e = map %3 {f = exp}\n  %5.s = reduce %4 {f = sum, over = [D]}\n  %6.p = div %4, %5\n"
     "  result \"p\" = %6\n}\n"},
    {"layer_norm", 3e-6, {"B = 5, D = 37", "B = 200, D = 64", "B = 1, D = 1", "B = 67, D = 16"},
     "graph @main\naxis @\n{\n"
     "  %1.x = arg \"x\" : f32[B,D]\n  %2.gain = param \"gain\" : f32[D]\n  %3.bias = param \"bias\" : f32[D]\n"
     "  %4.dy = arg \"dy\" : f32[B,D]\n  %5 = reduce %1 {f = sum, over = [D]}\n  %6 = const {value = 0.03} : f32[]\n"
     "  %7.mean = mul %5, %6\n  %8.c = sub %1, %7\n  %9 = mul %8, %8\n"
     "  %10 = reduce %9 {f = sum, over = [D]}\n  %11.var = mul %10, %6\n  %12 = const {value = 1e-5} : f32[]\n"
     "  %13 = add %11, %12\n  %14.rstd = map %13 {f = rsqrt}\n  %15.xhat = mul %8, %14\n"
     "  %16 = mul %15, %2\n  %17.y = add %16, %3\n"
     "  %18 = mul %4, %15\n  %19.dgain = reduce %18 {f = sum, over = [B]}\n"
     "  %20.dbias = reduce %4 {f = sum, over = [B]}\n  %21 = mul %4, %2\n  %22 = mul %21, %15\n"
     "  %23 = reduce %22 {f = sum, over = [D]}\n  %24 = mul %15, %23\n  %25 = sub %21, %24\n  %26.dx = mul %25, %14\n"
     "  result \"y\" = %17\n  result \"dgain\" = %19\n  result \"dbias\" = %20\n  result \"dx\" = %26\n}\n"},
    {"cross_entropy", 3e-6, {"B = 3, T = 5, V = 37", "B = 4, T = 64, V = 65", "B = 1, T = 1, V = 2"},
     "graph @main\naxis @\n{\n"
     "  %1.s = arg \"s\" : f32[B,T,V]\n  %2.t = arg \"t\" : int[B,T]\n  %3.m = reduce %1 {f = max, over = [V]}\n"
     "  %4.c = sub %1, %3\n  %5.e = map %4 {f = exp}\n  %6.z = reduce %5 {f = sum, over = [V]}\n"
     "  %7.l = map %6 {f = log}\n  %8.lp = sub %4, %7\n  %9 = take %8, %2 {axis = V}\n"
     "  %10.total = reduce %9 {f = sum, over = [B,T]}\n  %11.loss = neg %10\n"
     "  %12.p = div %5, %6\n  %13.one = const {value = 1} : f32[]\n  %14 = expand %13 {to = [B,T]}\n"
     "  %15 = put_add %14, %2 {over = [], to = V}\n  %16.ds = sub %12, %15\n"
     "  loss \"train\" = %11\n  result \"ds\" = %16\n}\n"},
    {"embedding", 3e-6, {"B = 3, T = 5, V = 7, D = 37", "B = 4, T = 50, V = 100, D = 32", "B = 2, T = 1, V = 1, D = 1"},
     "graph @main\naxis @\n{\n"
     "  %1.w = param \"w\" : f32[V,D]\n  %2.t = arg \"t\" : int[B,T]\n  %3.pos = param \"pos\" : f32[T,D]\n"
     "  %4 = take %1, %2 {axis = V}\n  %5.x = add %4, %3\n  %6.dx = arg \"dx\" : f32[B,T,D]\n"
     "  %7.dw = put_add %6, %2 {over = [B,T], to = V}\n  %8.dpos = reduce %6 {f = sum, over = [B]}\n"
     "  result \"x\" = %5\n  result \"dw\" = %7\n  result \"dpos\" = %8\n}\n"},
    {"optimiser_step", 3e-6, {"D = 5, F = 37", "D = 300, F = 64", "D = 1, F = 1"},
     "graph @main\naxis @\n{\n"
     "  %1.p = param \"w\" : f32[D,F]\n  %2.m = state \"m\" : f32[D,F]\n  %3.v = state \"positive_v\" : f32[D,F]\n"
     "  %4.g = arg \"g\" : f32[D,F]\n  %5.lr = arg \"positive_lr\" : f32[]\n  %6 = const {value = 0.9} : f32[]\n"
     "  %7 = const {value = 0.1} : f32[]\n  %8 = mul %2, %6\n  %9 = mul %4, %7\n  %10.m2 = add %8, %9\n"
     "  %11 = mul %3, %6\n  %12 = mul %4, %4\n  %13 = mul %12, %7\n  %14.v2 = add %11, %13\n"
     "  %15 = map %14 {f = sqrt}\n  %16 = add %15, %7\n  %17 = div %10, %16\n  %18 = mul %17, %5\n"
     "  %19.p2 = sub %1, %18\n  %20 = mul %4, %4\n  %21.norm = reduce %20 {f = sum, over = [D,F]}\n"
     "  next \"w\" = %19\n  next \"m\" = %10\n  next \"positive_v\" = %14\n  watch \"norm\" = %21\n}\n"},
    {"old_values_survive", 1e-6, {"D = 20"},
     "graph @main\naxis @\n{\n"
     "  %1.p = param \"w\" : f32[D]\n  %2.c = const {value = 0.5} : f32[]\n  %3.p2 = mul %1, %2\n"
     "  %4 = reduce %1 {f = sum, over = [D]}\n  %5.y = add %3, %4\n  next \"w\" = %3\n  result \"y\" = %5\n}\n"},
    {"old_values_survive_2", 1e-6, {"D = 20"},
     "graph @main\naxis @\n{\n"
     "  %1.a = state \"a\" : f32[D]\n  %2.b = state \"b\" : f32[D]\n  next \"a\" = %2\n  next \"b\" = %1\n"
     "  result \"y\" = %1\n}\n"},
    {"old_values_survive_3", 1e-6, {"D = 20"},
     "graph @main\naxis @\n{\n"
     "  %1.a = state \"a\" : f32[D]\n  %2 = reverse %1 {axis = D}\n  next \"a\" = %2\n}\n"},
    {"product", 3e-6, {"B = 19, D = 33, F = 35", "B = 64, D = 64, F = 64"},
     "graph @main\naxis @\n{\n"
     "  %1.x = arg \"x\" : f32[B,D]\n  %2.w = param \"w\" : f32[D,F]\n  %3.b = param \"b\" : f32[F]\n"
     "  %4 = contract %1, %2 {over = [D]}\n  %5 = add %4, %3\n  %6.h = map %5 {f = gelu}\n  result \"h\" = %6\n}\n"},
    {"vector_times_matrix", 3e-6, {"D = 33, F = 35", "D = 64, F = 64", "D = 16, F = 300", "D = 1, F = 1"},
     "graph @main\naxis R = 1, @\n{\n  %1.x = arg \"x\" : f32[R,D]\n  %2.w = param \"w\" : f32[D,F]\n"
     "  %3.v = param \"v\" : f32[F,D]\n  %4 = map %1 {f = gelu_tanh}\n  %5.y = contract %4, %2 {over = [D]} : f32[R,F]\n"
     "  %6.z = contract %4, %3 {over = [D]} : f32[R,F]\n  %7 = add %5, %6\n  result \"y\" = %5\n  result \"sum\" = %7\n}\n"},
    {"attention", 3e-6, {"B = 2, H = 2, T = 17, K = 8, U = 17", "B = 1, H = 3, T = 32, K = 16, U = 32"},
     "graph @main\naxis @\n{\n"
     "  %1.q = arg \"q\" : f32[B,H,T,K]\n  %2.k = arg \"k\" : f32[B,H,U,K]\n  %3.v = arg \"v\" : f32[B,H,U,K]\n"
     "  %4 = contract %1, %2 {over = [K]}\n  %5 = const {value = 0.3} : f32[]\n  %6 = mul %4, %5\n"
     "  %7 = index {axis = U}\n  %8 = index {axis = T}\n  %9 = le %7, %8\n  %10 = const {value = -1e30} : f32[]\n"
     "  %11.s = select %9, %6, %10\n  %12.m = reduce %11 {f = max, over = [U]}\n  %13 = sub %11, %12\n"
     "  %14.e = map %13 {f = exp}\n  %15.z = reduce %14 {f = sum, over = [U]}\n  %16.p = div %14, %15\n"
     "  %17.y = contract %16, %3 {over = [U]}\n  result \"y\" = %17\n}\n"},
    {"dropout", 1e-6, {"B = 7, D = 37", "B = 64, D = 64"},
     "graph @main\naxis @\n{\n"
     "  %1.x = arg \"x\" : f32[B,D]\n  %2.seed = arg \"seed\" : int[]\n  %3.step = arg \"step\" : int[]\n"
     "  %4 = random %2, %3 {stream = 5} : f32[B,D]\n  %5.p = const {value = 0.25} : f32[]\n  %6 = le %5, %4\n"
     "  %7.y = mul %1, %6\n  %8 = random %2, %3 {stream = 6} : f32[B,D]\n  %9 = le %5, %8\n  %10.z = mul %1, %9\n"
     "  %11.k = random %2, %3 {stream = 6} : f32[]\n  result \"y\" = %7\n  result \"z\" = %10\n  result \"k\" = %11\n}\n"},
    {"views", 1e-6, {"B = 3, T = 12, H = 4, K = 3, O = 5, J = 3, P = 20, Q = 8", "B = 2, T = 64, H = 2, K = 32, O = 31, J = 4, P = 70, Q = 48"},
     "graph @main\naxis @\n{\n"
     "  %1.x = arg \"x\" : f32[B,T]\n  %2 = split %1 {axis = T, to = [H,K]}\n  %3.s = map %2 {f = exp}\n"
     "  %4 = slice %1 {axis = T, start = 3, to = Q}\n  %5.l = add %4, %4\n  %6.w = pad %1 {axis = T, start = 2, to = P}\n"
     "  %7 = window %1 {axis = T, to = [O,J], stride = 2, left = 1}\n  %8.c = reduce %7 {f = sum, over = [J]}\n"
     "  %9 = merge %3 {axes = [H,K], to = T}\n  %10.m = mul %9, %1\n  %11.r = reverse %1 {axis = T}\n"
     "  %12 = unwindow %7 {axes = [O,J], to = T, stride = 2, left = 1}\n  %13.u = reduce %12 {f = sum, over = [J]}\n"
     "  %14.a = at %1 {axis = T, index = 5}\n  result \"s\" = %3\n  result \"l\" = %5\n  result \"w\" = %6\n"
     "  result \"c\" = %8\n  result \"m\" = %10\n  result \"r\" = %11\n  result \"u\" = %13\n  result \"a\" = %14\n}\n"},
    // a convolution of each channel: weights whose channels lie apart are copied first where there are many rows
    {"depthwise", 3e-6, {"B = 2, T = 130, O = 130, J = 3, C = 19", "B = 3, T = 5, O = 5, J = 3, C = 33", "B = 1, T = 300, O = 300, J = 4, C = 16"},
     "graph @main\naxis @\n{\n"
     "  %1.x = arg \"x\" : f32[B,T,C]\n  %2.w = param \"w\" : f32[C,J]\n  %3.b = arg \"b\" : f32[C]\n"
     "  %4 = window %1 {axis = T, to = [O,J], stride = 1, left = 2}\n  %5 = mul %4, %2\n  %6 = reduce %5 {f = sum, over = [J]}\n"
     "  %7 = add %6, %3\n  %8 = arg \"v\" : f32[B,C,J]\n  %9 = mul %4, %8\n  %10 = reduce %9 {f = sum, over = [J]}\n"
     "  result \"y\" = %7\n  result \"z\" = %10\n}\n"},
    // and the gradient of its weights: channels in lanes, which the result has first
    {"depthwise_dw", 5e-6, {"B = 3, T = 90, O = 90, J = 3, C = 19", "B = 2, T = 40, O = 39, J = 4, C = 130", "B = 1, T = 9, O = 9, J = 20, C = 33",
                            "B = 2, T = 5, O = 5, J = 3, C = 5"},
     "graph @main\naxis @\n{\n"
     "  %1.x = arg \"x\" : f32[B,T,C]\n  %2.dy = arg \"dy\" : f32[B,O,C]\n  %3 = arg \"g\" : f32[B,O]\n"
     "  %4 = mul %2, %3\n  %5 = window %1 {axis = T, to = [O,J], stride = 1, left = 2}\n"
     "  %6 = contract %5, %4 {over = [B,O]} : f32[C,J]\n  result \"dw\" = %6\n}\n"},
    {"reduce_A", 3e-6, REDUCTION_SIZES, REDUCTION("A")},
    {"reduce_B", 3e-6, REDUCTION_SIZES, REDUCTION("B")},
    {"reduce_C", 3e-6, REDUCTION_SIZES, REDUCTION("C")},
    {"reduce_AB", 3e-6, REDUCTION_SIZES, REDUCTION("A,B")},
    {"reduce_BC", 3e-6, REDUCTION_SIZES, REDUCTION("B,C")},
    {"reduce_AC", 3e-6, REDUCTION_SIZES, REDUCTION("A,C")},
    {"reduce_ABC", 3e-6, REDUCTION_SIZES, REDUCTION("A,B,C")},
};
enum { N_LOOP_CASES = sizeof loop_case / sizeof *loop_case };

#endif
