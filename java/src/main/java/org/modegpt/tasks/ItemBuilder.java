package org.modegpt.tasks;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import org.modegpt.UserException;
import org.modegpt.jinja.None;
import org.modegpt.jinja.TemplateException;
import org.modegpt.jinja.Values;
import org.modegpt.tasks.DataFile.Row;

/// Fills a task's templates in with its data, as lm-evaluation-harness does: a prompt is the
/// description, the examples each followed by its answer, and the question; a choice is appended
/// after the target delimiter.
public final class ItemBuilder {
  /// The seed lm-evaluation-harness draws examples with.
  private static final int SEED = 1234;

  private final TaskDefinition task;
  private final List<Row> rows;
  private final List<Map<String, Object>> pool;
  private final boolean poolIsTask;
  private final PythonRandom random = new PythonRandom(SEED);

  private ItemBuilder(TaskDefinition task, DataFolders folders) {
    this.task = task;
    this.rows = folders.rows(task, task.data());
    TaskDefinition.Examples examples = task.examples();
    this.poolIsTask = examples.documents().isEmpty() && examples.data().isEmpty();
    this.pool =
        !examples.documents().isEmpty()
            ? examples.documents()
            : (poolIsTask || examples.count() == 0 ? rows : folders.rows(task, examples.data()))
                .stream().map(Row::fields).toList();
  }

  /// All items of a task, as many as its limit says.
  ///
  /// @throws UserException when data is missing, or an item cannot be filled in: the message names
  ///   the task, the place and the reason
  public static List<Item> build(TaskDefinition task, DataFolders folders) {
    return new ItemBuilder(task, folders).items();
  }

  private List<Item> items() {
    int count = task.limit() > 0 ? Math.min(task.limit(), rows.size()) : rows.size();
    List<Item> items = new ArrayList<>();
    String first = null;
    int bad = 0;
    for (int i = 0; i < count; i++) {
      try {
        items.add(item(i, rows.get(i)));
      } catch (TemplateException e) {
        bad++;
        first = first == null ? rows.get(i).place() + ": " + e.getMessage() : first;
      }
    }
    if (first != null) {
      throw new UserException(
          "task %s: %s%s"
              .formatted(task.name(), first, bad > 1 ? " (and " + (bad - 1) + " more items)" : ""));
    }
    return items;
  }

  private Item item(int index, Row row) {
    Map<String, Object> fields = row.fields();
    String group = task.group() == null ? "" : task.group().render(fields);
    return switch (task.type()) {
      case MULTIPLE_CHOICE -> choiceItem(index, row, group);
      case LOGLIKELIHOOD -> {
        String continuation = nonEmpty(target(fields), "the continuation (doc_to_target)");
        yield new Item(
            index,
            row.place(),
            group,
            List.of(new Item.Request(prompt(fields), continuation)),
            List.of(),
            List.of(),
            List.of(continuation));
      }
      case LOGLIKELIHOOD_ROLLING -> {
        Template document =
            task.target() == null ? Objects.requireNonNull(task.text()) : task.target();
        String text = nonEmpty(document.requireField(fields).render(fields), "the document");
        yield new Item(
            index,
            row.place(),
            group,
            List.of(new Item.Request("", text)),
            List.of(),
            List.of(),
            List.of(text));
      }
      case GENERATE_UNTIL ->
          new Item(
              index,
              row.place(),
              group,
              List.of(new Item.Request(nonEmpty(prompt(fields), "the prompt"), "")),
              List.of(),
              List.of(),
              references(fields));
      case PERPLEXITY, DIVERGENCE ->
          throw new IllegalArgumentException(
              task.type().label() + " tasks have no items of their own");
    };
  }

  private Item choiceItem(int index, Row row, String group) {
    Map<String, Object> fields = row.fields();
    Question question = question(fields);
    String before = before(fields);
    List<Item.Request> requests = new ArrayList<>();
    if (question.contexts()) {
      String continuation = nonEmpty(target(fields), "the continuation (doc_to_target)");
      for (String context : question.choices()) {
        requests.add(new Item.Request(before + context, task.targetDelimiter() + continuation));
      }
    } else {
      String prompt = before + question.text();
      for (String choice : question.choices()) {
        requests.add(new Item.Request(prompt, task.targetDelimiter() + choice));
      }
    }
    return new Item(
        index,
        row.place(),
        group,
        requests,
        question.choices(),
        question.gold(),
        question.gold().stream().map(question.choices()::get).toList());
  }

  /// A multiple-choice question of an item or an example.
  ///
  /// @param contexts whether the choices stand before the continuation, in the question
  private record Question(
      boolean contexts, String text, List<String> choices, List<Integer> gold) {}

  private Question question(Map<String, Object> fields) {
    if (task.gold() != null) {
      List<String> contexts = choices(task.contexts(), fields);
      return new Question(true, "", contexts, Gold.of(task.gold(), fields, contexts));
    }
    Template text = Objects.requireNonNull(task.text());
    List<String> choices = choices(task.choices(), fields);
    Object value = text.requireField(fields).value(fields);
    boolean number =
        value instanceof Long
            || (value instanceof String s && !text.constant() && s.matches("\\d{1,3}"));
    // In lm-evaluation-harness a question that is a number is the index of the right choice, and
    // the choices are the contexts (winogrande).
    return number
        ? new Question(true, "", choices, Gold.of(text, fields, choices))
        : new Question(
            false,
            Values.text(value),
            choices,
            Gold.of(Objects.requireNonNull(task.target()), fields, choices));
  }

  private static List<String> choices(List<Template> templates, Map<String, Object> fields) {
    List<String> choices = new ArrayList<>();
    if (templates.size() > 1) {
      templates.forEach(t ->
          choices.add(
              t.constant() && !fields.containsKey(t.source()) ? t.source() : t.render(fields)));
    } else {
      Object value = templates.getFirst().requireField(fields).value(fields);
      // ARC and OpenBookQA: {"text": [...], "label": [...]}.
      Object list =
          value instanceof Map<?, ?> map && map.containsKey("text") ? map.get("text") : value;
      if (!(list instanceof List<?> values)) {
        throw new TemplateException(
            "the choices ('"
                + templates.getFirst()
                + "') are "
                + Values.kind(value)
                + ", not a list");
      }
      for (Object choice : values) {
        if (choice == None.NONE) {
          throw new TemplateException("choice " + choices.size() + " is null");
        }
        choices.add(Values.text(choice));
      }
    }
    if (choices.isEmpty()) {
      throw new TemplateException("there are no choices");
    }
    for (int i = 0; i < choices.size(); i++) {
      nonEmpty(choices.get(i), "choice " + i);
    }
    return choices;
  }

  private static String nonEmpty(String text, String what) {
    if (text.isEmpty()) {
      throw new TemplateException(what + " is empty");
    }
    return text;
  }

  private String target(Map<String, Object> fields) {
    return Objects.requireNonNull(task.target()).requireField(fields).render(fields);
  }

  private List<String> references(Map<String, Object> fields) {
    if (task.target() == null) {
      return List.of();
    }
    if (!task.choices().isEmpty()) {
      List<String> choices = choices(task.choices(), fields);
      return Gold.of(task.target(), fields, choices).stream().map(choices::get).toList();
    }
    Object value = task.target().requireField(fields).value(fields);
    return value instanceof List<?> several
        ? several.stream().map(Values::text).toList()
        : List.of(Values.text(value));
  }

  private String prompt(Map<String, Object> fields) {
    return before(fields) + text(fields);
  }

  private String text(Map<String, Object> fields) {
    return Objects.requireNonNull(task.text()).requireField(fields).render(fields);
  }

  /// Description and examples.
  private String before(Map<String, Object> fields) {
    StringBuilder out = new StringBuilder();
    if (task.description() != null) {
      out.append(task.description().render(fields));
    }
    for (Map<String, Object> example : examples(fields)) {
      out.append(solved(example)).append(task.examples().delimiter());
    }
    return out.toString();
  }

  private String solved(Map<String, Object> example) {
    if (task.type() == OutputType.MULTIPLE_CHOICE) {
      Question question = question(example);
      String right = question.choices().get(question.gold().getFirst());
      return question.contexts()
          ? right + task.targetDelimiter() + target(example)
          : question.text() + task.targetDelimiter() + right;
    }
    List<String> references = references(example);
    return text(example)
        + task.targetDelimiter()
        + (references.isEmpty() ? "" : references.getFirst());
  }

  private List<Map<String, Object>> examples(Map<String, Object> item) {
    int count = task.examples().count();
    if (count == 0) {
      return List.of();
    }
    String by = task.examples().by();
    List<Map<String, Object>> candidates =
        by == null
            ? pool
            : pool.stream().filter(e -> Objects.equals(e.get(by), item.get(by))).toList();
    int wanted = poolIsTask ? count + 1 : count;
    if (candidates.size() < wanted) {
      throw new TemplateException(
          String.format(
              Locale.ROOT, "%d examples are asked for and there are %d", count, candidates.size()));
    }
    List<Map<String, Object>> drawn =
        task.examples().random()
            ? random.sample(candidates, wanted)
            : candidates.subList(0, wanted);
    return drawn.stream().filter(e -> !poolIsTask || !e.equals(item)).limit(count).toList();
  }
}
