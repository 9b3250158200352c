/* Reading archives of ocompress (.ocz). C99 and nothing else; docs/archive-format.md is the format.
 *
 * An archive is a block of memory that stays as it is while it is open. Whatever is in it, nothing
 * outside of it is read, and memory is bounded by the largest piece that its index admits.
 */
#ifndef OCZ_H
#define OCZ_H

#include <stddef.h>
#include <stdint.h>

typedef struct ocz ocz;

/* Takes bytes in order; returns 0, or anything else to stop. */
typedef int (*ocz_sink)(void *context, const uint8_t *bytes, size_t size);

/* Read the index. Returns NULL if the archive cannot be used; *error is a sentence that says why. If
 * it is a change of another archive, base is that one, which has to stay open as long; else NULL. */
ocz *ocz_open(const uint8_t *content, size_t size, ocz *base, const char **error);
void ocz_close(ocz *archive);

/* The files: the model first, then external data that belong beside it. */
size_t ocz_files(const ocz *archive);
const char *ocz_name(const ocz *archive, size_t file);
uint64_t ocz_size(const ocz *archive, size_t file);

/* Decode a file into a sink, and check it. Returns NULL, or a sentence that says what is wrong; what
 * the sink was given before that counts for nothing. */
const char *ocz_write(ocz *archive, size_t file, ocz_sink sink, void *context);

#endif
