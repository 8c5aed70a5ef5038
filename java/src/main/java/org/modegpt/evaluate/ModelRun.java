package org.modegpt.evaluate;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.modegpt.Progress;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.evaluate.RequestEncoder.Encoded;
import org.modegpt.io.Json;
import org.modegpt.model.Packing;
import org.modegpt.model.Transformer;
import org.modegpt.tasks.AnswerFilter;
import org.modegpt.tasks.DataFolders;
import org.modegpt.tasks.Item;
import org.modegpt.tasks.ItemBuilder;
import org.modegpt.tasks.Metric;
import org.modegpt.tasks.Outcome;
import org.modegpt.tasks.Outcome.Likelihood;
import org.modegpt.tasks.OutputType;
import org.modegpt.tasks.TaskDefinition;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// Runs tasks on one model. Every answer of the model is kept under a hash of the tokens asked, in
/// a file named after the model's content, so nothing is computed twice and a killed run goes on.
/// One serial stream.
final class ModelRun implements AutoCloseable {
  /// What is done with a context that is longer than the model's.
  public enum TooLong {
    /// It is cut from the left, as lm-evaluation-harness does, and counted.
    CUT,
    /// The task fails.
    FAIL
  }

  /// Items whose requests are turned into tokens side by side, between two looks at whether to
  /// stop.
  private static final int ENCODED_TOGETHER = 256;

  private final Transformer model;
  private final Backend backend;
  private final DataFolders folders;
  private final RequestEncoder encoder;
  private final TooLong tooLong;
  private final ResultCache cache;
  private @Nullable Scorer scorer;
  private @Nullable Generator generator;

  /// @param cacheFile null to keep nothing
  ModelRun(
      Transformer model,
      Backend backend,
      DataFolders folders,
      TooLong tooLong,
      @Nullable Path cacheFile) {
    this.model = model;
    this.backend = backend;
    this.folders = folders;
    this.encoder = new RequestEncoder(model.directory().tokenizer(), model.config());
    this.tooLong = tooLong;
    this.cache = ResultCache.open(cacheFile);
  }

  /// Runs a task; what is wrong with it or its data is the result's error, and what was computed
  /// before stays in the cache.
  TaskResult run(TaskDefinition task, Progress progress) {
    long start = System.nanoTime();
    try {
      List<Asked> asked = ask(task);
      if (asked.isEmpty()) {
        throw new UserException("task " + task.name() + " has no items");
      }
      check(task, asked);
      int cached = answer(task, asked, progress);
      return result(task, asked, cached, (System.nanoTime() - start) / 1e9);
    } catch (UserException e) {
      String message = String.valueOf(e.getMessage()).lines().findFirst().orElse("");
      return TaskResult.failed(task, message);
    } finally {
      cache.flush();
    }
  }

  /// An item in tokens, and what the model said.
  private static final class Asked {
    final Item item;
    final List<Encoded> requests;
    final Likelihood[] likelihoods;
    String text = "";
    int tokens;

    Asked(Item item, List<Encoded> requests) {
      this.item = item;
      this.requests = requests;
      this.likelihoods = new Likelihood[requests.size()];
    }
  }

  private List<Asked> ask(TaskDefinition task) {
    if (task.type() == OutputType.PERPLEXITY) {
      return blocks(task);
    }
    List<Item> items = ItemBuilder.build(task, folders);
    List<Asked> asked = new ArrayList<>();
    for (int from = 0; from < items.size(); from += ENCODED_TOGETHER) {
      Progress.checkCancelled();
      int to = Math.min(items.size(), from + ENCODED_TOGETHER);
      asked.addAll(
          items.subList(from, to).parallelStream().map(item -> asked(task, item)).toList());
    }
    return asked;
  }

  private Asked asked(TaskDefinition task, Item item) {
    try {
      return new Asked(item, encode(task, item));
    } catch (UserException e) {
      throw new UserException(
          "task " + task.name() + ": " + item.place() + ": " + e.getMessage(), e);
    }
  }

  private List<Encoded> encode(TaskDefinition task, Item item) {
    return switch (task.type()) {
      case GENERATE_UNTIL ->
          List.of(encoder.prompt(item.requests().getFirst().context(), room(task)));
      case LOGLIKELIHOOD_ROLLING -> encoder.rolling(item.requests().getFirst().continuation());
      default -> encoder.pairs(item.requests());
    };
  }

  private int room(TaskDefinition task) {
    int room = model.config().contextLength() - task.generation().maxTokens();
    if (room < 1) {
      throw new UserException(
          "max_gen_toks %d leaves no room for a prompt in the model's context of %d"
              .formatted(task.generation().maxTokens(), model.config().contextLength()));
    }
    return room;
  }

  /// Consecutive blocks of a text; every token but a block's first is predicted.
  private List<Asked> blocks(TaskDefinition task) {
    TextBlocks text = TextBlocks.of(task, folders, model);
    List<Asked> asked = new ArrayList<>();
    for (int b = 0; b < text.count(); b++) {
      int[] ids = text.block(b);
      int[] targets = Arrays.copyOfRange(ids, 1, ids.length);
      String predicted = model.directory().tokenizer().decode(targets);
      Item item =
          new Item(
              b,
              text.name() + " block " + b,
              "",
              List.of(),
              List.of(),
              List.of(),
              List.of(predicted));
      Encoded encoded =
          new Encoded(new Packing.Sequence(Arrays.copyOf(ids, ids.length - 1), 0), targets, 0);
      Asked one = new Asked(item, List.of(encoded));
      one.tokens = targets.length;
      asked.add(one);
    }
    return asked;
  }

  private void check(TaskDefinition task, List<Asked> asked) {
    if (tooLong == TooLong.FAIL) {
      for (Asked one : asked) {
        if (one.requests.stream().anyMatch(r -> r.cut() > 0)) {
          throw new UserException(
              "task %s: %s has %d tokens, more than the model's context of %d; --too-long cut leaves out the beginning"
                  .formatted(
                      task.name(),
                      one.item.place(),
                      longest(List.of(one)),
                      model.config().contextLength()));
        }
      }
    }
  }

  private static int longest(List<Asked> asked) {
    return asked.stream()
        .flatMap(a -> a.requests.stream())
        .mapToInt(r -> r.sequence().tokens().length + r.cut())
        .max()
        .orElse(0);
  }

  /// Fills in what is known and computes the rest; returns how many requests were known.
  private int answer(TaskDefinition task, List<Asked> asked, Progress progress) {
    return task.type() == OutputType.GENERATE_UNTIL
        ? generate(task, asked, progress)
        : score(task, asked, progress);
  }

  private int score(TaskDefinition task, List<Asked> asked, Progress progress) {
    List<Encoded> open = new ArrayList<>();
    int known = 0;
    List<String> keys = new ArrayList<>();
    List<int[]> owners = new ArrayList<>();
    for (int a = 0; a < asked.size(); a++) {
      List<Encoded> requests = asked.get(a).requests;
      for (int r = 0; r < requests.size(); r++) {
        String key = AnswerKey.of(requests.get(r));
        JsonNode before = cache.get(key);
        if (before != null) {
          asked.get(a).likelihoods[r] =
              new Likelihood(before.path("ll").asDouble(), before.path("greedy").asBoolean());
          known++;
        } else {
          open.add(requests.get(r));
          keys.add(key);
          owners.add(new int[] {a, r});
        }
      }
    }
    if (!open.isEmpty()) {
      scorer()
          .score(
              open,
              (index, likelihood) -> {
                int[] owner = owners.get(index);
                asked.get(owner[0]).likelihoods[owner[1]] = likelihood;
                if (Double.isFinite(likelihood.logLikelihood())) {
                  ObjectNode value = Json.MAPPER.createObjectNode();
                  value.put("ll", likelihood.logLikelihood());
                  value.put("greedy", likelihood.greedy());
                  cache.put(keys.get(index), value);
                }
              },
              cache::flush,
              task.name(),
              progress);
    }
    requireFinite(task, asked);
    return known;
  }

  private void requireFinite(TaskDefinition task, List<Asked> asked) {
    List<Asked> bad =
        asked.stream()
            .filter(a ->
                Arrays.stream(a.likelihoods).anyMatch(l -> !Double.isFinite(l.logLikelihood())))
            .toList();
    if (!bad.isEmpty()) {
      throw new UserException(
          "task %s: %s gives non-finite logits on %d of %d items, the first is %s; the checkpoint is damaged"
              .formatted(
                  task.name(),
                  model.directory().path(),
                  bad.size(),
                  asked.size(),
                  bad.getFirst().item.place()));
    }
  }

  private int generate(TaskDefinition task, List<Asked> asked, Progress progress) {
    List<Asked> open = new ArrayList<>();
    for (Asked one : asked) {
      JsonNode before = cache.get(AnswerKey.of(one.requests.getFirst(), task.generation()));
      if (before != null) {
        one.text = before.path("text").asString("");
        one.tokens = before.path("tokens").asInt();
      } else {
        open.add(one);
      }
    }
    int known = asked.size() - open.size();
    open.sort((a, b) ->
        Packing.compare(a.requests.getFirst().sequence(), b.requests.getFirst().sequence()));
    int longest =
        open.stream()
            .mapToInt(a -> a.requests.getFirst().sequence().tokens().length)
            .max()
            .orElse(0);
    progress.update(task.name(), 0, open.size(), "item");
    if (!open.isEmpty()) {
      int[] done = {0};
      generator(longest + task.generation().maxTokens())
          .generate(
              open.stream().map(a -> a.requests.getFirst().sequence().tokens()).toList(),
              task.generation(),
              (text, index) -> {
                Asked one = open.get(index);
                one.text = text.text();
                one.tokens = text.tokens();
                ObjectNode value = Json.MAPPER.createObjectNode();
                value.put("text", one.text);
                value.put("tokens", one.tokens);
                cache.put(AnswerKey.of(one.requests.getFirst(), task.generation()), value);
                cache.flush();
                progress.update(task.name(), ++done[0], open.size(), "item");
              });
    }
    return known;
  }

  private TaskResult result(TaskDefinition task, List<Asked> asked, int cached, double seconds) {
    List<Measure> measures = new ArrayList<>();
    for (AnswerFilter filter : task.filters()) {
      List<Outcome> outcomes = asked.stream().map(a -> outcome(task, a, filter)).toList();
      for (TaskDefinition.MetricUse use : task.metrics()) {
        double[] sums = new double[outcomes.size()];
        double[] weights = new double[outcomes.size()];
        for (int i = 0; i < sums.length; i++) {
          Metric.Value value = use.metric().of(outcomes.get(i), use.parameters());
          sums[i] = value.sum();
          weights[i] = value.weight();
        }
        measures.add(
            new Measure(
                use.name(),
                filter.name(),
                use.metric().higherIsBetter(),
                use.metric().aggregation(),
                sums,
                weights,
                asked.stream().map(a -> a.item.group()).toList()));
      }
    }
    int cut =
        (int) asked.stream().filter(a -> a.requests.stream().anyMatch(r -> r.cut() > 0)).count();
    int requests = asked.stream().mapToInt(a -> a.requests.size()).sum();
    return new TaskResult(
        TaskResult.TaskId.of(task),
        measures,
        asked.size(),
        cut,
        longest(asked),
        cached,
        requests,
        seconds,
        "",
        asked.stream().map(a -> sample(task, a)).toList());
  }

  private static Outcome outcome(TaskDefinition task, Asked asked, AnswerFilter filter) {
    if (task.type() == OutputType.GENERATE_UNTIL) {
      return new Outcome(asked.item, List.of(), filter.apply(asked.text), asked.text, asked.tokens);
    }
    return new Outcome(asked.item, List.of(asked.likelihoods), "", "", asked.tokens);
  }

  private static ObjectNode sample(TaskDefinition task, Asked asked) {
    ObjectNode sample = Json.MAPPER.createObjectNode();
    sample.put("doc_id", asked.item.index());
    sample.put("place", asked.item.place());
    if (!asked.item.gold().isEmpty()) {
      sample.set("target", Json.MAPPER.valueToTree(asked.item.gold()));
    }
    if (task.type() == OutputType.GENERATE_UNTIL) {
      sample.put("response", asked.text);
      sample.put("tokens", asked.tokens);
      return sample;
    }
    var responses = sample.putArray("responses");
    for (Likelihood likelihood : asked.likelihoods) {
      responses.addArray().add(likelihood.logLikelihood()).add(likelihood.greedy());
    }
    return sample;
  }

  private Scorer scorer() {
    if (scorer == null) {
      scorer = new Scorer(backend, model);
    }
    return scorer;
  }

  private Generator generator(int capacity) {
    int most = Math.min(capacity, model.config().contextLength());
    if (generator == null || generator.capacity() < most) {
      if (generator != null) {
        generator.close();
      }
      generator = new Generator(backend, model, most);
    }
    return Objects.requireNonNull(generator);
  }

  @Override
  public void close() {
    cache.close();
    if (scorer != null) {
      scorer.close();
    }
    if (generator != null) {
      generator.close();
    }
  }
}
