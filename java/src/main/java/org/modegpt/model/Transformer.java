package org.modegpt.model;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.io.ModelDirectory;
import org.modegpt.io.TensorInfo;
import org.modegpt.io.TensorSource;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// A decoder-only language model on disk: its configuration and its mapped weights, checked to fit
/// together when opened. Nothing is resident until a block is loaded. Opening and reading are safe
/// from several threads; close it last.
public final class Transformer implements AutoCloseable {

  /// How weights are held by a back-end.
  public enum Residence {
    /// Matrices as F32, for passes over many tokens.
    F32,
    /// Matrices in the stored type (on the CPU without a copy), for decoding, where reading weights
    /// is the time.
    STORED
  }

  private final ModelDirectory directory;
  private final TensorSource source;
  private final ModelConfig config;
  private final Architecture architecture;

  private Transformer(ModelDirectory directory) {
    this.directory = directory;
    this.source = directory.tensors();
    this.config = ModelConfig.of(directory.config());
    this.architecture =
        config.compressed() ? Architecture.compact() : Architecture.of(config.modelType());
    checkTensors();
  }

  /// Opens a Hugging Face folder or a GGUF file.
  ///
  /// @throws UserException when a file is missing, damaged, of an unknown architecture, or its
  ///   tensors do not fit
  public static Transformer open(Path path) {
    ModelDirectory directory = ModelDirectory.open(path);
    try {
      return new Transformer(directory);
    } catch (RuntimeException e) {
      directory.close();
      throw e;
    }
  }

  public ModelConfig config() {
    return config;
  }

  public Architecture architecture() {
    return architecture;
  }

  public ModelDirectory directory() {
    return directory;
  }

  /// All tensors as stored.
  public TensorSource tensors() {
    return source;
  }

  /// Parameters of the whole model, tied weights counted once.
  public long parameters() {
    return source.names().stream()
        .filter(n -> !architecture.isIgnored(n))
        .mapToLong(n -> source.info(n).elements())
        .sum();
  }

  /// Loads one block; it lives as long as `arena`.
  ///
  /// @throws UserException when a weight is NaN or infinite
  public BlockWeights block(Backend backend, Arena arena, int layer, Residence residence) {
    Map<Role, Tensor> tensors = new EnumMap<>(Role.class);
    for (Role role : Role.values()) {
      String name = architecture.name(role, layer);
      if (source.has(name)) {
        boolean keep = residence == Residence.STORED && role.compressible();
        tensors.put(role, load(backend, arena, name, keep));
      }
    }
    LayerShape shape = config.shapes().get(layer);
    return new BlockWeights(shape, tensors, frequencies(backend, arena, shape));
  }

  /// A block of this model's kind with weights that are on the back-end's device already.
  public BlockWeights block(
      Backend backend, Arena arena, LayerShape shape, Map<Role, Tensor> weights) {
    return new BlockWeights(shape, weights, frequencies(backend, arena, shape));
  }

  /// The token embedding `[vocab, d]` in its stored type.
  public Tensor embedding(Backend backend, Arena arena) {
    return load(backend, arena, architecture.embedding(), true);
  }

  public Tensor finalNorm(Backend backend, Arena arena) {
    return load(backend, arena, architecture.finalNorm(), false);
  }

  /// The output matrix `[vocab, d]`; the embedding when they are tied.
  public Tensor head(Backend backend, Arena arena, Residence residence) {
    return load(backend, arena, headName(), residence == Residence.STORED);
  }

  private String headName() {
    return source.has(architecture.head()) ? architecture.head() : architecture.embedding();
  }

  private Tensor load(Backend backend, Arena arena, String name, boolean keepType) {
    Tensor stored = source.get(name, arena);
    Tensor local = stored;
    if (!backend.unifiedMemory()) {
      local = backend.allocate(arena, stored.dtype(), stored.rows(), stored.cols());
      backend.copy(stored, local);
    }
    long bad = backend.countNonFinite(local);
    if (bad > 0) {
      throw new UserException(
          directory.path()
              + ": tensor "
              + name
              + " has "
              + bad
              + " NaN or infinite values; the checkpoint is damaged");
    }
    if (keepType || local.dtype() == DType.F32) {
      return local;
    }
    Tensor cast = backend.allocate(arena, DType.F32, stored.rows(), stored.cols());
    backend.cast(local, cast);
    return cast;
  }

  private Tensor frequencies(Backend backend, Arena arena, LayerShape shape) {
    int pairs = shape.qkDim() / 2;
    Tensor host = Tensor.allocate(arena, DType.F32, config.kvHeads(), pairs);
    for (int head = 0; head < config.kvHeads(); head++) {
      for (int t = 0; t < pairs; t++) {
        host.set(head, t, config.rope().inverseFrequencies()[shape.rotaryPairs().get(head).get(t)]);
      }
    }
    if (backend.unifiedMemory()) {
      return host;
    }
    Tensor device = backend.allocate(arena, DType.F32, host.rows(), host.cols());
    backend.copy(host, device);
    return device;
  }

  private void checkTensors() {
    Set<String> left = new HashSet<>(source.names());
    check(architecture.embedding(), config.vocabSize(), config.hiddenSize(), left);
    check(architecture.finalNorm(), 1, config.hiddenSize(), left);
    if (source.has(architecture.head())) {
      check(architecture.head(), config.vocabSize(), config.hiddenSize(), left);
    } else if (!config.tiedEmbeddings()) {
      throw new UserException(directory.path() + ": tensor " + architecture.head() + " is missing");
    }
    for (int layer = 0; layer < config.layers(); layer++) {
      for (Role role : Role.values()) {
        String name = architecture.name(role, layer);
        if (!role.bias() || source.has(name)) {
          LayerShape shape = config.shapes().get(layer);
          check(name, config.rows(role, shape), config.cols(role, shape), left);
        }
      }
    }
    left.removeIf(architecture::isIgnored);
    if (!left.isEmpty()) {
      String first = left.stream().sorted().findFirst().orElseThrow();
      throw new UserException(
          directory.path()
              + ": "
              + left.size()
              + " tensors do not belong to a "
              + config.layers()
              + "-layer "
              + architecture.family()
              + " model, the first is "
              + first
              + "; check num_hidden_layers and model_type");
    }
  }

  private void check(String name, long rows, long cols, Set<String> left) {
    if (!source.has(name)) {
      throw new UserException(directory.path() + ": tensor " + name + " is missing");
    }
    TensorInfo tensor = source.info(name);
    if (tensor.rows() != rows || tensor.cols() != cols) {
      throw new UserException(
          directory.path()
              + ": tensor "
              + name
              + " is "
              + tensor.rows()
              + " x "
              + tensor.cols()
              + ", the configuration needs "
              + rows
              + " x "
              + cols);
    }
    left.remove(name);
  }

  @Override
  public void close() {
    directory.close();
  }
}
