// C functions that generated kernels call as they are: *.inc files, embedded as text by embed.cmake.
#ifndef MIXC_SOURCES_H
#define MIXC_SOURCES_H

extern const char auction_text[];           // ir/auction.inc
extern const char order_text[];             // codegen/order.inc
extern const char topk_text[];              // codegen/topk.inc

extern const char fft_text[];               // codegen/fft.inc

#endif
