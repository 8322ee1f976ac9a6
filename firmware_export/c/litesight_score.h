/* SPDX-License-Identifier: Apache-2.0 */
/* From the network's int8 outputs to probabilities and the best classes; integers only. */
#ifndef LITESIGHT_SCORE_H
#define LITESIGHT_SCORE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 1.0 as a probability. */
#define LITESIGHT_PROBABILITY_ONE UINT32_C(65536)

/*
 * The index of the best score, or of the one that follows *previous: scores go down, and of equal ones the lower index
 * comes first. `previous` is NULL or points at what an earlier call returned; n is at least 1, and larger than the
 * number of earlier calls.
 */
uint16_t litesight_next_best(const int8_t *scores, size_t n, const uint16_t *previous);

/*
 * The softmax over n scores, as a divisor for litesight_softmax: the sum of exp_table[best - scores[i]].
 *
 * exp_table[d] is exp(-scale * d) in units of 2^-30 for d = 0 ... 255, where scale is that of the scores. The table is
 * made at export time, so that no floating point and no math library is needed here; the zero point cancels out.
 */
uint64_t litesight_softmax_sum(const int8_t *scores, size_t n, const uint32_t *exp_table);

/*
 * The probability of one score, 0 ... LITESIGHT_PROBABILITY_ONE, rounded to the nearest. best is the largest score, sum
 * what litesight_softmax_sum returned.
 */
uint32_t litesight_softmax(int8_t score, int8_t best, uint64_t sum, const uint32_t *exp_table);

#ifdef __cplusplus
}
#endif

#endif
