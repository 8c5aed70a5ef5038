// See upload.cu.
#pragma once

#include "common.cuh"

// Host to device in the order of the stream. Memory that is not pinned has been read when this returns.
void upload(mg_context *ctx, void *to, const void *from, int64_t bytes);

void close_uploader(mg_context *ctx);
