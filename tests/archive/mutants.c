/* mutants ARCHIVE: every archive that differs in one bit, or ends early, has to be refused.
 *
 * Prints how many were tried; exits with 1 at the first that was taken, or if the archive was not.
 */
#include "ocz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int nowhere(void *context, const uint8_t *bytes, size_t size)
{
    (void)context;
    (void)bytes;
    (void)size;
    return 0;
}

static int taken(const uint8_t *content, size_t size)
{
    const char *error = NULL;
    uint8_t *copy = malloc(size ? size : 1); /* so that reading past its end is noticed */
    memcpy(copy, content, size);
    ocz *archive = ocz_open(copy, size, NULL, &error);
    for (size_t i = 0; archive && !error && i < ocz_files(archive); i++)
        error = ocz_write(archive, i, nowhere, NULL);
    ocz_close(archive);
    free(copy);
    return !error;
}

int main(int count, char **words)
{
    static uint8_t content[1 << 16];
    FILE *stream = count == 2 ? fopen(words[1], "rb") : NULL;
    size_t size = stream ? fread(content, 1, sizeof content, stream) : 0;
    if (!stream || fclose(stream) || !taken(content, size))
        return 1;
    for (size_t i = 0; i < size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            content[i] ^= (uint8_t)(1 << bit);
            if (taken(content, size))
                return 1;
            content[i] ^= (uint8_t)(1 << bit);
        }
        if (taken(content, i))
            return 1;
    }
    printf("%lu\n", (unsigned long)(9 * size));
    return 0;
}
