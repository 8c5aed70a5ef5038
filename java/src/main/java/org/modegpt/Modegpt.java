package org.modegpt;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.ObjIntConsumer;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.calibrate.CalibrationData;
import org.modegpt.calibrate.Calibrator;
import org.modegpt.calibrate.Statistics;
import org.modegpt.compress.CompressionReport;
import org.modegpt.compress.CompressionText;
import org.modegpt.compress.Compressor;
import org.modegpt.compress.RankPlan;
import org.modegpt.compress.Recipe;
import org.modegpt.evaluate.Perplexity;
import org.modegpt.io.CheckpointWriter;
import org.modegpt.model.Continuation;
import org.modegpt.model.DecodeObserver;
import org.modegpt.model.Decoder;
import org.modegpt.model.GenerationSettings;
import org.modegpt.model.Sampling;
import org.modegpt.model.TextContinuation;
import org.modegpt.model.Transformer;
import org.modegpt.text.StreamDecoder;
import org.modegpt.text.TextDataset;
import org.modegpt.text.TokenBlocks;
import org.modegpt.text.Tokenizer;

/// The engine for other programs: a model on disk, and what can be done with it.
///
/// An instance is thread-safe: every call opens a back-end of its own, so calls on several threads
/// run side by side (give each a share of the processors through `threads`). It owns the mapped
/// checkpoint; close it when no call is running. {@link Statistics} that were opened belong to the
/// caller and may serve any number of concurrent compressions.
///
/// Long calls tell a {@link Progress}, print nothing, and are cancelled by interrupting their
/// thread ({@link java.util.concurrent.CancellationException}). What the user can cause is a {@link
/// UserException} with one line to show; a failing device is a {@link
/// org.modegpt.backend.BackendException}. Outputs appear complete or not at all.
public final class Modegpt implements AutoCloseable {
  private final Transformer model;
  private final String device;
  private final int threads;

  private Modegpt(Transformer model, String device, int threads) {
    this.model = model;
    this.device = device;
    this.threads = threads;
  }

  /// Opens a Hugging Face folder or a GGUF file, to compute on the best device with all processors.
  public static Modegpt open(Path path) {
    return open(path, "auto", 0);
  }

  /// Opens a model.
  ///
  /// @param device `auto`, `cpu`, `cuda` or `reference`
  /// @param threads CPU threads of each call; 0 for all processors
  public static Modegpt open(Path path, String device, int threads) {
    return new Modegpt(Transformer.open(path), device, threads);
  }

  /// Configuration, tensors and tokenizer.
  public Transformer model() {
    return model;
  }

  private Backend backend() {
    return Backends.open(device, threads);
  }

  /// Runs the model over calibration text and writes its statistics; a call that was cancelled or
  /// killed is continued by the same call.
  ///
  /// @param text `.txt` or `.jsonl` files
  /// @param settings how many sequences of how many tokens
  /// @param output file to write; it must not exist
  public void calibrate(
      List<String> text, Recipe.Calibration settings, long seed, Path output, Progress progress) {
    TextDataset dataset = TextDataset.read(text);
    int[] ids = model.directory().tokenizer().encode(dataset.text());
    int length = Math.min(settings.length(), model.config().contextLength());
    TokenBlocks blocks =
        TokenBlocks.sample(dataset.name(), ids, length, settings.sequences(), seed)
            .requireIdsBelow(model.config().vocabSize());
    try (Backend backend = backend()) {
      new Calibrator(model, backend)
          .run(
              new CalibrationData(
                  blocks.all(), dataset.sha256(), dataset.name(), seed, settings.ownText(), true),
              output,
              progress);
    }
  }

  /// Writes a smaller model to the folder `output`, which must not exist.
  ///
  /// @param text what recipes that measure or refit look at; {@link CompressionText#NONE} for
  ///   others
  public CompressionReport compress(
      Statistics statistics, Recipe recipe, CompressionText text, Path output, Progress progress) {
    try (Backend backend = backend()) {
      Compressor compressor = new Compressor(model, backend);
      RankPlan plan = compressor.plans(statistics, recipe, List.of(), text, progress).getFirst();
      return compressor.run(
          statistics,
          recipe,
          plan,
          text,
          new Compressor.Output(output, null, CheckpointWriter.DEFAULT_SHARD_BYTES, false),
          progress);
    }
  }

  /// Perplexity on consecutive blocks of a text, without BOS.
  ///
  /// @param maxBlocks 0 for the whole text
  public Perplexity perplexity(
      List<String> text, int blockLength, int maxBlocks, Progress progress) {
    TextDataset dataset = TextDataset.read(text);
    int[] ids = model.directory().tokenizer().encode(dataset.text());
    try (Backend backend = backend()) {
      return Perplexity.of(
          model,
          backend,
          new Perplexity.Text(
              ids, dataset.utf8Bytes(), blockLength, maxBlocks, OptionalInt.empty()),
          progress);
    }
  }

  /// Continues a prompt and returns the new text.
  ///
  /// @param sink is given the text piece by piece as it comes
  public String generate(String prompt, int maxTokens, Sampling sampling, Consumer<String> sink) {
    return generate(prompt, maxTokens, sampling, sink, DecodeObserver.NONE);
  }

  /// The same, observed: give each call a {@link org.modegpt.monitor.Monitor#request()} to have the
  /// deployment monitored.
  public String generate(
      String prompt,
      int maxTokens,
      Sampling sampling,
      Consumer<String> sink,
      DecodeObserver observer) {
    Tokenizer tokenizer = model.directory().tokenizer();
    int[] ids = tokenizer.encode(prompt, true);
    Set<Integer> ends = Set.copyOf(tokenizer.endIds());
    int context = Math.min(model.config().contextLength(), ids.length + maxTokens);
    StringBuilder whole = new StringBuilder();
    StreamDecoder text = tokenizer.streamDecoder();
    Consumer<String> both =
        piece -> {
          whole.append(piece);
          sink.accept(piece);
        };
    try (Backend backend = backend();
        Decoder decoder = new Decoder(backend, model, context)) {
      decoder.generate(
          ids,
          maxTokens,
          sampling,
          ends,
          id -> {
            both.accept(text.next(id));
            return true;
          },
          observer);
    }
    both.accept(text.finish());
    return whole.toString();
  }

  /// Continues several prompts, many at a time, which costs far less time each than one by one.
  ///
  /// @param sink is given each new text and the place of its prompt, as it ends
  /// @return the new texts in the order of the prompts
  public List<String> generate(
      List<String> prompts, int maxTokens, Sampling sampling, ObjIntConsumer<String> sink) {
    Tokenizer tokenizer = model.directory().tokenizer();
    String[] texts = new String[prompts.size()];
    List<Continuation> continuations = new ArrayList<>();
    for (String prompt : prompts) {
      int place = continuations.size();
      continuations.add(
          new TextContinuation(
              tokenizer,
              tokenizer.encode(prompt, true),
              text -> {
                texts[place] = text.text();
                sink.accept(text.text(), place);
              }));
    }
    int longest = continuations.stream().mapToInt(c -> c.prompt().length).max().orElse(0);
    int context = Math.min(model.config().contextLength(), longest + maxTokens);
    try (Backend backend = backend()) {
      int sequences =
          Math.min(Decoder.sequencesAtOnce(backend, model, context), Math.max(1, texts.length));
      try (Decoder decoder = new Decoder(backend, model, sequences, context)) {
        decoder.generate(
            continuations.iterator(),
            new GenerationSettings(maxTokens, sampling, Set.copyOf(tokenizer.endIds())));
      }
    }
    return List.of(texts);
  }

  @Override
  public void close() {
    model.close();
  }
}
