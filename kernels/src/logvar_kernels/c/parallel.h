/* Work of a custom call, shared out over XLA's own threads. */
#ifndef LOGVAR_PARALLEL_H
#define LOGVAR_PARALLEL_H

#include <stddef.h>

#include "xla/ffi/api/c_api.h"

/* Does piece number `piece` of what `what` describes. */
typedef void Piece(const void *what, long piece);

/* Runs pieces 0 … count − 1 and returns when all are done. The calling thread takes pieces itself,
 * so it never waits for a thread that has not begun; at most `threads` take part. `what` is copied.
 * Which thread does which piece is left to chance: a piece must give the same bits on any. (All of
 * XLA's threads take subnormal numbers as zero.) */
void in_pieces(XLA_FFI_CallFrame *call, long threads, Piece *does, const void *what, size_t size,
               long count);

/* How many threads this call may use: XLA's, or one if it was told to keep to its own. */
long threads_of(XLA_FFI_CallFrame *call);

/* Whether XLA only asks which version of its interface this was built for; answers it. */
int answered_metadata(XLA_FFI_CallFrame *call);

/* An error that JAX raises with this sentence. */
XLA_FFI_Error *refused(XLA_FFI_CallFrame *call, const char *sentence);

static inline const XLA_FFI_Buffer *operand(XLA_FFI_CallFrame *call, long i) {
  return (const XLA_FFI_Buffer *)call->args.args[i];
}

static inline const XLA_FFI_Buffer *result(XLA_FFI_CallFrame *call, long i) {
  return (const XLA_FFI_Buffer *)call->rets.rets[i];
}

/* The product of a buffer's sizes from axis `first` up to, not including, axis `end`. */
static inline long extent(const XLA_FFI_Buffer *buffer, long first, long end) {
  long product = 1;
  for (long axis = first; axis < end; axis++) product *= buffer->dims[axis];
  return product;
}

/* Whether a buffer is of float32 and has so many numbers. */
static inline int fits(const XLA_FFI_Buffer *buffer, long size) {
  return buffer->dtype == XLA_FFI_DataType_F32 && extent(buffer, 0, buffer->rank) == size;
}

static inline long least(long a, long b) { return a < b ? a : b; }
static inline long most(long a, long b) { return a > b ? a : b; }

/* a / b, rounded up. */
static inline long ceiling(long a, long b) { return (a + b - 1) / b; }

#endif
