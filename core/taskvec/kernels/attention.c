/* Attention within each sequence of a packed row, rotary positions included, in bfloat16 on CPUs with AMX.

   For each sequence and head: keys are rotated and laid out as AMX wants them (the second factor of a product in pairs of rows),
   values are laid out likewise; then 16 queries at a time are rotated and taken through blocks of KEYS keys: products of queries
   and keys, softmax, products with values, which stay in tile registers from block to block. What is computed for a sequence
   depends on nothing else: not on its neighbours, not on the number of threads.

   attention.py compiles this with DIM, the head_dim, 32 or 64. Tiles: 0 to 3 sums of values, 4 and 5 scores, 6 the first factor, 7 the second.
   All tiles are 16 rows of 64 bytes. */
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define KEYS 64      /* of a block: its scores and weights stay in the first cache */
#define TILE 1024    /* bytes */
#define SLACK 8.0f   /* powers of two by which weights may exceed 1 before sums are scaled anew */
#define LOG2E 1.44269504f
#define FENCE __asm__ volatile("" ::: "memory") /* gcc does not know that tiles are loaded from memory */

typedef uint16_t bf16;
typedef void (*Parallel)(void (*)(void *), void *, unsigned, unsigned); /* GOMP_parallel */

typedef struct {
    const bf16 *qkv, *cos, *sin; /* (T, 3, heads, DIM), (T, DIM), (T, DIM / 2) */
    bf16 *out;                   /* (T, heads, DIM) */
    const int32_t *starts;       /* of sequences, and the end of the last */
    char *space;                 /* taskvec_space for each thread */
    int sequences, heads, longest, threads, chunk; /* chunk: queries of one piece of work */
    int next, thread;                              /* counted up by those who take one */
} Call;

typedef struct {
    const Call *call;
    int head, start, n; /* of the sequence: its first row and its tokens */
    int ahead;          /* elements from a row to what this thread will probably read there next */
    char *keys, *values, *queries, *scores, *weights;
    float *sums;                                     /* DIM / 16 tiles */
    float top[16], limit[16], shift[16], factor[16]; /* of each query; top and limit as scores come, not yet scaled */
    float total[256] __attribute__((aligned(64)));   /* of each query's weights, in 16 parts */
} Work;

static inline int ceil_to(int n, int step) { return (n + step - 1) / step * step; }
static inline int min(int a, int b) { return a < b ? a : b; }

static inline __m512 widen(const bf16 *x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)x)), 16));
}

/* Rows of 6 kB lie too far apart for the processor to see what comes next, and most of them are in no cache yet. */
static inline void prefetch(const Work *w, const bf16 *row) {
    for (int i = 0; i < DIM; i += 32) _mm_prefetch((const char *)(row + w->ahead + i), _MM_HINT_T1);
}

/* Rotate a query (part 0) or key (part 1) in float32, rounded once. */
static inline void rotate(const Work *w, int part, int row, bf16 *out) {
    enum { HALF = DIM / 2 };
    const Call *call = w->call;
    const bf16 *x = call->qkv + (((size_t)row * 3 + part) * call->heads + w->head) * DIM;
    const bf16 *cos = call->cos + (size_t)row * DIM, *sin = call->sin + (size_t)row * HALF;
    __m512 y[DIM / 16];
    prefetch(w, x);
#pragma GCC unroll 2
    for (int i = 0; i < HALF / 16; i++) {
        __m512 a = widen(x + 16 * i), b = widen(x + HALF + 16 * i), c = widen(cos + 16 * i), s = widen(sin + 16 * i);
        y[i] = _mm512_fmsub_ps(a, c, _mm512_mul_ps(b, s));
        y[HALF / 16 + i] = _mm512_fmadd_ps(b, c, _mm512_mul_ps(a, s));
    }
#pragma GCC unroll 2
    for (int i = 0; i < DIM / 32; i++) _mm512_store_si512(out + 32 * i, (__m512i)_mm512_cvtne2ps_pbh(y[2 * i + 1], y[2 * i]));
}

/* 16 rows from token `first` of the sequence on, zeros from `count` on: nobody reads what becomes of those, but what lay there
   before must not decide when sums are scaled anew. */
static void rotate_rows(const Work *w, int part, int first, int count, bf16 *out) {
    for (int i = 0; i < count; i++) rotate(w, part, w->start + first + i, out + i * DIM);
    if (count < 16) memset(out + count * DIM, 0, (16 - count) * DIM * sizeof(bf16));
}

/* 16 x 16 pairs of bf16 from rows of DIM to rows of 16: in four steps, each of which swaps one bit of row and column. */
static inline void transpose(const bf16 *rows, char *out) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i other = _mm512_add_epi32(lane, _mm512_set1_epi32(16));
    __m512i v[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) v[i] = _mm512_load_si512(rows + i * DIM);
#pragma GCC unroll 4
    for (int bit = 0; bit < 4; bit++) {
        const __m512i step = _mm512_set1_epi32(1 << bit);
        const __mmask16 upper = _mm512_test_epi32_mask(lane, step);
        const __m512i low = _mm512_mask_sub_epi32(lane, upper, other, step);
        const __m512i high = _mm512_mask_mov_epi32(_mm512_add_epi32(lane, step), upper, other);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            if (!(i >> bit & 1)) {
                const __m512i a = v[i], b = v[i + (1 << bit)];
                v[i] = _mm512_permutex2var_epi32(a, low, b);
                v[i + (1 << bit)] = _mm512_permutex2var_epi32(a, high, b);
            }
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) _mm512_store_si512(out + i * 64, v[i]);
}

/* Tiles of 16 keys and 32 dimensions, dimensions in pairs down the rows. */
static void pack_keys(const Work *w) {
    bf16 rows[16 * DIM] __attribute__((aligned(64)));
    char *out = w->keys;
    for (int key = 0; key < ceil_to(w->n, 32); key += 16) {
        rotate_rows(w, 1, key, key < w->n ? min(w->n - key, 16) : 0, rows);
        for (int i = 0; i < DIM; i += 32, out += TILE) transpose(rows + i, out);
    }
}

/* Tiles of 32 keys and 16 dimensions, keys in pairs down the rows. */
static void pack_values(const Work *w) {
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    const size_t stride = (size_t)3 * w->call->heads * DIM;
    const bf16 *row = w->call->qkv + w->start * stride + (size_t)(2 * w->call->heads + w->head) * DIM;
    for (int key = 0; key < ceil_to(w->n, 32); key += 2, row += 2 * stride) {
        char *out = w->values + (size_t)(key / 32) * (DIM / 16) * TILE + key % 32 / 2 * 64;
        prefetch(w, row);
        prefetch(w, row + stride);
        for (int i = 0; i < DIM; i += 32, out += 2 * TILE) {
            const __m512i a = key < w->n ? _mm512_loadu_si512(row + i) : _mm512_setzero_si512();
            const __m512i b = key + 1 < w->n ? _mm512_loadu_si512(row + stride + i) : _mm512_setzero_si512();
            const __m512i low = _mm512_unpacklo_epi16(a, b), high = _mm512_unpackhi_epi16(a, b);
            _mm512_store_si512(out, _mm512_permutex2var_epi64(low, first, high));
            _mm512_store_si512(out + TILE, _mm512_permutex2var_epi64(low, second, high));
        }
    }
}

/* Products of 16 queries and `count` keys: tiles of 16 keys. */
static void score(const Work *w, const char *keys, int count) {
    char *scores = w->scores;
    for (int key = 0; key < count; key += 32, keys += DIM / 32 * TILE, scores += 2 * TILE) {
        _tile_zero(4); _tile_zero(5);
        for (int i = 0; i < DIM / 32; i++, keys += TILE) {
            _tile_loadd(6, w->queries + i * 64, DIM * 2);
            _tile_loadd(7, keys, 64);
            _tile_dpbf16ps(4, 6, 7);
            _tile_loadd(7, keys + DIM / 32 * TILE, 64);
            _tile_dpbf16ps(5, 6, 7);
        }
        _tile_stored(4, scores, 64);
        _tile_stored(5, scores + TILE, 64);
    }
    FENCE;
}

/* Add `count` values by their weights. */
static void mix(const Work *w, const char *values, int count) {
    const char *weights = w->weights;
    FENCE;
    for (int key = 0; key < count; key += 32, weights += TILE, values += DIM / 16 * TILE) {
        _tile_loadd(6, weights, 64);
        _tile_loadd(7, values, 64);
        _tile_dpbf16ps(0, 6, 7);
        _tile_loadd(5, values + TILE, 64);
        _tile_dpbf16ps(1, 6, 5);
        if (DIM == 32) continue;
        _tile_loadd(7, values + 2 * TILE, 64);
        _tile_dpbf16ps(2, 6, 7);
        _tile_loadd(5, values + 3 * TILE, 64);
        _tile_dpbf16ps(3, 6, 5);
    }
}

/* Load or store the tiles of sums. */
#define SUMS(op)                                                                                               \
    do {                                                                                                       \
        FENCE; op(0, w->sums, 64); op(1, w->sums + 256, 64);                                                   \
        if (DIM > 32) { op(2, w->sums + 512, 64); op(3, w->sums + 768, 64); }                                  \
        FENCE;                                                                                                 \
    } while (0)

/* 2 ** x for x up to a few hundred, 0 for -infinity; relative error 1e-4, a twentieth of what rounding a weight to bf16 costs.
   The polynomial is the best of its degree that is right at both ends of 0 to 1. */
static inline __m512 exp2_ps(__m512 x) {
    const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF);
    __m512 y = _mm512_fmadd_ps(f, _mm512_set1_ps(0.0782674694f), _mm512_set1_ps(0.226308357f));
    y = _mm512_fmadd_ps(f, y, _mm512_set1_ps(0.695424173f));
    y = _mm512_fmadd_ps(f, y, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(y, x);
}

static void scale_rows(float *rows, int count, const float *factor) {
    for (int i = 0; i < count; i++)
        _mm512_store_ps(rows + i * 16, _mm512_mul_ps(_mm512_load_ps(rows + i * 16), _mm512_set1_ps(factor[i % 16])));
}

/* What is taken off the scores of each query before they become weights: the largest score so far. After the first block it is
   kept until it is exceeded by far, as weights above 1 do no harm and scaling the sums anew costs as much as a block does. */
static void shift(Work *w, int count, int valid, float scale, int begun) {
    float *scores = (float *)w->scores, tops[16];
    __m512 most[16];
    for (int key = valid / 16 * 16; key < count; key += 16)
        for (int r = 0; r < 16; r++)
            _mm512_mask_store_ps(scores + key * 16 + r * 16, 0xffff << (valid > key ? valid - key : 0), _mm512_set1_ps(-INFINITY));
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++) most[r] = _mm512_load_ps(scores + r * 16);
    for (int key = 16; key < count; key += 16)
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++) most[r] = _mm512_max_ps(most[r], _mm512_load_ps(scores + key * 16 + r * 16));
    if (begun) {
        int over = 0;
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++) over |= _mm512_cmp_ps_mask(most[r], _mm512_set1_ps(w->limit[r]), _CMP_GT_OQ);
        if (!over) return;
    }
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++) tops[r] = _mm512_reduce_max_ps(most[r]);
    __m512 top = _mm512_loadu_ps(tops);
    if (begun) {
        const __m512 old = _mm512_loadu_ps(w->top);
        top = _mm512_max_ps(top, old);
        _mm512_storeu_ps(w->factor, exp2_ps(_mm512_mul_ps(_mm512_sub_ps(old, top), _mm512_set1_ps(scale))));
        SUMS(_tile_stored);
        scale_rows(w->sums, DIM, w->factor);
        scale_rows(w->total, 16, w->factor);
        SUMS(_tile_loadd);
    }
    _mm512_storeu_ps(w->top, top);
    _mm512_storeu_ps(w->limit, _mm512_add_ps(top, _mm512_set1_ps(SLACK / scale)));
    _mm512_storeu_ps(w->shift, _mm512_mul_ps(top, _mm512_set1_ps(scale)));
}

/* Scores to weights: tiles of 32 keys. */
static void weigh(Work *w, int count, float scale) {
    const float *scores = (float *)w->scores;
    const __m512 by = _mm512_set1_ps(scale);
    __m512 total[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++) total[r] = _mm512_load_ps(w->total + r * 16);
    for (int key = 0; key < count; key += 32, scores += 512)
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++) {
            const __m512 less = _mm512_set1_ps(w->shift[r]);
            const __m512 a = exp2_ps(_mm512_fmsub_ps(_mm512_load_ps(scores + r * 16), by, less));
            const __m512 b = exp2_ps(_mm512_fmsub_ps(_mm512_load_ps(scores + 256 + r * 16), by, less));
            total[r] = _mm512_add_ps(total[r], _mm512_add_ps(a, b));
            _mm512_store_si512(w->weights + key * 32 + r * 64, (__m512i)_mm512_cvtne2ps_pbh(b, a));
        }
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++) _mm512_store_ps(w->total + r * 16, total[r]);
}

static void finish(const Work *w, int first, int count) {
    SUMS(_tile_stored);
    for (int r = 0; r < count; r++) {
        const __m512 by = _mm512_set1_ps(1.0f / _mm512_reduce_add_ps(_mm512_load_ps(w->total + r * 16)));
        const float *sums = w->sums + r * 16;
        bf16 *out = w->call->out + ((size_t)(w->start + first + r) * w->call->heads + w->head) * DIM;
        for (int i = 0; i < DIM; i += 32, sums += 512) {
            const __m512 a = _mm512_mul_ps(_mm512_load_ps(sums), by), b = _mm512_mul_ps(_mm512_load_ps(sums + 256), by);
            _mm512_storeu_si512(out + i, (__m512i)_mm512_cvtne2ps_pbh(b, a));
        }
    }
}

/* Queries `from` to `to` of the sequence. */
static void attend(Work *w, int from, int to) {
    const float scale = LOG2E / sqrtf(DIM);
    pack_keys(w);
    pack_values(w);
    for (int query = from; query < to; query += 16) {
        rotate_rows(w, 0, query, min(to - query, 16), (bf16 *)w->queries);
        memset(w->total, 0, sizeof w->total);
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
        FENCE;
        for (int key = 0; key < w->n; key += KEYS) {
            const int count = min(ceil_to(w->n - key, 32), KEYS);
            score(w, w->keys + (size_t)key * DIM * 2, count);
            shift(w, count, w->n - key, scale, key > 0);
            weigh(w, count, scale);
            mix(w, w->values + (size_t)key * DIM * 2, count);
        }
        finish(w, query, min(to - query, 16));
    }
}

/* Take one sequence, head and chunk of queries after the other, until none is left. */
static void take_pieces(Call *call, Work *w) {
    for (int first = 0, s = 0;;) { /* `first` is the first piece of sequence s */
        const int piece = __atomic_fetch_add(&call->next, 1, __ATOMIC_RELAXED);
        for (; s < call->sequences; s++) {
            w->start = call->starts[s];
            w->n = call->starts[s + 1] - w->start;
            const int pieces = ceil_to(w->n, call->chunk) / call->chunk * call->heads;
            if (piece < first + pieces) break;
            first += pieces;
        }
        if (s == call->sequences) return;
        const int from = (piece - first) / call->heads * call->chunk;
        w->head = piece % call->heads;
        w->ahead = w->n > 1024 ? 0 : call->threads * DIM; /* of a long text it would be gone again until then */
        attend(w, from, min(from + call->chunk, w->n));
    }
}

/* Bytes each thread needs, a multiple of 64. */
size_t taskvec_space(int longest) {
    return (size_t)ceil_to(longest, 32) * DIM * 4 + 16 * DIM * 2 + KEYS * 96 + 16 * DIM * 4;
}

/* What each thread does. */
static void work(void *data) {
    Call *call = data;
    const size_t packed = (size_t)ceil_to(call->longest, 32) * DIM * 2;
    Work w = {.call = call};
    w.keys = call->space + __atomic_fetch_add(&call->thread, 1, __ATOMIC_RELAXED) * taskvec_space(call->longest);
    w.values = w.keys + packed;
    w.queries = w.values + packed;
    w.scores = w.queries + 16 * DIM * 2;
    w.weights = w.scores + KEYS * 64;
    w.sums = (float *)(w.weights + KEYS * 32);
    struct {
        uint8_t palette, start, unused[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } tiles = {.palette = 1};
    for (int i = 0; i < 8; i++) tiles.bytes[i] = 64, tiles.rows[i] = 16;
    const unsigned control = _mm_getcsr();
    _mm_setcsr(control | 0x8040); /* weights too small for normal numbers are 0: each would cost a hundred cycles */
    _tile_loadconfig(&tiles);
    take_pieces(call, &w);
    _tile_release();
    _mm_setcsr(control);
}

/* All of a batch; `space` begins at a multiple of 64. */
void taskvec_attention(const bf16 *qkv, const bf16 *cos, const bf16 *sin, bf16 *out, const int32_t *starts, char *space,
                       int sequences, int heads, int longest, int threads, Parallel parallel) {
    /* A long text is split where there are too few pieces of work for all threads; each packs keys and values anew. */
    const int even = (int)((long)starts[sequences] * heads / (8 * threads)), chunk = ceil_to(even > 256 ? even : 256, 16);
    Call call = {qkv, cos, sin, out, starts, space, sequences, heads, longest, threads, chunk, 0, 0};
    if (threads > 1)
        parallel(work, &call, threads, 0);
    else
        work(&call);
}
