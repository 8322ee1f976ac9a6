/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LITESIGHT_POINTWISE_ROW_H
#define LITESIGHT_POINTWISE_ROW_H

#include "litesight_dot_layer.h"
#include "litesight_panel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* litesight_fill_panel for the number of pixels that `loop` computes. */
typedef void (*litesight_panel_fill)(uint32_t *panel, const int8_t *input, uint32_t distance, uint32_t values);
typedef void (*litesight_dot_loop)(litesight_dot *dot);

/*
 * A row of a pointwise layer, `pixels` at a time. It has so many at least; the last ones may have been computed before
 * in part.
 */
void litesight_pointwise_row(const litesight_layer *layer, int8_t *arena, uint32_t step, uint32_t pixels,
                             litesight_panel_fill fill, litesight_dot_loop loop);

#ifdef __cplusplus
}
#endif

#endif
