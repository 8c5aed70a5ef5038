package org.modegpt.tasks;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.exceptions.ReaderException;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;
import tools.jackson.dataformat.yaml.YAMLAnchorReplayingFactory;
import tools.jackson.dataformat.yaml.YAMLMapper;

/// A YAML (or JSON) file whose every value knows its line, for errors that say where.
public final class LocatedYaml {
  private static final YAMLMapper MAPPER = new YAMLMapper(new YAMLAnchorReplayingFactory());

  private static final Pattern STANDARD_TAG =
      Pattern.compile("!|(tag:yaml.org,2002:|!!)?(str|int|float|bool|null|map|seq)");

  private final String name;
  private final ObjectNode root;
  private final Map<String, Integer> lines = new HashMap<>();
  private final Set<String> asked = new HashSet<>();

  private LocatedYaml(String name, String text) {
    this.name = name;
    try (JsonParser parser = MAPPER.createParser(text)) {
      JsonToken first = parser.nextToken();
      if (first == null) {
        throw new UserException(name + " is empty");
      }
      JsonNode value = read(parser, "");
      if (parser.nextToken() != null) {
        lines.put("", parser.currentTokenLocation().getLineNr());
        throw error("", "a second document in the file; give each task a file of its own");
      }
      if (!(value instanceof ObjectNode object)) {
        throw error("", "want keys and values (task: ..., doc_to_text: ...), not " + kind(value));
      }
      this.root = object;
    } catch (JacksonException e) {
      throw new UserException(name + ":" + line(e, text) + ": not valid YAML: " + reason(e), e);
    } catch (StackOverflowError e) {
      throw new UserException(name + ": not valid YAML: nested too deeply", e);
    }
  }

  private static int line(JacksonException e, String text) {
    return switch (e.getCause()) {
      case MarkedYamlEngineException marked when marked.getProblemMark().isPresent() ->
          marked.getProblemMark().get().getLine() + 1;
      case ReaderException reader ->
          1 + (int) text.codePoints().limit(reader.getPosition()).filter(c -> c == '\n').count();
      case null, default -> e.getLocation() == null ? 1 : Math.max(1, e.getLocation().getLineNr());
    };
  }

  private static String reason(JacksonException e) {
    return switch (e.getCause()) {
      case MarkedYamlEngineException marked ->
          String.join(": ", context(marked), marked.getProblem());
      case ReaderException reader ->
          "the character U+%04X is not allowed".formatted(reader.getCodePoint());
      case null, default -> e.getOriginalMessage().lines().findFirst().orElse("");
    };
  }

  private static String context(MarkedYamlEngineException e) {
    String context = e.getContext();
    return context == null || context.isBlank() ? "wrong syntax" : context;
  }

  public static LocatedYaml read(Path file) {
    try {
      return of(file.toString(), Files.readString(file));
    } catch (IOException e) {
      throw new UserException("cannot read " + file + ": " + reason(e), e);
    }
  }

  static String reason(IOException e) {
    return switch (e) {
      case java.nio.file.NoSuchFileException _ -> "there is no such file";
      case java.nio.charset.CharacterCodingException _ -> "it is not UTF-8";
      default -> String.valueOf(e.getMessage());
    };
  }

  public static LocatedYaml of(String name, String text) {
    return new LocatedYaml(name, text.startsWith("\uFEFF") ? text.substring(1) : text);
  }

  public static LocatedYaml of(String name, byte[] utf8) {
    return of(name, new String(utf8, StandardCharsets.UTF_8));
  }

  /// Keys that this file lacks are taken from `base`, with its lines.
  LocatedYaml withDefaults(LocatedYaml base) {
    for (Map.Entry<String, JsonNode> entry : base.root.properties()) {
      if (!root.has(entry.getKey())) {
        root.set(entry.getKey(), entry.getValue());
        String pointer = "/" + entry.getKey();
        base.lines.forEach((path, line) -> {
          if (path.equals(pointer) || path.startsWith(pointer + "/")) {
            lines.put(path, line);
          }
        });
      }
    }
    return this;
  }

  private JsonNode read(JsonParser parser, String pointer) {
    lines.put(pointer, parser.currentTokenLocation().getLineNr());
    Object tag = parser.getTypeId();
    if (tag != null && !STANDARD_TAG.matcher(tag.toString()).matches()) {
      throw error(
          pointer,
          tag.toString().contains("function")
              ? "!function runs Python code, which this program does not; write a template instead, such as \"{{question}}\""
              : "the tag '" + tag + "' is not supported");
    }
    JsonNodeFactory nodes = Json.MAPPER.getNodeFactory();
    return switch (parser.currentToken()) {
      case START_OBJECT -> object(parser, pointer);
      case START_ARRAY -> {
        ArrayNode array = nodes.arrayNode();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
          array.add(read(parser, pointer + "/" + array.size()));
        }
        yield array;
      }
      case VALUE_NUMBER_INT -> nodes.numberNode(parser.getLongValue());
      case VALUE_NUMBER_FLOAT -> nodes.numberNode(parser.getDoubleValue());
      case VALUE_TRUE -> nodes.booleanNode(true);
      case VALUE_FALSE -> nodes.booleanNode(false);
      case VALUE_NULL -> nodes.nullNode();
      default -> nodes.stringNode(parser.getString());
    };
  }

  /// A key that stands before the object itself came with an anchor by `<<`: the object's own keys
  /// go before it, in any order.
  private ObjectNode object(JsonParser parser, String pointer) {
    ObjectNode object = Json.MAPPER.createObjectNode();
    long start = parser.currentTokenLocation().getCharOffset();
    Set<String> own = new HashSet<>();
    while (parser.nextToken() != JsonToken.END_OBJECT) {
      String key = parser.currentName();
      int line = parser.currentTokenLocation().getLineNr();
      boolean merged = parser.currentTokenLocation().getCharOffset() < start;
      parser.nextToken();
      String child = pointer + "/" + key;
      if (merged && own.contains(key)) {
        parser.skipChildren();
        continue;
      }
      if (!merged && !own.add(key)) {
        lines.put(child, line);
        throw error(child, "the key '" + key + "' is there twice");
      }
      object.set(key, read(parser, child));
      lines.put(child, line);
    }
    return object;
  }

  public String name() {
    return name;
  }

  public ObjectNode root() {
    return root;
  }

  /// `FILE:LINE: message` for the value at a JSON pointer (`/metric_list/0/metric`).
  public UserException error(String pointer, String message) {
    String known = pointer;
    while (!lines.containsKey(known) && !known.isEmpty()) {
      known = known.substring(0, known.lastIndexOf('/'));
    }
    Integer line = lines.get(known);
    return new UserException(name + (line == null ? "" : ":" + line) + ": " + message);
  }

  /// The value of the first of `keys` that is there and not null.
  public @Nullable JsonNode get(String... keys) {
    return at("", keys);
  }

  /// The same inside the object at `pointer`.
  public @Nullable JsonNode at(String pointer, String... keys) {
    JsonNode parent = pointer.isEmpty() ? root : root.at(pointer);
    JsonNode found = null;
    for (String key : keys) {
      asked.add(pointer + "/" + key);
      JsonNode value = parent.get(key);
      if (value != null && !value.isNull()) {
        if (found != null) {
          throw error(pointer + "/" + key, "give only one of " + String.join(", ", keys));
        }
        found = value;
      }
    }
    return found;
  }

  /// The pointer of the first of `keys` that is there, for errors.
  public String pointer(String pointer, String... keys) {
    JsonNode parent = pointer.isEmpty() ? root : root.at(pointer);
    for (String key : keys) {
      if (parent.has(key)) {
        return pointer + "/" + key;
      }
    }
    return pointer;
  }

  public @Nullable String text(String pointer, String... keys) {
    JsonNode node = at(pointer, keys);
    if (node == null) {
      return null;
    }
    if (node.isContainer()) {
      throw error(pointer(pointer, keys), "want a text, not " + kind(node));
    }
    return node.asString();
  }

  public @Nullable Integer integer(String pointer, int minimum, String... keys) {
    JsonNode node = at(pointer, keys);
    if (node == null) {
      return null;
    }
    boolean digits = node.isString() && node.stringValue().matches("\\d{1,9}");
    boolean whole = digits || (node.isIntegralNumber() && node.canConvertToInt());
    if (!whole || node.asInt() < minimum) {
      throw error(
          pointer(pointer, keys), "want a whole number of at least " + minimum + ", not " + node);
    }
    return node.asInt();
  }

  public @Nullable Double number(String pointer, String... keys) {
    JsonNode node = at(pointer, keys);
    if (node == null) {
      return null;
    }
    if (!node.isNumber()) {
      throw error(pointer(pointer, keys), "want a number, not " + node);
    }
    return node.doubleValue();
  }

  public boolean flag(String pointer, boolean otherwise, String... keys) {
    JsonNode node = at(pointer, keys);
    if (node == null) {
      return otherwise;
    }
    if (!node.isBoolean()) {
      throw error(pointer(pointer, keys), "want true or false, not " + node);
    }
    return node.booleanValue();
  }

  /// The object or list at a key.
  ///
  /// @param object which of the two it must be
  public @Nullable JsonNode container(String pointer, boolean object, String... keys) {
    JsonNode node = at(pointer, keys);
    if (node != null && (object ? !node.isObject() : !node.isArray())) {
      throw error(
          pointer(pointer, keys),
          "want " + (object ? "keys and values" : "a list") + ", not " + kind(node));
    }
    return node;
  }

  /// A text, or a list of texts.
  public List<String> texts(String pointer, String... keys) {
    JsonNode node = at(pointer, keys);
    if (node == null) {
      return List.of();
    }
    if (!node.isContainer()) {
      return List.of(node.asString());
    }
    if (node.isEmpty()) {
      throw error(pointer(pointer, keys), "the list is empty");
    }
    List<String> texts = new ArrayList<>();
    for (JsonNode value : node.values()) {
      if (node.isObject() || value.isContainer()) {
        throw error(pointer(pointer, keys), "want a list of texts");
      }
      texts.add(value.asString());
    }
    return texts;
  }

  /// Refuses a key of the object at `pointer` that nobody has asked for and that is not in
  /// `others`.
  @SafeVarargs
  public final void refuseUnknown(String pointer, Set<String>... others) {
    Set<String> known = new TreeSet<>();
    for (String path : asked) {
      if (path.startsWith(pointer + "/") && path.indexOf('/', pointer.length() + 1) < 0) {
        known.add(path.substring(pointer.length() + 1));
      }
    }
    for (Set<String> other : others) {
      known.addAll(other);
    }
    JsonNode parent = pointer.isEmpty() ? root : root.at(pointer);
    for (String key : parent.propertyNames()) {
      if (!known.contains(key)) {
        throw error(
            pointer + "/" + key, "unknown key '" + key + "'" + Names.suggestion(key, known));
      }
    }
  }

  static String kind(JsonNode node) {
    return node.isArray() ? "a list" : node.isObject() ? "an object" : node.toString();
  }
}
