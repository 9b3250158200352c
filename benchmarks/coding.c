/* coding FILE: seconds of the processor that decoding the integers of a file takes, and a sum of them
 * all, for benchmarks/coding.py. A file has matrices: rows, columns, inner, mixed and bytes of the code,
 * eight bytes each, then the code. Compile it without ocz.c.
 */
#include "ocz.c"

#include <stdio.h>
#include <time.h>

#define ROOM ((size_t)1 << 26)

static uint8_t content[ROOM];

int main(int count, char **words)
{
    static tables t;
    FILE *stream = count == 2 ? fopen(words[1], "rb") : NULL;
    if (!stream)
        return 2;
    size_t size = fread(content, 1, ROOM, stream), at = 0;
    clock_t spent = 0;
    int64_t sum = 0;
    fclose(stream);
    fill_tables(&t);
    while (at + 40 <= size) {
        node n = {INTEGERS, 4, get(content + at, 8) * get(content + at + 8, 8), get(content + at + 32, 8),
                  {get(content + at + 8, 8), get(content + at + 16, 8), get(content + at + 24, 8), 0, 0}, 0,
                  {NULL}};
        at += 40;
        int32_t *values = malloc((size_t)n.count * sizeof *values);
        clock_t start_at = clock();
        if (!values || n.size > size - at || decode_integers(&t, content + at, &n, values))
            return 1;
        spent += clock() - start_at;
        for (uint64_t i = 0; i < n.count; i++)
            sum += values[i];
        free(values);
        at += (size_t)n.size;
    }
    printf("%.6f %lld\n", (double)spent / CLOCKS_PER_SEC, (long long)sum);
    return 0;
}
