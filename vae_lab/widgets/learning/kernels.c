// The sums and products that training a VAE needs, in SIMD of 128 bits. `python site/tools/kernels.py` compiles this
// file into compiled.js; plain.js computes the same without WebAssembly. There is no libc and no allocator: JavaScript
// owns the memory and passes addresses. Arrays are rows one after the other; every array may be read, and written with
// numbers that nobody reads, up to the next multiple of four.
#include <wasm_simd128.h>

#define EXPORT(name) __attribute__((export_name(#name)))
#define ROWS 4     // of a block of the product that stays in registers
#define COLUMNS 8  // of it

typedef v128_t Four;

static inline Four load(const float *from) { return wasm_v128_load(from); }
static inline void store(float *to, Four x) { wasm_v128_store(to, x); }
static inline Four all(float x) { return wasm_f32x4_splat(x); }
static inline Four add(Four a, Four b) { return wasm_f32x4_add(a, b); }
static inline Four sub(Four a, Four b) { return wasm_f32x4_sub(a, b); }
static inline Four mul(Four a, Four b) { return wasm_f32x4_mul(a, b); }
// The larger and the smaller of two, each one instruction; where a is no number, a.
static inline Four atLeast(Four a, Four b) { return wasm_f32x4_pmax(a, b); }
static inline Four atMost(Four a, Four b) { return wasm_f32x4_pmin(a, b); }

// Four numbers of which the first n - i count; the others become zero.
static inline Four kept(Four x, int i, int n) {
  return wasm_v128_and(x, wasm_i32x4_lt(wasm_i32x4_make(i, i + 1, i + 2, i + 3), wasm_i32x4_splat(n)));
}

static inline float sum(Four x) {
  return wasm_f32x4_extract_lane(x, 0) + wasm_f32x4_extract_lane(x, 1) + wasm_f32x4_extract_lane(x, 2) +
         wasm_f32x4_extract_lane(x, 3);
}

// pack (k × COLUMNS) = COLUMNS columns of B from `from` on, of which `wide` are there; the others are zeros.
static void packColumns(float *pack, const float *from, int wide, int k, int perDepth, int perColumn) {
  if (wide < COLUMNS) {
    for (int l = 0; l < k; l++)
      for (int c = 0; c < COLUMNS; c++) pack[COLUMNS * l + c] = c < wide ? from[l * perDepth + c * perColumn] : 0;
  } else if (perColumn == 1) {
    for (int l = 0; l < k; l++, pack += COLUMNS, from += perDepth) {
      store(pack, load(from));
      store(pack + 4, load(from + 4));
    }
  } else {
    for (int l = 0; l < k; l++, pack += COLUMNS, from += perDepth)
      for (int c = 0; c < COLUMNS; c++) pack[c] = from[c * perColumn];
  }
}

// C (m × n) = bias (n) + A (m × k) B (k × n), with A[i, l] at A[i * ai + l * al] and B[l, j] at B[l * bl + j * bj].
// The address of bias may be 0: none. pack: room for k * COLUMNS numbers.
EXPORT(matmul)
void matmul(float *C, const float *A, const float *B, const float *bias, float *pack, int m, int n, int k, int ai,
            int al, int bl, int bj) {
  for (int j = 0; j < n; j += COLUMNS) {
    int wide = n - j < COLUMNS ? n - j : COLUMNS;
    packColumns(pack, B + j * bj, wide, k, bl, bj);
    float start[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) start[c] = bias && c < wide ? bias[j + c] : 0;
    Four left = load(start), right = load(start + 4);
    for (int i = 0; i < m; i += ROWS) {
      const float *a[ROWS];
      Four low[ROWS], high[ROWS];
      for (int r = 0; r < ROWS; r++) {
        a[r] = A + (i + r < m ? i + r : m - 1) * ai;
        low[r] = left, high[r] = right;
      }
      const float *p = pack;
      for (int l = 0, at = 0; l < k; l++, at += al, p += COLUMNS) {
        Four x = load(p), y = load(p + 4);
        for (int r = 0; r < ROWS; r++) {
          Four v = wasm_v128_load32_splat(a[r] + at);
          low[r] = add(mul(v, x), low[r]);
          high[r] = add(mul(v, y), high[r]);
        }
      }
      for (int r = 0; r < ROWS && i + r < m; r++) {
        float *c = C + (i + r) * n + j, row[COLUMNS];
        float *to = wide == COLUMNS ? c : row;
        store(to, low[r]);
        store(to + 4, high[r]);
        if (wide < COLUMNS)
          for (int q = 0; q < wide; q++) c[q] = row[q];
      }
    }
  }
}

// sums (n) = the rows of G (m × n) added up
EXPORT(columns)
void columns(float *sums, const float *G, int m, int n) {
  int j = 0;
  for (; j + 4 <= n; j += 4) {
    Four s = all(0);
    for (int i = 0; i < m; i++) s = add(s, load(G + i * n + j));
    store(sums + j, s);
  }
  for (; j < n; j++) {
    float s = 0;
    for (int i = 0; i < m; i++) s += G[i * n + j];
    sums[j] = s;
  }
}

// e^x for x ≤ 88, to 2 units in the last place; below -87 it stays at e^-87 (Cephes' expf)
static inline Four exponential(Four x) {
  static const float c[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f,
                            1.6666665459e-1f, 5.0000001201e-1f, 1,                1};
  x = atLeast(atMost(x, all(88)), all(-87));
  Four shifted = add(mul(x, all(1.44269504f)), all(12582912));  // 1.5 · 2^23: the last bits are those of n, rounded
  Four n = sub(shifted, all(12582912));
  Four r = add(sub(x, mul(n, all(0.693359375f))), mul(n, all(2.12194440e-4f)));
  Four y = all(c[0]);
  for (int i = 1; i < 8; i++) y = add(mul(y, r), all(c[i]));
  Four power = wasm_i32x4_shl(wasm_i32x4_add(shifted, wasm_i32x4_splat(127)), 23);
  return mul(y, power);
}

EXPORT(exp)
float exponentialOf(float x) { return wasm_f32x4_extract_lane(exponential(all(x)), 0); }

// 1 / (1 + e^-x), from e = e^-|x|
static inline Four sigmoidOf(Four x, Four e) {
  Four top = wasm_v128_bitselect(all(1), e, wasm_f32x4_ge(x, all(0)));
  return wasm_f32x4_div(top, add(all(1), e));
}

// x (n) becomes the activation of x; what is called …Back turns d/d output into d/d input, given the output y (n).
EXPORT(relu)
void relu(float *x, int n) {
  for (int i = 0; i < n; i += 4) store(x + i, atLeast(load(x + i), all(0)));
}

EXPORT(reluBack)
void reluBack(float *g, const float *y, int n) {
  for (int i = 0; i < n; i += 4) store(g + i, wasm_v128_and(load(g + i), wasm_f32x4_gt(load(y + i), all(0))));
}

EXPORT(tanh)
void hyperbolicTangent(float *x, int n) {
  for (int i = 0; i < n; i += 4) {
    Four v = load(x + i), e = exponential(mul(wasm_f32x4_abs(v), all(-2)));
    Four size = wasm_f32x4_div(sub(all(1), e), add(all(1), e));
    store(x + i, wasm_v128_bitselect(v, size, wasm_i32x4_splat(0x80000000)));  // the sign of x
  }
}

EXPORT(tanhBack)
void tanhBack(float *g, const float *y, int n) {
  for (int i = 0; i < n; i += 4) {
    Four v = load(y + i);
    store(g + i, mul(load(g + i), sub(all(1), mul(v, v))));
  }
}

EXPORT(sigmoid)
void sigmoid(float *x, int n) {
  for (int i = 0; i < n; i += 4) {
    Four v = load(x + i);
    store(x + i, sigmoidOf(v, exponential(wasm_f32x4_neg(wasm_f32x4_abs(v)))));
  }
}

EXPORT(sigmoidBack)
void sigmoidBack(float *g, const float *y, int n) {
  for (int i = 0; i < n; i += 4) {
    Four v = load(y + i);
    store(g + i, mul(load(g + i), mul(v, sub(all(1), v))));
  }
}

// −log p(x | z) of a Bernoulli, summed over n pixels in [0, 1], in nats; the logits become the gradient of that times
// scale: scale · (sigmoid(logit) − x). log(1 + e) is 2 artanh(e / (2 + e)), by its series.
EXPORT(bernoulli)
float bernoulli(float *logits, const float *x, int n, float scale) {
  Four total = all(0);
  for (int i = 0; i < n; i += 4) {
    Four logit = load(logits + i), target = load(x + i);
    Four e = exponential(wasm_f32x4_neg(wasm_f32x4_abs(logit)));
    Four s = wasm_f32x4_div(e, add(e, all(2))), q = mul(s, s), series = all(1.f / 11);
    for (int k = 9; k > 0; k -= 2) series = add(mul(series, q), all(1.f / k));
    Four nats = add(mul(add(s, s), series), sub(atLeast(logit, all(0)), mul(logit, target)));
    total = add(total, i + 4 > n ? kept(nats, i, n) : nats);
    store(logits + i, mul(all(scale), sub(sigmoidOf(logit, e), target)));
  }
  return sum(total);
}

// Σ (x − mean)² over n numbers; the means become scale · (mean − x).
EXPORT(squares)
float squares(float *means, const float *x, int n, float scale) {
  Four total = all(0);
  for (int i = 0; i < n; i += 4) {
    Four error = sub(load(means + i), load(x + i)), square = mul(error, error);
    total = add(total, i + 4 > n ? kept(square, i, n) : square);
    store(means + i, mul(all(scale), error));
  }
  return sum(total);
}

// z (B × L) = μ + σ ε for rows μ, log σ² of q (B × 2L) and noise ε (B × L). scales (B × 2L): σ stands where log σ² does.
EXPORT(sample)
void sample(float *z, float *scales, const float *q, const float *noise, int B, int L) {
  for (int i = 0; i < 2 * B * L; i += 4) store(scales + i, exponential(mul(load(q + i), all(0.5f))));
  for (int b = 0; b < B; b++, q += 2 * L, scales += 2 * L)
    for (int l = 0; l < L; l++) *z++ = q[l] + scales[L + l] * *noise++;
}

// kls (L) = KL(q(z_l | x) ‖ N(0, 1)) of each latent, summed over the batch, in nats
EXPORT(divergence)
void divergence(float *kls, const float *scales, const float *q, int B, int L) {
  for (int l = 0; l < L; l++) {
    float total = 0;
    for (int b = 0; b < B; b++) {
      float mu = q[2 * L * b + l], s = q[2 * L * b + L + l], sigma = scales[2 * L * b + L + l];
      total += (mu * mu + sigma * sigma - s - 1) / 2;
    }
    kls[l] = total;
  }
}

// dq (B × 2L) = d/dμ and d/d log σ² of what has the derivative dz (B × L) plus Σ_l prices[l] · the KL of latent l
EXPORT(posteriorBack)
void posteriorBack(float *dq, const float *dz, const float *scales, const float *q, const float *noise,
                   const float *prices, int B, int L) {
  for (int b = 0; b < B; b++, dq += 2 * L, q += 2 * L, scales += 2 * L)
    for (int l = 0; l < L; l++, dz++, noise++) {
      float sigma = scales[L + l];
      dq[l] = *dz + prices[l] * q[l];
      dq[L + l] = (*dz * *noise * sigma + prices[l] * (sigma * sigma - 1)) / 2;
    }
}

// One step of Adam on n parameters; rate and epsilon already hold the corrections of the bias (see adam.js).
EXPORT(adam)
void adam(float *p, const float *g, float *m, float *v, int n, float rate, float epsilon, float b1, float b2) {
  for (int i = 0; i < n; i += 4) {
    Four G = load(g + i);
    Four M = add(mul(all(b1), load(m + i)), mul(all(1 - b1), G));
    Four V = add(mul(all(b2), load(v + i)), mul(all(1 - b2), mul(G, G)));
    store(m + i, M);
    store(v + i, V);
    Four step = wasm_f32x4_div(mul(all(rate), M), add(wasm_f32x4_sqrt(V), all(epsilon)));
    store(p + i, sub(load(p + i), step));
  }
}
