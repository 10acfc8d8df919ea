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

static void piece_of_silu(const void *what, long piece) {
  const Silu *s = what;
  const __m512 zero = _mm512_setzero_ps(), one = _mm512_set1_ps(1);
  long width = s->rows.width, row = piece * rows_in_piece(&s->rows);
  for (long end = row + rows_in_piece(&s->rows); row < end && row < s->rows.rows; row++) {
    const float *x = row_of(&s->rows, 0, row), *bias = row_of(&s->rows, 1, row);
    for (long i = 0; i < width; i += 16) {
      __mmask16 there = first_of_16(width - i);
      __m512 t = _mm512_add_ps(_mm512_maskz_loadu_ps(there, x + i),
                               _mm512_maskz_loadu_ps(there, bias + i));
      __m512 of_t = sigmoid(t, exponential(_mm512_sub_ps(zero, _mm512_abs_ps(t))));
      __m512 value = _mm512_mul_ps(t, of_t);
      _mm512_mask_storeu_ps(s->value + row * width + i, there, value);
      if (s->slope) {
        __m512 slope = _mm512_fmadd_ps(value, _mm512_sub_ps(one, of_t), of_t);
        _mm512_mask_storeu_ps(s->slope + row * width + i, there, slope);
      }
    }
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
