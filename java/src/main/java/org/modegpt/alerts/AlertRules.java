package org.modegpt.alerts;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.io.ByteSize;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.dataformat.yaml.YAMLMapper;

/// The rules of a file; the file that comes with the program (`modegpt alerts rules` prints it)
/// explains every field.
///
/// @param webhook where alerts are sent; null for nowhere
public record AlertRules(List<AlertRule> rules, @Nullable Webhook webhook) {
  private static final long LONGEST = 1 << 20;
  private static final YAMLMapper YAML = new YAMLMapper();
  private static final Set<String> FIELDS =
      Set.of(
          "name",
          "metric",
          "kinds",
          "model",
          "recipe",
          "above",
          "below",
          "worse_by",
          "worse",
          "recent",
          "longest",
          "window",
          "minimum",
          "deviations");

  public AlertRules {
    rules = List.copyOf(rules);
  }

  /// The rules of `file` or, where there is none, those that come with the program.
  ///
  /// @throws UserException for a file that holds no rules, saying which and why
  public static AlertRules load(Path file) {
    if (!Files.exists(file)) {
      return parse(standard(), "the standard rules");
    }
    try {
      if (Files.size(file) > LONGEST) {
        throw new UserException(file + " is no file of alert rules: it is larger than 1 MiB.");
      }
      return parse(Files.readString(file), file.toString());
    } catch (IOException e) {
      throw new UserException("Cannot read the alert rules " + file + ": " + e.getMessage(), e);
    }
  }

  /// The text of the rules that come with the program.
  public static String standard() {
    try (InputStream in = AlertRules.class.getResourceAsStream("alerts.yaml")) {
      if (in == null) {
        throw new IllegalStateException("alerts.yaml is missing from the jar");
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Reads rules; `source` names them in messages.
  static AlertRules parse(String yaml, String source) {
    try {
      JsonNode root = YAML.readTree(yaml);
      if (!root.isObject() || !root.path("rules").isArray()) {
        throw new UserException(source + ": there is no list \"rules\".");
      }
      requireKnown(root, Set.of("rules", "webhook"), source);
      List<AlertRule> rules = new ArrayList<>();
      Set<String> names = new HashSet<>();
      for (JsonNode node : root.path("rules")) {
        AlertRule rule = rule(node, source + ", rule " + (rules.size() + 1));
        if (!names.add(rule.name())) {
          throw new UserException(source + ": two rules are named " + rule.name() + ".");
        }
        rules.add(rule);
      }
      JsonNode hook = root.path("webhook");
      return new AlertRules(rules, hook.isObject() ? Webhook.of(hook, source) : null);
    } catch (JacksonException e) {
      throw new UserException(
          source + ": " + e.getOriginalMessage().lines().findFirst().orElse("is no YAML"), e);
    }
  }

  static void requireKnown(JsonNode node, Set<String> fields, String where) {
    for (String name : node.propertyNames()) {
      if (!fields.contains(name)) {
        throw new UserException(
            where
                + ": there is no \""
                + name
                + "\"; known are "
                + String.join(", ", fields.stream().sorted().toList())
                + ".");
      }
    }
  }

  private static AlertRule rule(JsonNode node, String where) {
    if (!node.isObject()) {
      throw new UserException(where + " is no rule: it needs a name and a metric.");
    }
    requireKnown(node, FIELDS, where);
    String name = text(node, "name");
    String metric = text(node, "metric");
    if (!name.matches("[A-Za-z0-9._-]{1,64}") || metric.isEmpty()) {
      throw new UserException(where + " needs a metric and a name of letters, digits, . _ or -.");
    }
    Double above = quantity(node, "above", where);
    Double below = quantity(node, "below", where);
    Double worseBy = quantity(node, "worse_by", where);
    if (above == null && below == null && worseBy == null) {
      throw new UserException(where + " (" + name + ") needs above, below or worse_by.");
    }
    String worse = text(node, "worse");
    if (!Set.of("", "higher", "lower").contains(worse)) {
      throw new UserException(where + ": worse is higher or lower, not " + worse + ".");
    }
    List<String> kinds = new ArrayList<>();
    node.path("kinds").forEach(k -> kinds.add(k.asString("")));
    int recent = count(node, "recent", 1, where);
    Double deviations = quantity(node, "deviations", where);
    int window = count(node, "window", 20, where);
    return new AlertRule(
        name,
        metric,
        kinds,
        text(node, "model"),
        text(node, "recipe"),
        above,
        below,
        worseBy,
        worse.isEmpty() ? null : worse.equals("higher"),
        recent,
        count(node, "longest", recent, where),
        window,
        count(node, "minimum", Math.min(window, 5), where),
        deviations == null ? 4 : deviations);
  }

  static String text(JsonNode node, String field) {
    return node.path(field).asString("").strip();
  }

  static int count(JsonNode node, String field, int absent, String where) {
    JsonNode value = node.path(field);
    if (value.isMissingNode()) {
      return absent;
    }
    if (!value.isInt() || value.asInt() < 1 || value.asInt() > 400) {
      throw new UserException(where + ": " + field + " is a whole number from 1 to 400.");
    }
    return value.asInt();
  }

  /// A number, a share such as `5 %`, or a size such as `2GiB`.
  private static @Nullable Double quantity(JsonNode node, String field, String where) {
    JsonNode value = node.path(field);
    if (value.isMissingNode()) {
      return null;
    }
    if (value.isNumber()) {
      return value.asDouble();
    }
    String text = value.asString("").strip();
    if (text.matches("[0-9]+(\\.[0-9]+)?\\s*%")) {
      return Double.parseDouble(text.replace("%", "").strip()) / 100;
    }
    try {
      return (double) ByteSize.parse(text);
    } catch (UserException e) {
      throw new UserException(
          where
              + ": "
              + field
              + " is a number, a share such as 5% or a size such as 2GiB, not "
              + text
              + ".",
          e);
    }
  }
}
