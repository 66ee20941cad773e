// Products with an operand that is 0 away from a diagonal, or of which only a band is wanted: triangles and local windows. The rest
// of their terms need not be touched.
//
// Such a value is what `shape = lower(T, T')` and written masks are in the graph: select(le(index(a), index(b)), x, 0). A mask may be
// any comparison of the difference of two indices with a number (le, lt, eq, also of its absolute value), the branches may be
// turned round, masks may be multiplied with each other and with x, and one may be inside another: then the band is what
// all of them leave.
#ifndef MIXC_BAND_H
#define MIXC_BAND_H

#include "product.h"

enum { BAND_FAR = INT32_MAX };              // +-BAND_FAR: no bound on this side

// Elements count only where least <= i_to - i_from <= most; from 0: everywhere.
typedef struct Band {
    AxisId  from, to;
    int32_t least, most;
} Band;

// Which running indices of a product the band bounds, and how.
typedef enum BandKind {
    BAND_NONE,
    BAND_TERMS_OF_ROW,                      // only terms with least <= k - i <= most count, i being the row
    BAND_TERMS_OF_COL,                      // the same with the column j
    BAND_COLS_OF_ROW                        // only results with least <= j - i <= most are wanted
} BandKind;

typedef struct ProductBand {
    BandKind kind;
    int64_t  least, most;
    bool     is_choice;                     // COLS_OF_ROW: what is not wanted may be anything; else it must be a number
} ProductBand;

// Where elements of v are not known to be 0. False: nothing is known.
bool        band_of(const Graph *g, ValueId v, Band *out_band);
// What an operand's zeros say about the product's terms; or, if they say nothing, what the one reader of the product leaves of its
// result. `reader` 0: there is none.
ProductBand band_of_product(const Graph *g, const Product *p, ValueId reader);
// The share of the multiplications that is left, at most 1.
double      band_share(const Product *p, const ProductBand *band);

#endif
