package org.modegpt.model;

import java.io.IOException;
import java.io.InputStream;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import org.modegpt.UserException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// Names of a model family's tensors, read from `architectures/*.json`.
///
/// @param layer for each role the name with `{layer}` in place of the index
/// @param ignored patterns of tensors that files of this family may carry and the engine does not
///   need
public record Architecture(
    String family,
    List<String> modelTypes,
    String embedding,
    String finalNorm,
    String head,
    Map<Role, String> layer,
    List<Pattern> ignored) {

  private static final List<String> FILES = List.of("llama", "modegpt");
  private static final List<Architecture> ALL = FILES.stream().map(Architecture::load).toList();

  /// The names in the compact format, the same for every family.
  public static Architecture compact() {
    return of(ModelConfig.COMPACT_TYPE);
  }

  /// The architecture of a `model_type` of `config.json`.
  public static Architecture of(String modelType) {
    return find(modelType)
        .orElseThrow(() ->
            new UserException(
                "model type '"
                    + modelType
                    + "' is not supported; supported: "
                    + String.join(", ", supported())));
  }

  public static Optional<Architecture> find(String modelType) {
    return ALL.stream().filter(a -> a.modelTypes.contains(modelType)).findFirst();
  }

  public static List<String> supported() {
    return ALL.stream().flatMap(a -> a.modelTypes.stream()).toList();
  }

  /// The tensor name of `role` in layer `index`.
  public String name(Role role, int index) {
    return layer.get(role).replace("{layer}", Integer.toString(index));
  }

  /// Whether `name` is a tensor that files may carry and the engine does not need.
  public boolean isIgnored(String name) {
    return ignored.stream().anyMatch(p -> p.matcher(name).matches());
  }

  private static Architecture load(String file) {
    String resource = "architectures/" + file + ".json";
    try (InputStream in = Architecture.class.getResourceAsStream(resource)) {
      JsonNode json = JsonMapper.shared().readTree(in);
      Map<Role, String> names = new EnumMap<>(Role.class);
      for (Role role : Role.values()) {
        JsonNode name = json.path("layer").get(role.key());
        if (name != null) {
          names.put(role, name.asString());
        }
      }
      return new Architecture(
          json.get("family").asString(),
          json.get("model_types").values().stream().map(JsonNode::asString).toList(),
          json.get("embedding").asString(),
          json.get("final_norm").asString(),
          json.get("head").asString(),
          names,
          json.get("ignored").values().stream().map(n -> Pattern.compile(n.asString())).toList());
    } catch (IOException e) {
      throw new IllegalStateException("cannot read " + resource, e);
    }
  }
}
