/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs litesight_preprocess on cases from stdin and writes the results to stdout, for a build with sanitizers.
 *
 * A case is eight int32: format, width, height, bytes of a row, output width, output height, color, whether a table
 * follows; then the frame; then the table. The answer is an int32 status and the output. Every buffer has exactly the
 * size it should have, with argv[1] guard bytes on either side; a row of the frame lives until the next one is asked
 * for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "litesight_preprocess.h"

enum { GUARD_VALUE = 0xA5 };

static size_t guard_bytes;

static void demand(int condition, const char *what) {
  if (!condition) {
    fprintf(stderr, "%s\n", what);
    exit(3);
  }
}

static uint8_t *guarded_new(size_t size) {
  uint8_t *block = malloc(size + 2 * guard_bytes);
  demand(block != NULL, "out of memory");
  memset(block, GUARD_VALUE, size + 2 * guard_bytes);
  return block + guard_bytes;
}

static void guarded_free(uint8_t *data, size_t size) {
  for (size_t i = 0; i < guard_bytes; ++i) {
    demand(data[size + i] == GUARD_VALUE && *(data - 1 - i) == GUARD_VALUE, "a guard byte was overwritten");
  }
  free(data - guard_bytes);
}

typedef struct row_server {
  const uint8_t *pixels;
  size_t row_bytes;
  int32_t last;
  int32_t first_allowed;
  int32_t last_allowed;
  uint8_t *row;
} row_server;

static const uint8_t *serve(void *context, int32_t row) {
  row_server *server = context;
  demand(row > server->last, "rows were not asked for in increasing order");
  demand(row >= server->first_allowed && row <= server->last_allowed, "a row outside the crop was asked for");
  server->last = row;
  if (server->row != NULL) {
    guarded_free(server->row, server->row_bytes);
  }
  server->row = guarded_new(server->row_bytes);
  memcpy(server->row, server->pixels + (size_t)row * server->row_bytes, server->row_bytes);
  return server->row;
}

static void run_case(const int32_t *header) {
  const size_t row_bytes = (size_t)header[3];
  const size_t frame_bytes = row_bytes * (size_t)header[2];
  const size_t channels = header[6] == LITESIGHT_COLOR_GREY ? 1 : 3;
  const size_t table_bytes = header[7] ? channels * 256 : 0;
  const size_t line = (size_t)header[4] * channels;
  const size_t out_bytes = line * (size_t)header[5];
  uint8_t *pixels = guarded_new(frame_bytes);
  uint8_t *table = guarded_new(table_bytes);
  demand(fread(pixels, 1, frame_bytes, stdin) == frame_bytes, "the frame is short");
  demand(fread(table, 1, table_bytes, stdin) == table_bytes, "the table is short");
  const litesight_input_spec spec = {header[4], header[5], (litesight_color)header[6],
                                     header[7] ? (const int8_t *)table : NULL};
  litesight_geometry geometry;
  litesight_preprocess_status status = litesight_preprocess_geometry(&spec, header[1], header[2], &geometry);
  demand(status == LITESIGHT_PREPROCESS_OK, "no geometry");
  row_server server = {pixels, row_bytes, -1, geometry.y, geometry.y + geometry.rows * geometry.factor - 1, NULL};
  const litesight_frame frame = {header[1], header[2], (litesight_pixel_format)header[0], serve, &server};
  const size_t workspace_bytes = litesight_preprocess_workspace_bytes(&spec, &frame);
  demand(workspace_bytes <= LITESIGHT_PREPROCESS_WORKSPACE_BYTES(spec.width, channels), "the bound is too low");
  uint8_t *workspace = guarded_new(workspace_bytes);
  uint8_t *out = guarded_new(out_bytes);
  uint8_t *row = guarded_new(line);
  litesight_preprocess_state state;
  status = litesight_preprocess_init(&state, &spec, &frame, workspace, workspace_bytes);
  for (int32_t y = 0; status == LITESIGHT_PREPROCESS_OK && y < spec.height; ++y) {
    status = litesight_preprocess_row(&state, (int8_t *)row);
    memcpy(out + (size_t)y * line, row, line);
  }
  demand(litesight_preprocess_row(&state, (int8_t *)row) == LITESIGHT_PREPROCESS_FINISHED, "a row too many");
  uint8_t *whole = guarded_new(out_bytes);
  demand(litesight_preprocess_whole(&spec, frame.format, frame.width, frame.height, header[3], pixels, workspace,
                                    workspace_bytes, (int8_t *)whole) == LITESIGHT_PREPROCESS_OK,
         "the whole frame was refused");
  demand(memcmp(out, whole, out_bytes) == 0, "rows and whole frame differ");
  const int32_t answer = (int32_t)status;
  fwrite(&answer, sizeof answer, 1, stdout);
  fwrite(out, 1, out_bytes, stdout);
  guarded_free(whole, out_bytes);
  guarded_free(row, line);
  guarded_free(out, out_bytes);
  guarded_free(workspace, workspace_bytes);
  guarded_free(table, table_bytes);
  guarded_free(pixels, frame_bytes);
  if (server.row != NULL) {
    guarded_free(server.row, row_bytes);
  }
}

int main(int argc, char **argv) {
  int32_t header[8];
  guard_bytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
  while (fread(header, sizeof header, 1, stdin) == 1) {
    run_case(header);
  }
  return 0;
}
