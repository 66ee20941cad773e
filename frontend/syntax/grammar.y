/* The grammar of Mix. It reads as the language reference: actions build nodes of ast.h and nothing else.
   Tokens come from tokens.c, which has already balanced the brackets and told statement targets from other names, so
   that recovery after an error is the same two rules everywhere: skip to the next statement, or to the next item. */
%code requires {
#include "parse.h"
}
%define api.prefix {mix_}
%define api.pure full
%define api.location.type {Span}
%define parse.error custom
%define parse.lac full
%locations
%expect 0
%param {Parse *p}

%code {
#define YYMAXDEPTH 8000
#define YYLLOC_DEFAULT(at, rhs, n)                                                                                     \
    ((at) = (n) ? (Span){YYRHSLOC(rhs, 1).file, YYRHSLOC(rhs, 1).begin, YYRHSLOC(rhs, n).end}                          \
                : (Span){YYRHSLOC(rhs, 0).file, YYRHSLOC(rhs, 0).end, YYRHSLOC(rhs, 0).end})

// Ends an `error` rule: the look-ahead is kept or dropped as parse_recover says. At the end of the file the parser's own
// rule holds: it gives up there if the end is still not expected.
#define RESUME()                                                                                                       \
    do {                                                                                                               \
        Resume resume = parse_recover(p, yychar, yylloc);                                                              \
        if (resume == RESUME_LATER)                                                                                    \
            yyclearin;                                                                                                 \
        if (resume != RESUME_AT_END)                                                                                   \
            yyerrok;                                                                                                   \
    } while (0)

int mix_lex(MIX_STYPE *value, Span *at, Parse *p);
static void mix_error(const Span *at, Parse *p, const char *message);
static Item *section(Parse *p, Span at, SectionKind kind, Name *name, Name *on, KeyValueList props, Span end);

#define NEW(T, ...) memcpy(arena_new(p->arena, T), &(T){__VA_ARGS__}, sizeof(T))
#include <string.h>
}

%union {
    Name *name;             NameList names;
    Expr *expr;             ArgList args;           Arg *arg;
    SelList sels;           Sel *sel;
    AxisList axes;          AxisDecl *axis;         AxisSize axis_size;
    BindList binds;         Bind *bind;
    StaticList statics;     Static *stat;
    FormalList formals;     Formal *formal;         TypeExpr type;
    ParamList params;       ParamDecl *param;
    KeyValueList kvs;       KeyValue *kv;
    TermList terms;         ClauseTerm *term;
    ClauseList clauses;     Clause *clause;
    Flags flags;            Mods mods;              Condition condition;
    EachHead each;          Route *route;           Rhs rhs;
    StmtList stmts;         Stmt *stmt;             Body body;
    ItemList items;         Item *item;
    ModeName mode;          bool flag;
}

%token <name> TRAIN "`train`" GENERATE "`generate`" OVER "`over`"
%token MIX "`mix`" USE "`use`" AXIS "`axis`" CONST "`const`" LAYER "`layer`" MODEL "`model`" DATA "`data`"
       SIZE "`size`" ON "`on`" TWIN "`twin`" PARAM "`param`" STATE "`state`"
       NEXT "`next`" YIELD "`yield`" PENALTY "`penalty`" WATCH "`watch`" REPEAT "`repeat`" IN "`in`" ONLY "`only`"
       ELSE "`else`" WITH "`with`" ROUTE "`route`" BY "`by`" TO "`to`" EXPERTS "`experts`" EACH "`each`"
       TIED "`tied`" RECOMPUTE "`recompute`" CAUSAL "`causal`" AFTER "`after`" ALLOW "`allow`" LEAK "`leak`"
       TOP "`top`" SAMPLE "`sample`" CAPACITY "`capacity`" DROPLESS "`dropless`" GATE "`gate`" OVERFLOW "`overflow`"
       BALANCE "`balance`" NOISE "`noise`" ASSIGN "`assign`" PRIORITY "`priority`" WHERE "`where`" POOLED "`pooled`"
       DOT "`@[`" ARROW "`->`" DOTDOT "`..`" LE "`<=`" GE "`>=`" EQ "`==`" NE "`!=`" POW "`^`"
%token <name> ID "a name" TARGET "the name of a result"
%token <expr> NUM "a number" STR "a string"
%token END 0 "the end of the file"

%nonassoc LE GE EQ NE '<' '>'
%left '+' '-'
%left '*' '/' '%'
%precedence DOT
%precedence NEG
%right POW

%type <name> axkind dim gname overk leak mode inmode
%type <names> path axes names dims0 dims
%type <expr> expr post prim after over pinit
%type <axis> ax1
%type <axes> axis_d
%type <axis_size> axsize
%type <binds> const_d insts
%type <bind> const1 inst1
%type <statics> statics sparams
%type <stat> sparam
%type <formals> sig0 sig result
%type <formal> formal
%type <type> type ptype
%type <flags> flags
%type <body> body
%type <stmts> stmts
%type <stmt> stmt
%type <condition> cond
%type <params> plist
%type <param> pdecl
%type <kvs> pwith kvs props
%type <kv> kv prop
%type <rhs> rhs
%type <route> route
%type <each> each
%type <clauses> clauses
%type <clause> clause
%type <terms> caps asg terms
%type <term> cap asg1 term
%type <flag> pooled
%type <args> args0 args
%type <arg> arg
%type <mods> mods
%type <sels> sels
%type <sel> sel
%type <items> items
%type <item> item layer_d model_d

%%

// ---- the file ----------------------------------------------------------------------------------------------------

file: MIX NUM items { p->ast->edition = $2; p->ast->items = $3.first; }

items
    : %empty                    { $$ = (ItemList){0}; }
    | items item                { $$ = $1; if ($2) LIST_ADD($$, $2); }

item
    : USE path                  { $$ = NEW(Item, .kind = ITEM_USE, .at = @$, .path = $2.first); }
    | axis_d                    { $$ = NEW(Item, .kind = ITEM_AXIS, .at = @$, .axes = $1.first); }
    | const_d                   { $$ = NEW(Item, .kind = ITEM_CONST, .at = @$, .consts = $1.first); }
    | layer_d
    | model_d
    | DATA ID '{' props '}'
        { $$ = section(p, @$, SECTION_DATA, $2, NULL, $4, @5); }
    | TRAIN ID ON ID '{' props '}'
        { $$ = section(p, @$, SECTION_TRAIN, $2, $4, $6, @7); }
    | GENERATE ID '{' props '}'
        { $$ = section(p, @$, SECTION_GENERATE, $2, NULL, $4, @5); }
    | SIZE ID '{' props '}'
        { $$ = section(p, @$, SECTION_SIZE, $2, NULL, $4, @5); }
    | error
        { $$ = NULL; RESUME(); }

path
    : ID                        { $$ = (NameList){0}; LIST_ADD($$, $1); }
    | path '.' ID               { $$ = $1; LIST_ADD($$, $3); }

axis_d
    : AXIS ax1                  { $$ = (AxisList){0}; LIST_ADD($$, $2); }
    | axis_d ',' ax1            { $$ = $1; LIST_ADD($$, $3); }

ax1: ID axkind axsize
        { $$ = NEW(AxisDecl, .at = @$, .name = $1, .kind = $2, .twin = $3.twin, .size = $3.size, .low = $3.low,
                   .high = $3.high); }

axkind
    : %empty                    { $$ = NULL; }
    | ':' ID                    { $$ = $2; }

axsize
    : %empty                    { $$ = (AxisSize){0}; }
    | '=' expr                  { $$ = (AxisSize){.size = $2}; }
    | IN expr DOTDOT expr       { $$ = (AxisSize){.low = $2, .high = $4}; }
    | TWIN ID                   { $$ = (AxisSize){.twin = $2}; }

const_d
    : CONST const1              { $$ = (BindList){0}; LIST_ADD($$, $2); }
    | const_d ',' const1        { $$ = $1; LIST_ADD($$, $3); }

const1: ID '=' expr             { $$ = NEW(Bind, .at = @$, .name = $1, .value = $3); }

// ---- layers and models -------------------------------------------------------------------------------------------

layer_d: LAYER ID statics '(' sig0 ')' ARROW result flags body
        { LayerDecl *l = NEW(LayerDecl, .at = {@$.file, @1.begin, @9.end}, .name = $2, .statics = $3.first,
                             .inputs = $5.first, .results = $8.first, .recompute = $9.recompute,
                             .causal = $9.causal.first, .body = $10.first, .body_end = $10.end);
          $$ = NEW(Item, .kind = ITEM_LAYER, .at = @$, .layer = l); }

model_d: MODEL ID statics '(' sig ')' ARROW sig flags body
        { LayerDecl *l = NEW(LayerDecl, .at = {@$.file, @1.begin, @9.end}, .is_model = true, .name = $2,
                             .statics = $3.first, .inputs = $5.first, .results = $8.first, .recompute = $9.recompute,
                             .causal = $9.causal.first, .body = $10.first, .body_end = $10.end);
          $$ = NEW(Item, .kind = ITEM_LAYER, .at = @$, .layer = l); }

result
    : type                      { Formal *f = NEW(Formal, .at = @$, .type = $1); $$ = (FormalList){f, f}; }
    | sig

flags
    : %empty                    { $$ = (Flags){0}; }
    | flags RECOMPUTE           { $$ = $1; $$.recompute = true; }
    | flags CAUSAL OVER ID after leak
        { Causal *c = NEW(Causal, .at = {@$.file, @2.begin, @6.end}, .over = $4, .after = $5, .leak = $6);
          $$ = $1;
          LIST_ADD($$.causal, c); }

after
    : %empty                    { $$ = NULL; }
    | AFTER prim                { $$ = $2; }

leak
    : %empty                    { $$ = NULL; }
    | ALLOW LEAK IN mode        { $$ = $4; }

statics
    : %empty                    { $$ = (StaticList){0}; }
    | '[' sparams ']'           { $$ = $2; }

sparams
    : sparam                    { $$ = (StaticList){0}; LIST_ADD($$, $1); }
    | sparams ',' sparam        { $$ = $1; LIST_ADD($$, $3); }

sparam
    : ID                        { $$ = NEW(Static, .at = @$, .name = $1); }
    | ID '=' expr               { $$ = NEW(Static, .at = @$, .name = $1, .value = $3); }
    | LAYER ID                  { $$ = NEW(Static, .at = @$, .name = $2, .is_layer = true); }

sig0
    : %empty                    { $$ = (FormalList){0}; }
    | sig

sig
    : formal                    { $$ = (FormalList){0}; LIST_ADD($$, $1); }
    | sig ',' formal            { $$ = $1; LIST_ADD($$, $3); }

formal: ID ':' type             { $$ = NEW(Formal, .at = @$, .name = $1, .type = $3); }

type
    : '[' dims0 ']'             { $$ = (TypeExpr){.at = @$, .dims = $2.first, .present = true}; }
    | ID '[' dims0 ']'          { $$ = (TypeExpr){.at = @$, .dtype = $1, .dims = $3.first, .present = true}; }

dims0
    : %empty                    { $$ = (NameList){0}; }
    | dims

dims
    : dim                       { $$ = (NameList){0}; LIST_ADD($$, $1); }
    | dims ',' dim              { $$ = $1; LIST_ADD($$, $3); }

dim
    : ID
    | DOTDOT                    { $$ = parse_name(p, @1, "..", 2); }

// ---- statements --------------------------------------------------------------------------------------------------

body: '{' stmts '}'             { $$ = (Body){$2.first, @3}; }

stmts
    : %empty                    { $$ = (StmtList){0}; }
    | stmts stmt                { $$ = $1; LIST_ADD($$, $2); }

stmt
    : axis_d                    { $$ = NEW(Stmt, .kind = STMT_AXIS, .at = @$, .axes = $1.first); }
    | PARAM plist               { $$ = NEW(Stmt, .kind = STMT_PARAM, .at = @$, .params = $2.first); }
    | STATE plist               { $$ = NEW(Stmt, .kind = STMT_STATE, .at = @$, .params = $2.first); }
    | NEXT ID '=' expr          { $$ = NEW(Stmt, .kind = STMT_NEXT, .at = @$, .names = $2, .value = $4); }
    | const_d                   { $$ = NEW(Stmt, .kind = STMT_CONST, .at = @$, .binds = $1.first); }
    | names '=' rhs             { $$ = NEW(Stmt, .kind = STMT_ASSIGN, .at = @$, .names = $1.first, .rhs = $3); }
    | YIELD rhs                 { $$ = NEW(Stmt, .kind = STMT_YIELD, .at = @$, .rhs = $2); }
    | PENALTY ID '=' expr       { $$ = NEW(Stmt, .kind = STMT_PENALTY, .at = @$, .names = $2, .value = $4); }
    | WATCH ID '=' expr         { $$ = NEW(Stmt, .kind = STMT_WATCH, .at = @$, .names = $2, .value = $4); }
    | insts                     { $$ = NEW(Stmt, .kind = STMT_INSTANCE, .at = @$, .binds = $1.first); }
    | REPEAT ID IN expr body
        { $$ = NEW(Stmt, .kind = STMT_REPEAT, .at = @$, .names = $2, .value = $4, .body = $5.first,
                   .body_end = $5.end); }
    | ONLY cond body
        { $$ = NEW(Stmt, .kind = STMT_ONLY, .at = @$, .mode = $2.mode, .value = $2.value, .body = $3.first,
                   .body_end = $3.end); }
    | ONLY cond body ELSE body
        { $$ = NEW(Stmt, .kind = STMT_ONLY, .at = @$, .mode = $2.mode, .value = $2.value, .body = $3.first,
                   .body_end = $3.end, .other = $5.first, .has_other = true); }
    | error
        { $$ = NEW(Stmt, .kind = STMT_ERROR, .at = @$);
          RESUME(); }

names                           // TARGET: a name that `=` follows, alone or after more names
    : TARGET                    { $$ = (NameList){0}; LIST_ADD($$, $1); }
    | names ',' ID              { $$ = $1; LIST_ADD($$, $3); }

insts
    : LAYER inst1               { $$ = (BindList){0}; LIST_ADD($$, $2); }
    | insts ',' inst1           { $$ = $1; LIST_ADD($$, $3); }

inst1: ID '=' post              { $$ = NEW(Bind, .at = @$, .name = $1, .value = $3); }

cond
    : TRAIN                     { $$ = (Condition){.mode = MODE_TRAIN}; }
    | GENERATE                  { $$ = (Condition){.mode = MODE_GENERATE}; }
    | expr
        { bool eval = $1->kind == EXPR_NAME && !strcmp($1->text, "eval");
          $$ = (Condition){.mode = eval ? MODE_EVAL : MODE_NONE, .value = eval ? NULL : $1}; }

mode
    : TRAIN
    | ID
    | GENERATE

plist
    : pdecl                     { $$ = (ParamList){0}; LIST_ADD($$, $1); }
    | plist ',' pdecl           { $$ = $1; LIST_ADD($$, $3); }

pdecl: ID ptype pinit pwith
        { $$ = NEW(ParamDecl, .at = @$, .name = $1, .type = $2, .init = $3, .with = $4.first); }

ptype
    : '[' dims0 ']'             { $$ = (TypeExpr){.at = @$, .dims = $2.first, .present = true}; }
    | ':' ID '[' dims0 ']'      { $$ = (TypeExpr){.at = @$, .dtype = $2, .dims = $4.first, .present = true}; }

pinit
    : %empty                    { $$ = NULL; }
    | '=' expr                  { $$ = $2; }

pwith
    : %empty                    { $$ = (KeyValueList){0}; }
    | WITH kvs                  { $$ = $2; }

kvs
    : kv                        { $$ = (KeyValueList){0}; LIST_ADD($$, $1); }
    | kvs ';' kv                { $$ = $1; LIST_ADD($$, $3); }

kv: ID '=' expr                 { $$ = NEW(KeyValue, .at = @$, .name = $1, .value = $3); }

// ---- routing -----------------------------------------------------------------------------------------------------

rhs
    : expr                      { $$ = (Rhs){.at = @$, .expr = $1}; }
    | route                     { $$ = (Rhs){.at = @$, .route = $1}; }

route
    : ROUTE expr BY expr TO ID EXPERTS clauses each body
        { $$ = NEW(Route, .at = @$, .payload = $2, .by = $4, .experts = $6, .clauses = $8.first, .each = $9.each,
                   .gate = $9.gate, .over = $9.over, .body = $10.first, .has_body = true, .body_end = $10.end); }
    | ROUTE expr BY expr each body
        { $$ = NEW(Route, .at = @$, .payload = $2, .by = $4, .each = $5.each, .gate = $5.gate, .over = $5.over,
                   .body = $6.first, .has_body = true, .body_end = $6.end); }
    | ROUTE BY expr TO ID EXPERTS clauses EACH ID
        { $$ = NEW(Route, .at = @$, .by = $3, .experts = $5, .clauses = $7.first, .each = $9); }

each: EACH ID gname overk       { $$ = (EachHead){$2, $3, $4}; }

gname
    : %empty                    { $$ = NULL; }
    | ',' ID                    { $$ = $2; }

overk
    : %empty                    { $$ = NULL; }
    | OVER ID                   { $$ = $2; }

clauses
    : %empty                    { $$ = (ClauseList){0}; }
    | clauses clause            { $$ = $1; LIST_ADD($$, $2); }

clause
    : TOP expr                  { $$ = NEW(Clause, .kind = CLAUSE_TOP, .at = @$, .value = $2); }
    | SAMPLE expr inmode        { $$ = NEW(Clause, .kind = CLAUSE_SAMPLE, .at = @$, .value = $2, .mode = $3); }
    | CAPACITY caps             { $$ = NEW(Clause, .kind = CLAUSE_CAPACITY, .at = @$, .terms = $2.first); }
    | DROPLESS                  { $$ = NEW(Clause, .kind = CLAUSE_DROPLESS, .at = @$); }
    | GATE expr                 { $$ = NEW(Clause, .kind = CLAUSE_GATE, .at = @$, .value = $2); }
    | OVERFLOW ID               { $$ = NEW(Clause, .kind = CLAUSE_OVERFLOW, .at = @$, .name = $2); }
    | BALANCE terms             { $$ = NEW(Clause, .kind = CLAUSE_BALANCE, .at = @$, .terms = $2.first); }
    | NOISE expr inmode         { $$ = NEW(Clause, .kind = CLAUSE_NOISE, .at = @$, .value = $2, .mode = $3); }
    | ASSIGN asg                { $$ = NEW(Clause, .kind = CLAUSE_ASSIGN, .at = @$, .terms = $2.first); }
    | PRIORITY ID               { $$ = NEW(Clause, .kind = CLAUSE_PRIORITY, .at = @$, .name = $2); }
    | WHERE expr                { $$ = NEW(Clause, .kind = CLAUSE_WHERE, .at = @$, .value = $2); }

caps
    : cap                       { $$ = (TermList){0}; LIST_ADD($$, $1); }
    | caps ',' cap              { $$ = $1; LIST_ADD($$, $3); }

cap
    : expr over inmode          { $$ = NEW(ClauseTerm, .at = @$, .value = $1, .over = $2, .mode = $3); }
    | DROPLESS inmode           { $$ = NEW(ClauseTerm, .at = @$, .mode = $2, .dropless = true); }

asg
    : asg1                      { $$ = (TermList){0}; LIST_ADD($$, $1); }
    | asg ',' asg1              { $$ = $1; LIST_ADD($$, $3); }

asg1: expr over inmode          { $$ = NEW(ClauseTerm, .at = @$, .value = $1, .over = $2, .mode = $3); }

terms
    : term                      { $$ = (TermList){0}; LIST_ADD($$, $1); }
    | terms ',' term            { $$ = $1; LIST_ADD($$, $3); }

term: expr over pooled          { $$ = NEW(ClauseTerm, .at = @$, .value = $1, .over = $2, .pooled = $3); }

over
    : %empty                    { $$ = NULL; }
    | OVER expr                 { $$ = $2; }

pooled
    : %empty                    { $$ = false; }
    | POOLED                    { $$ = true; }

inmode
    : %empty                    { $$ = NULL; }
    | IN mode                   { $$ = $2; }

// ---- expressions -------------------------------------------------------------------------------------------------

expr
    : expr '+' expr             { $$ = expr_binary(p, @$, @2, BINARY_ADD, $1, $3); }
    | expr '-' expr             { $$ = expr_binary(p, @$, @2, BINARY_SUB, $1, $3); }
    | expr '*' expr             { $$ = expr_binary(p, @$, @2, BINARY_MUL, $1, $3); }
    | expr '/' expr             { $$ = expr_binary(p, @$, @2, BINARY_DIV, $1, $3); }
    | expr '%' expr             { $$ = expr_binary(p, @$, @2, BINARY_MOD, $1, $3); }
    | expr POW expr             { $$ = expr_binary(p, @$, @2, BINARY_POW, $1, $3); }
    | expr LE expr              { $$ = expr_binary(p, @$, @2, BINARY_LE, $1, $3); }
    | expr GE expr              { $$ = expr_binary(p, @$, @2, BINARY_GE, $1, $3); }
    | expr EQ expr              { $$ = expr_binary(p, @$, @2, BINARY_EQ, $1, $3); }
    | expr NE expr              { $$ = expr_binary(p, @$, @2, BINARY_NE, $1, $3); }
    | expr '<' expr             { $$ = expr_binary(p, @$, @2, BINARY_LT, $1, $3); }
    | expr '>' expr             { $$ = expr_binary(p, @$, @2, BINARY_GT, $1, $3); }
    | expr DOT axes ']' post %prec DOT
        { $$ = expr_contract(p, @$, (Span){@2.file, @2.begin, @4.end}, $1, $3, $5); }
    | '-' expr %prec NEG        { $$ = expr_negate(p, @$, @1, $2); }
    | post

axes
    : ID                        { $$ = (NameList){0}; LIST_ADD($$, $1); }
    | axes ',' ID               { $$ = $1; LIST_ADD($$, $3); }

post
    : prim
    | post '.' ID               { $$ = expr_field(p, @$, $1, $3); }
    | post '[' sels ']'         { $$ = expr_select(p, @$, (Span){@2.file, @2.begin, @4.end}, $1, $3); }
    | post '(' args0 ')' mods   { $$ = expr_call(p, @$, $1, $3, $5); }

mods
    : %empty                    { $$ = (Mods){0}; }
    | mods TIED OVER ID         { $$ = $1; $$.tied_over = $4; }
    | mods RECOMPUTE            { $$ = $1; $$.recompute = true; }

sels
    : sel                       { $$ = (SelList){0}; LIST_ADD($$, $1); }
    | sels ',' sel              { $$ = $1; LIST_ADD($$, $3); }

sel
    : expr                      { $$ = NEW(Sel, .at = @$, .value = $1); }
    | ID '=' expr               { $$ = NEW(Sel, .at = @$, .axis = $1, .value = $3); }
    | ID '=' expr DOTDOT expr ARROW ID
        { $$ = NEW(Sel, .at = @$, .axis = $1, .value = $3, .end = $5, .to = $7); }

prim
    : ID                        { $$ = expr_leaf(p, EXPR_NAME, @$, $1->text, 0); }
    | NUM
    | STR
    | '(' expr ')'              { $$ = expr_parens(@$, $2); }
    | '(' expr ',' args ')'     { $$ = expr_tuple(p, @$, $2, $4); }

args0
    : %empty                    { $$ = (ArgList){0}; }
    | args

args
    : arg                       { $$ = (ArgList){0}; LIST_ADD($$, $1); }
    | args ',' arg              { $$ = $1; LIST_ADD($$, $3); }

arg
    : expr                      { $$ = arg_make(p, @$, NULL, $1, NULL, false); }
    | ID '=' expr               { $$ = arg_make(p, @$, $1, $3, NULL, false); }
    | expr ARROW expr           { $$ = arg_make(p, @$, NULL, $1, $3, false); }
    | OVER '=' expr             { $$ = arg_make(p, @$, $1, $3, NULL, false); }
    | OVER '=' DOTDOT           { $$ = arg_make(p, @$, $1, NULL, NULL, true); }
    | TRAIN '=' expr            { $$ = arg_make(p, @$, $1, $3, NULL, false); }

// ---- sections ----------------------------------------------------------------------------------------------------

props
    : %empty                    { $$ = (KeyValueList){0}; }
    | props prop                { $$ = $1; if ($2) LIST_ADD($$, $2); }

prop
    : TARGET '=' expr           { $$ = NEW(KeyValue, .at = @$, .name = $1, .value = $3); }
    | TARGET '=' expr IN mode   { $$ = NEW(KeyValue, .at = @$, .name = $1, .value = $3, .mode = $5); }
    | error
        { $$ = NULL; RESUME(); }

%%

static Item *section(Parse *p, Span at, SectionKind kind, Name *name, Name *on, KeyValueList props, Span end)
{
    Section *s = NEW(Section, .kind = kind, .at = at, .name = name, .on = on, .props = props.first, .body_end = end);
    return NEW(Item, .kind = ITEM_SECTION, .at = at, .section = s);
}

// Collects what could have stood at the place of the error, by name, and leaves the words to syntax_error.c.
static int yyreport_syntax_error(const yypcontext_t *context, Parse *p)
{
    enum { MOST = YYNTOKENS };
    yysymbol_kind_t kind[MOST];
    const char *name[MOST];
    int n = yypcontext_expected_tokens(context, kind, MOST);
    if (n < 0)
        n = 0;
    for (int i = 0; i < n; i++)
        name[i] = yysymbol_name(kind[i]);
    parse_unexpected(p, *yypcontext_location(context), name, (size_t)n);
    return 0;
}

// Called by the parser itself only when its stack is at the limit, or memory is.
static void mix_error(const Span *at, Parse *p, const char *message)
{
    (void)message;
    if (parse_error(p, *at, "E0007", "this is nested too deeply to be read"))
        diag_help(p->diag, "give the inner parts names on lines of their own");
}
