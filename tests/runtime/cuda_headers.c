// Our tables of functions and numbers against the toolkit's own headers; test_cuda_headers.sh compiles this where there is a toolkit.
#define CUDA_ENABLE_DEPRECATED
#include <cublasLt.h>
#include <cuda.h>
#include <nvrtc.h>

#include "cublaslt.h"

#define SAME(ours, theirs) _Static_assert((long long)(ours) == (long long)(theirs), #ours " is not " #theirs)
SAME(LT_MAJOR, MAJOR_VERSION); SAME(LT_MINOR, MINOR_VERSION); SAME(LT_PATCH, PATCH_LEVEL);
SAME(LT_F32, CUDA_R_32F); SAME(LT_BF16, CUDA_R_16BF);
SAME(LT_COMPUTE_F32, CUBLAS_COMPUTE_32F); SAME(LT_COMPUTE_F32_PEDANTIC, CUBLAS_COMPUTE_32F_PEDANTIC);
SAME(LT_AS_IT_IS, CUBLAS_OP_N); SAME(LT_TURNED, CUBLAS_OP_T);
SAME(LT_PRODUCT_TURN_A, CUBLASLT_MATMUL_DESC_TRANSA); SAME(LT_PRODUCT_TURN_B, CUBLASLT_MATMUL_DESC_TRANSB);
SAME(LT_LAYOUT_BATCHES, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT); SAME(LT_LAYOUT_BATCH_STRIDE, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
SAME(LT_WISH_WORK_BYTES, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES); SAME(LT_WISH_SUMMING, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
SAME(LT_WISH_ALIGN_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES); SAME(LT_WISH_ALIGN_B, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
SAME(LT_WISH_ALIGN_C, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES); SAME(LT_WISH_ALIGN_D, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(LT_SUMMING_IN_F32, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
SAME(sizeof(LtWay), sizeof(cublasLtMatmulHeuristicResult_t));
SAME(offsetof(LtWay, work_bytes), offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
SAME(offsetof(LtWay, state), offsetof(cublasLtMatmulHeuristicResult_t, state));
SAME(sizeof(((LtWay *)0)->algorithm), sizeof(cublasLtMatmulAlgo_t));

SAME(1, CU_STREAM_NON_BLOCKING); SAME(1, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL); SAME(2, CU_STREAM_CAPTURE_MODE_RELAXED);
SAME(8, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
SAME(13, CU_DEVICE_ATTRIBUTE_CLOCK_RATE); SAME(16, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT); SAME(36, CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
SAME(37, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH); SAME(38, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
SAME(75, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR); SAME(76, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);

// Every row calls the function of the header with the row's parameters: as many, of the same sizes. Handles are pointers to us.
#define CudaContext struct CUctx_st
#define CudaModule struct CUmod_st
#define CudaFunction struct CUfunc_st
#define CudaStream struct CUstream_st
#define CudaGraph struct CUgraph_st
#define CudaExec struct CUgraphExec_st
#define CudaEvent struct CUevent_st
#define CudaText struct _nvrtcProgram
#define DRIVER(field, symbol, parameters, arguments) static inline int driver_##field parameters { return (int)symbol arguments; }
#define NVRTC(field, symbol, parameters, arguments) static inline int nvrtc_##field parameters { return (int)symbol arguments; }
#define BLAS(field, symbol, parameters, arguments) static inline int blas_##field parameters { return (int)symbol arguments; }
#include "cuda_api.def"

int main(void)
{
    return 0;
}
