// Graphs that choose, rank and give places, for the tests that run them on the cpu and in the simulator.
#ifndef MIXC_TEST_ROUTE_CASES_H
#define MIXC_TEST_ROUTE_CASES_H

// --- kernels of one op. Scores are whole numbers or far apart, so that float and double agree on who is larger.

#define FEW "axis B : batch = 3, T : time = 17, E : expert = 5, K = 2, D = 7, F = 16\n"

static const char *const choice_case[] = {
    // scores computed in place; ties between whole numbers
    "graph @main\n" FEW "{\n %1 = arg \"x\" : f32[B,T,E]\n %2 = map %1 {f = floor}\n %3 = topk %2 {axis = E, to = K}\n"
    " %4 = topk %1 {axis = E, to = K}\n result \"a\" = %3\n result \"b\" = %4\n}\n",
    "graph @main\n" FEW "{\n %1 = arg \"x\" : f32[B,T,E]\n %2 = map %1 {f = floor}\n %3 = rank %2 {over = [T,E]}\n"
    " %4 = rank %2 {over = [E,B,T]}\n %5 = rank %1 {over = [B]}\n result \"a\" = %3\n result \"b\" = %4\n result \"c\" = %5\n}\n",
    "graph @main\n" FEW "{\n %1 = arg \"i\" : int[B,T,K]\n %2 = slot %1 {axis = E, over = [B,T,K]}\n"
    " %3 = slot %1 {axis = E, over = [K,T]}\n %4 = slot %1 {axis = E, over = [T]}\n"
    " result \"a\" = %2\n result \"b\" = %3\n result \"c\" = %4\n}\n",
    "graph @main\n" FEW "{\n %1 = arg \"i\" : int[B,T,K]\n %2 = arg \"x\" : f32[B,T]\n %3 = rank %2 {over = [B,T]}\n"
    " %4 = slot %1, %3 {axis = E, over = [K,B,T]}\n %5 = rank %2 {over = [T]}\n %6 = slot %1, %5 {axis = E, over = [K,T]}\n"
    " result \"a\" = %4\n result \"b\" = %6\n}\n",
    "graph @main\n" FEW "{\n %1 = arg \"x\" : f32[B,T,E]\n %2 = assign %1 {axis = E, over = [B,T]}\n"
    " %3 = assign %1 {axis = E, over = [T]}\n result \"a\" = %2\n result \"b\" = %3\n}\n",
    // one choice is dropped: its row is zero and takes no part in the gradient's put_add
    // scores by relative positions: rows of R, summed along the last axis; places are repeated, left out, and per row
    "graph @main\naxis B = 5, T : time = 17, S = 19, H = 3, R = 9\n{\n %1 = index {axis = T} : int[T]\n"
    " %2 = index {axis = S} : int[S]\n %3 = sub %2, %1 : int[T,S]\n %4 = const {value = -4} : int[]\n %5 = max %3, %4\n"
    " %6 = const {value = 4} : int[]\n %7 = min %5, %6\n %8 = add %7, %6\n %9 = arg \"dy\" : f32[B,T,H,S]\n"
    " %10 = put_add %9, %8 {over = [S], to = R}\n"
    " %11 = arg \"i\" : int[B,T,S]\n %12 = const {value = 1} : int[]\n %13 = sub %11, %12\n"
    " %14 = put_add %9, %13 {over = [S], to = R}\n result \"a\" = %10\n result \"b\" = %14\n}\n",
    // more choices than vectors of lists are kept of, and more than are inserted one by one
    "graph @main\naxis T : time = 33, E : expert = 140, K = 24, Q = 130\n{\n %1 = arg \"x\" : f32[T,E]\n"
    " %2 = topk %1 {axis = E, to = K}\n %3 = topk %1 {axis = E, to = Q}\n result \"a\" = %2\n result \"b\" = %3\n}\n",
    // many choices: compilers have copied these wrongly
    "graph @main\naxis T : time = 33, E : expert = 16, K = 12, Q = 16\n{\n %1 = arg \"x\" : f32[T,E]\n"
    " %2 = topk %1 {axis = E, to = K}\n %3 = topk %1 {axis = E, to = Q}\n result \"a\" = %2\n result \"b\" = %3\n}\n",
    // where the index is none the value is 0, though sigmoid(0) is not, and 0/0 is not
    "graph @main\n" FEW "{\n %1 = arg \"x\" : f32[B,T,E]\n %2 = map %1 {f = exp}\n %3 = reduce %2 {f = sum, over = [E]}\n"
    " %4 = div %2, %3\n %5 = arg \"i\" : int[B,T,K]\n %6 = const {value = 1} : int[]\n %7 = sub %5, %6\n"
    " %8 = const {value = 4} : int[]\n %9 = min %7, %8\n %10 = take %4, %9 {axis = E}\n %11 = map %1 {f = sigmoid}\n"
    " %12 = take %11, %9 {axis = E}\n result \"a\" = %10\n result \"b\" = %12\n}\n",
    "graph @main\n" FEW "{\n %1 = arg \"i\" : int[B,T]\n %2 = arg \"w\" : f32[E,D]\n %3 = slot %1 {axis = E, over = [B,T]}\n"
    " %4 = const {value = 4} : int[]\n %5 = lt %3, %4\n %6 = const {value = -1} : int[]\n %7 = select %5, %1, %6\n"
    " %8 = const {value = 4} : int[]\n %9 = min %7, %8\n"
    " %10 = take %2, %9 {axis = E}\n %11 = put_add %10, %9 {over = [B,T], to = E}\n result \"a\" = %10\n result \"b\" = %11\n}\n",
};
enum { N_CHOICE_CASES = sizeof choice_case / sizeof *choice_case };

// --- what fuse_route puts together

typedef struct RouteCase {
    int         n_route, n_orders;          // kernels of the family; launches that only order rows (C)
    const char *text;
} RouteCase;

#define SOFTMAX(s, a, b, c, d, e) " %" a " = reduce %" s " {f = max, over = [E]}\n %" b " = sub %" s ", %" a "\n %" c " = map %" b " {f = exp}\n" \
    " %" d " = reduce %" c " {f = sum, over = [E]}\n %" e " = div %" c ", %" d "\n"

static const RouteCase fused_case[] = {
    // softmax, weights, two choices
    {1, 0, "graph @main\naxis B : batch = 3, T : time = 37, E : expert = 5, K = 2, D = 33\n{\n %1 = arg \"x\" : f32[B,T,D]\n"
     " %2 = param \"w\" : f32[D,E]\n %3 = contract %1, %2 {over = [D]}\n" SOFTMAX("3", "4", "5", "6", "7", "8")
     " %9 = topk %3 {axis = E, to = K}\n %10 = take %8, %9 {axis = E}\n %11 = reduce %10 {f = sum, over = [K]}\n %12 = div %10, %11\n"
     " result \"i\" = %9\n result \"w\" = %12\n}\n"},
    // columns whose terms follow each other, more than one block of terms and of columns, more choices than lists are kept of
    {1, 0, "graph @main\naxis T : time = 45, E : expert = 530, K = 19, D = 700\n{\n %1 = arg \"x\" : f32[T,D]\n %2 = param \"w\" : f32[E,D]\n"
     " %3 = contract %1, %2 {over = [D]}\n %4 = topk %3 {axis = E, to = K}\n %5 = map %3 {f = sigmoid}\n %6 = take %5, %4 {axis = E}\n"
     " result \"i\" = %4\n result \"w\" = %6\n}\n"},
    // heads of their own experts; scores that noise is added to; a mask of them for whoever wants it
    {1, 0, "graph @main\naxis B : batch = 2, T : time = 29, H = 3, E : expert = 7, K = 2, D = 24\n{\n %1 = arg \"x\" : f32[B,T,D]\n"
     " %2 = param \"w\" : f32[H,E,D]\n %3 = contract %1, %2 {over = [D]}\n %4 = arg \"noise\" : f32[B,T,H,E]\n %5 = add %3, %4\n"
     " %6 = topk %5 {axis = E, to = K}\n %7 = map %3 {f = sigmoid}\n %8 = take %7, %6 {axis = E}\n"
     " %9 = reduce %7 {f = sum, over = [B,T]}\n result \"i\" = %6\n result \"w\" = %8\n result \"load\" = %9\n}\n"},
    // the mean and the deviation of what the scores are made of
    {1, 0, "graph @main\naxis T : time = 50, E : expert = 9, K = 1, D = 40\n{\n %1 = arg \"x\" : f32[T,D]\n %2 = param \"w\" : f32[D,E]\n"
     " %3 = contract %1, %2 {over = [D]}\n %4 = topk %3 {axis = E, to = K}\n %5 = reduce %1 {f = sum, over = [D]}\n"
     " %6 = const {value = 0.025} : f32[]\n %7 = mul %5, %6\n %8 = sub %1, %7\n %9 = mul %8, %8\n %10 = reduce %9 {f = sum, over = [D]}\n"
     " %11 = map %10 {f = sqrt}\n %12 = div %8, %11\n result \"i\" = %4\n result \"y\" = %12\n}\n"},
    // places by rank, in pools, with what is kept; no grouped product asks for an order
    {2, 0, "graph @main\naxis G = 4, T : time = 19, E : expert = 5, K = 2, D = 24\n{\n %1 = arg \"x\" : f32[G,T,D]\n %2 = param \"w\" : f32[D,E]\n"
     " %3 = contract %1, %2 {over = [D]}\n %4 = topk %3 {axis = E, to = K}\n %5 = reduce %3 {f = max, over = [E]}\n"
     " %6 = rank %5 {over = [T]}\n %7 = slot %4, %6 {axis = E, over = [K,T]}\n %8 = const {value = 4} : int[]\n %9 = lt %7, %8\n"
     " %10 = const {value = -1} : int[]\n %11 = select %9, %4, %10\n %12 = take %3, %4 {axis = E}\n %13 = mul %12, %9\n"
     " result \"i\" = %11\n result \"w\" = %13\n}\n"},
    // capacity, then experts: the kernel of places writes the order of their rows
    {2, 0, "graph @main\naxis T : time = 90, E : expert = 6, K = 2, D = 20, F = 48\n{\n %1 = arg \"x\" : f32[T,D]\n %2 = param \"w\" : f32[D,E]\n"
     " %3 = contract %1, %2 {over = [D]}\n %4 = topk %3 {axis = E, to = K}\n %5 = slot %4 {axis = E, over = [K,T]}\n"
     " %6 = const {value = 25} : int[]\n %7 = lt %5, %6\n %8 = const {value = -1} : int[]\n %9 = select %7, %4, %8\n"
     " %10 = map %3 {f = sigmoid}\n %11 = take %10, %4 {axis = E}\n %12 = mul %11, %7\n %13 = param \"w1\" : f32[E,D,F]\n"
     " %14 = take %13, %9 {axis = E}\n %15 = contract %1, %14 {over = [D]}\n %16 = map %15 {f = relu}\n %17 = param \"w2\" : f32[E,F,D]\n"
     " %18 = take %17, %9 {axis = E}\n %19 = contract %16, %18 {over = [F]}\n %20 = mul %19, %12\n %21 = reduce %20 {f = sum, over = [K]}\n"
     " result \"y\" = %21\n}\n"},
    // the same for a choice without places: the order is a launch of its own, and the two products share it
    {1, 1, "graph @main\naxis T : time = 90, E : expert = 6, K = 2, D = 20, F = 48\n{\n %1 = arg \"x\" : f32[T,D]\n %2 = param \"w\" : f32[D,E]\n"
     " %3 = contract %1, %2 {over = [D]}\n %4 = topk %3 {axis = E, to = K}\n %5 = map %3 {f = sigmoid}\n %6 = take %5, %4 {axis = E}\n"
     " %7 = param \"w1\" : f32[E,D,F]\n %8 = take %7, %4 {axis = E}\n %9 = contract %1, %8 {over = [D]}\n %10 = map %9 {f = relu}\n"
     " %11 = param \"w2\" : f32[E,F,D]\n %12 = take %11, %4 {axis = E}\n %13 = contract %10, %12 {over = [F]}\n %14 = mul %13, %6\n"
     " %15 = reduce %14 {f = sum, over = [K]}\n result \"y\" = %15\n}\n"},
    // scores of whole numbers in bf16, exact and with many ties
    {1, 0, "graph @main\naxis T : time = 61, E : expert = 37, K = 3, D = 45\n{\n %1 = arg \"x\" : f32[T,D]\n %2 = param \"w\" : f32[E,D]\n"
     " %3 = map %1 {f = floor}\n %4 = map %2 {f = floor}\n %5 = cast %3 {to = bf16}\n %6 = cast %4 {to = bf16}\n"
     " %7 = contract %5, %6 {over = [D]}\n %8 = cast %7 {to = f32}\n %9 = topk %8 {axis = E, to = K}\n %10 = take %8, %9 {axis = E}\n"
     " result \"i\" = %9\n result \"s\" = %10\n}\n"},
    // a result larger than the caches, which goes past them
    {1, 1, "graph @main\naxis T : time = 4100, E : expert = 3, K = 1, D = 8, F = 528\n{\n %1 = arg \"x\" : f32[T,D]\n %2 = param \"w\" : f32[D,E]\n"
     " %3 = contract %1, %2 {over = [D]}\n %4 = topk %3 {axis = E, to = K}\n %5 = param \"w1\" : f32[E,D,F]\n %6 = take %5, %4 {axis = E}\n"
     " %7 = contract %1, %6 {over = [D]}\n %8 = map %7 {f = relu}\n result \"y\" = %8\n}\n"},
};
enum { N_FUSED_CASES = sizeof fused_case / sizeof *fused_case };

#endif
