/* Linear layers in int8 on CPUs with AMX: x (T, inputs) in bfloat16 is quantized, each row by its own range in 256 steps,
   multiplied with weights that were quantized and laid out before, and scaled back, with what follows fused in. What is computed
   for a row depends on nothing else: not on the other rows, not on the number of threads.

   Steps of x are counted from the one that stands for 0, the row's zero, which is taken out of the sums again by `totals`.

   Both factors lie in tiles of 16 rows of 64 bytes. Steps of x: 16 rows of 64 inputs, tiles along the inputs one after the other.
   Weights: panels of 32 outputs, in each for 64 inputs after the other two tiles of 16 outputs, inputs in fours down the rows.
   What is missing to whole tiles are zeros in the weights, so it does not matter what lies there in the steps. Sums hold 131,000
   inputs.

   Tiles: 0 to 3 sums of 2 x 2 tiles, 4 and 5 steps, 6 and 7 weights. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define TILE 1024        /* bytes */
#define SHARE (1 << 20)  /* bytes of steps that are taken through all panels: they stay in the second cache */
#define STREAM (1 << 20) /* results above which they are written past the caches, into which each line would be read first */
#define PART 4           /* rows that are quantized as one piece of work */
#define LEAST 1.2e-38f   /* of a step, so that it and its reciprocal are normal numbers */
#define FENCE __asm__ volatile("" ::: "memory") /* gcc does not know that tiles are loaded from memory */
#define INLINE static inline __attribute__((always_inline))

typedef uint16_t bf16;
typedef void (*Parallel)(void (*)(void *), void *, unsigned, unsigned); /* GOMP_parallel */

enum { PLAIN, GELU, ADD };

typedef struct {
    const bf16 *x, *residual;   /* (T, inputs), (T, outputs) or null */
    const char *weight;         /* panels */
    const float *scales, *totals, *bias; /* of each output, in whole panels; totals: sums of its weights' steps */
    bf16 *out;                  /* (T, outputs) */
    char *steps;
    float *row_scales, *row_zeros;
    int rows, inputs, outputs, epilogue;
    int depth, panels, group; /* tiles along the inputs; rows that are taken through all panels */
    int stream;               /* whether results are written past the caches */
    int row, ready, piece;    /* counted up by those who take or have done one */
} Call;

/* Sums of a block of up to 32 rows and a panel of outputs that wait for being scaled. */
typedef struct {
    float sums[4 * 256] __attribute__((aligned(64)));
    int panel, row, count;
} Block;

static inline int ceil_to(int n, int step) { return (n + step - 1) / step * step; }
static inline int min(int a, int b) { return a < b ? a : b; }
static inline int take(int *counter) { return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }

static inline __m512 widen(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }

/* 32 values from x[i] on, zeros from x[n] on. */
static inline __m512i some(const bf16 *x, int i, int n) {
    const __mmask32 mask = n - i >= 32 ? 0xffffffffu : n > i ? (1u << (n - i)) - 1 : 0;
    return _mm512_maskz_loadu_epi16(mask, x + i);
}

/* bfloat16 to integers of the same order and back. */
static inline __m512i ordered(__m512i x) {
    return _mm512_xor_si512(x, _mm512_and_si512(_mm512_srai_epi16(x, 15), _mm512_set1_epi16(0x7fff)));
}

static inline float unordered(int x) {
    const uint32_t bits = (uint32_t)(x < 0 ? x ^ 0x7fff : x) << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}

/* The least (below 0) and largest (above 0) value of a row; what is no number lies beyond all others. */
static inline void range(const bf16 *x, int n, float *low, float *high) {
    __m512i least = _mm512_setzero_si512(), most = least;
    for (int i = 0; i < n; i += 32) {
        const __m512i v = ordered(some(x, i, n));
        least = _mm512_min_epi16(least, v);
        most = _mm512_max_epi16(most, v);
    }
    const __m256i l = _mm256_min_epi16(_mm512_castsi512_si256(least), _mm512_extracti64x4_epi64(least, 1));
    const __m256i m = _mm256_max_epi16(_mm512_castsi512_si256(most), _mm512_extracti64x4_epi64(most, 1));
    *low = unordered(_mm512_reduce_min_epi32(_mm512_cvtepi16_epi32(l)));
    *high = unordered(_mm512_reduce_max_epi32(_mm512_cvtepi16_epi32(m)));
}

static inline __m128i rounded(__m256i x, __m512 factor, __m512i zero) {
    return _mm512_cvtsepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(widen(x), factor)), zero));
}

/* One row to steps of -128 to 127. What is no number stays none: it gets into the scale. */
static void quantize(const Call *call, int row) {
    const int n = call->inputs;
    const bf16 *x = call->x + (size_t)row * n;
    char *out = call->steps + (size_t)(row / 16) * call->depth * TILE + row % 16 * 64;
    float low, high;
    range(x, n, &low, &high);
    const float step = high / 255 - low / 255, scale = step < LEAST ? LEAST : step;
    const __m512 factor = _mm512_set1_ps(1 / scale);
    const int zero = (int)((unsigned)_mm_cvtss_si32(_mm_set_ss(-low * (1 / scale))) - 128u);
    call->row_scales[row] = scale;
    call->row_zeros[row] = (float)zero;
    for (int i = 0; i < n; i += 64, out += TILE)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            const __m512i v = some(x, i + 32 * j, n), from = _mm512_set1_epi32(zero);
            const __m128i a = rounded(_mm512_castsi512_si256(v), factor, from);
            const __m128i b = rounded(_mm512_extracti64x4_epi64(v, 1), factor, from);
            _mm256_store_si256((__m256i *)(out + 32 * j), _mm256_set_m128i(b, a));
        }
}

/* x times the normal distribution's share below x, absolute error 5e-6: 1/2 and an odd polynomial, the best of its degree up to
   4.75, in the square of x mapped to -1 to 1. */
static inline __m512 gelu(__m512 x) {
    const __m512 end = _mm512_set1_ps(4.75f);
    static const float c[] = {0.0012802685f,  -0.0037710456f, 0.0050159647f, -0.0071687994f, 0.013405634f, -0.021649569f,
                              0.030402853f, -0.040568225f, 0.05323526f,   -0.073667547f, 0.14874829f};
    const __m512 t = _mm512_min_ps(_mm512_max_ps(x, _mm512_sub_ps(_mm512_setzero_ps(), end)), end);
    const __m512 u = _mm512_fmsub_ps(t, _mm512_mul_ps(t, _mm512_set1_ps(2 / (4.75f * 4.75f))), _mm512_set1_ps(1));
    __m512 y = _mm512_set1_ps(c[0]);
#pragma GCC unroll 10
    for (int i = 1; i < 11; i++) y = _mm512_fmadd_ps(y, u, _mm512_set1_ps(c[i]));
    y = _mm512_fmadd_ps(y, t, _mm512_set1_ps(0.5f));
    return _mm512_maskz_mul_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(-4.75f), _CMP_NLE_UQ), x, y);
}

/* Rows `from` to `to` of a block from sums to results. */
INLINE void finish(const Call *call, const Block *block, int from, int to, const int epilogue) {
    const int column = block->panel * 32, n = call->outputs - column;
    const __mmask32 mask = n >= 32 ? 0xffffffffu : (1u << n) - 1;
    const __m512 scale[] = {_mm512_loadu_ps(call->scales + column), _mm512_loadu_ps(call->scales + column + 16)};
    const __m512 total[] = {_mm512_loadu_ps(call->totals + column), _mm512_loadu_ps(call->totals + column + 16)};
    const __m512 bias[] = {_mm512_loadu_ps(call->bias + column), _mm512_loadu_ps(call->bias + column + 16)};
    for (int r = from; r < min(to, block->count); r++) {
        const size_t place = (size_t)(block->row + r) * call->outputs + column;
        const float *sums = block->sums + r / 16 * 512 + r % 16 * 16;
        const __m512 by = _mm512_set1_ps(call->row_scales[block->row + r]);
        const __m512 zero = _mm512_set1_ps(call->row_zeros[block->row + r]);
        __m512 y[2];
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            y[j] = _mm512_fnmadd_ps(zero, total[j], _mm512_cvtepi32_ps(_mm512_load_si512(sums + 256 * j)));
            y[j] = _mm512_fmadd_ps(_mm512_mul_ps(y[j], scale[j]), by, bias[j]);
            if (epilogue == GELU) y[j] = gelu(y[j]);
        }
        if (epilogue == ADD) {
            const __m512i old = _mm512_maskz_loadu_epi16(mask, call->residual + place);
            y[0] = _mm512_add_ps(y[0], widen(_mm512_castsi512_si256(old)));
            y[1] = _mm512_add_ps(y[1], widen(_mm512_extracti64x4_epi64(old, 1)));
        }
        const __m512i result = (__m512i)_mm512_cvtne2ps_pbh(y[1], y[0]);
        if (call->stream)
            _mm512_stream_si512((void *)(call->out + place), result);
        else
            _mm512_mask_storeu_epi16(call->out + place, mask, result);
    }
}

/* Products of up to 16 or 32 rows and a panel, while the block before is finished and a part of what comes next is read ahead:
   adding up in tiles leaves the rest of the core free. */
INLINE void multiply(const Call *call, Block *block, int row, int panel, const char *ahead, int lines, const int tall,
                     const int epilogue) {
    const int depth = call->depth;
    const char *a = call->steps + (size_t)(row / 16) * depth * TILE, *b = call->weight + (size_t)panel * depth * 2 * TILE;
    const char *below = a + (size_t)depth * TILE;
    _tile_zero(0);
    _tile_zero(1);
    if (tall) _tile_zero(2);
    if (tall) _tile_zero(3);
    for (int k = 0; k < depth; k++, a += TILE, below += TILE, b += 2 * TILE) {
        for (int i = lines * k / depth; i < lines * (k + 1) / depth; i++) _mm_prefetch(ahead + i * 64, _MM_HINT_T1);
        _tile_loadd(6, b, 64);
        _tile_loadd(4, a, 64);
        _tile_loadd(7, b + TILE, 64);
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        if (tall) {
            _tile_loadd(5, below, 64);
            _tile_dpbssd(2, 5, 6);
            _tile_dpbssd(3, 5, 7);
        }
        finish(call, block, 32 * k / depth, 32 * (k + 1) / depth, epilogue);
    }
    FENCE;
    _tile_stored(0, block->sums, 64);
    _tile_stored(1, block->sums + 256, 64);
    if (tall) _tile_stored(2, block->sums + 512, 64);
    if (tall) _tile_stored(3, block->sums + 768, 64);
    FENCE;
    block->panel = panel, block->row = row, block->count = min(call->rows - row, tall ? 32 : 16);
}

/* Take a group of rows through one panel after the other, until none is left; `piece` is the first. */
INLINE void take_pieces(Call *call, int piece, const int epilogue) {
    Block block = {.count = 0};
    const int all = ceil_to(call->rows, call->group) / call->group * call->panels;
    while (piece < all) {
        const int next = take(&call->piece), panel = piece % call->panels;
        const int first = piece / call->panels * call->group, last = min(first + call->group, call->rows);
        const int blocks = ceil_to(last - first, 32) / 32, lines = next < all ? call->depth * 2 * TILE / 64 : 0;
        const char *ahead = call->weight + (size_t)(next % call->panels) * call->depth * 2 * TILE;
        for (int i = 0; i < blocks; i++) {
            const int from = (int)((long)lines * i / blocks), to = (int)((long)lines * (i + 1) / blocks), row = first + 32 * i;
            if (last - row > 16)
                multiply(call, &block, row, panel, ahead + (size_t)from * 64, to - from, 1, epilogue);
            else
                multiply(call, &block, row, panel, ahead + (size_t)from * 64, to - from, 0, epilogue);
        }
        piece = next;
    }
    finish(call, &block, 0, 32, epilogue);
}

/* What each thread does: first its share of quantizing; when all rows are done, its share of the products. */
static void work(void *data) {
    Call *call = data;
    for (int row; (row = __atomic_fetch_add(&call->row, PART, __ATOMIC_RELAXED)) < call->rows;) {
        const int end = min(row + PART, call->rows);
        for (int r = row; r < end; r++) quantize(call, r);
        __atomic_fetch_add(&call->ready, end - row, __ATOMIC_RELEASE);
    }
    const int piece = take(&call->piece);
    const char *first = call->weight + (size_t)(piece % call->panels) * call->depth * 2 * TILE;
    for (int i = 0; i < call->depth * 2 * TILE; i += 64) _mm_prefetch(first + i, _MM_HINT_T1);
    struct {
        uint8_t palette, start, unused[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } tiles = {.palette = 1};
    for (int i = 0; i < 8; i++) tiles.bytes[i] = 64, tiles.rows[i] = 16;
    /* Rows are taken by threads that run, so none waits for one that never comes. */
    for (int i = 0; __atomic_load_n(&call->ready, __ATOMIC_ACQUIRE) < call->rows; i++) i < 1000 ? _mm_pause() : (void)usleep(10);
    FENCE;
    _tile_loadconfig(&tiles);
    if (call->epilogue == PLAIN) take_pieces(call, piece, PLAIN);
    if (call->epilogue == GELU) take_pieces(call, piece, GELU);
    if (call->epilogue == ADD) take_pieces(call, piece, ADD);
    _tile_release();
    _mm_sfence(); /* results past the caches are seen by whoever goes on after this */
}

/* Bytes that a call needs. */
size_t taskvec_space(int rows, int inputs) {
    return (size_t)ceil_to(rows, 32) * ceil_to(inputs, 64) + (size_t)rows * 2 * sizeof(float);
}

/* A whole layer; `epilogue` is one of PLAIN, GELU and ADD, `space` begins at a multiple of 64. */
void taskvec_linear(const bf16 *x, const char *weight, const float *scales, const float *totals, const float *bias,
                    const bf16 *residual, bf16 *out, char *space, int rows, int inputs, int outputs, int epilogue, int threads,
                    Parallel parallel) {
    if (rows == 0) return;
    const int depth = ceil_to(inputs, 64) / 64, panels = ceil_to(outputs, 32) / 32;
    /* Groups are of one size, and small enough that there is work for all threads. */
    const long shared = (long)rows * panels / (4 * threads), fits = SHARE / (depth * 64), most = shared < fits ? shared : fits;
    const int stream = (long)rows * outputs > STREAM && outputs % 32 == 0 && (uintptr_t)out % 64 == 0;
    const int groups = (rows - 1) / (most > 32 ? (int)most : 32) + 1;
    float *row_scales = (float *)(space + (size_t)ceil_to(rows, 32) * depth * 64);
    Call call = {
        .x = x, .residual = residual, .weight = weight, .scales = scales, .totals = totals, .bias = bias, .out = out,
        .steps = space, .row_scales = row_scales, .row_zeros = row_scales + rows, .rows = rows, .inputs = inputs,
        .outputs = outputs, .epilogue = epilogue, .depth = depth, .panels = panels, .stream = stream,
        .group = ceil_to((rows + groups - 1) / groups, 32),
    };
    if (threads > 1)
        parallel(work, &call, threads, 0);
    else
        work(&call);
}
