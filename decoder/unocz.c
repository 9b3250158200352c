/* unocz [-m MB] ARCHIVE.ocz MODEL.onnx [BASE.ocz]: get a model back; external data go beside it. BASE
 * is the archive that ARCHIVE is a change of, if it is one. Archives whose files have more than MB
 * million bytes are refused, by default more than 1 GiB and more than 256 times the archive.
 *
 * Files are written under temporary names and renamed when all of them are whole. Exit codes: 0 done,
 * 2 wrong usage, 3 damaged archive, 4 failure. Where the system maps files, archives are, and memory
 * does not hold what was read of them; elsewhere they are read as a whole.
 */
#define _DEFAULT_SOURCE /* madvise */
#include "ocz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#define MAPS 1
#else
#define MAPS 0
#endif

enum { DONE = 0, USAGE = 2, ARCHIVE = 3, FAILURE = 4 };

#define LET_GO ((size_t)1 << 24) /* bytes written between looks at memory */

typedef struct {
    uint8_t *bytes;
    size_t size;
    int mapped;
} content;

typedef struct {
    FILE *stream;
    const content *from;
    size_t written; /* since memory was given back */
} writer;

static int complain(int code, const char *what, const char *why)
{
    fprintf(stderr, "error: '%s': %s\n", what, why);
    return code;
}

#if MAPS
static content mapped(const char *path)
{
    content found = {NULL, 0, 0};
    struct stat is;
    int file = open(path, O_RDONLY);
    if (file >= 0 && fstat(file, &is) == 0 && S_ISREG(is.st_mode) && is.st_size > 0) {
        void *place = mmap(NULL, (size_t)is.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        if (place != MAP_FAILED)
            found = (content){place, (size_t)is.st_size, 1};
    }
    if (file >= 0)
        close(file);
    return found;
}
#endif

static content read_all(const char *path)
{
    content found = {NULL, 0, 0};
    FILE *stream = fopen(path, "rb");
    size_t room = 0;
    while (stream) {
        if (found.size == room) {
            uint8_t *more = realloc(found.bytes, room = room ? 2 * room : 65536);
            if (!more)
                break;
            found.bytes = more;
        }
        size_t got = fread(found.bytes + found.size, 1, room - found.size, stream);
        found.size += got;
        if (!got) {
            int failed = ferror(stream);
            fclose(stream);
            if (!failed)
                return found;
            stream = NULL;
        }
    }
    if (stream)
        fclose(stream);
    free(found.bytes);
    return (content){NULL, 0, 0};
}

/* Get an archive; its bytes are NULL if it cannot be read. */
static content get_content(const char *path)
{
#if MAPS
    content found = mapped(path);
    if (found.mapped)
        return found;
#endif
    return read_all(path);
}

static void let_go(const content *c)
{
#if MAPS
    if (c->mapped)
        munmap(c->bytes, c->size);
    else
#endif
        free(c->bytes);
}

static int to_file(void *context, const uint8_t *bytes, size_t size)
{
    writer *w = context;
    w->written += size;
#if MAPS
    if (w->from->mapped && w->written >= LET_GO) { /* read again where it is needed */
        madvise(w->from->bytes, w->from->size, MADV_DONTNEED);
        w->written = 0;
    }
#endif
    return fwrite(bytes, 1, size, w->stream) != size;
}

/* Say whether the files of an archive are larger than wanted; 0 for the default. */
static int is_too_large(const ocz *archive, size_t size, uint64_t most)
{
    uint64_t total = 0, usual = (uint64_t)1 << 30;
    if (!most)
        most = (uint64_t)size > usual / 256 ? (uint64_t)size * 256 : usual;
    for (size_t i = 0; i < ocz_files(archive); i++)
        total += ocz_size(archive, i);
    return total > most;
}

/* Return where a file of the archive goes, with an ending. */
static char *path_of(const ocz *archive, size_t file, const char *model, const char *ending)
{
    const char *slash = strrchr(model, '/');
    size_t folder = file && slash ? (size_t)(slash - model) + 1 : 0;
    const char *name = file ? ocz_name(archive, file) : model;
    char *path = malloc(folder + strlen(name) + strlen(ending) + 1);
    if (path) {
        memcpy(path, model, folder);
        strcpy(path + folder, name);
        strcat(path, ending);
    }
    return path;
}

static int write_one(ocz *archive, const content *from, size_t file, const char *model)
{
    char *path = path_of(archive, file, model, ".part");
    FILE *stream = path ? fopen(path, "wb") : NULL;
    writer to = {stream, from, 0};
    const char *error = NULL;
    int code = DONE;
    if (!stream) {
        code = complain(FAILURE, path ? path : model, strerror(errno));
    } else {
        error = ocz_write(archive, file, to_file, &to);
        int broken = ferror(stream);
        if (fclose(stream) || broken)
            code = complain(FAILURE, path, "it cannot be written");
        else if (error)
            code = complain(ARCHIVE, ocz_name(archive, file), error);
    }
    free(path);
    return code;
}

/* Give all files their names, or remove them. */
static int settle(const ocz *archive, size_t files, const char *model, int code)
{
    for (size_t i = files; i-- > 0;) {
        char *from = path_of(archive, i, model, ".part"), *to = path_of(archive, i, model, "");
        if (from && to && (code ? remove(from) : rename(from, to)) && !code)
            code = complain(FAILURE, to, strerror(errno));
        free(from);
        free(to);
    }
    return code;
}

int main(int count, char **words)
{
    const char *error = NULL;
    content found[2] = {{NULL, 0, 0}, {NULL, 0, 0}};
    ocz *archive[2] = {NULL, NULL};
    size_t made = 0;
    int code = DONE;
    uint64_t most = 0;
    if (count > 2 && strcmp(words[1], "-m") == 0) {
        char *end = NULL;
        most = strtoul(words[2], &end, 10);
        if (!most || most > ((uint64_t)1 << 40) || *end || *words[2] == '-')
            return complain(USAGE, words[2], "it is no number of megabytes");
        most *= 1000000;
        count -= 2;
        words += 2;
    }
    if (count != 3 && count != 4) {
        fprintf(stderr, "usage: unocz [-m MB] ARCHIVE.ocz MODEL.onnx [BASE.ocz]\n");
        return USAGE;
    }
    for (int i = count == 4; i >= 0 && !code; i--) { /* the base first */
        const char *path = words[i ? 3 : 1];
        found[i] = get_content(path);
        if (found[i].bytes)
            archive[i] = ocz_open(found[i].bytes, found[i].size, archive[1], &error);
        if (!found[i].bytes)
            code = complain(USAGE, path, "it cannot be read");
        else if (!archive[i])
            code = complain(ARCHIVE, path, error);
        else if (is_too_large(archive[i], found[i].size, most))
            code = complain(ARCHIVE, path, "its files are larger than allowed; if you trust it, use -m MB");
    }
    if (!code) {
        while (!code && made < ocz_files(archive[0]))
            code = write_one(archive[0], &found[0], made++, words[2]);
        code = settle(archive[0], made, words[2], code);
    }
    for (int i = 0; i < 2; i++) {
        ocz_close(archive[i]);
        let_go(&found[i]);
    }
    return code;
}
