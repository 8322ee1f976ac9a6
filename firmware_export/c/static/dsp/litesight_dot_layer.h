/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LITESIGHT_DOT_LAYER_H
#define LITESIGHT_DOT_LAYER_H

#include "litesight_dot.h"
#include "litesight_layer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Everything but where the outputs are; `values`, a multiple of 8, of each of `pixels` pixels are summed up. */
static inline litesight_dot litesight_dot_of(const litesight_layer *layer, const void *panel, uint32_t values,
                                             uint32_t pixels) {
  const litesight_conv *conv = (const litesight_conv *)layer->parameters;
  const litesight_feature *feature = layer->output;
  litesight_dot dot;
  dot.channel_stride = feature->is_planar ? feature->width : 1u;
  dot.zero_terms = 2 * feature->zero_point + 1;
  dot.output = 0;
  dot.pixel_stride = feature->is_planar ? 1u : feature->channels;
  dot.end = 0;
  dot.panel = panel;
  dot.groups = values / 8u - 1u;
  dot.is_linear = conv->channels.minimum < feature->zero_point;
  dot.panel_end = (const int8_t *)panel + 2u * values * pixels;
  dot.weights = conv->weights;
  return dot;
}

/* Outputs from pixel x of the row on. */
static inline void litesight_dot_at(litesight_dot *dot, const litesight_layer *layer, int8_t *row, uint32_t x) {
  dot->output = row + x * dot->pixel_stride;
  dot->end = dot->output + layer->output->channels * dot->channel_stride;
}

#ifdef __cplusplus
}
#endif

#endif
