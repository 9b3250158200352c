/* crafted ARCHIVE CASES SEED: archives that lie with all checksums right have to be refused, or to
 * mean what they meant.
 *
 * The index is taken apart into trees, these are changed (numbers, codecs, order, nesting, sizes,
 * bytes of codes), and an archive is written of them, its checksums made anew except for those of
 * whole files. Prints cases, how many still meant the same, the slowest case and the peak of memory;
 * exits with 1 at the first that gave another model. Compile it with sanitizers and without ocz.c.
 */
#define _XOPEN_SOURCE 700
#include "ocz.c"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { MOST_PIECES = 64, MOST_FILES = 4, SECONDS = 30 };
#define ROOM ((size_t)1 << 20)

typedef struct tree {
    int codec, children;
    uint64_t settings[5], size;
    struct tree *below[8];
    uint8_t *code;
} tree;

typedef struct {
    uint64_t gap, size, width;
    tree *root;
} part;

typedef struct {
    part part[MOST_PIECES];
    uint64_t size, parts, claimed;
    const file *from;
} whole;

typedef struct {
    part chunk[MOST_PIECES];
    whole file[MOST_FILES];
    uint64_t total, chunks, files;
} model;

typedef struct {
    uint8_t bytes[ROOM];
    size_t used;
} text;

static uint8_t arena[8 * ROOM];
static size_t arena_used;
static uint64_t state;
static text index_text, codes_text, wanted, found;

static void *room(size_t size)
{
    void *place = arena + arena_used;
    arena_used += (size + 15) / 16 * 16;
    if (arena_used > sizeof arena)
        exit(2);
    return memset(place, 0, size);
}

static uint64_t draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % below;
}

static void append(text *t, const void *bytes, size_t size)
{
    if (!size || size > ROOM - t->used)
        return;
    memcpy(t->bytes + t->used, bytes, size);
    t->used += size;
}

static void append_number(text *t, uint64_t number)
{
    uint8_t byte;
    for (; number > 127; number >>= 7) {
        byte = (uint8_t)(number | 128);
        append(t, &byte, 1);
    }
    byte = (uint8_t)number;
    append(t, &byte, 1);
}

static void append_fixed(text *t, uint64_t number)
{
    uint8_t bytes[4];
    put(bytes, 4, number);
    append(t, bytes, 4);
}

/* -- taking apart and putting together -------------------------------------------------------------- */

static tree *tree_of(const node *n, const uint8_t **code)
{
    tree *t = room(sizeof *t);
    t->codec = n->codec;
    t->children = n->children;
    memcpy(t->settings, n->settings, sizeof t->settings);
    if (!n->children) {
        t->size = n->size;
        t->code = room((size_t)n->size);
        memcpy(t->code, *code, (size_t)n->size);
        *code += n->size;
    }
    for (int i = 0; i < n->children; i++)
        t->below[i] = tree_of(n->below[i], code);
    return t;
}

static tree *copy_of(const tree *t)
{
    tree *made = room(sizeof *made);
    *made = *t;
    if (t->size)
        made->code = memcpy(room((size_t)t->size), t->code, (size_t)t->size);
    for (int i = 0; i < t->children; i++)
        made->below[i] = copy_of(t->below[i]);
    return made;
}

static part part_of(const ocz *z, const piece *p, uint64_t before)
{
    const uint8_t *code = z->content + p->at;
    part made = {p->offset - before, p->size, p->root->width, tree_of(p->root, &code)};
    return made;
}

static void take_apart(const ocz *z, model *m)
{
    memset(m, 0, sizeof *m);
    m->total = z->total;
    for (; m->chunks < z->chunks; m->chunks++)
        m->chunk[m->chunks] = part_of(z, &z->chunk[m->chunks], 0);
    for (; m->files < z->files; m->files++) {
        whole *f = &m->file[m->files];
        uint64_t at = 0;
        f->from = &z->file[m->files];
        f->size = f->from->size;
        for (; f->parts < f->from->pieces && f->parts < MOST_PIECES; f->parts++) {
            const piece *p = &f->from->piece[f->parts];
            f->part[f->parts] = part_of(z, p, at);
            at = p->offset + p->size;
        }
        f->claimed = f->parts;
    }
}

static void write_tree(const tree *t)
{
    append_number(&index_text, (uint64_t)t->codec);
    for (int i = 0; i < SETTINGS[t->codec]; i++)
        append_number(&index_text, t->settings[i]);
    for (int i = 0; i < t->children; i++)
        write_tree(t->below[i]);
    append(&codes_text, t->code, (size_t)t->size);
}

static void write_part(const part *p)
{
    size_t before = codes_text.used;
    write_tree(p->root);
    append_fixed(&index_text, crc32_of(codes_text.bytes + before, codes_text.used - before, 0));
}

/* Write an archive with its index stored; a few bytes of that may be changed. Returns its size. */
static size_t put_together(const model *m, int noise)
{
    index_text.used = codes_text.used = 0;
    append(&codes_text, MAGIC, sizeof MAGIC);
    append(&index_text, "\1", 2);
    append_number(&index_text, m->total);
    for (uint64_t i = 0; i < m->chunks; i++)
        write_part(&m->chunk[i]);
    append_number(&index_text, m->files);
    for (uint64_t i = 0; i < m->files; i++) {
        const whole *f = &m->file[i];
        append_number(&index_text, strlen(f->from->name));
        append(&index_text, f->from->name, strlen(f->from->name));
        append_number(&index_text, f->size);
        append(&index_text, f->from->digest, 32);
        append_number(&index_text, f->claimed);
        for (uint64_t k = 0; k < f->parts; k++) {
            append_number(&index_text, f->part[k].gap);
            append_number(&index_text, f->part[k].size);
            append_number(&index_text, f->part[k].width);
            write_part(&f->part[k]);
        }
    }
    while (noise--)
        index_text.bytes[draw(index_text.used)] = (uint8_t)draw(256);
    size_t size = index_text.used, start = codes_text.used;
    if (size + 32 > ROOM - start)
        size = 0; /* it has exploded: an empty index will do */
    append(&codes_text, index_text.bytes, size);
    append_fixed(&codes_text, size);
    append_fixed(&codes_text, size);
    append_fixed(&codes_text, 0);
    append_fixed(&codes_text, crc32_of(codes_text.bytes + start, size + 12, 0));
    append(&codes_text, END, sizeof END);
    return codes_text.used;
}

/* -- changes ---------------------------------------------------------------------------------------- */

static uint64_t odd(uint64_t number)
{
    static const uint64_t ODD[] = {0, 1, 2, 3, 4, 7, 8, 16, 64, 127, 255, 4096, 16519, 1 << 15, 65536,
                                   1 << 20, 1 << 22, 1 << 24, 1 << 26, (uint64_t)1 << 32,
                                   (uint64_t)1 << 44, (uint64_t)1 << 48, ((uint64_t)1 << 56) - 1};
    switch (draw(5)) {
    case 0: return number + 1;
    case 1: return number ? number - 1 : 1;
    case 2: return number * (1 + draw(9));
    case 3: return draw(300);
    default: return ODD[draw(sizeof ODD / sizeof *ODD)];
    }
}

/* Any node of a tree: go down as long as a coin says so. */
static tree **any(tree **place)
{
    while ((*place)->children && draw(3))
        place = &(*place)->below[draw((uint64_t)(*place)->children)];
    return place;
}

static void wrap(tree **place)
{
    static const int CODECS_OF_ONE[] = {DELTA, TRANSPOSE, PACKED, CONSTANT, COSINES, BASE, SPLIT,
                                        MASK, GRID, PALETTE, BLOCKS};
    static const int BELOW[] = {1, 1, 1, 1, 1, 1, 4, 2, 2, 2, 2};
    uint64_t which = draw(11);
    tree *above = room(sizeof *above);
    above->codec = CODECS_OF_ONE[which];
    above->children = BELOW[which];
    for (int i = 0; i < above->children; i++)
        above->below[i] = *place;
    for (int i = 0; i < 5; i++)
        above->settings[i] = draw(2) ? 1 : odd(4);
    *place = above;
}

static void change_code(tree *t)
{
    while (t->children)
        t = t->below[draw((uint64_t)t->children)];
    if (!t->size)
        return;
    uint64_t at = draw(t->size), last = (uint64_t)(SETTINGS[t->codec] ? SETTINGS[t->codec] - 1 : 0);
    switch (draw(4)) {
    case 0: t->code[at] = (uint8_t)draw(256); break;
    case 1: memset(t->code + at, draw(2) ? 255 : 0, (size_t)(t->size - at)); break;
    case 2: memset(t->code, 255, (size_t)t->size); break;
    default: t->settings[last] = t->size = at; /* fewer bytes, and the index says so */
    }
}

static void change_tree(tree **root, tree **other)
{
    tree **place = any(root), *t = *place;
    switch (draw(8)) {
    case 0: t->codec = (int)draw(CODECS); break;
    case 1: *place = copy_of(*any(other)); break;
    case 2:
        if (t->children)
            *place = t->below[draw((uint64_t)t->children)];
        break;
    case 3:
        for (uint64_t i = 1 + draw(9); i--;)
            wrap(place);
        break;
    case 4:
    case 5: change_code(t); break;
    default:
        if (SETTINGS[t->codec]) {
            uint64_t which = draw((uint64_t)SETTINGS[t->codec]);
            t->settings[which] = odd(t->settings[which]);
        }
    }
}

static void change_file(model *m, whole *f)
{
    uint64_t one = f->parts ? draw(f->parts) : 0, two = f->parts ? draw(f->parts) : 0;
    part kept = f->part[one];
    switch (draw(9)) {
    case 0: f->part[one] = f->part[two], f->part[two] = kept; break; /* swapped */
    case 1: f->part[one] = f->part[two]; break;                     /* twice */
    case 2: f->part[one].size = odd(kept.size); break;
    case 3: f->part[one].gap = odd(kept.gap); break;
    case 4: f->part[one].width = odd(kept.width); break;
    case 5: f->size = odd(f->size); break;
    case 6: f->claimed = odd(f->claimed); break;
    case 7: m->total = odd(m->total); break;
    default:
        if (f->parts) { /* hollow: what it covered belongs to nobody */
            f->parts--;
            f->part[one] = f->part[f->parts];
            f->claimed = f->parts;
        }
    }
}

static void change(model *m)
{
    for (uint64_t left = 1 + draw(3); left--;) {
        whole *f = &m->file[draw(m->files)];
        part *some = draw(6) && f->parts ? &f->part[draw(f->parts)] : &m->chunk[0];
        part *other = f->parts ? &f->part[draw(f->parts)] : some;
        if (!draw(4) || !some->root || !other->root)
            change_file(m, f);
        else
            change_tree(&some->root, &other->root);
    }
}

/* -- cases ------------------------------------------------------------------------------------------ */

static int collect(void *context, const uint8_t *bytes, size_t size)
{
    append(context, bytes, size);
    return 0;
}

static const char *decoded(const uint8_t *content, size_t size, text *into)
{
    const char *error = NULL;
    uint8_t *copy = malloc(size); /* so that reading past its end is noticed */
    memcpy(copy, content, size);
    ocz *archive = ocz_open(copy, size, NULL, &error);
    into->used = 0;
    for (size_t i = 0; archive && !error && i < ocz_files(archive); i++)
        error = ocz_write(archive, i, collect, into);
    ocz_close(archive);
    free(copy);
    return error;
}

int main(int count, char **words)
{
    static uint8_t content[ROOM];
    static model m;
    const char *error = NULL;
    FILE *stream = count == 4 ? fopen(words[1], "rb") : NULL;
    size_t size = stream ? fread(content, 1, sizeof content, stream) : 0;
    ocz *z = stream ? ocz_open(content, size, NULL, &error) : NULL;
    long cases = count == 4 ? atol(words[2]) : 0, same = 0;
    double slowest = 0;
    if (!z || z->files > MOST_FILES || fclose(stream) || decoded(content, size, &wanted))
        return 1;
    take_apart(z, &m);
    if (decoded(codes_text.bytes, put_together(&m, 0), &found)) /* the same, in other words */
        return 1;
    for (long i = 0; i < cases; i++) {
        clock_t began = clock();
        state = (uint64_t)atol(words[3]) * 1000003 + (uint64_t)i + 88172645463325252u;
        arena_used = 0;
        take_apart(z, &m);
        change(&m);
        alarm(SECONDS);
        if (!decoded(codes_text.bytes, put_together(&m, draw(4) ? 0 : 2), &found)) {
            same++;
            if (found.used != wanted.used || memcmp(found.bytes, wanted.bytes, wanted.used) != 0) {
                printf("case %ld gives another model\n", i);
                return 1;
            }
        }
        double took = (double)(clock() - began) / CLOCKS_PER_SEC;
        slowest = took > slowest ? took : slowest;
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    ocz_close(z);
    printf("%ld %ld %.3f %ld\n", cases, same, slowest, usage.ru_maxrss / 1024);
    return 0;
}
