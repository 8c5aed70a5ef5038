package org.modegpt.hub;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Instant;
import java.util.List;
import java.util.Locale;

/// A folder of the user's with real files under their own names. What was downloaded is noted in
/// `.cache/huggingface/download`, in the form of other tools: commit, etag and time, so that the
/// next download fetches only what has changed.
final class LocalFolder implements Destination {
  private final Path folder;
  private final Path notes;

  LocalFolder(Path folder) {
    this.folder = folder;
    this.notes = folder.resolve(".cache/huggingface/download");
  }

  @Override
  public Path folder() {
    return folder;
  }

  private Path note(RemoteFile file) {
    return notes.resolve(file.path() + ".metadata");
  }

  /// Unchanged since its download, and the hub has the same content.
  @Override
  public boolean has(RemoteFile file) throws IOException {
    Path path = folder.resolve(file.path());
    if (!Files.isRegularFile(path) || !Files.isRegularFile(note(file))) {
      return false;
    }
    List<String> lines = Files.readAllLines(note(file));
    if (lines.size() < 3 || !lines.get(1).strip().equals(file.etag())) {
      return false;
    }
    try {
      double noted = Double.parseDouble(lines.get(2));
      return Files.getLastModifiedTime(path).toMillis() / 1000.0 - 1 <= noted;
    } catch (NumberFormatException e) {
      return false; // not a note of ours or theirs: fetch again
    }
  }

  @Override
  public Path lock(RemoteFile file) {
    return notes.resolve(file.path() + ".lock");
  }

  @Override
  public Path partial(RemoteFile file) throws IOException {
    HubCache.tag(notes.getParent());
    Path ignore = notes.resolveSibling(".gitignore");
    if (!Files.exists(ignore)) {
      Files.writeString(ignore, "*");
    }
    Path partial = notes.resolve(file.path() + "." + file.etag() + ".incomplete");
    Files.createDirectories(partial.getParent());
    return partial;
  }

  @Override
  public boolean adopt(RemoteFile file) throws IOException {
    return has(file);
  }

  @Override
  public void complete(RemoteFile file) throws IOException {
    Path path = folder.resolve(file.path());
    Files.createDirectories(path.getParent());
    Files.move(
        partial(file), path, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    Files.writeString(
        note(file),
        String.format(
            Locale.ROOT,
            "%s\n%s\n%.3f\n",
            file.commit(),
            file.etag(),
            Instant.now().toEpochMilli() / 1000.0));
  }

  @Override
  public void finish() {}
}
