/* SiLU of a layer's output and its slope in one pass, for processors with AVX-512.
 *
 * t·sigmoid(t) of t = x + bias, and where it is asked for the derivative
 * sigmoid(t)·(1 + t·(1 − sigmoid(t))). XLA makes a pass for the sigmoid, one for the value and
 * computes half of it again for the derivative.
 */
#include "elementary.h"
#include "rows.h"

typedef struct {
  Rows rows; /* of x and bias */
  float *value, *slope; /* slope is NULL where it is not asked for */
} Silu;

/* Of 16 numbers; where all of them are known to be there, without masks. */
static inline void silu_of_16(const Silu *s, const float *x, const float *bias, long at,
                              __mmask16 there) {
  __m512 t = _mm512_add_ps(_mm512_maskz_loadu_ps(there, x), _mm512_maskz_loadu_ps(there, bias));
  __m512 of_t = sigmoid(t, exponential(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_abs_ps(t))));
  __m512 value = _mm512_mul_ps(t, of_t);
  _mm512_mask_storeu_ps(s->value + at, there, value);
  if (s->slope) {
    __m512 slope = _mm512_fmadd_ps(value, _mm512_sub_ps(_mm512_set1_ps(1), of_t), of_t);
    _mm512_mask_storeu_ps(s->slope + at, there, slope);
  }
}

static void piece_of_silu(const void *what, long piece) {
  const Silu *s = what;
  long width = s->rows.width, row = piece * rows_in_piece(&s->rows);
  for (long end = row + rows_in_piece(&s->rows); row < end && row < s->rows.rows; row++) {
    const float *x = row_of(&s->rows, 0, row), *bias = row_of(&s->rows, 1, row);
    long i = 0;
    for (; i + 16 <= width; i += 16) silu_of_16(s, x + i, bias + i, row * width + i, 0xffff);
    if (i < width) silu_of_16(s, x + i, bias + i, row * width + i, first_of_16(width - i));
  }
}

/* Operands: x and bias (..., width), each with a size of 1 where it serves all of an axis.
 * Results: the values, and the slopes where there is a second one. */
XLA_FFI_Error *logvar_silu(XLA_FFI_CallFrame *call) {
  if (answered_metadata(call)) return NULL;
  if (call->args.size != 2 || call->rets.size < 1 || call->rets.size > 2)
    return refused(call, "logvar's SiLU takes x and bias and gives values, or slopes as well");
  const XLA_FFI_Buffer *value = result(call, 0);
  Silu s = {.value = value->data};
  if (!fitting(&s.rows, operand(call, 0), operand(call, 1), value, value->rank - 1) ||
      !fits(value, s.rows.rows * s.rows.width) || !fitting_slope(&s.rows, call, &s.slope))
    return refused(call, "logvar's SiLU got float32 that do not fit together, or no float32");
  in_pieces(call, threads_of(call), piece_of_silu, &s, sizeof s, pieces_of(&s.rows));
  return NULL;
}
