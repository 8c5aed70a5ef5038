package org.modegpt.io;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.SequencedSet;
import org.modegpt.UserException;
import org.modegpt.tensor.Tensor;
import tools.jackson.databind.node.ObjectNode;

/// A GGUF file seen as a Hugging Face checkpoint: parameter names, row order, configuration and
/// tokenizer files are those that the original folder had.
///
/// llama.cpp stores query and key rows of rotary pairs next to each other; Hugging Face keeps the
/// two halves of a head apart. Row `s * h/2 + t` of a head (half s, pair t) is row `2 t + s` of it
/// in the file. Quantised rows are whole blocks, so they are copied unchanged in the other order.
final class GgufModel implements TensorSource {
  private final GgufFile file;
  private final GgufArchitecture architecture;
  private final SequencedMap<String, GgufFile.Entry> entries = new LinkedHashMap<>();

  private GgufModel(GgufFile file) {
    this.file = file;
    Long parts = file.integer("split.count");
    if (parts != null && parts > 1) {
      throw file.error(
          "it is one of %d parts; join them with llama-gguf-split --merge".formatted(parts));
    }
    this.architecture = GgufArchitecture.of(file);
    file.tensors()
        .forEach((name, entry) ->
            architecture.huggingFaceName(name).ifPresent(hf -> entries.put(hf, entry)));
  }

  static GgufModel open(Path path) {
    GgufFile file = GgufFile.open(path);
    try {
      return new GgufModel(file);
    } catch (RuntimeException e) {
      file.close();
      throw e;
    }
  }

  /// The `config.json` of the model.
  ObjectNode config() {
    return architecture.config();
  }

  /// `tokenizer.json`, `tokenizer_config.json` and `generation_config.json`.
  Map<String, ObjectNode> tagAlong() {
    return GgufTokenizer.files(file);
  }

  @Override
  public SequencedSet<String> names() {
    return Collections.unmodifiableSequencedSet(entries.sequencedKeySet());
  }

  @Override
  public TensorInfo info(String name) {
    TensorInfo stored = entry(name).info();
    return new TensorInfo(name, stored.dtype(), stored.shape(), stored.bytes());
  }

  @Override
  public Tensor get(String name, Arena arena) {
    GgufFile.Entry entry = entry(name);
    Tensor stored = file.view(entry);
    int heads = architecture.permutedHeads(entry.info().name());
    return heads == 0 ? stored : unpermute(stored, entry.info(), heads, arena);
  }

  private Tensor unpermute(Tensor stored, TensorInfo info, int heads, Arena arena) {
    // A bias is one row of single elements, a matrix has one row per output.
    boolean vector = info.shape().size() < 2;
    long outputs = vector ? stored.cols() : stored.rows();
    if (outputs % (2L * heads) != 0) {
      throw file.error(
          "tensor '%s' has %d outputs, not %d heads of even size: the file is damaged"
              .formatted(info.name(), outputs, heads));
    }
    long rowBytes = info.bytes() / Math.max(outputs, 1);
    long half = outputs / heads / 2;
    Tensor copy = Tensor.allocate(arena, stored.dtype(), stored.rows(), stored.cols());
    for (long head = 0; head < heads; head++) {
      for (long t = 0; t < half; t++) {
        for (long s = 0; s < 2; s++) {
          long from = head * 2 * half + 2 * t + s;
          long to = head * 2 * half + s * half + t;
          MemorySegment.copy(stored.data(), from * rowBytes, copy.data(), to * rowBytes, rowBytes);
        }
      }
    }
    return copy;
  }

  @Override
  public MemorySegment stored(String name) {
    return file.view(entry(name)).asBytes();
  }

  private GgufFile.Entry entry(String name) {
    GgufFile.Entry entry = entries.get(name);
    if (entry == null) {
      throw new UserException(
          "%s: there is no tensor '%s'; the file is incomplete or of another architecture"
              .formatted(file.path(), name));
    }
    return entry;
  }

  @Override
  public Map<String, String> metadata() {
    Map<String, String> scalars = new LinkedHashMap<>();
    file.metadata()
        .forEach((key, value) -> {
          if (!(value instanceof List<?>)) {
            scalars.put(key, value.toString());
          }
        });
    return scalars;
  }

  @Override
  public void close() {
    file.close();
  }
}
