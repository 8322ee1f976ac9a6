/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From camera rows to the int8 rows of a network's input: the rule "box-bilinear-1", byte for byte what
 * device/preprocess.py gives. docs/preprocessing.md states the rule.
 *
 * Rows are pulled: the caller asks for one output row, and this module asks the source for the frame rows it needs, in
 * increasing order, each at most once. No frame is stored. C11, no heap, no globals.
 */
#ifndef LITESIGHT_PREPROCESS_H
#define LITESIGHT_PREPROCESS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LITESIGHT_PREPROCESS_MAX_FRAME_SIDE 16384
#define LITESIGHT_PREPROCESS_MAX_OUTPUT_SIDE 2048
#define LITESIGHT_PREPROCESS_MAX_FACTOR 4096

typedef enum litesight_preprocess_status {
  LITESIGHT_PREPROCESS_OK = 0,
  LITESIGHT_PREPROCESS_BAD_ARGUMENT = 1,        /* a null pointer, an unknown enum value, or a size out of range */
  LITESIGHT_PREPROCESS_SOURCE_FAILED = 2,       /* the row source returned NULL */
  LITESIGHT_PREPROCESS_WORKSPACE_TOO_SMALL = 3, /* or not aligned to 2 bytes */
  LITESIGHT_PREPROCESS_FINISHED = 4             /* every output row has been made already */
} litesight_preprocess_status;

typedef enum litesight_pixel_format {
  LITESIGHT_RGB888 = 0,
  LITESIGHT_BGR888 = 1,
  LITESIGHT_GREY8 = 2,
  LITESIGHT_RGB565 = 3,    /* low byte first */
  LITESIGHT_RGB565_BE = 4, /* high byte first */
  LITESIGHT_YUYV = 5       /* bytes Y0 U Y1 V, BT.601 full range; the frame's width is even */
} litesight_pixel_format;

typedef enum litesight_color {
  LITESIGHT_COLOR_RGB = 0,
  LITESIGHT_COLOR_BGR = 1,
  LITESIGHT_COLOR_GREY = 2 /* one channel; the others have three */
} litesight_color;

/* What the network wants: constant data of the model. */
typedef struct litesight_input_spec {
  int32_t width; /* pixels, 1 to 2048 */
  int32_t height;
  litesight_color color;
  const int8_t *table; /* [channels][256], channels in the network's order; NULL means x ^ 0x80 */
} litesight_input_spec;

/*
 * Delivers row `row` of a frame (0 is the top one), from its first pixel on. Rows are asked for in increasing order,
 * each at most once; rows outside the crop are never asked for. The pointer need only be valid until the next call.
 * NULL means that the row cannot be had.
 */
typedef const uint8_t *(*litesight_row_source)(void *context, int32_t row);

/* What the camera gives. */
typedef struct litesight_frame {
  int32_t width; /* pixels, 1 to 16384 */
  int32_t height;
  litesight_pixel_format format;
  litesight_row_source source;
  void *context; /* handed to `source` */
} litesight_frame;

/*
 * The crop starts at (x, y) and consists of columns x rows cells of factor x factor pixels each.
 * columns < 2 * output width, rows < 2 * output height, whatever the frame.
 */
typedef struct litesight_geometry {
  int32_t x;
  int32_t y;
  int32_t factor;
  int32_t columns;
  int32_t rows;
} litesight_geometry;

/* Read it, but leave the writing to the functions below. */
typedef struct litesight_preprocess_state {
  litesight_input_spec spec;
  litesight_frame frame;
  litesight_geometry geometry;
  uint16_t *sums;      /* the low halves of one row of cells */
  uint16_t *high_sums; /* the high halves, or NULL where 16 bits suffice */
  uint16_t *lines[2];  /* horizontally resized rows of cells; row j lies in lines[j % 2] */
  int32_t line_row[2]; /* the row of cells in each line, -1 for none */
  int32_t next_row;    /* the output row to be made next */
  litesight_preprocess_status status;
} litesight_preprocess_state;

/*
 * Enough working memory for any frame, as a constant expression: about 8.25 bytes per pixel and channel of an output
 * row (5532 bytes for 224 RGB pixels, 2364 for 96). `channels` is 3, or 1 for LITESIGHT_COLOR_GREY.
 *
 * Two lines of 16-bit values, and one row of sums. With 2 bytes a sum (factor <= 16) there are at most 2 w - 1 cells,
 * with 4 bytes a sum (factor k >= 17) at most (w (k + 1) - 1) / k <= (18 w - 1) / 17; the second needs more.
 */
#define LITESIGHT_PREPROCESS_WORKSPACE_BYTES(width, channels) \
  (4u * (size_t)(channels) * ((size_t)(width) + (18u * (size_t)(width)-1u) / 17u))

/* The part of a frame that the network sees. */
litesight_preprocess_status litesight_preprocess_geometry(const litesight_input_spec *spec, int32_t frame_width,
                                                          int32_t frame_height, litesight_geometry *geometry);

/* Exactly the working memory for this frame (source and context are not looked at); 0 for what init() would refuse. */
size_t litesight_preprocess_workspace_bytes(const litesight_input_spec *spec, const litesight_frame *frame);

/*
 * Begins a frame. `spec` and `frame` are copied; spec->table, the frame's context and the workspace must stay. The
 * workspace is aligned to 2 bytes. Call it again for the next frame, or to give up one half-way.
 */
litesight_preprocess_status litesight_preprocess_init(litesight_preprocess_state *state,
                                                      const litesight_input_spec *spec, const litesight_frame *frame,
                                                      void *workspace, size_t workspace_bytes);

/*
 * Makes the next row of the network's input: width * channels values. After a failure of the source every further call
 * reports it again, and `out_row` is left alone.
 */
litesight_preprocess_status litesight_preprocess_row(litesight_preprocess_state *state, int8_t *out_row);

/* A frame in memory as a row source: the context of litesight_memory_row. A negative stride reads from the bottom up.
 */
typedef struct litesight_memory_frame {
  const uint8_t *pixels; /* of row 0 */
  int32_t stride_bytes;
} litesight_memory_frame;

const uint8_t *litesight_memory_row(void *context, int32_t row);

/* A whole frame in memory to the whole input, height * width * channels values, by way of the functions above. */
litesight_preprocess_status litesight_preprocess_whole(const litesight_input_spec *spec, litesight_pixel_format format,
                                                       int32_t width, int32_t height, int32_t stride_bytes,
                                                       const uint8_t *pixels, void *workspace, size_t workspace_bytes,
                                                       int8_t *out);

#ifdef __cplusplus
}
#endif

#endif
