// Every op is explained: a row of ops.def has one of op_docs.def, with a name for each operand.
#include "op_docs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static size_t words(const char *text)
{
    size_t n = 0;
    for (const char *c = text; *c; c++)
        n += *c != ' ' && (c == text || c[-1] == ' ');
    return n;
}

static void every_op_is_explained(void **state)
{
    (void)state;
    for (size_t i = OP_ERROR + 1; i < OP_COUNT; i++) {
        if (!op_doc[i].meaning || strlen(op_doc[i].meaning) < 4)
            fail_msg("ir/op_docs.def has no row for `%s`", op_row[i].text);
        if (op_row[i].n_in != OP_ANY && words(op_doc[i].operands) != op_row[i].n_in)
            fail_msg("`%s` has %d operands; its row of ir/op_docs.def names `%s`", op_row[i].text, op_row[i].n_in, op_doc[i].operands);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_op_is_explained)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
