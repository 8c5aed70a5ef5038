package org.modegpt.hub;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.modegpt.Progress;
import org.modegpt.UserException;
import org.modegpt.backend.FileLock;
import org.modegpt.io.AtomicFile;
import org.modegpt.io.IoErrors;

/// Downloads models from a Hugging Face hub.
public final class Hub implements AutoCloseable {
  /// Files fetched at the same time.
  private static final int PARALLEL = 4;

  private static final long POLL_MILLIS = 100;
  private static final long MEGABYTE = 1_000_000;

  private final HubSettings settings;
  private final HubClient client;
  private final Consumer<String> say;

  /// What a download would do.
  ///
  /// @param ref the model
  /// @param commit the commit its revision is at
  /// @param files the wanted files
  public record Plan(ModelRef ref, String commit, List<Item> files) {
    /// Bytes of all files, as far as known.
    public long bytes() {
      return files.stream().mapToLong(f -> Math.max(f.size(), 0)).sum();
    }
  }

  /// @param path name in the repository
  /// @param size bytes, or -1 when unknown
  /// @param present whether it is there already
  public record Item(String path, long size, boolean present) {}

  /// @param say told what a person should know meanwhile, one line at a time
  /// @throws UserException if the settings forbid the network
  public Hub(HubSettings settings, Consumer<String> say) {
    if (settings.offline()) {
      throw new UserException(
          "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set: unset it to use the network");
    }
    this.settings = settings;
    this.client = new HubClient(settings);
    this.say = say;
  }

  /// Looks what `ref` holds and which files are wanted, without downloading.
  ///
  /// @param folder where to put the files, or null for the shared cache
  public Plan plan(ModelRef ref, FileSelection selection, @Nullable Path folder) {
    List<RemoteFile> files = look(ref, selection);
    Destination destination = destination(ref, files, folder);
    List<Item> items = new ArrayList<>();
    for (RemoteFile file : files) {
      items.add(new Item(file.path(), file.size(), has(destination, file)));
    }
    return new Plan(ref, files.getFirst().commit(), List.copyOf(items));
  }

  /// Downloads the wanted files of `ref` that are not there yet.
  ///
  /// @param folder where to put the files, or null for the shared cache
  /// @return the file that `ref` names, else the folder of the files
  /// @throws UserException if one cannot be had; what arrived of it is kept and used by the next
  ///   try
  public Path download(
      ModelRef ref, FileSelection selection, @Nullable Path folder, Progress progress) {
    List<RemoteFile> files = look(ref, selection);
    Destination destination = destination(ref, files, folder);
    List<RemoteFile> missing = files.stream().filter(f -> !has(destination, f)).toList();
    AtomicLong bytes = new AtomicLong();
    try {
      requireSpace(destination, missing);
      fetchAll(ref, missing, destination, bytes, progress);
      destination.finish();
    } catch (IOException e) {
      throw IoErrors.writing(destination.folder(), e);
    }
    return ref.file() == null
        ? destination.folder()
        : destination.folder().resolve(files.getFirst().path());
  }

  private List<RemoteFile> look(ModelRef ref, FileSelection selection) {
    HubClient.Listing listing = retry().run(ref.toString(), () -> client.list(ref));
    List<String> wanted = selection.of(ref, listing.files());
    List<Callable<RemoteFile>> tasks = new ArrayList<>();
    for (String path : wanted) {
      tasks.add(() -> retry().run(path, () -> client.metadata(ref, listing.commit(), path)));
    }
    return parallel(tasks, () -> {});
  }

  private Destination destination(ModelRef ref, List<RemoteFile> files, @Nullable Path folder) {
    return folder == null
        ? new HubCache(settings.cache(), settings.symlinks())
            .destination(ref, files.getFirst().commit())
        : new LocalFolder(folder);
  }

  private static boolean has(Destination destination, RemoteFile file) {
    try {
      return destination.has(file);
    } catch (IOException e) {
      throw IoErrors.reading(destination.folder(), e);
    }
  }

  private static void requireSpace(Destination destination, List<RemoteFile> missing)
      throws IOException {
    long needed = 0;
    for (RemoteFile file : missing) {
      Path partial = destination.partial(file);
      needed += Math.max(0, file.size() - (Files.exists(partial) ? Files.size(partial) : 0));
    }
    if (!missing.isEmpty()) {
      Path beside = destination.partial(missing.getFirst()).toAbsolutePath();
      AtomicFile.requireSpace(beside.getParent(), needed, destination.folder());
    }
  }

  private void fetchAll(
      ModelRef ref,
      List<RemoteFile> missing,
      Destination destination,
      AtomicLong bytes,
      Progress progress) {
    long total = missing.stream().mapToLong(f -> Math.max(f.size(), 0)).sum();
    long unit = total < 10 * MEGABYTE ? 1000 : MEGABYTE;
    String name = unit == MEGABYTE ? "MB" : "kB";
    long all = Math.max(1, total / unit);
    List<Callable<Boolean>> tasks = new ArrayList<>();
    for (RemoteFile file : missing) {
      tasks.add(() -> fetch(ref, file, destination, bytes));
    }
    parallel(
        tasks, () -> progress.update("download", Math.min(bytes.get() / unit, all - 1), all, name));
    if (!missing.isEmpty()) {
      progress.update("download", all, all, name);
    }
  }

  private boolean fetch(ModelRef ref, RemoteFile file, Destination destination, AtomicLong bytes) {
    try (FileLock _ =
        new FileLock(
            destination.lock(file),
            () -> say.accept("waiting for another download of " + file.path()))) {
      if (destination.adopt(file)) {
        bytes.addAndGet(Math.max(file.size(), 0));
        return true;
      }
      Path partial = destination.partial(file);
      new Transfer(client, settings, ref, file, partial, bytes, say).run();
      destination.complete(file);
      return true;
    } catch (IOException e) {
      throw IoErrors.writing(destination.folder().resolve(file.path()), e);
    }
  }

  private Retry retry() {
    return new Retry(settings.retryDelay(), say);
  }

  /// Runs all tasks, a few at a time. The first failure, or an interrupt, stops the others.
  ///
  /// @param tick run now and then by the calling thread
  private static <T> List<T> parallel(List<Callable<T>> tasks, Runnable tick) {
    ExecutorService pool =
        Executors.newFixedThreadPool(PARALLEL, Thread.ofPlatform().daemon().factory());
    try {
      List<Future<T>> running = tasks.stream().map(pool::submit).toList();
      while (running.stream().anyMatch(f -> f.state() == Future.State.RUNNING)
          && running.stream().noneMatch(f -> f.state() == Future.State.FAILED)) {
        tick.run();
        Thread.sleep(running.size() == 1 ? POLL_MILLIS / 10 : POLL_MILLIS);
      }
      for (Future<T> task : running) {
        if (task.state() == Future.State.FAILED) {
          task.get();
        }
      }
      List<T> results = new ArrayList<>();
      for (Future<T> task : running) {
        results.add(task.get());
      }
      return results;
    } catch (InterruptedException e) {
      throw Retry.cancelled(e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof RuntimeException known) {
        throw known;
      }
      throw new IllegalStateException(e.getCause());
    } finally {
      pool.shutdownNow();
    }
  }

  @Override
  public void close() {
    client.close();
  }
}
