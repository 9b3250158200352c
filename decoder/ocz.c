/* Reading archives of ocompress, see ocz.h. */
#include "ocz.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 1
#error "products of doubles have to be rounded to doubles: compile for SSE2 or with -ffloat-store"
#endif

enum { STORED, OCTETS, SPLIT, INTEGERS, GRID, PALETTE, MASK, CONSTANT, BLOCKS, PACKED, DELTA,
       TRANSPOSE, BASE, COSINES, CODECS };
static const int SETTINGS[CODECS] = {0, 2, 1, 5, 5, 1, 1, 0, 2, 1, 0, 1, 2, 4};

#define VERSION 1
#define CHUNK ((uint64_t)1 << 22)
#define TAIL 20
#define LARGEST_PIECE ((uint64_t)1 << 24)
#define LARGEST_ARRAY ((uint64_t)1 << 26)
#define ARRAYS_EACH 20
#define ARRAYS_MORE 256
#define LARGEST_INDEX ((uint64_t)1 << 26)
#define LARGEST_FILE ((uint64_t)1 << 44)
#define LARGEST_NUMBER ((uint64_t)1 << 48)
#define MOST_COLUMNS ((uint64_t)1 << 20)
#define MOST_ENTRIES ((uint64_t)1 << 15)
#define LARGEST_EXTENT 64
#define DEEPEST 8
#define INTEGERS_EACH 16519 /* of a byte of code: no bit is more likely than 65514 in 65536 */
#define INDEX_EACH 64       /* bytes of the index and nodes in it, for each byte of an archive */
#define NODES_EACH 4
#define SMALL ((uint64_t)1 << 16)

static const uint64_t OCTETS_EACH[3] = {947, 947, 2065}; /* bytes of a byte of code, by model */

static const uint8_t MAGIC[8] = {0x89, 'O', 'C', 'Z', '\r', '\n', 0x1a, '\n'};
static const uint8_t END[4] = {'O', 'C', 'Z', 1};

static const char *const DAMAGED = "the archive is damaged or made up";
static const char *const NO_BASE =
    "it is a change of another archive, which has to be named";
static const char *const NO_MEMORY = "there is not enough memory";

typedef struct node {
    int codec;
    unsigned width;
    uint64_t count, size, settings[5];
    int children;
    struct node *below[8];
} node;

typedef struct {
    uint64_t offset, size, at;
    uint32_t check;
    node *root;
} piece;

typedef struct {
    char *name;
    uint64_t size, rest, pieces;
    piece *piece;
    uint8_t digest[32];
    uint8_t *whole; /* its content, where a change of it is read */
} file;

typedef struct {
    uint64_t rate[1024];
    uint32_t more[1024]; /* 1 below the limit of a count, 0 from there on */
} pace;

typedef struct {
    int16_t stretch[4096];
    uint16_t squash[4096];
    uint8_t class_of[4096];
    uint8_t small_of[18];
    pace plain, mixed, integers;
} tables;

struct ocz {
    const uint8_t *content;
    uint64_t end;
    const char *error;
    tables tables;
    uint64_t total, chunks, files;
    piece *chunk;
    file *file;
    uint64_t held_chunk;
    uint8_t *held;
    ocz *base;
};

static const char *base_bytes(const ocz *z, uint64_t which, uint64_t start, uint64_t size,
                              const uint8_t **bytes);

/* -- checksums ---------------------------------------------------------------------------------- */

static uint32_t crc32_of(const uint8_t *bytes, uint64_t size, uint32_t crc)
{
    uint32_t table[256];
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
        table[i] = c;
    }
    crc = ~crc;
    for (uint64_t i = 0; i < size; i++)
        crc = table[(crc ^ bytes[i]) & 255] ^ (crc >> 8);
    return ~crc;
}

typedef struct {
    uint32_t h[8];
    uint8_t block[64];
    uint64_t size;
} sha256;

static uint32_t four_bytes(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static uint32_t turned(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void sha256_block(sha256 *s, const uint8_t *block)
{
    static const uint32_t K[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    uint32_t w[64], h[8];
    for (int i = 0; i < 16; i++)
        w[i] = four_bytes(block + 4 * i);
    for (int i = 16; i < 64; i++) {
        uint32_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (turned(x, 7) ^ turned(x, 18) ^ x >> 3) + w[i - 7]
             + (turned(y, 17) ^ turned(y, 19) ^ y >> 10);
    }
    memcpy(h, s->h, sizeof h);
    for (int i = 0; i < 64; i += 8) /* names move on by one each time, numbers stay */
        for (int k = 0; k < 8; k++) {
            uint32_t a = h[(8 - k) & 7], b = h[(1 - k) & 7], c = h[(2 - k) & 7];
            uint32_t e = h[(4 - k) & 7], f = h[(5 - k) & 7], g = h[(6 - k) & 7];
            uint32_t one = h[(7 - k) & 7] + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25))
                         + (g ^ (e & (f ^ g))) + K[i + k] + w[i + k];
            h[(3 - k) & 7] += one;
            h[(7 - k) & 7] = one + (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) | (c & (a | b)));
        }
    for (int i = 0; i < 8; i++)
        s->h[i] += h[i];
}

static void sha256_start(sha256 *s)
{
    static const uint32_t H[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->h, H, sizeof H);
    s->size = 0;
}

static void sha256_add(sha256 *s, const uint8_t *bytes, size_t size)
{
    while (size) {
        size_t have = (size_t)(s->size % 64), take = 64 - have < size ? 64 - have : size;
        memcpy(s->block + have, bytes, take);
        s->size += take;
        bytes += take;
        size -= take;
        if (s->size % 64 == 0)
            sha256_block(s, s->block);
    }
}

static void sha256_end(sha256 *s, uint8_t digest[32])
{
    uint64_t bits = s->size * 8;
    uint8_t last[8], pad = 0x80;
    sha256_add(s, &pad, 1);
    for (pad = 0; s->size % 64 != 56;)
        sha256_add(s, &pad, 1);
    for (int i = 0; i < 8; i++)
        last[i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_add(s, last, 8);
    for (int i = 0; i < 32; i++)
        digest[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

/* -- tables ------------------------------------------------------------------------------------- */

#define BYTE_LIMIT 1000
#define MIXED_LIMIT 40
#define LIMIT 255

static void fill_pace(pace *p, uint32_t limit)
{
    for (uint32_t n = 0; n < 1024; n++) {
        p->rate[n] = 131072 / (2 * n + 3);
        p->more[n] = n < limit;
    }
}

static void fill_tables(tables *t)
{
    static const uint16_t KNOTS[33] = {
        22, 36, 60, 98, 162, 267, 439, 721, 1179, 1921, 3108, 4971, 7812, 11969, 17625, 24743, 32768,
        40793, 47911, 53567, 57724, 60565, 62428, 63615, 64357, 64815, 65097, 65269, 65374, 65438,
        65476, 65500, 65514};
    for (uint32_t x = 0; x < 4096; x++) {
        uint32_t knot = x >> 7, part = x & 127;
        t->squash[x] = (uint16_t)((KNOTS[knot] * (128 - part) + KNOTS[knot + 1] * part + 64) >> 7);
    }
    for (int p = 0, x = 1; p < 4096; p++) {
        while (x < 4095 && t->squash[x] < p * 16 + 8)
            x++;
        t->stretch[p] = (int16_t)(x - 2048);
    }
    fill_pace(&t->plain, BYTE_LIMIT);
    fill_pace(&t->mixed, MIXED_LIMIT);
    fill_pace(&t->integers, LIMIT);
    for (int m = 0; m < 18; m++)
        t->small_of[m] = (uint8_t)(m < 3 ? m : m < 5 ? 3 : m < 9 ? 4 : m < 17 ? 5 : 6);
    for (int x = 0; x < 4096; x++) {
        int y = x + 4, found = 0;
        for (; y >= 8; y >>= 1)
            found += 4;
        t->class_of[x] = (uint8_t)(found + y - 4);
    }
}

/* -- the coder ---------------------------------------------------------------------------------- */

#define FRESH (((uint32_t)1 << 21) << 10)
#define MOST_INPUTS 6

typedef struct {
    const tables *t;
    uint8_t *code; /* zeros follow */
    uint64_t size, position;
    uint64_t low, range;
    uint32_t *slots;
    int64_t *weights;
} coder;

static int64_t shifted(int64_t x, int n) /* rounds down, as >> need not, though it mostly does */
{
    if ((int64_t)-1 >> 1 == -1)
        return x >> n;
    return x < 0 ? ~(~x >> n) : x >> n;
}

static int start(coder *c, const tables *t, const uint8_t *code, uint64_t size, uint64_t slots,
                 size_t weights)
{
    c->t = t;
    c->size = size;
    c->code = size <= SIZE_MAX - 8 ? calloc((size_t)size + 8, 1) : NULL;
    c->slots = slots <= SIZE_MAX / sizeof *c->slots ? malloc((size_t)slots * sizeof *c->slots) : NULL;
    c->weights = malloc((weights ? weights : 1) * sizeof *c->weights);
    if (!c->code || !c->slots || !c->weights)
        return 0;
    memcpy(c->code, code, (size_t)size);
    c->position = size < 4 ? size : 4;
    c->low = four_bytes(c->code);
    c->range = 0xffffffffu;
    if (c->low == c->range) /* inside of the range, as coders leave it */
        c->low--;
    for (uint64_t i = 0; i < slots; i++)
        c->slots[i] = FRESH;
    return 1;
}

static void stop(coder *c)
{
    free(c->code);
    free(c->slots);
    free(c->weights);
}

/* Take what is left of the range, and the bytes that it then has room for. */
static inline void narrow(coder *c, uint64_t low, uint64_t range)
{
    while (range < (1u << 24)) {
        range <<= 8;
        low = low << 8 | c->code[c->position];
        c->position += c->position < c->size;
    }
    c->low = low;
    c->range = range;
}

/* Decode a bit that can be foreseen, or on which the caller branches anyway. */
static inline unsigned decode_bit(coder *c, uint32_t p)
{
    uint64_t bound = c->range * p >> 16;
    if (c->low < bound) {
        narrow(c, c->low, bound);
        return 1;
    }
    narrow(c, c->low - bound, c->range - bound);
    return 0;
}

/* Decode a bit that is as good as random, without a branch. No bit takes more than two bytes. */
static inline unsigned decode_noise(coder *c, uint32_t p)
{
    uint64_t bound = c->range * p >> 16, bit = c->low < bound, one = 0 - bit;
    uint64_t low = c->low - (bound & ~one), range = (bound & one) | ((c->range - bound) & ~one);
    unsigned bytes = (range < (1u << 24)) + (range < (1u << 16));
    c->low = low << 8 * bytes | (uint64_t)four_bytes(c->code + c->position) >> (32 - 8 * bytes);
    c->range = range << 8 * bytes;
    c->position = c->position + bytes < c->size ? c->position + bytes : c->size;
    return (unsigned)bit;
}

/* Move a slot to what came. For a one it is turned over, as if a zero had been expected, and back. */
static inline void adapt(const pace *t, uint32_t *slot, unsigned bit)
{
    uint32_t turn = (0u - bit) << 10, s = *slot ^ turn, n = s & 1023;
    uint32_t step = (uint32_t)((s >> 10) * t->rate[n] >> 16);
    *slot = (s - (step << 10) + t->more[n]) ^ turn;
}

static inline uint32_t expected(uint32_t slot)
{
    uint32_t p = slot >> 16;
    return p < 48 ? 48 : p > 65488 ? 65488 : p;
}

static inline unsigned decode_plain(coder *c, const pace *t, uint32_t *slot)
{
    unsigned bit = decode_bit(c, expected(*slot));
    adapt(t, slot, bit);
    return bit;
}

/* Mix what slots expect of step k; returns the probability of a one. */
static inline uint32_t mix(const tables *t, uint32_t *const *slots, unsigned k, int count, const int64_t *w,
                           int64_t *odds)
{
    int64_t total = w[count] * 256;
    for (int i = 0; i < count; i++) {
        odds[i] = t->stretch[slots[i][k] >> 20];
        total += w[i] * odds[i];
    }
    total = shifted(total, 16);
    total = total < -2047 ? -2047 : total > 2047 ? 2047 : total;
    return t->squash[total + 2048];
}

/* Move weights and slots to the bit that came, where p was expected. */
static inline void learn(const pace *t, uint32_t *const *slots, unsigned k, int count, int64_t *w,
                         const int64_t *odds, int64_t p, unsigned bit, int speed)
{
    int64_t error = ((int64_t)(bit << 16) - p) * speed;
    for (int i = 0; i < count; i++) {
        w[i] += shifted(odds[i] * error + 524288, 20);
        adapt(t, slots[i] + k, bit);
    }
    w[count] += shifted(256 * error + 524288, 20);
}

static inline unsigned decode_mixed(coder *c, const pace *t, uint32_t *const *slots, int count, int64_t *w,
                                    int speed)
{
    int64_t odds[MOST_INPUTS];
    uint32_t p = mix(c->t, slots, 0, count, w, odds);
    unsigned bit = decode_bit(c, p);
    learn(t, slots, 0, count, w, odds, p, bit, speed);
    return bit;
}

/* -- bytes -------------------------------------------------------------------------------------- */

#define BYTE_INPUTS 6
#define BYTE_SPEED 30
#define BYTE_WEIGHT 24000
#define BYTE_ORDER_1 256u
#define BYTE_MATCHED (BYTE_ORDER_1 + 65536u)
#define BYTE_HASHED (BYTE_MATCHED + 64u)
#define PLACES ((uint64_t)1 << 16)
#define MISSES 3

static int hash_bits(uint64_t size)
{
    int bits = 7;
    for (; size; size >>= 1)
        bits++;
    return bits < 12 ? 12 : bits > 22 ? 22 : bits;
}

static uint64_t hashed(uint64_t number, int bits)
{
    return number * 2654435761u >> 13 & (((uint64_t)1 << bits) - 1);
}

static uint8_t byte_plain(coder *c, uint32_t *slots)
{
    unsigned node = 1;
    while (node < 256)
        node = node * 2 + decode_plain(c, &c->t->plain, slots + node);
    return (uint8_t)node;
}

static uint8_t byte_mixed(coder *c, uint64_t history, unsigned guess, uint64_t length, int bits)
{
    uint64_t second = (history & 0xffff) << 8, third = (history & 0xffffff) << 8;
    unsigned node = 1;
    length = length < 15 ? length : 15;
    for (int b = 7; b >= 0; b--) {
        unsigned expected = guess >> b & 1, bit;
        uint32_t *slots[BYTE_INPUTS];
        slots[0] = c->slots + node;
        slots[1] = c->slots + BYTE_ORDER_1 + (history & 255) * 256 + node;
        slots[2] = c->slots + BYTE_HASHED + hashed(second + node, bits);
        slots[3] = c->slots + BYTE_HASHED + ((uint64_t)1 << bits) + hashed(third + node + 7, bits);
        slots[4] = c->slots + BYTE_HASHED + ((uint64_t)2 << bits) + hashed((history << 8) + node + 77, bits);
        slots[5] = c->slots + BYTE_MATCHED + (length ? length * 2 + expected : 0);
        bit = decode_mixed(c, &c->t->mixed, slots, BYTE_INPUTS,
                           c->weights + length * (BYTE_INPUTS + 1), BYTE_SPEED);
        if (bit != expected)
            length = 0;
        node = node * 2 + bit;
    }
    return (uint8_t)node;
}

static void bytes_mixed(coder *c, uint8_t *bytes, uint64_t count, uint64_t *places)
{
    uint64_t history = 0, place = 0, length = 0;
    int misses = 0, bits = hash_bits(count);
    for (uint64_t at = 0; at < count; at++) {
        unsigned guess = length ? bytes[place] : 0;
        unsigned value = bytes[at] = byte_mixed(c, history, guess, length, bits);
        if (length && value == guess) {
            length++;
            place++;
            misses = 0;
        } else if (length && misses < MISSES) {
            length = 1;
            place++;
            misses++;
        } else {
            length = 0;
        }
        history = (history << 8 | value) & 0xffffffffu;
        if (at >= 3) {
            uint64_t key = history * 2654435761u >> 16 & (PLACES - 1);
            if (length < 2 && places[key]) {
                place = places[key];
                length = 2;
                misses = 0;
            }
            places[key] = at + 1;
        }
    }
}

static const char *decode_bytes(const tables *t, const uint8_t *code, uint64_t size, unsigned model,
                                uint8_t *bytes, uint64_t count)
{
    coder c;
    uint64_t slots = model == 2 ? BYTE_HASHED + ((uint64_t)3 << hash_bits(count))
                                : model == 1 ? 65536 : 256;
    uint64_t *places = calloc(model == 2 ? PLACES : 1, sizeof *places);
    int fine = start(&c, t, code, size, slots, 16 * (BYTE_INPUTS + 1)) && places;
    if (fine && model == 2) {
        for (int i = 0; i < 16 * (BYTE_INPUTS + 1); i++)
            c.weights[i] = i % (BYTE_INPUTS + 1) < BYTE_INPUTS ? BYTE_WEIGHT : 0;
        bytes_mixed(&c, bytes, count, places);
    } else if (fine) {
        for (uint64_t at = 0; at < count; at++)
            bytes[at] = byte_plain(&c, c.slots + (model == 1 && at ? (uint64_t)bytes[at - 1] * 256 : 0));
    }
    stop(&c);
    free(places);
    return fine ? NULL : NO_MEMORY;
}

/* -- integers ----------------------------------------------------------------------------------- */

#define INPUTS 6
#define SIGN_INPUTS 4
#define LENGTHS 24
#define MEAN_LIMIT 60
#define FAST 24
#define SLOW 12
#define FAST_ROWS 20
#define SETS 56
#define STEP_WEIGHTS (8 * (INPUTS + 1)) /* of a unary step, for all numbers of rows seen */
#define WEIGHT 13000
#define SIGN_WEIGHT 20000
/* Contexts of the unary steps, by number; slots of their first steps lie together, apart from the rest. */
#define BY_MEANS 0u
#define BY_ROW (BY_MEANS + 64 * 8)
#define BY_NEAR (BY_ROW + 32 * 32)
#define BY_FAR (BY_NEAR + 343)
#define BY_ALL (BY_FAR + 343)
#define CONTEXTS (BY_ALL + 64)
#define FIRST 4
#define LATER (CONTEXTS * FIRST)
#define SIGNS (LATER + CONTEXTS * (LENGTHS - FIRST))
#define SIGNS_LEFT (SIGNS + 27)
#define SIGNS_UP (SIGNS_LEFT + 27)
#define BITS (SIGNS_UP + 27)
#define LOW_BITS (BITS + 32 * 8 * 64)
#define BY_COLUMN (LOW_BITS + 32 * 32)
#define COLUMN_SLOTS 5
#define WEIGHTS (SETS * (INPUTS + 1) + SIGN_INPUTS + 1)

typedef struct {
    uint32_t m;     /* the magnitude of a value */
    uint16_t small; /* its class */
    uint16_t sign;  /* 0, 1 below zero, 2 above */
} seen;

typedef struct {
    seen left, left2, kernel, up, up2, up_left, up_right; /* values around, 0 outside */
} around;

typedef struct {
    int speed;
    unsigned mixed;
    int64_t *weights; /* of the first unary step, for as many rows as were seen */
} row_plan;

static size_t mean_class(const tables *t, uint64_t x)
{
    if (x < 4096) /* nearly always */
        return t->class_of[x];
    unsigned found = 0;
    for (; x >= 4096; x >>= 1)
        found += 4;
    found += t->class_of[x];
    return found < 63 ? found : 63;
}

static size_t small(const tables *t, uint32_t m) { return t->small_of[m < 17 ? m : 17]; }

static inline size_t choose_slots(const coder *c, const around *a, size_t column, uint64_t mean,
                                  uint64_t row_mean, uint32_t **slots)
{
    const tables *t = c->t;
    uint32_t left = a->left.m, up = a->up.m, before = a->left2.m + a->kernel.m;
    uint32_t corners = a->up_left.m + a->up_right.m;
    size_t of_column = mean_class(t, mean), of_row = mean_class(t, row_mean);
    uint64_t sum = 2 * (left + up) + before + corners;
    size_t all = mean_class(t, (sum * 32 + mean + row_mean) / 3);
    size_t which = (left < 3 ? left : 3) + (up > 0 ? 4 : 0);
    size_t close = a->left.small * 49u + a->up.small * 7u + small(t, before);
    size_t far = a->kernel.small * 49u + a->up2.small * 7u + small(t, corners);
    slots[0] = c->slots + BY_COLUMN + column * COLUMN_SLOTS;
    slots[1] = c->slots + (BY_MEANS + of_column * 8 + which) * FIRST;
    slots[2] = c->slots + (BY_ROW + (of_row >> 1) * 32 + (of_column >> 1)) * FIRST;
    slots[3] = c->slots + (BY_NEAR + close) * FIRST;
    slots[4] = c->slots + (BY_FAR + far) * FIRST;
    slots[5] = c->slots + (BY_ALL + all) * FIRST;
    return all;
}

static inline void choose_signs(const coder *c, const around *a, size_t column, uint32_t **slots)
{
    size_t left = a->left.sign * 9u, up = a->up.sign, corner = a->up_left.sign;
    slots[0] = c->slots + BY_COLUMN + column * COLUMN_SLOTS + COLUMN_SLOTS - 1;
    slots[1] = c->slots + SIGNS + left + up * 3 + a->kernel.sign;
    slots[2] = c->slots + SIGNS_LEFT + left + a->left2.sign * 3u + corner;
    slots[3] = c->slots + SIGNS_UP + up * 9 + a->up2.sign * 3u + corner;
}

/* Decode the steps after the first ones, which are rare. */
static unsigned decode_later(coder *c, uint32_t *const *first, const row_plan *r)
{
    int64_t *w = r->weights + FIRST * STEP_WEIGHTS;
    uint32_t *slots[INPUTS] = {first[0] + FIRST - 1};
    for (int i = 1; i < INPUTS; i++)
        slots[i] = c->slots + LATER + (first[i] - c->slots) / FIRST * (LENGTHS - FIRST);
    for (unsigned k = FIRST; k < LENGTHS; k++) {
        unsigned bit = k < r->mixed ? decode_mixed(c, &c->t->integers, slots, INPUTS, w, r->speed)
                                    : decode_plain(c, &c->t->integers, slots[5]);
        if (!bit)
            return k;
        w += k < 6 ? STEP_WEIGHTS : 0;
        for (int i = 1; i < INPUTS; i++)
            slots[i]++;
    }
    return LENGTHS;
}

/* Decode the number of digits of a magnitude. The first steps share neither slots nor weights, so each
 * is mixed before it is known whether it comes: processors do both at once. */
static inline unsigned decode_length(coder *c, uint32_t *const *slots, const row_plan *r)
{
    int64_t odds[FIRST][INPUTS], *now = odds[0], *w = r->weights;
    const pace *pace = &c->t->integers;
    const unsigned mixed = r->mixed < FIRST ? r->mixed : FIRST;
    uint32_t p, next = mix(c->t, slots, 0, INPUTS, w, now);
    unsigned k = 0;
    do {
        p = next;
        if (k + 1 < mixed)
            next = mix(c->t, slots, k + 1, INPUTS, w + STEP_WEIGHTS, now + INPUTS);
        if (!decode_bit(c, p)) {
            learn(pace, slots, k, INPUTS, w, now, p, 0, r->speed);
            return k;
        }
        learn(pace, slots, k, INPUTS, w, now, p, 1, r->speed);
        w += STEP_WEIGHTS;
        now += INPUTS;
    } while (++k < mixed);
    for (; k < FIRST; k++)
        if (!decode_plain(c, pace, slots[5] + k))
            return k;
    return decode_later(c, slots, r);
}

static inline uint32_t decode_below(coder *c, unsigned length, size_t all)
{
    uint32_t found = 1;
    for (unsigned depth = 0; depth + 1 < length; depth++) {
        size_t slot = LOW_BITS + length * 32 + (length - 2 - depth);
        if (depth < 3) {
            unsigned tree = (1u << depth) + (found & ((1u << depth) - 1));
            slot = BITS + (length * 8 + tree) * 64 + (all >> 3);
        }
        unsigned bit = decode_noise(c, expected(c->slots[slot]));
        adapt(&c->t->integers, c->slots + slot, bit);
        found = found * 2 + bit;
    }
    return found;
}

/* Decode a value. Its sign, too, is mixed before it is known whether there is one. */
static inline seen decode_value(coder *c, const around *a, size_t column, uint64_t mean, uint64_t row_mean,
                                const row_plan *r)
{
    uint32_t *slots[INPUTS], *signs[SIGN_INPUTS];
    int64_t odds[SIGN_INPUTS], *w = c->weights + SETS * (INPUTS + 1);
    seen found = {0, 0, 0};
    size_t all = choose_slots(c, a, column, mean, row_mean, slots);
    choose_signs(c, a, column, signs);
    uint32_t p = mix(c->t, signs, 0, SIGN_INPUTS, w, odds);
    unsigned length = decode_length(c, slots, r);
    if (length) {
        unsigned negative = decode_noise(c, p);
        learn(&c->t->integers, signs, 0, SIGN_INPUTS, w, odds, p, negative, SLOW);
        found.m = decode_below(c, length, all);
        found.small = (uint16_t)small(c->t, found.m);
        found.sign = (uint16_t)(2 - negative);
    }
    return found;
}

/* Decode a matrix; the last three rows are kept as they were seen, with a zero at the end of each. */
static void decode_rows(const coder *given, int32_t *values, uint64_t rows, uint64_t columns, uint64_t inner,
                        unsigned mixed, int64_t *means, seen *kept)
{
    const seen none = {0, 0, 0};
    const uint64_t *rate = given->t->integers.rate;
    coder own = *given; /* so that its state stays in registers */
    for (uint64_t row = 0; row < rows; row++) {
        seen *here = kept + row % 3 * (columns + 1), *above = kept + (row + 2) % 3 * (columns + 1);
        seen *above2 = kept + (row + 1) % 3 * (columns + 1);
        around a = {none, none, none, none, none, none, above[0]};
        row_plan r = {row < FAST_ROWS ? FAST : SLOW, mixed, own.weights};
        int64_t row_mean = 0, by_row = (int64_t)rate[row < MEAN_LIMIT ? row : MEAN_LIMIT];
        for (uint64_t left = row; left && r.weights < own.weights + 7 * (INPUTS + 1); left >>= 1)
            r.weights += INPUTS + 1;
        for (uint64_t column = 0; column < columns; column++) {
            a.up_left = a.up;
            a.up = a.up_right;
            a.up_right = above[column + 1];
            a.up2 = above2[column];
            a.kernel = column >= inner ? here[column - inner] : none;
            seen found = decode_value(&own, &a, column, (uint64_t)means[column], (uint64_t)row_mean, &r);
            int64_t m = found.m, negative = found.sign & 1, by_column = (int64_t)rate[column < MEAN_LIMIT ? column : MEAN_LIMIT];
            *values++ = (int32_t)((m ^ -negative) + negative); /* no branch on signs */
            means[column] += shifted((m * 256 - means[column]) * by_row, 16);
            row_mean += shifted((m * 256 - row_mean) * by_column, 16);
            here[column] = found;
            a.left2 = a.left;
            a.left = found;
        }
    }
}

static const char *decode_integers(const tables *t, const uint8_t *code, const node *n,
                                   int32_t *values)
{
    uint64_t columns = n->settings[0];
    coder c;
    int64_t *means = calloc((size_t)columns, sizeof *means);
    seen *kept = calloc((size_t)(columns + 1) * 3, sizeof *kept);
    int fine = start(&c, t, code, n->size, BY_COLUMN + columns * COLUMN_SLOTS, WEIGHTS) && means && kept;
    if (fine) {
        for (int i = 0; i < SETS * (INPUTS + 1); i++)
            c.weights[i] = i % (INPUTS + 1) < INPUTS ? WEIGHT : 0;
        for (int i = 0; i < SIGN_INPUTS; i++)
            c.weights[SETS * (INPUTS + 1) + i] = SIGN_WEIGHT;
        c.weights[WEIGHTS - 1] = 0;
        decode_rows(&c, values, n->count / columns, columns, n->settings[1],
                    (unsigned)n->settings[2], means, kept);
    }
    stop(&c);
    free(means);
    free(kept);
    return fine ? NULL : NO_MEMORY;
}

/* -- codecs ------------------------------------------------------------------------------------- */

static uint64_t get(const uint8_t *bytes, unsigned width)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static void put(uint8_t *bytes, unsigned width, uint64_t value)
{
    for (unsigned i = 0; i < width; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
}

static double scale_at(const uint8_t *scales, uint64_t i, unsigned width)
{
    uint64_t bits = get(scales + i * width, width);
    if (width == 8) {
        double wide;
        memcpy(&wide, &bits, 8);
        return wide;
    }
    uint32_t half = (uint32_t)bits;
    float narrow;
    memcpy(&narrow, &half, 4);
    return narrow;
}

static void from_integers(const node *n, const int32_t *values, uint8_t *out)
{
    uint64_t zigzag = n->settings[3], bias = zigzag & 1 ? ~(zigzag >> 1) : zigzag >> 1;
    for (uint64_t i = 0; i < n->count; i++)
        put(out + i * n->width, n->width, (uint64_t)(int64_t)values[i] + bias);
}

static void from_split(const node *n, uint8_t *const *below, uint8_t *out)
{
    unsigned bits = 8 * n->width;
    for (uint64_t i = 0; i < n->count; i++) {
        uint64_t value = 0;
        for (unsigned k = 0; k < n->width; k++)
            value |= (uint64_t)below[k][i] << (8 * k);
        if (n->settings[0])
            value = value >> 1 | (value & 1) << (bits - 1);
        put(out + i * n->width, n->width, value);
    }
}

static void from_grid(const node *n, uint8_t *const *below, uint8_t *out)
{
    uint64_t columns = n->settings[0], rows_each = n->settings[1], columns_each = n->settings[2];
    uint64_t rows = n->count / columns, across = (columns + columns_each - 1) / columns_each;
    unsigned second = (unsigned)n->settings[3], width = (unsigned)n->settings[4];
    const uint8_t *levels = below[second + 1];
    for (uint64_t row = 0; row < rows; row++)
        for (uint64_t column = 0; column < columns;) {
            uint64_t block = row / rows_each * across + column / columns_each, left = columns - column;
            double scale = scale_at(below[0], block, width);
            for (uint64_t i = left < columns_each ? left : columns_each; i > 0; i--, column++) {
                uint32_t bits = (uint32_t)get(levels, 4);
                int64_t level = (int64_t)(bits ^ 0x80000000u) - (int64_t)0x80000000; /* no branch on signs */
                double step = second ? scale * scale_at(below[1], column, width) : scale;
                float value = (float)(step * (double)level);
                memcpy(&bits, &value, 4);
                put(out, 4, bits);
                levels += 4;
                out += 4;
            }
        }
}

static const char *from_table(const node *n, const uint8_t *table, uint64_t entries, uint64_t each,
                              const uint8_t *indices, uint8_t *out)
{
    uint64_t size = each * n->width;
    for (uint64_t i = 0; i < n->count / each; i++) {
        uint64_t index = get(indices + 2 * i, 2);
        if (index >= entries)
            return DAMAGED;
        memcpy(out + i * size, table + index * size, (size_t)size);
    }
    return NULL;
}

static const char *from_mask(const node *n, const uint8_t *mask, const uint8_t *kept, uint8_t *out)
{
    uint64_t used = 0;
    for (uint64_t i = 0; i < n->count; i++) {
        if (!mask[i]) {
            memset(out + i * n->width, 0, n->width);
            continue;
        }
        if (used == n->settings[0])
            return DAMAGED;
        memcpy(out + i * n->width, kept + used++ * n->width, n->width);
    }
    return used == n->settings[0] ? NULL : DAMAGED;
}

static void from_packed(const node *n, const uint8_t *parts, uint8_t *out)
{
    unsigned bits = (unsigned)n->settings[0], each = 8 / bits;
    for (uint64_t i = 0; i < n->count; i++) {
        unsigned value = 0;
        for (unsigned k = 0; k < each; k++)
            value |= (parts[i * each + k] & ((1u << bits) - 1)) << (bits * k);
        out[i] = (uint8_t)value;
    }
}

static void from_delta(const node *n, const uint8_t *steps, uint8_t *out)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n->count; i++) {
        sum += get(steps + i * n->width, n->width);
        put(out + i * n->width, n->width, sum);
    }
}

static void from_transpose(const node *n, const uint8_t *turned_over, uint8_t *out)
{
    uint64_t rows = n->settings[0], columns = n->count / rows;
    for (uint64_t i = 0; i < n->count; i++)
        memcpy(out + (i % columns * rows + i / columns) * n->width, turned_over + i * n->width,
               n->width);
}

/* The whole number that stands for the cosine of pi (2 place + 1) wave / (2 extent). */
static uint32_t cosine(uint64_t extent, uint64_t place, uint64_t wave)
{
    if (extent == 1 || !wave)
        return extent == 1 ? 1 : 64;
    uint64_t turn = (2 * place + 1) * wave % (4 * extent);
    if (turn > 2 * extent)
        turn = 4 * extent - turn;
    int negative = turn > extent;
    double angle = 1.57079632679489662 * (double)(negative ? 2 * extent - turn : turn) / (double)extent;
    double sum = 1, term = 1;
    for (int i = 1; i < 14; i++)
        sum += term *= -angle * angle / ((2 * i - 1) * (2 * i));
    uint32_t size = (uint32_t)(64 * 1.41421356237309505 * sum + 0.5);
    return negative ? 0 - size : size;
}

/* Sums of cosines along both axes of each plane, modulo 2^32. */
static void from_cosines(const node *n, const uint8_t *waves, uint8_t *out)
{
    uint64_t down = n->settings[1], across = n->settings[2], apart = n->settings[3];
    uint64_t places = down * across;
    uint32_t first[LARGEST_EXTENT][LARGEST_EXTENT], second[LARGEST_EXTENT][LARGEST_EXTENT];
    uint32_t part[LARGEST_EXTENT][LARGEST_EXTENT];
    for (uint64_t y = 0; y < down; y++)
        for (uint64_t v = 0; v < down; v++)
            first[y][v] = cosine(down, y, v);
    for (uint64_t x = 0; x < across; x++)
        for (uint64_t u = 0; u < across; u++)
            second[x][u] = cosine(across, x, u);
    for (uint64_t plane = 0; plane < n->count / places; plane++) {
        uint64_t start = plane / apart * places * apart + plane % apart;
        for (uint64_t v = 0; v < down; v++)
            for (uint64_t x = 0; x < across; x++) {
                part[v][x] = 0;
                for (uint64_t u = 0; u < across; u++) {
                    uint64_t at = start + (v * across + u) * apart;
                    part[v][x] += second[x][u] * (uint32_t)get(waves + 4 * at, 4);
                }
            }
        for (uint64_t y = 0; y < down; y++)
            for (uint64_t x = 0; x < across; x++) {
                uint32_t sum = 0;
                for (uint64_t v = 0; v < down; v++)
                    sum += first[y][v] * part[v][x];
                put(out + 4 * (start + (y * across + x) * apart), 4, sum);
            }
    }
}

static const char *combine(const node *n, uint8_t *const *below, uint8_t *out)
{
    switch (n->codec) {
    case SPLIT:
        from_split(n, below, out);
        return NULL;
    case GRID:
        from_grid(n, below, out);
        return NULL;
    case PALETTE:
        return from_table(n, below[0], n->settings[0], 1, below[1], out);
    case BLOCKS:
        return from_table(n, below[0], n->settings[1], n->settings[0], below[1], out);
    case MASK:
        return from_mask(n, below[0], below[1], out);
    case CONSTANT:
        for (uint64_t i = 0; i < n->count; i++)
            memcpy(out + i * n->width, below[0], n->width);
        return NULL;
    case PACKED:
        from_packed(n, below[0], out);
        return NULL;
    case DELTA:
        from_delta(n, below[0], out);
        return NULL;
    case COSINES:
        from_cosines(n, below[0], out);
        return NULL;
    default:
        from_transpose(n, below[0], out);
        return NULL;
    }
}

static const char *decode_leaf(const tables *t, const node *n, const uint8_t *code, uint8_t *out)
{
    if (n->codec == STORED) {
        memcpy(out, code, (size_t)n->size);
        return NULL;
    }
    if (n->codec == OCTETS)
        return decode_bytes(t, code, n->size, (unsigned)n->settings[0], out, n->count * n->width);
    int32_t *values = malloc((size_t)n->count * sizeof *values);
    const char *error = values ? decode_integers(t, code, n, values) : NO_MEMORY;
    if (!error)
        from_integers(n, values, out);
    free(values);
    return error;
}

static const char *from_base(const ocz *z, const node *n, const uint8_t *steps, uint8_t *out)
{
    const uint8_t *old = NULL;
    const char *error =
        base_bytes(z, n->settings[0], n->settings[1], n->count * n->width, &old);
    for (uint64_t i = 0; i < n->count * n->width && !error; i += n->width)
        put(out + i, n->width, get(steps + i, n->width) + get(old + i, n->width));
    return error;
}

/* Decode a tree into new memory; *code moves past its codes. */
static const char *decode(const ocz *z, const node *n, const uint8_t **code, uint8_t **out)
{
    uint8_t *below[8] = {NULL};
    const char *error = NULL;
    *out = NULL;
    for (int i = 0; i < n->children && !error; i++)
        error = decode(z, n->below[i], code, &below[i]);
    if (!error && !(*out = malloc((size_t)(n->count * n->width))))
        error = NO_MEMORY;
    if (!error && n->codec == BASE) {
        error = from_base(z, n, below[0], *out);
    } else if (!error && n->children) {
        error = combine(n, below, *out);
    } else if (!error) {
        error = decode_leaf(&z->tables, n, *code, *out);
        *code += n->size;
    }
    for (int i = 0; i < n->children; i++)
        free(below[i]);
    if (error) {
        free(*out);
        *out = NULL;
    }
    return error;
}

/* -- the index ---------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *bytes;
    uint64_t size, at, nodes; /* nodes that may still come */
    const char *error;
} numbers;

static uint64_t refuse(numbers *r, const char *why)
{
    if (!r->error)
        r->error = why;
    return 0;
}

static uint64_t number(numbers *r, uint64_t most)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 56 && !r->error; shift += 7) {
        if (r->at >= r->size)
            break;
        uint8_t byte = r->bytes[r->at++];
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value <= most ? value : refuse(r, DAMAGED);
    }
    return refuse(r, DAMAGED);
}

static const uint8_t *take(numbers *r, uint64_t size)
{
    static const uint8_t nothing[32];
    if (r->error || size > r->size - r->at) {
        refuse(r, DAMAGED);
        return nothing;
    }
    r->at += size;
    return r->bytes + (r->at - size);
}

static void free_node(node *n)
{
    if (n) {
        for (int i = 0; i < n->children; i++)
            free_node(n->below[i]);
        free(n);
    }
}

typedef struct {
    uint64_t count[8];
    unsigned width[8];
    int size;
} arrays;

static void wants(arrays *a, uint64_t count, uint64_t width)
{
    a->count[a->size] = count;
    a->width[a->size++] = (unsigned)width;
}

/* Say which arrays are below a node; returns 0 if its settings make no sense. */
static int arrays_below(const node *n, arrays *a)
{
    const uint64_t *s = n->settings, count = n->count, width = n->width;
    switch (n->codec) {
    case SPLIT:
        for (unsigned i = 0; i < n->width; i++)
            wants(a, count, 1);
        return width > 1 && s[0] <= 1;
    case GRID: {
        if (width != 4 || !s[0] || count % s[0] || !s[1] || !s[2] || s[3] > 1 || (s[4] != 4 && s[4] != 8))
            return 0;
        uint64_t rows = count / s[0];
        if (s[1] > rows || s[2] > s[0])
            return 0;
        wants(a, ((rows + s[1] - 1) / s[1]) * ((s[0] + s[2] - 1) / s[2]), s[4]);
        if (s[3])
            wants(a, s[0], s[4]);
        wants(a, count, 4);
        return 1;
    }
    case PALETTE:
        wants(a, s[0], width);
        wants(a, count, 2);
        return s[0] && s[0] <= MOST_ENTRIES;
    case MASK:
        wants(a, count, 1);
        wants(a, s[0], width);
        return s[0] && s[0] <= count;
    case CONSTANT:
        wants(a, 1, width);
        return 1;
    case BLOCKS:
        if (!s[0] || count % s[0] || !s[1] || s[1] > MOST_ENTRIES)
            return 0;
        wants(a, s[1] * s[0], width);
        wants(a, count / s[0], 2);
        return 1;
    case PACKED:
        if ((s[0] != 1 && s[0] != 2 && s[0] != 4) || width != 1)
            return 0;
        wants(a, count * 8 / s[0], 1);
        return 1;
    case DELTA:
    case BASE:
        wants(a, count, width);
        return 1;
    case COSINES:
        if (width != 4 || !s[0] || count % s[0] || s[0] > MOST_COLUMNS || !s[1] || s[1] > LARGEST_EXTENT)
            return 0;
        if (!s[2] || s[2] > LARGEST_EXTENT || !s[3] || s[3] > s[0] || s[0] % (s[1] * s[2] * s[3]))
            return 0;
        wants(a, count, width);
        return 1;
    default:
        wants(a, count, width);
        return s[0] && count % s[0] == 0;
    }
}

static int leaf_fits(const node *n)
{
    const uint64_t *s = n->settings;
    if (n->codec == OCTETS)
        return s[0] <= 2 && n->count * n->width <= OCTETS_EACH[s[0]] * n->size;
    return s[0] && n->count % s[0] == 0 && s[0] <= MOST_COLUMNS && s[1] && s[1] <= MOST_COLUMNS && s[2]
        && s[2] <= LENGTHS && n->count <= INTEGERS_EACH * n->size;
}

static node *read_node(numbers *r, uint64_t count, unsigned width, int depth)
{
    node *n = r->error ? NULL : calloc(1, sizeof *n);
    arrays a = {{0}, {0}, 0};
    if (!n) {
        refuse(r, NO_MEMORY);
        return NULL;
    }
    n->count = count;
    n->width = width;
    n->codec = (int)number(r, CODECS - 1);
    if (depth > DEEPEST || !r->nodes--)
        refuse(r, DAMAGED);
    for (int i = 0; i < SETTINGS[n->codec]; i++)
        n->settings[i] = number(r, LARGEST_NUMBER);
    if (n->codec == STORED) {
        n->size = count * width;
        return n;
    }
    if (n->codec == OCTETS || n->codec == INTEGERS) {
        n->size = n->settings[SETTINGS[n->codec] - 1];
        if (!leaf_fits(n))
            refuse(r, DAMAGED);
        return n;
    }
    if (r->error || !arrays_below(n, &a))
        refuse(r, DAMAGED);
    for (int i = 0; i < a.size && !r->error; i++)
        if (!a.count[i] || a.count[i] > LARGEST_ARRAY || a.count[i] * a.width[i] > LARGEST_ARRAY)
            refuse(r, DAMAGED);
    for (int i = 0; i < a.size && !r->error; i++)
        n->below[n->children++] = read_node(r, a.count[i], a.width[i], depth + 1);
    return n;
}

/* Bytes of all codes of a tree, at most a little over the limit. */
static uint64_t code_size(const node *n)
{
    uint64_t size = n->children ? 0 : n->size;
    for (int i = 0; i < n->children; i++)
        if (n->below[i])
            size += code_size(n->below[i]);
    return size;
}

/* Bytes of all arrays below a node, which decoding has to make. */
static uint64_t array_size(const node *n)
{
    uint64_t size = 0;
    for (int i = 0; i < n->children; i++)
        if (n->below[i])
            size += n->below[i]->count * n->below[i]->width + array_size(n->below[i]);
    return size;
}

static void read_piece(ocz *z, numbers *r, piece *p, uint64_t offset, uint64_t size, unsigned width,
                       uint64_t *at)
{
    p->offset = offset;
    p->size = size;
    p->at = *at;
    p->root = read_node(r, size / width, width, 0);
    p->check = (uint32_t)get(take(r, 4), 4);
    if (r->error)
        return;
    uint64_t codes = code_size(p->root);
    if (codes > z->end - *at || array_size(p->root) > ARRAYS_EACH * size + ARRAYS_MORE)
        refuse(r, DAMAGED);
    else
        *at += codes;
}

static int is_name(const char *name, uint64_t size)
{
    if (!size || strlen(name) != size || strchr(name, '/') || strchr(name, '\\'))
        return 0;
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static void read_file(ocz *z, numbers *r, file *f, uint64_t rest, uint64_t limit, uint64_t *at)
{
    uint64_t size = number(r, 4096), place = 0, room = 0;
    const uint8_t *name = take(r, size);
    f->rest = rest;
    f->name = calloc((size_t)size + 1, 1);
    if (!f->name)
        refuse(r, NO_MEMORY);
    if (r->error)
        return;
    memcpy(f->name, name, (size_t)size);
    if (!is_name(f->name, size))
        refuse(r, DAMAGED);
    f->size = number(r, LARGEST_FILE);
    memcpy(f->digest, take(r, 32), 32);
    if (f->size > limit)
        refuse(r, DAMAGED);
    uint64_t count = number(r, LARGEST_INDEX);
    while (f->pieces < count && !r->error) {
        if (f->pieces == room) {
            room = room ? 2 * room : 16;
            piece *more = realloc(f->piece, (size_t)room * sizeof *more);
            if (!more) {
                refuse(r, NO_MEMORY);
                return;
            }
            f->piece = more;
        }
        place += number(r, LARGEST_FILE);
        uint64_t part = number(r, LARGEST_PIECE), width = number(r, 8);
        int known = width == 1 || width == 2 || width == 4 || width == 8;
        if (r->error || !known || !part || part % width || place > f->size || part > f->size - place) {
            refuse(r, DAMAGED);
            return;
        }
        read_piece(z, r, &f->piece[f->pieces++], place, part, (unsigned)width, at);
        place += part;
    }
}

static void read_files(ocz *z, numbers *r, uint64_t limit, uint64_t *at)
{
    uint64_t count = number(r, r->size), rest = 0;
    z->file = r->error ? NULL : calloc((size_t)(count ? count : 1), sizeof *z->file);
    if (!z->file)
        refuse(r, NO_MEMORY);
    for (uint64_t i = 0; i < count && !r->error; i++) {
        file *f = &z->file[z->files++];
        read_file(z, r, f, rest, limit, at);
        rest += f->size;
        for (uint64_t k = 0; k < f->pieces && !r->error; k++)
            rest -= f->piece[k].size;
        limit -= f->size;
    }
    if (!r->error && (rest != z->total || *at != z->end || r->at != r->size || !z->files))
        refuse(r, DAMAGED);
}

static void read_index(ocz *z, numbers *r, uint64_t size)
{
    uint64_t at = sizeof MAGIC, limit = ((uint64_t)1 << 24) + ((uint64_t)size << 20);
    uint64_t version = number(r, LARGEST_NUMBER);
    if (!r->error && version != VERSION)
        refuse(r, "the archive has a version of the format that this decoder does not know");
    if (number(r, 1)) {
        const uint8_t *digest = take(r, 32);
        if (!z->base || memcmp(digest, z->base->file[0].digest, 32) != 0)
            refuse(r, NO_BASE);
    } else {
        z->base = NULL;
    }
    z->total = number(r, LARGEST_NUMBER);
    if (z->total > limit)
        refuse(r, DAMAGED);
    uint64_t chunks = (z->total + CHUNK - 1) / CHUNK;
    if (r->error || chunks * 5 > r->size) {
        refuse(r, DAMAGED);
        return;
    }
    z->chunk = calloc((size_t)(chunks ? chunks : 1), sizeof *z->chunk);
    if (!z->chunk)
        refuse(r, NO_MEMORY);
    while (z->chunks < chunks && !r->error) {
        uint64_t start_at = z->chunks * CHUNK, left = z->total - start_at;
        read_piece(z, r, &z->chunk[z->chunks++], start_at, left < CHUNK ? left : CHUNK, 1, &at);
    }
    read_files(z, r, limit, &at);
}

static const char *open_index(ocz *z, uint64_t size)
{
    const uint8_t *tail = z->content + size - TAIL;
    uint64_t coded = get(tail, 4), raw = get(tail + 4, 4), model = get(tail + 8, 4);
    const char *error = NULL;
    if (coded > size - TAIL - sizeof MAGIC)
        return DAMAGED;
    z->end = size - TAIL - coded;
    if (crc32_of(z->content + z->end, coded + 12, 0) != get(tail + 12, 4))
        return DAMAGED;
    if (raw > LARGEST_INDEX || raw > SMALL + INDEX_EACH * size || model > 3)
        return DAMAGED;
    if (model ? raw > OCTETS_EACH[model - 1] * coded : raw != coded)
        return DAMAGED;
    uint8_t *index = malloc((size_t)(raw ? raw : 1));
    if (!index)
        return NO_MEMORY;
    if (model)
        error = decode_bytes(&z->tables, z->content + z->end, coded, (unsigned)model - 1, index, raw);
    else
        memcpy(index, z->content + z->end, (size_t)raw);
    numbers r = {index, raw, 0, SMALL + NODES_EACH * size, error};
    read_index(z, &r, size);
    free(index);
    return r.error;
}

static void free_pieces(piece *pieces, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        free_node(pieces[i].root);
    free(pieces);
}

ocz *ocz_open(const uint8_t *content, size_t size, ocz *base, const char **error)
{
    ocz *z = calloc(1, sizeof *z);
    if (!z) {
        *error = NO_MEMORY;
        return NULL;
    }
    z->content = content;
    z->base = base;
    z->held_chunk = UINT64_MAX;
    fill_tables(&z->tables);
    if (size < sizeof MAGIC || memcmp(content, MAGIC, sizeof MAGIC) != 0)
        *error = "it is no archive of ocompress";
    else if (size < sizeof MAGIC + TAIL || memcmp(content + size - sizeof END, END, sizeof END) != 0)
        *error = "the archive is cut off";
    else
        *error = open_index(z, size);
    if (*error) {
        ocz_close(z);
        return NULL;
    }
    return z;
}

void ocz_close(ocz *z)
{
    if (!z)
        return;
    free_pieces(z->chunk, z->chunks);
    for (uint64_t i = 0; i < z->files; i++) {
        free_pieces(z->file[i].piece, z->file[i].pieces);
        free(z->file[i].name);
        free(z->file[i].whole);
    }
    free(z->file);
    free(z->held);
    free(z);
}

size_t ocz_files(const ocz *z) { return (size_t)z->files; }
const char *ocz_name(const ocz *z, size_t f) { return z->file[f].name; }
uint64_t ocz_size(const ocz *z, size_t f) { return z->file[f].size; }

/* -- files -------------------------------------------------------------------------------------- */

typedef struct {
    ocz_sink sink;
    void *context;
    sha256 digest;
} output;

static const char *give(output *o, const uint8_t *bytes, size_t size)
{
    sha256_add(&o->digest, bytes, size);
    return size && o->sink(o->context, bytes, size) ? "the output cannot be written" : NULL;
}

static const char *decode_piece(ocz *z, const piece *p, uint8_t **out)
{
    const uint8_t *code = z->content + p->at;
    *out = NULL;
    if (crc32_of(code, code_size(p->root), 0) != p->check)
        return DAMAGED;
    return decode(z, p->root, &code, out);
}

static const char *give_rest(ocz *z, output *o, uint64_t at, uint64_t size)
{
    while (size) {
        uint64_t which = at / CHUNK, inside = at % CHUNK;
        const char *error = NULL;
        if (z->held_chunk != which) {
            free(z->held);
            z->held = NULL;
            z->held_chunk = UINT64_MAX;
            error = decode_piece(z, &z->chunk[which], &z->held);
            if (error)
                return error;
            z->held_chunk = which;
        }
        uint64_t there = z->chunk[which].size - inside, part = size < there ? size : there;
        error = give(o, z->held + inside, (size_t)part);
        if (error)
            return error;
        at += part;
        size -= part;
    }
    return NULL;
}

const char *ocz_write(ocz *z, size_t which, ocz_sink sink, void *context)
{
    const file *f = &z->file[which];
    uint64_t at = 0, rest = f->rest;
    const char *error = NULL;
    output o = {sink, context, {{0}, {0}, 0}};
    uint8_t digest[32];
    sha256_start(&o.digest);
    for (uint64_t i = 0; i < f->pieces && !error; i++) {
        const piece *p = &f->piece[i];
        uint8_t *bytes = NULL;
        error = give_rest(z, &o, rest, p->offset - at);
        rest += p->offset - at;
        at = p->offset + p->size;
        if (!error)
            error = decode_piece(z, p, &bytes);
        if (!error)
            error = give(&o, bytes, (size_t)p->size);
        free(bytes);
    }
    if (!error)
        error = give_rest(z, &o, rest, f->size - at);
    sha256_end(&o.digest, digest);
    if (!error && memcmp(digest, f->digest, sizeof digest) != 0)
        error = DAMAGED;
    return error;
}

typedef struct {
    uint8_t *bytes;
    uint64_t used;
} buffer;

static int to_buffer(void *context, const uint8_t *bytes, size_t size)
{
    buffer *b = context;
    memcpy(b->bytes + b->used, bytes, size);
    b->used += size;
    return 0;
}

/* Find bytes of a file of the archive that this one is a change of. */
static const char *base_bytes(const ocz *z, uint64_t which, uint64_t start, uint64_t size,
                              const uint8_t **bytes)
{
    if (!z->base)
        return DAMAGED;
    if (which >= z->base->files)
        return DAMAGED;
    file *f = &z->base->file[which];
    if (start > f->size || size > f->size - start)
        return DAMAGED;
    if (!f->whole) {
        buffer b = {f->size <= SIZE_MAX ? malloc((size_t)f->size) : NULL, 0};
        const char *error = b.bytes ? ocz_write(z->base, (size_t)which, to_buffer, &b) : NO_MEMORY;
        if (error) {
            free(b.bytes);
            return error;
        }
        f->whole = b.bytes;
    }
    *bytes = f->whole + start;
    return NULL;
}
