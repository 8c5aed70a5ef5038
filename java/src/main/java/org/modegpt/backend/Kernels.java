package org.modegpt.backend;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/// The functions of `native/include/modegpt.h` as one opened library has them: a handle per
/// function, below its C prototype. The same class binds the CPU and the CUDA library. A test holds
/// these lines to the header.
final class Kernels {

  static final int ABI_VERSION = 4;

  private final SymbolLookup library;
  private final Map<String, FunctionDescriptor> descriptors = new LinkedHashMap<>();

  // int32_t mg_abi_version(void);
  final MethodHandle abiVersion = function("mg_abi_version");

  // int32_t mg_device_count(void);
  final MethodHandle deviceCount = function("mg_device_count");

  // int32_t mg_context_create(int32_t device, int32_t threads, const char *isa, mg_context **out);
  final MethodHandle contextCreate =
      function("mg_context_create", JAVA_INT, JAVA_INT, ADDRESS, ADDRESS);

  // void mg_context_destroy(mg_context *ctx);
  final MethodHandle contextDestroy =
      bind("mg_context_destroy", FunctionDescriptor.ofVoid(ADDRESS));

  // const char *mg_last_error(mg_context *ctx);
  final MethodHandle lastError = bind("mg_last_error", FunctionDescriptor.of(ADDRESS, ADDRESS));

  // int32_t mg_describe(mg_context *ctx, char *text, int64_t size);
  final MethodHandle describe = function("mg_describe", ADDRESS, ADDRESS, JAVA_LONG);

  // int32_t mg_alloc(mg_context *ctx, int64_t bytes, void **out);
  final MethodHandle alloc = function("mg_alloc", ADDRESS, JAVA_LONG, ADDRESS);

  // int32_t mg_free(mg_context *ctx, void *data);
  final MethodHandle free = function("mg_free", ADDRESS, ADDRESS);

  // int32_t mg_copy(mg_context *ctx, void *dst, const void *src, int64_t bytes, int32_t kind);
  final MethodHandle copy = function("mg_copy", ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, JAVA_INT);

  // int32_t mg_fill_zero(mg_context *ctx, mg_tensor *x);
  final MethodHandle fillZero = function("mg_fill_zero", ADDRESS, ADDRESS);

  // int32_t mg_sync(mg_context *ctx);
  final MethodHandle sync = function("mg_sync", ADDRESS);

  // int32_t mg_host_alloc(mg_context *ctx, int64_t bytes, void **out);
  final MethodHandle hostAlloc = function("mg_host_alloc", ADDRESS, JAVA_LONG, ADDRESS);

  // int32_t mg_host_free(mg_context *ctx, void *data);
  final MethodHandle hostFree = function("mg_host_free", ADDRESS, ADDRESS);

  // int32_t mg_memory(mg_context *ctx, int64_t *free_bytes, int64_t *total_bytes);
  final MethodHandle memory = function("mg_memory", ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_stream(mg_context *ctx, void **out);
  final MethodHandle stream = function("mg_stream", ADDRESS, ADDRESS);

  // int32_t mg_wait(mg_context *ctx, mg_context *other);
  final MethodHandle waitFor = function("mg_wait", ADDRESS, ADDRESS);

  // int32_t mg_set_precision(mg_context *ctx, int32_t precision);
  final MethodHandle setPrecision = function("mg_set_precision", ADDRESS, JAVA_INT);

  // int32_t mg_cast(mg_context *ctx, const mg_tensor *src, mg_tensor *dst);
  final MethodHandle cast = function("mg_cast", ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_transpose(mg_context *ctx, const mg_tensor *src, mg_tensor *dst);
  final MethodHandle transpose = function("mg_transpose", ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_count_nonfinite(mg_context *ctx, const mg_tensor *x, int64_t *bad);
  final MethodHandle countNonfinite = function("mg_count_nonfinite", ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_embed(mg_context *ctx, const mg_tensor *table, const mg_tensor *ids, mg_tensor
  // *out);
  final MethodHandle embed = function("mg_embed", ADDRESS, ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_rms_norm(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, float eps,
  // mg_tensor *y);
  final MethodHandle rmsNorm =
      function("mg_rms_norm", ADDRESS, ADDRESS, ADDRESS, JAVA_FLOAT, ADDRESS);

  // int32_t mg_layer_norm(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, const mg_tensor
  // *b, float eps,
  //     mg_tensor *y);
  final MethodHandle layerNorm =
      function("mg_layer_norm", ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_FLOAT, ADDRESS);

  // int32_t mg_rope(mg_context *ctx, mg_tensor *x, const mg_tensor *positions, const mg_tensor
  // *freqs, int32_t heads);
  final MethodHandle rope = function("mg_rope", ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_INT);

  // int32_t mg_attention(mg_context *ctx, const mg_tensor *q, const mg_tensor *k, const mg_tensor
  // *v,
  //     const mg_attention_params *params, const mg_tensor *spans, mg_tensor *out);
  final MethodHandle attention =
      function("mg_attention", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_gated_activation(mg_context *ctx, const mg_tensor *gate, const mg_tensor *up,
  // int32_t act, mg_tensor *y);
  final MethodHandle gatedActivation =
      function("mg_gated_activation", ADDRESS, ADDRESS, ADDRESS, JAVA_INT, ADDRESS);

  // int32_t mg_activation(mg_context *ctx, mg_tensor *x, int32_t act);
  final MethodHandle activation = function("mg_activation", ADDRESS, ADDRESS, JAVA_INT);

  // int32_t mg_add(mg_context *ctx, float alpha, const mg_tensor *x, mg_tensor *y);
  final MethodHandle add = function("mg_add", ADDRESS, JAVA_FLOAT, ADDRESS, ADDRESS);

  // int32_t mg_scale(mg_context *ctx, float alpha, float softcap, mg_tensor *x);
  final MethodHandle scale = function("mg_scale", ADDRESS, JAVA_FLOAT, JAVA_FLOAT, ADDRESS);

  // int32_t mg_gather_columns(mg_context *ctx, const mg_tensor *x, const mg_tensor *index,
  // mg_tensor *y);
  final MethodHandle gatherColumns =
      function("mg_gather_columns", ADDRESS, ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_gather_rows(mg_context *ctx, const mg_tensor *x, const mg_tensor *index, mg_tensor
  // *y);
  final MethodHandle gatherRows = function("mg_gather_rows", ADDRESS, ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_scatter_rows(mg_context *ctx, const mg_tensor *x, const mg_tensor *index, mg_tensor
  // *y);
  final MethodHandle scatterRows = function("mg_scatter_rows", ADDRESS, ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_triangle(mg_context *ctx, mg_tensor *x, int32_t mirror);
  final MethodHandle triangle = function("mg_triangle", ADDRESS, ADDRESS, JAVA_INT);

  // int32_t mg_linear(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, const mg_tensor
  // *bias, mg_tensor *y, int32_t count);
  final MethodHandle linear =
      function("mg_linear", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_INT);

  // int32_t mg_nll(mg_context *ctx, const mg_tensor *logits, const mg_tensor *targets, mg_tensor
  // *nll, mg_tensor *argmax);
  final MethodHandle nll = function("mg_nll", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_kl_divergence(mg_context *ctx, const mg_tensor *p, const mg_tensor *q, mg_tensor
  // *kl);
  final MethodHandle klDivergence =
      function("mg_kl_divergence", ADDRESS, ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_rms_norm_backward(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, float
  // eps,
  // const mg_tensor *dy, mg_tensor *dx);
  final MethodHandle rmsNormBackward =
      function("mg_rms_norm_backward", ADDRESS, ADDRESS, ADDRESS, JAVA_FLOAT, ADDRESS, ADDRESS);

  // int32_t mg_layer_norm_backward(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, float
  // eps, const mg_tensor *dy, mg_tensor *dx);
  final MethodHandle layerNormBackward =
      function("mg_layer_norm_backward", ADDRESS, ADDRESS, ADDRESS, JAVA_FLOAT, ADDRESS, ADDRESS);

  // int32_t mg_activation_backward(mg_context *ctx, const mg_tensor *gate, const mg_tensor *up,
  // int32_t act, const mg_tensor *dy, mg_tensor *dgate, mg_tensor *dup);
  final MethodHandle activationBackward =
      function(
          "mg_activation_backward", ADDRESS, ADDRESS, ADDRESS, JAVA_INT, ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_attention_backward(mg_context *ctx, const mg_tensor *q, const mg_tensor *k, const
  // mg_tensor *v, const mg_attention_params *params, const mg_tensor *dout, mg_tensor *dq,
  // mg_tensor *dk, mg_tensor *dv);
  final MethodHandle attentionBackward =
      function(
          "mg_attention_backward",
          ADDRESS,
          ADDRESS,
          ADDRESS,
          ADDRESS,
          ADDRESS,
          ADDRESS,
          ADDRESS,
          ADDRESS,
          ADDRESS);

  // int32_t mg_sampled_gradient(mg_context *ctx, mg_tensor *logits, float softcap, const mg_tensor
  // *uniforms, mg_tensor *ids);
  final MethodHandle sampledGradient =
      function("mg_sampled_gradient", ADDRESS, ADDRESS, JAVA_FLOAT, ADDRESS, ADDRESS);

  // int32_t mg_gram(mg_context *ctx, const mg_tensor *x, mg_tensor *c);
  final MethodHandle gram = function("mg_gram", ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_accumulate(mg_context *ctx, const mg_tensor *x, int32_t lower, mg_tensor *c);
  final MethodHandle accumulate = function("mg_accumulate", ADDRESS, ADDRESS, JAVA_INT, ADDRESS);

  // int32_t mg_cross_gram(mg_context *ctx, const mg_tensor *x, const mg_tensor *y, mg_tensor *c);
  final MethodHandle crossGram = function("mg_cross_gram", ADDRESS, ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_head_gram(mg_context *ctx, const mg_tensor *x, int32_t heads, mg_tensor *c);
  final MethodHandle headGram = function("mg_head_gram", ADDRESS, ADDRESS, JAVA_INT, ADDRESS);

  // int32_t mg_column_energy(mg_context *ctx, const mg_tensor *x, mg_tensor *e);
  final MethodHandle columnEnergy = function("mg_column_energy", ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_logit_covariance(mg_context *ctx, const mg_tensor *q, const mg_tensor *k, const
  // mg_tensor *queries, int32_t heads, int32_t kv_heads, float scale, mg_tensor *c);
  final MethodHandle logitCovariance =
      function(
          "mg_logit_covariance",
          ADDRESS,
          ADDRESS,
          ADDRESS,
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_FLOAT,
          ADDRESS);

  // int32_t mg_block_influence(mg_context *ctx, const mg_tensor *x, const mg_tensor *y, mg_tensor
  // *acc);
  final MethodHandle blockInfluence =
      function("mg_block_influence", ADDRESS, ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_brain_surgeon(mg_context *ctx, const mg_tensor *p, const mg_tensor *k, mg_tensor
  // *gone, mg_tensor *panel, mg_tensor *pivots, mg_tensor *costs);
  final MethodHandle brainSurgeon =
      function("mg_brain_surgeon", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_svd_batch(mg_context *ctx, const mg_tensor *a, mg_tensor *u, mg_tensor *s, mg_tensor
  // *vt);
  final MethodHandle svdBatch =
      function("mg_svd_batch", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);

  // int32_t mg_cholesky_batch(mg_context *ctx, mg_tensor *a, mg_tensor *inverse, mg_tensor
  // *failed);
  final MethodHandle choleskyBatch =
      function("mg_cholesky_batch", ADDRESS, ADDRESS, ADDRESS, ADDRESS);

  Kernels(SymbolLookup library) {
    this.library = library;
    super();
  }

  /// @throws BackendException when the library cannot be opened or speaks another version of the
  ///   ABI
  static Kernels open(Path path) {
    SymbolLookup library = Downcalls.open(path);
    try {
      MethodHandle version =
          Downcalls.bind(library, "mg_abi_version", FunctionDescriptor.of(JAVA_INT));
      int found = (int) version.invokeExact();
      if (found != ABI_VERSION) {
        throw new BackendException(
            path + " has ABI version " + found + ", this engine needs " + ABI_VERSION);
      }
      return new Kernels(library);
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  /// The type of every function bound, by name.
  Map<String, FunctionDescriptor> descriptors() {
    return descriptors;
  }

  private MethodHandle function(String name, MemoryLayout... arguments) {
    return bind(name, FunctionDescriptor.of(JAVA_INT, arguments));
  }

  private MethodHandle bind(String name, FunctionDescriptor type) {
    descriptors.put(name, type);
    return Downcalls.bind(library, name, type);
  }
}
