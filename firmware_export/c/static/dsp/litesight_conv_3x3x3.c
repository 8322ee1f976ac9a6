/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 3x3 convolution of an image with three channels. A row of the window is nine bytes in sequence: two words, and one
 * byte that goes to a word with those of the other rows. So the order of the 28 values is: bytes 0 to 7 of row 0, of
 * row 1, of row 2, then byte 8 of each; zero weights fill up to 32.
 */
#include <string.h>

#include "litesight_clamp_row.h"
#include "litesight_dot_layer.h"
#include "litesight_load.h"
#include "litesight_panel.h"

#define PIXELS 6u
#define SIZE 3
#define CHANNELS 3
#define ROW_BYTES (SIZE * CHANNELS)
#define VALUES 32u

typedef struct window {
  const int8_t *row[SIZE];
} window;

/* As litesight_fill_panel_pixel, of values in three places. */
static inline void fill_pixel(uint32_t *panel, const int8_t *row0, const int8_t *row1, const int8_t *row2) {
  const uint32_t mask = litesight_panel_mask();
  const int8_t *rows[SIZE] = {row0, row1, row2};
#pragma GCC unroll 3
  for (uint32_t i = 0; i < SIZE; ++i) {
    const uint32_t a = litesight_load4(rows[i]);
    const uint32_t b = litesight_load4(rows[i] + 4);
    panel[0] = litesight_even_values(a, mask);
    panel[PIXELS] = litesight_odd_values(a, mask);
    panel[2u * PIXELS] = litesight_even_values(b, mask);
    panel[3u * PIXELS] = litesight_odd_values(b, mask);
    panel += 4u * PIXELS;
  }
  panel[0] = (uint32_t)(uint8_t)row0[8] << 8 | (uint32_t)(uint8_t)row2[8] << 24;
  panel[PIXELS] = (uint32_t)(uint8_t)row1[8] << 8;
}

/* A pixel whose window is not all inside the map in x. */
static void fill_edge(uint32_t *panel, const litesight_feature *input, const window *rows, int32_t x) {
  int8_t copy[SIZE][ROW_BYTES];
  memset(copy, (uint8_t)input->zero_point, sizeof copy);
  for (int32_t i = 0; i < SIZE; ++i) {
    for (int32_t j = 0; j < SIZE; ++j) {
      if (rows->row[i] != 0 && x + j >= 0 && x + j < input->width) {
        memcpy(copy[i] + j * CHANNELS, rows->row[i] + (x + j) * CHANNELS, CHANNELS);
      }
    }
  }
  fill_pixel(panel, copy[0], copy[1], copy[2]);
}

/* The rows of the window, NULL for those outside; whether all are inside. */
static int find_rows(window *rows, const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_window *shape = &((const litesight_conv *)layer->parameters)->window;
  const litesight_feature *input = layer->input;
  int are_inside = 1;
  int32_t y = (int32_t)(step * shape->stride_y) - shape->pad_top;
  for (uint32_t i = 0; i < SIZE; ++i) {
    const int is_inside = y >= 0 && y < input->height;
    rows->row[i] = is_inside ? litesight_row(input, arena, (uint32_t)y) : 0;
    are_inside &= is_inside;
    ++y;
  }
  return are_inside;
}

void litesight_conv_3x3x3_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_window *shape = &((const litesight_conv *)layer->parameters)->window;
  const litesight_feature *input = layer->input;
  const litesight_feature *output = layer->output;
  int8_t *out = litesight_row(output, arena, step);
  uint32_t *panel = (uint32_t *)(void *)(arena + layer->scratch);
  litesight_dot dot = litesight_dot_of(layer, panel, VALUES, PIXELS);
  window rows;
  const int are_rows_inside = find_rows(&rows, layer, arena, step);
  const int32_t last = input->width - SIZE;
  for (uint32_t first = 0; first < output->width; first += PIXELS) {
    const uint32_t pixel = first + PIXELS <= output->width ? first : output->width - PIXELS;
    int32_t x = (int32_t)(pixel * shape->stride_x) - shape->pad_left;
    for (uint32_t p = 0; p < PIXELS; ++p) {
      if (are_rows_inside && x >= 0 && x <= last) {
        const int32_t offset = x * CHANNELS;
        fill_pixel(panel + p, rows.row[0] + offset, rows.row[1] + offset, rows.row[2] + offset);
      } else {
        fill_edge(panel + p, input, &rows, x);
      }
      x += shape->stride_x;
    }
    litesight_dot_at(&dot, layer, out, pixel);
    litesight_dot_6x1(&dot);
  }
  litesight_clamp_conv_row(layer, out);
}
