package org.modegpt.model;

import java.io.IOException;
import java.io.InputStream;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.modegpt.UserException;
import org.modegpt.io.SlicedTensors;
import org.modegpt.io.TensorSlice;
import org.modegpt.io.TensorSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// A model family as its file in `architectures/` declares it: where its tensors are, how its
/// `config.json` is read (see {@link FamilyConfig}), and what its blocks compute.
///
/// A tensor is a name, or an object with `tensor` and what lies where in it: `part` (see {@link
/// Part}) and `transposed`. With `like` a file has the tensors of another one, but for those it
/// names itself (null: this family has none).
///
/// @param model by the keys of {@link Global} where the tensors outside the blocks are
/// @param layer for each role the place with `{layer}` in place of the index
/// @param ignored patterns of tensors that files of this family may carry and the engine does not
///   need
/// @param config rules for reading `config.json`
public record Architecture(
    String family,
    List<String> modelTypes,
    Map<Global, String> model,
    Map<Role, Place> layer,
    List<Pattern> ignored,
    JsonNode config) {

  /// Tensors outside the blocks.
  public enum Global {
    EMBEDDING,
    POSITIONS,
    FINAL_NORM,
    FINAL_NORM_BIAS,
    HEAD;

    String key() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /// Which outputs of a tensor a role has. `Q`, `K` and `V` follow one another; with `HEAD_` they
  /// do so in every head.
  public enum Part {
    WHOLE,
    Q,
    K,
    V,
    HEAD_Q,
    HEAD_K,
    HEAD_V,
    GATE,
    UP,
    /// One vector for all query heads, or all key heads.
    SHARED_BY_QUERIES,
    SHARED_BY_KEYS
  }

  /// Where a role's weight lies.
  public record Place(String tensor, Part part, boolean transposed) {}

  private static final List<String> FILES =
      List.of(
          "modegpt",
          "llama",
          "mistral",
          "qwen2",
          "qwen3",
          "gemma",
          "gemma2",
          "gemma3",
          "smollm3",
          "phi3",
          "olmo2",
          "opt",
          "gpt2",
          "gpt_neox");
  private static final Map<String, Architecture> ALL = load();

  /// The names in the compact format, which are also the engine's own, whatever family a model is
  /// of.
  public static Architecture compact() {
    return ALL.get("modegpt");
  }

  /// The architecture of a `model_type` of `config.json`.
  ///
  /// @throws UserException naming the family when it is not supported
  public static Architecture of(String modelType) {
    return find(modelType)
        .orElseThrow(() -> {
          boolean experts =
              modelType.matches(".*(moe|mixtral|dbrx|deepseek_v[234]|gpt_oss|arctic).*");
          return new UserException(
              "model type '%s'%s is not supported; supported: %s"
                  .formatted(
                      modelType,
                      experts ? " (a mixture of experts)" : "",
                      String.join(", ", supported())));
        });
  }

  public static Optional<Architecture> find(String modelType) {
    return ALL.values().stream().filter(a -> a.modelTypes.contains(modelType)).findFirst();
  }

  /// The `model_type`s of the families.
  public static List<String> supported() {
    return ALL.values().stream()
        .filter(a -> !a.family.equals(ModelConfig.COMPACT_TYPE))
        .flatMap(a -> a.modelTypes.stream())
        .toList();
  }

  /// The file's tensor that holds `role` in layer `index`, wholly or among others.
  public String name(Role role, int index) {
    return name(layer.get(role).tensor, index);
  }

  /// The file's tensor outside the blocks.
  public String name(Global global) {
    return model.get(global);
  }

  private static String name(String pattern, int index) {
    return pattern.replace("{layer}", Integer.toString(index));
  }

  /// Whether `name` is a tensor that files may carry and the engine does not need.
  public boolean isIgnored(String name) {
    return ignored.stream().anyMatch(p -> p.matcher(name).matches());
  }

  /// The tensors of a file of this family as the parameters that {@link #compact} names. Tensors
  /// that are none of them, and none that may be ignored, keep their names.
  TensorSource parameters(TensorSource file, ModelConfig sizes) {
    // A checkpoint of the bare decoder lacks the first part of every name.
    String prefix = name(Global.EMBEDDING).replaceFirst("\\..*", ".");
    boolean bare =
        !file.has(name(Global.EMBEDDING))
            && file.has(name(Global.EMBEDDING).substring(prefix.length()));
    UnaryOperator<String> inFile =
        name -> bare && name.startsWith(prefix) ? name.substring(prefix.length()) : name;
    SequencedMap<String, TensorSlice> slices = new LinkedHashMap<>();
    model.forEach((global, name) ->
        slices.put(compact().name(global), TensorSlice.whole(inFile.apply(name))));
    for (int i = 0; i < sizes.layers(); i++) {
      for (Map.Entry<Role, Place> entry : layer.entrySet()) {
        Role role = entry.getKey();
        slices.put(
            compact().name(role, i), slice(entry.getValue(), inFile.apply(name(role, i)), sizes));
      }
    }
    slices.values().removeIf(slice -> !file.has(slice.tensor()));
    Set<String> used = new HashSet<>();
    slices.values().forEach(slice -> used.add(slice.tensor()));
    file.names().stream()
        .filter(name -> !used.contains(name) && !isIgnored(name) && !isIgnored(prefix + name))
        .forEach(name -> slices.putIfAbsent(name, TensorSlice.whole(name)));
    return new SlicedTensors(file, slices);
  }

  /// Where in this family's files a role's weight lies, for a model of these (dense) sizes.
  public TensorSlice slice(Role role, int index, ModelConfig sizes) {
    return slice(layer.get(role), name(role, index), sizes);
  }

  private static TensorSlice slice(Place place, String name, ModelConfig sizes) {
    int h = sizes.headDim();
    int q = sizes.heads() * h;
    int k = sizes.kvHeads() * h;
    int f = sizes.mlpWidth();
    TensorSlice slice =
        switch (place.part) {
          case WHOLE -> TensorSlice.whole(name);
          case Q -> TensorSlice.range(name, 0, q);
          case K -> TensorSlice.range(name, q, k);
          case V -> TensorSlice.range(name, q + k, k);
          case HEAD_Q, HEAD_K, HEAD_V -> {
            int offset = place.part.ordinal() - Part.HEAD_Q.ordinal();
            yield TensorSlice.whole(name)
                .withRows(
                    IntStream.range(0, q).map(i -> (3 * (i / h) + offset) * h + i % h).toArray());
          }
          case GATE -> TensorSlice.range(name, 0, f);
          case UP -> TensorSlice.range(name, f, f);
          case SHARED_BY_QUERIES ->
              TensorSlice.whole(name).withRows(IntStream.range(0, q).map(i -> i % h).toArray());
          case SHARED_BY_KEYS ->
              TensorSlice.whole(name).withRows(IntStream.range(0, k).map(i -> i % h).toArray());
        };
    return place.transposed ? slice.asTransposed() : slice;
  }

  private static Map<String, Architecture> load() {
    Map<String, Architecture> all = new LinkedHashMap<>();
    FILES.forEach(file -> all.put(file, load(file)));
    return all;
  }

  private static Architecture load(String file) {
    JsonNode json = read(file);
    JsonNode base = json.has("like") ? read(json.get("like").asString()) : json;
    Map<Global, String> model = new EnumMap<>(Global.class);
    for (Global global : Global.values()) {
      JsonNode name = json.has(global.key()) ? json.get(global.key()) : base.get(global.key());
      if (name != null) {
        model.put(global, name.asString());
      }
    }
    Map<Role, Place> layer = new EnumMap<>(Role.class);
    for (Role role : Role.values()) {
      boolean own = json.path("layer").has(role.key());
      JsonNode place = (own ? json : base).path("layer").path(role.key());
      if (!place.isMissingNode() && !place.isNull()) {
        layer.put(role, place(place));
      }
    }
    return new Architecture(
        json.get("family").asString(),
        json.get("model_types").values().stream().map(JsonNode::asString).toList(),
        model,
        layer,
        base.path("ignored").values().stream().map(n -> Pattern.compile(n.asString())).toList(),
        json.path("config"));
  }

  private static JsonNode read(String file) {
    String resource = "architectures/" + file + ".json";
    try (InputStream in = Architecture.class.getResourceAsStream(resource)) {
      return JsonMapper.shared().readTree(in);
    } catch (IOException e) {
      throw new IllegalStateException("cannot read " + resource, e);
    }
  }

  private static Place place(JsonNode json) {
    if (json.isString()) {
      return new Place(json.asString(), Part.WHOLE, false);
    }
    String part = json.path("part").asString("whole");
    return new Place(
        json.get("tensor").asString(),
        Part.valueOf(part.toUpperCase(Locale.ROOT)),
        json.path("transposed").asBoolean(false));
  }
}
