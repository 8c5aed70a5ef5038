package org.modegpt.text;

import ai.djl.huggingface.tokenizers.jni.LibUtils;
import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.lang.ref.Cleaner;
import java.lang.ref.Reference;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// A tokenizer described by a Hugging Face `tokenizer.json`, run by the Hugging Face library in
/// native code.
///
/// The binding is used below its convenience class, which would cut every text to 512 tokens, ask
/// the cloud's metadata service for telemetry and build a string for every token. The remaining
/// traps are closed in the static initialiser: no network, no look for GPU builds, native files
/// under the user's cache folder. Thread-safe; native memory is freed with the object.
public final class HfTokenizer implements Tokenizer {
  private static final int BATCH = 32;

  private static final Cleaner CLEANER = Cleaner.create();

  static {
    // Environment variables of the same names win over these, so a user can still redirect them.
    setDefault("ai.djl.offline", "true");
    setDefault("OPT_OUT_TRACKING", "true");
    setDefault("RUST_FLAVOR", "cpu");
    setDefault("DJL_CACHE_DIR", cacheDirectory().toString());
    LibUtils.checkStatus(); // loads the native library
  }

  private final long handle;
  private final int vocabSize;
  private final OptionalInt bosId;
  private final List<Integer> endIds;

  /// Whether long texts may be cut, see {@link TextChunks}.
  private final boolean splits;

  private HfTokenizer(
      long handle, boolean splits, int vocabSize, OptionalInt bosId, List<Integer> endIds) {
    this.splits = splits;
    this.handle = handle;
    this.vocabSize = vocabSize;
    this.bosId = bosId;
    this.endIds = List.copyOf(endIds);
    CLEANER.register(this, () -> TokenizersLibrary.LIB.deleteTokenizer(handle));
  }

  /// Loads a tokenizer.
  ///
  /// @param json the content of a `tokenizer.json`
  /// @param origin names it in errors
  /// @throws UserException if the content is not a tokenizer this library knows
  public static HfTokenizer of(
      byte[] json, String origin, OptionalInt bosId, List<Integer> endIds) {
    ObjectNode root = Json.object(json, origin);
    root.putNull("truncation");
    root.putNull("padding");
    long handle;
    try {
      handle =
          TokenizersLibrary.LIB.createTokenizerFromString(Json.MAPPER.writeValueAsString(root));
    } catch (RuntimeException e) {
      throw new UserException(
          origin + " is not a tokenizer that can be used: " + e.getMessage(), e);
    }
    return new HfTokenizer(handle, TextChunks.safe(root), vocabSize(root), bosId, endIds);
  }

  private static int vocabSize(ObjectNode root) {
    int largest = -1;
    JsonNode vocab = root.path("model").path("vocab");
    if (vocab.isObject()) {
      for (JsonNode id : vocab.values()) {
        largest = Math.max(largest, id.asInt(-1));
      }
    } else {
      largest = vocab.size() - 1;
    }
    for (JsonNode token : root.path("added_tokens").values()) {
      largest = Math.max(largest, token.path("id").asInt(-1));
    }
    return largest + 1;
  }

  @Override
  public int[] encode(String text, boolean addSpecialTokens) {
    List<String> chunks = splits && !addSpecialTokens ? TextChunks.split(text) : List.of(text);
    try {
      return chunks.size() == 1
          ? ids(TokenizersLibrary.LIB.encode(handle, text, addSpecialTokens))
          : encode(chunks);
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  /// A few chunks at a time: an encoding takes far more native memory than its ids.
  private int[] encode(List<String> chunks) {
    IntStream.Builder all = IntStream.builder();
    for (int from = 0; from < chunks.size(); from += BATCH) {
      String[] batch =
          chunks.subList(from, Math.min(from + BATCH, chunks.size())).toArray(String[]::new);
      for (long encoding : TokenizersLibrary.LIB.batchEncode(handle, batch, false)) {
        for (int id : ids(encoding)) {
          all.add(id);
        }
      }
    }
    return all.build().toArray();
  }

  private static int[] ids(long encoding) {
    try {
      long[] wide = TokenizersLibrary.LIB.getTokenIds(encoding);
      int[] ids = new int[wide.length];
      for (int i = 0; i < wide.length; i++) {
        ids[i] = Math.toIntExact(wide[i]);
      }
      return ids;
    } finally {
      TokenizersLibrary.LIB.deleteEncoding(encoding);
    }
  }

  @Override
  public String decode(int... ids) {
    long[] wide = new long[ids.length];
    for (int i = 0; i < ids.length; i++) {
      wide[i] = ids[i];
    }
    try {
      return TokenizersLibrary.LIB.decode(handle, wide, false);
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  @Override
  public int vocabSize() {
    return vocabSize;
  }

  @Override
  public OptionalInt bosId() {
    return bosId;
  }

  @Override
  public List<Integer> endIds() {
    return endIds;
  }

  private static void setDefault(String key, String value) {
    if (System.getProperty(key) == null) {
      System.setProperty(key, value);
    }
  }

  /// `$XDG_CACHE_HOME/modegpt` or `~/.cache/modegpt`; a temporary folder where neither can be
  /// written.
  private static Path cacheDirectory() {
    String xdg = System.getenv("XDG_CACHE_HOME");
    Path base =
        xdg == null || xdg.isEmpty()
            ? Path.of(System.getProperty("user.home"), ".cache")
            : Path.of(xdg);
    Path existing = base;
    while (existing != null && !Files.exists(existing)) {
      existing = existing.getParent();
    }
    if (existing == null || !Files.isWritable(existing)) {
      base =
          Path.of(
              System.getProperty("java.io.tmpdir"), "modegpt-" + System.getProperty("user.name"));
    }
    return base.resolve("modegpt");
  }
}
