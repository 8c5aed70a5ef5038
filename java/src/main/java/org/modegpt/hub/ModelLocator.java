package org.modegpt.hub;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.io.IoErrors;
import org.modegpt.io.ModelDirectory;

/// Finds the model a user names: a path, else a name on the hub that is looked up in the cache.
public final class ModelLocator {
  private final HubSettings settings;

  public ModelLocator(HubSettings settings) {
    this.settings = settings;
  }

  /// The folder or file of `model`.
  ///
  /// @param download fetches a model that is not in the cache and returns its place; null to refuse
  /// @throws UserException if there is no such model here
  public Path locate(String model, @Nullable Function<ModelRef, Path> download) {
    Optional<ModelRef> ref = ModelRef.maybe(model);
    if (exists(model) || ref.isEmpty()) {
      return path(model);
    }
    Optional<Path> cached = cached(ref.get());
    if (cached.isPresent()) {
      return cached.get();
    }
    if (download != null) {
      return usable(ref.get(), download.apply(ref.get()))
          .orElseThrow(
              () -> new UserException("'%s' has no weights that can be read".formatted(model)));
    }
    if (!model.contains("/")) {
      return path(model); // a mistyped path rather than one of the few names without organisation
    }
    throw new UserException(
        "there is no file or folder '%s', and the model is not, or not completely, in the cache %s: run 'modegpt download %s', or add --download"
            .formatted(model, settings.cache(), model));
  }

  private static boolean exists(String model) {
    try {
      return Files.exists(Path.of(model));
    } catch (InvalidPathException e) {
      return false;
    }
  }

  private static Path path(String model) {
    try {
      return Path.of(model);
    } catch (InvalidPathException e) {
      throw new UserException("'%s' is neither a path nor a model".formatted(model), e);
    }
  }

  private Optional<Path> cached(ModelRef ref) {
    try {
      return new HubCache(settings.cache(), settings.symlinks())
          .snapshot(ref)
          .flatMap(folder -> usable(ref, folder));
    } catch (IOException e) {
      throw IoErrors.reading(settings.cache(), e);
    }
  }

  /// What to open of a snapshot: the named file, a folder whose weights are all there, or its only
  /// GGUF file.
  private static Optional<Path> usable(ModelRef ref, Path snapshot) {
    if (Files.isRegularFile(snapshot)) {
      return Optional.of(snapshot);
    }
    List<String> files = files(snapshot);
    if (ref.file() != null) {
      return FileSelection.matching(ref.file(), files).isEmpty()
          ? Optional.empty()
          : Optional.of(snapshot.resolve(FileSelection.named(ref, ref.file(), files).getFirst()));
    }
    if (ModelDirectory.complete(snapshot)) {
      return Optional.of(snapshot);
    }
    List<String> ggufs = files.stream().filter(FileSelection::isGguf).toList();
    return ggufs.size() == 1 ? Optional.of(snapshot.resolve(ggufs.getFirst())) : Optional.empty();
  }

  /// Files below a folder by their relative names; links to blobs that are gone do not count.
  private static List<String> files(Path folder) {
    try (Stream<Path> all = Files.walk(folder)) {
      return all.filter(Files::isRegularFile)
          .map(p -> folder.relativize(p).toString().replace('\\', '/'))
          .sorted()
          .toList();
    } catch (IOException e) {
      throw IoErrors.reading(folder, e);
    }
  }
}
