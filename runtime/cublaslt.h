// The numbers of cublasLt.h, cublas_api.h and library_types.h that we use, so that nothing of a toolkit is needed to build.
// tests/runtime/test_cuda_headers.sh holds them against the toolkit's.
#ifndef MIXC_CUBLASLT_H
#define MIXC_CUBLASLT_H

#include <stddef.h>
#include <stdint.h>

enum {
    LT_MAJOR = 0, LT_MINOR = 1, LT_PATCH = 2,                           // libraryPropertyType
    LT_F32 = 0, LT_BF16 = 14,                                           // cudaDataType
    LT_COMPUTE_F32 = 68, LT_COMPUTE_F32_PEDANTIC = 69,                  // cublasComputeType_t
    LT_AS_IT_IS = 0, LT_TURNED = 1,                                     // cublasOperation_t
    LT_PRODUCT_TURN_A = 3, LT_PRODUCT_TURN_B = 4,                       // cublasLtMatmulDescAttributes_t
    LT_LAYOUT_BATCHES = 5, LT_LAYOUT_BATCH_STRIDE = 6,                  // cublasLtMatrixLayoutAttribute_t
    LT_WISH_WORK_BYTES = 1, LT_WISH_SUMMING = 3,                        // cublasLtMatmulPreferenceAttributes_t
    LT_WISH_ALIGN_A = 5, LT_WISH_ALIGN_B = 6, LT_WISH_ALIGN_C = 7, LT_WISH_ALIGN_D = 8,
    LT_SUMMING_IN_F32 = 2,                                              // cublasLtReductionScheme_t
};

// cublasLtMatmulHeuristicResult_t
typedef struct LtWay {
    uint64_t algorithm[8];
    size_t   work_bytes;
    int      state;
    float    waves;
    int      reserved[4];
} LtWay;

#endif
