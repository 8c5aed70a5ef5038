// Activations and gated activations, and their gradients.
#include "common.cuh"

namespace {

template <int ACT> __device__ inline float activate(float x) {
  switch (ACT) {
  case MG_SILU:
    return x / (1 + expf(-x));
  case MG_GELU:
    return 0.5f * x * (1 + erff(x * 0.70710678118654752f));
  case MG_GELU_TANH:
    return 0.5f * x * (1 + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
  case MG_RELU:
    return x < 0 ? 0 : x; // a NaN stays one
  default:
    return x;
  }
}

template <int ACT> __device__ inline float derivative(float x) {
  switch (ACT) {
  case MG_SILU: {
    const float s = 1 / (1 + expf(-x));
    return s * (1 + x * (1 - s));
  }
  case MG_GELU:
    return 0.5f * (1 + erff(x * 0.70710678118654752f)) + x * 0.39894228040143268f * expf(-0.5f * x * x);
  case MG_GELU_TANH: {
    const float t = tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x));
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.79788456080286536f * (1 + 3 * 0.044715f * x * x);
  }
  case MG_RELU:
    return x > 0 ? 1 : 0;
  default:
    return 1;
  }
}

template <int ACT, class In, class Out> struct Gated {
  const In *gate, *up;
  Out *y;
  int64_t gate_stride, up_stride, y_stride;
  template <int V> __device__ void at(int64_t row, int64_t col) const {
    float g[V], u[V];
    load<V>(gate + row * gate_stride + col, g);
    load<V>(up + row * up_stride + col, u);
#pragma unroll
    for (int i = 0; i < V; i++) g[i] = activate<ACT>(g[i]) * u[i];
    store<V>(y + row * y_stride + col, g);
  }
};

template <int ACT> struct Activate {
  float *x;
  int64_t stride;
  template <int V> __device__ void at(int64_t row, int64_t col) const {
    float v[V];
    load<V>(x + row * stride + col, v);
#pragma unroll
    for (int i = 0; i < V; i++) v[i] = activate<ACT>(v[i]);
    store<V>(x + row * stride + col, v);
  }
};

// Without up the second factor is 1. Everything is read before anything is written, so outputs may be inputs.
template <int ACT, bool UP> struct Backward {
  const float *gate, *up, *dy;
  float *dgate, *dup;
  int64_t gate_stride, up_stride, dy_stride, dgate_stride, dup_stride;
  template <int V> __device__ void at(int64_t row, int64_t col) const {
    float g[V], d[V], u[V];
    load<V>(gate + row * gate_stride + col, g);
    load<V>(dy + row * dy_stride + col, d);
    if (UP) load<V>(up + row * up_stride + col, u);
#pragma unroll
    for (int i = 0; i < V; i++) {
      const float slope = derivative<ACT>(g[i]) * (UP ? u[i] : 1) * d[i];
      if (UP) u[i] = activate<ACT>(g[i]) * d[i];
      g[i] = slope;
    }
    store<V>(dgate + row * dgate_stride + col, g);
    if (UP) store<V>(dup + row * dup_stride + col, u);
  }
};

template <int ACT, class In, class Out> void gated(mg_context *ctx, const mg_tensor *gate, const mg_tensor *up, mg_tensor *y) {
  constexpr int V = sizeof(In) == 4 && sizeof(Out) == 4 ? 4 : 8;
  const bool vector = aligned(gate, 16) && aligned(up, 16) && aligned(y, 16);
  const Gated<ACT, In, Out> f{pointer<In>(gate), pointer<In>(up), pointer<Out>(y), gate->stride, up->stride, y->stride};
  map<V>(ctx, f, y->rows, y->cols, vector, contiguous(gate) && contiguous(up) && contiguous(y));
}

template <int ACT> void gated_of(mg_context *ctx, const mg_tensor *gate, const mg_tensor *up, mg_tensor *y) {
  if (gate->dtype == MG_F32) {
    y->dtype == MG_F32 ? gated<ACT, float, float>(ctx, gate, up, y) : gated<ACT, float, bf16>(ctx, gate, up, y);
  } else {
    y->dtype == MG_F32 ? gated<ACT, bf16, float>(ctx, gate, up, y) : gated<ACT, bf16, bf16>(ctx, gate, up, y);
  }
}

template <int ACT> void activate_all(mg_context *ctx, mg_tensor *x) {
  map<4>(ctx, Activate<ACT>{pointer<float>(x), x->stride}, x->rows, x->cols, aligned(x, 16), contiguous(x));
}

template <int ACT>
void backward_of(mg_context *ctx, const mg_tensor *gate, const mg_tensor *up, const mg_tensor *dy, mg_tensor *dgate,
                 mg_tensor *dup) {
  bool vector = aligned(gate, 16) && aligned(dy, 16) && aligned(dgate, 16);
  bool flat = contiguous(gate) && contiguous(dy) && contiguous(dgate);
  if (!up) {
    const Backward<ACT, false> f{pointer<float>(gate), nullptr, pointer<float>(dy), pointer<float>(dgate), nullptr,
                                 gate->stride,         0,       dy->stride,         dgate->stride,         0};
    return map<4>(ctx, f, gate->rows, gate->cols, vector, flat);
  }
  vector = vector && aligned(up, 16) && aligned(dup, 16);
  flat = flat && contiguous(up) && contiguous(dup);
  const Backward<ACT, true> f{pointer<float>(gate), pointer<float>(up), pointer<float>(dy), pointer<float>(dgate),
                              pointer<float>(dup),  gate->stride,       up->stride,         dy->stride,
                              dgate->stride,        dup->stride};
  map<4>(ctx, f, gate->rows, gate->cols, vector, flat);
}

} // namespace

int32_t mg_gated_activation(mg_context *ctx, const mg_tensor *gate, const mg_tensor *up, int32_t act, mg_tensor *y) {
  return guarded(ctx, "gated_activation", [&] {
    require("gate", gate, {MG_F32, MG_BF16});
    require("up", up, {gate->dtype});
    require("y", y, {MG_F32, MG_BF16});
    require_shape("up", up, gate->rows, gate->cols);
    require_shape("y", y, gate->rows, gate->cols);
    if (act < MG_SILU || act > MG_IDENTITY) fail(MG_EINVAL, "there is no activation %d", act);
    if (empty(y)) return;
    switch (act) {
    case MG_SILU:
      return gated_of<MG_SILU>(ctx, gate, up, y);
    case MG_GELU:
      return gated_of<MG_GELU>(ctx, gate, up, y);
    case MG_GELU_TANH:
      return gated_of<MG_GELU_TANH>(ctx, gate, up, y);
    case MG_RELU:
      return gated_of<MG_RELU>(ctx, gate, up, y);
    default:
      return gated_of<MG_IDENTITY>(ctx, gate, up, y);
    }
  });
}

int32_t mg_activation(mg_context *ctx, mg_tensor *x, int32_t act) {
  return guarded(ctx, "activation", [&] {
    require("x", x, {MG_F32});
    if (act < MG_SILU || act > MG_IDENTITY) fail(MG_EINVAL, "there is no activation %d", act);
    if (empty(x)) return;
    switch (act) {
    case MG_SILU:
      return activate_all<MG_SILU>(ctx, x);
    case MG_GELU:
      return activate_all<MG_GELU>(ctx, x);
    case MG_GELU_TANH:
      return activate_all<MG_GELU_TANH>(ctx, x);
    case MG_RELU:
      return activate_all<MG_RELU>(ctx, x);
    default:
      return;
    }
  });
}

int32_t mg_activation_backward(mg_context *ctx, const mg_tensor *gate, const mg_tensor *up, int32_t act, const mg_tensor *dy,
                               mg_tensor *dgate, mg_tensor *dup) {
  return guarded(ctx, "activation_backward", [&] {
    require("gate", gate, {MG_F32});
    require("dy", dy, {MG_F32});
    require("dgate", dgate, {MG_F32});
    require_shape("dy", dy, gate->rows, gate->cols);
    require_shape("dgate", dgate, gate->rows, gate->cols);
    if (!up != !dup) fail(MG_EINVAL, "up and dup must both be given or both be NULL");
    if (up) {
      require("up", up, {MG_F32});
      require("dup", dup, {MG_F32});
      require_shape("up", up, gate->rows, gate->cols);
      require_shape("dup", dup, gate->rows, gate->cols);
    }
    if (act < MG_SILU || act > MG_IDENTITY) fail(MG_EINVAL, "there is no activation %d", act);
    if (empty(gate)) return;
    switch (act) {
    case MG_SILU:
      return backward_of<MG_SILU>(ctx, gate, up, dy, dgate, dup);
    case MG_GELU:
      return backward_of<MG_GELU>(ctx, gate, up, dy, dgate, dup);
    case MG_GELU_TANH:
      return backward_of<MG_GELU_TANH>(ctx, gate, up, dy, dgate, dup);
    case MG_RELU:
      return backward_of<MG_RELU>(ctx, gate, up, dy, dgate, dup);
    default:
      return backward_of<MG_IDENTITY>(ctx, gate, up, dy, dgate, dup);
    }
  });
}
