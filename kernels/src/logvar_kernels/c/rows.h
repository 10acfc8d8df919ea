/* Rows of two operands that go together: leading axes are broadcast as NumPy's are. */
#ifndef LOGVAR_ROWS_H
#define LOGVAR_ROWS_H

#include "parallel.h"

enum { MOST_AXES = 8, NUMBERS_IN_PIECE = 4096 };

typedef struct {
  const float *operand[2];
  long rows, width; /* of the result */
  long axes, size[MOST_AXES], step[2][MOST_AXES]; /* the last axis first; a step of 0 stays */
} Rows;

/* The result has these leading axes, and each operand's are as long or 1. 0 if that is not so. */
static inline int fitting(Rows *rows, const XLA_FFI_Buffer *one, const XLA_FFI_Buffer *other,
                          const XLA_FFI_Buffer *result, long axes) {
  const XLA_FFI_Buffer *operands[2] = {one, other};
  if (axes > MOST_AXES || result->rank < axes || result->dtype != XLA_FFI_DataType_F32) return 0;
  rows->axes = axes;
  rows->rows = extent(result, 0, axes);
  for (int o = 0; o < 2; o++) {
    const XLA_FFI_Buffer *operand = operands[o];
    if (operand->rank != axes + 1 || operand->dtype != XLA_FFI_DataType_F32) return 0;
    if (o && operand->dims[axes] != rows->width) return 0;
    rows->operand[o] = operand->data;
    rows->width = operand->dims[axes];
    long below = 1;
    for (long i = 0; i < axes; i++) {
      long axis = axes - 1 - i, size = result->dims[axis];
      if (operand->dims[axis] != size && operand->dims[axis] != 1) return 0;
      rows->size[i] = size;
      rows->step[o][i] = operand->dims[axis] == 1 ? 0 : below * rows->width;
      below *= operand->dims[axis];
    }
  }
  return 1;
}

/* An operand's row for a row of the result. */
static inline const float *row_of(const Rows *rows, int operand, long row) {
  const float *at = rows->operand[operand];
  for (long i = 0; i < rows->axes; i++) {
    at += row % rows->size[i] * rows->step[operand][i];
    row /= rows->size[i];
  }
  return at;
}

/* Whether the second result, which not every call asks for, has the rows' numbers; where they are. */
static inline int fitting_slope(const Rows *rows, XLA_FFI_CallFrame *call, float **slope) {
  *slope = call->rets.size == 2 ? result(call, 1)->data : NULL;
  return call->rets.size < 2 || fits(result(call, 1), rows->rows * rows->width);
}

/* How many rows make a piece, so that it is worth one, and how many pieces that makes. */
static inline long rows_in_piece(const Rows *rows) { return NUMBERS_IN_PIECE / (rows->width + 1) + 1; }
static inline long pieces_of(const Rows *rows) {
  return ceiling(rows->rows, rows_in_piece(rows));
}

#endif
