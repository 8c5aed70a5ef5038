package org.modegpt.backend;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/// The one class that touches the {@link Linker}: it opens libraries, binds their functions and
/// changes the process environment. Everything here is restricted by the JDK; a refusal becomes one
/// line that says which option to add.
@SuppressWarnings("restricted") // the only such line in the engine
final class Downcalls {

  private static final String ADVICE =
      "native access is denied to the engine: start java with --enable-native-access=ALL-UNNAMED, or put"
          + " 'Enable-Native-Access: ALL-UNNAMED' into the manifest of the jar you start";

  private static final FunctionDescriptor SETENV =
      FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_INT);
  private static final FunctionDescriptor UNSETENV = FunctionDescriptor.of(JAVA_INT, ADDRESS);
  private static final FunctionDescriptor DLOPEN =
      FunctionDescriptor.of(ADDRESS, ADDRESS, JAVA_INT);
  private static final FunctionDescriptor DLERROR = FunctionDescriptor.of(ADDRESS);
  private static final int RTLD_NOW = 2;

  private Downcalls() {}

  /// A handle whose `invokeExact` calls the function `name` of `library`.
  ///
  /// @throws BackendException when the library lacks it
  static MethodHandle bind(SymbolLookup library, String name, FunctionDescriptor type) {
    MemorySegment address =
        library
            .find(name)
            .orElseThrow(() -> new BackendException("the library has no function " + name));
    return restricted(() -> Linker.nativeLinker().downcallHandle(address, type));
  }

  /// Opens a library for the rest of the process's life.
  ///
  /// @throws BackendException with the dynamic linker's reason
  static SymbolLookup open(Path library) {
    try {
      return restricted(() -> SymbolLookup.libraryLookup(library.toAbsolutePath(), Arena.global()));
    } catch (IllegalArgumentException e) {
      throw new BackendException(whyNot(library), e);
    }
  }

  /// Opens a library that the dynamic linker finds by its name, such as `libcublas.so.13`.
  ///
  /// @throws BackendException when it finds none
  static SymbolLookup openByName(String name) {
    try {
      return restricted(() -> SymbolLookup.libraryLookup(name, Arena.global()));
    } catch (IllegalArgumentException e) {
      throw new BackendException("the system has no " + name, e);
    }
  }

  /// Memory that native code allocated; `free` runs when `arena` is closed.
  ///
  /// @param bytes that may be accessed: 0 when the address is not the JDK's to read
  static MemorySegment owned(long address, long bytes, Arena arena, Runnable free) {
    return restricted(
        () -> MemorySegment.ofAddress(address).reinterpret(bytes, arena, _ -> free.run()));
  }

  /// The JDK does not show the reason of a failed dlopen, so ask again.
  private static String whyNot(Path library) {
    SymbolLookup libc = libc();
    try (Arena arena = Arena.ofConfined()) {
      MethodHandle dlopen = bind(libc, "dlopen", DLOPEN);
      MethodHandle dlerror = bind(libc, "dlerror", DLERROR);
      MemorySegment path = arena.allocateFrom(library.toAbsolutePath().toString());
      MemorySegment handle = (MemorySegment) dlopen.invokeExact(path, RTLD_NOW);
      MemorySegment reason = (MemorySegment) dlerror.invokeExact();
      return handle.address() == 0 && reason.address() != 0
          ? string(reason)
          : "cannot open " + library;
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /// Sets or, with a null value, removes a variable of the native environment; {@link
  /// System#getenv} does not see it.
  static void environment(String name, @Nullable String value) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment key = arena.allocateFrom(name);
      int status;
      if (value == null) {
        status = (int) bind(libc(), "unsetenv", UNSETENV).invokeExact(key);
      } else {
        MemorySegment text = arena.allocateFrom(value);
        status = (int) bind(libc(), "setenv", SETENV).invokeExact(key, text, 1);
      }
      if (status != 0) {
        throw new BackendException("cannot set the environment variable " + name);
      }
    } catch (Throwable e) {
      throw failed(e);
    }
  }

  /// A C string that native code keeps alive.
  static String string(MemorySegment address) {
    return restricted(() -> address.reinterpret(Long.MAX_VALUE)).getString(0);
  }

  /// What to throw for a throwable of `invokeExact`: our own exceptions pass, anything else is a
  /// wrong binding.
  static RuntimeException failed(Throwable e) {
    if (e instanceof RuntimeException exception) {
      return exception;
    }
    if (e instanceof Error error) {
      throw error;
    }
    throw new AssertionError(e);
  }

  /// The functions of the C library.
  static SymbolLookup libc() {
    return Linker.nativeLinker().defaultLookup();
  }

  private static <T> T restricted(Supplier<T> action) {
    try {
      return action.get();
    } catch (IllegalCallerException e) {
      throw new BackendException(ADVICE, e);
    }
  }
}
