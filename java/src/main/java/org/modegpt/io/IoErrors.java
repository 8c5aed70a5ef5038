package org.modegpt.io;

import java.io.IOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.util.concurrent.CancellationException;
import org.modegpt.UserException;

/// Turns the exceptions of the file system into one line for people.
public final class IoErrors {
  private IoErrors() {}

  public static RuntimeException reading(Path file, IOException e) {
    if (e instanceof ClosedByInterruptException) {
      return cancelled(e);
    }
    return new UserException("cannot read " + file + ": " + reason(e), e);
  }

  public static RuntimeException writing(Path file, IOException e) {
    if (e instanceof ClosedByInterruptException) {
      return cancelled(e);
    }
    String reason = reason(e);
    String advice =
        reason.contains("No space left") || reason.contains("quota")
            ? "; free some space or choose another output folder"
            : "";
    return new UserException("cannot write " + file + ": " + reason + advice, e);
  }

  /// An interrupt in the middle of a read or write is how long operations are cancelled.
  private static CancellationException cancelled(IOException e) {
    CancellationException cancelled = new CancellationException("cancelled");
    cancelled.initCause(e);
    return cancelled;
  }

  private static String reason(IOException e) {
    return switch (e) {
      case NoSuchFileException x -> "no such file or folder: " + x.getFile();
      case AccessDeniedException x -> "permission denied: " + x.getFile();
      case FileAlreadyExistsException x -> "it exists already: " + x.getFile();
      case NotDirectoryException x -> "not a folder: " + x.getFile();
      case DirectoryNotEmptyException x -> "the folder is not empty: " + x.getFile();
      case FileSystemException x when x.getReason() != null -> x.getReason();
      default ->
          e.getMessage() == null
              ? e.getClass().getSimpleName()
              : e.getMessage().lines().findFirst().orElse("");
    };
  }
}
