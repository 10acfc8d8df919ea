/* Panels: 32 columns of a matrix, copied to where their rows lie one after another. */
#ifndef LOGVAR_PANEL_H
#define LOGVAR_PANEL_H

#include "elementary.h"

enum { WIDE = 32 };

/* 16 rows of 16 numbers, turned: b[k] has number k of every row, zero where there is none. */
static inline void turn(const float *from, long stride, long rows, long terms, __m512 b[16]) {
  __m512 a[16];
  __mmask16 present = first_of_16(terms);
  for (int j = 0; j < 16; j++)
    a[j] = j < rows ? _mm512_maskz_loadu_ps(present, from + j * stride) : _mm512_setzero_ps();
  for (int i = 0; i < 8; i++) { /* pairs of rows */
    b[2 * i] = _mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]);
    b[2 * i + 1] = _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]);
  }
  for (int i = 0; i < 4; i++) /* fours: a[4i + q] has terms q, q + 4, q + 8, q + 12 of four rows */
    for (int q = 0; q < 2; q++) {
      __m512d low = _mm512_castps_pd(b[4 * i + q]), high = _mm512_castps_pd(b[4 * i + q + 2]);
      a[4 * i + 2 * q] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
      a[4 * i + 2 * q + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
  for (int q = 0; q < 4; q++) {
    __m512 even = _mm512_shuffle_f32x4(a[q], a[q + 4], 0x88);
    __m512 odd = _mm512_shuffle_f32x4(a[q], a[q + 4], 0xdd);
    __m512 even_below = _mm512_shuffle_f32x4(a[q + 8], a[q + 12], 0x88);
    __m512 odd_below = _mm512_shuffle_f32x4(a[q + 8], a[q + 12], 0xdd);
    b[q] = _mm512_shuffle_f32x4(even, even_below, 0x88);
    b[q + 8] = _mm512_shuffle_f32x4(even, even_below, 0xdd);
    b[q + 4] = _mm512_shuffle_f32x4(odd, odd_below, 0x88);
    b[q + 12] = _mm512_shuffle_f32x4(odd, odd_below, 0xdd);
  }
}

static inline void copy_turned(const float *from, long stride, long rows, long terms, float *to) {
  __m512 turned[16];
  turn(from, stride, rows, terms, turned);
  for (long k = 0; k < 16 && k < terms; k++) _mm512_store_ps(to + k * WIDE, turned[k]);
}

/* Copies terms × 32 columns, given the distances of terms and of columns, to where they lie one after
 * another; zero beyond the last column. */
static inline void copy_panel(const float *right, long term, long column, long columns, long terms,
                              float *to) {
  if (column == 1) {
    __mmask16 low = first_of_16(columns), high = first_of_16(columns - 16);
    for (long k = 0; k < terms; k++, right += term, to += WIDE) {
      _mm512_store_ps(to, _mm512_maskz_loadu_ps(low, right));
      _mm512_store_ps(to + 16, _mm512_maskz_loadu_ps(high, right + 16));
    }
  } else { /* turned: its terms are neighbours */
    const float *below = columns > 16 ? right + 16 * column : right;
    for (long k = 0; k < terms; k += 16, to += 16 * WIDE) {
      copy_turned(right + k, column, columns, terms - k, to);
      copy_turned(below + k, column, columns - 16, terms - k, to + 16);
    }
  }
}

#endif
