/* Elementary functions of 16 numbers at a time. */
#ifndef LOGVAR_ELEMENTARY_H
#define LOGVAR_ELEMENTARY_H

#include <immintrin.h>

/* Which of the next 16 of n numbers are there. */
static inline __mmask16 first_of_16(long n) {
  return n >= 16 ? 0xffff : n <= 0 ? 0 : (1u << n) - 1;
}

/* 0, 1, … 15. */
static inline __m512i up_to_15(void) {
  return _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}

/* e^t for t ≤ 0: 2^n·e^r with |r| ≤ ln 2 / 2, whose series ends where float32 does. */
static inline __m512 exponential(__m512 t) {
  t = _mm512_max_ps(_mm512_set1_ps(-150), t); /* in this order a NaN stays one */
  __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(t, _mm512_set1_ps(0x1.715476p0f)), 0);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e4p-1f), t); /* ln 2 in two parts */
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
  __m512 e = _mm512_set1_ps(1.0f / 5040);
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(1.0f / 720));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(1.0f / 120));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(1.0f / 24));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(1.0f / 6));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(0.5f));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(1));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(1));
  return _mm512_scalef_ps(e, n);
}

/* log u + rest for u > 0: u = m·2^e with m around 1, and log m = 2·artanh((m − 1)/(m + 1)) is a
 * series in squares of at most 0.03. */
static inline __m512 logarithm_and(__m512 u, __m512 rest) {
  const __m512 one = _mm512_set1_ps(1);
  __m512 e = _mm512_getexp_ps(u), m = _mm512_getmant_ps(u, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
  __mmask16 large = _mm512_cmp_ps_mask(m, _mm512_set1_ps(0x1.6a09e6p0f), _CMP_GT_OQ); /* √2 */
  e = _mm512_mask_add_ps(e, large, e, one);
  m = _mm512_mask_mul_ps(m, large, m, _mm512_set1_ps(0.5f));
  __m512 s = _mm512_div_ps(_mm512_sub_ps(m, one), _mm512_add_ps(m, one));
  __m512 square = _mm512_mul_ps(s, s), series = _mm512_set1_ps(2.0f / 9);
  series = _mm512_fmadd_ps(series, square, _mm512_set1_ps(2.0f / 7));
  series = _mm512_fmadd_ps(series, square, _mm512_set1_ps(2.0f / 5));
  series = _mm512_fmadd_ps(series, square, _mm512_set1_ps(2.0f / 3));
  series = _mm512_fmadd_ps(series, square, _mm512_set1_ps(2));
  rest = _mm512_fmadd_ps(series, s, rest);
  return _mm512_fmadd_ps(e, _mm512_set1_ps(0x1.62e43p-1f), rest);
}

/* log(1 + q) for q ≥ 0, with what 1 + q has lost of a small q. */
static inline __m512 log_of_one_and(__m512 q) {
  const __m512 one = _mm512_set1_ps(1);
  __m512 u = _mm512_add_ps(one, q), lost = _mm512_sub_ps(q, _mm512_sub_ps(u, one));
  return logarithm_and(u, _mm512_div_ps(lost, u));
}

/* 1 / (1 + e^{−t}), of which e = e^{−|t|} is known. */
static inline __m512 sigmoid(__m512 t, __m512 e) {
  const __m512 one = _mm512_set1_ps(1);
  __mmask16 negative = _mm512_cmp_ps_mask(t, _mm512_setzero_ps(), _CMP_LT_OQ);
  return _mm512_div_ps(_mm512_mask_mov_ps(one, negative, e), _mm512_add_ps(one, e));
}

#endif
