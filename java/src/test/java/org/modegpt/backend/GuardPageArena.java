package org.modegpt.backend;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;

/// An arena whose every segment lies against a page that may not be touched: reading or writing one
/// element too far ends the process instead of going unseen. Segments end at the guard page or,
/// with `atStart`, begin right after one.
@SuppressWarnings("restricted")
final class GuardPageArena implements Arena {

  private static final long PAGE = 4096;
  private static final int PROT_NONE = 0;
  private static final int PROT_READ_WRITE = 3;
  private static final int MAP_PRIVATE_ANONYMOUS = 0x22; // Linux

  private static final MethodHandle MMAP =
      libc(
          "mmap",
          FunctionDescriptor.of(
              ADDRESS, ADDRESS, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG));
  private static final MethodHandle MPROTECT =
      libc("mprotect", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT));
  private static final MethodHandle MUNMAP =
      libc("munmap", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG));

  private final Arena arena = Arena.ofConfined();
  private final boolean atStart;

  GuardPageArena(boolean atStart) {
    this.atStart = atStart;
  }

  private static MethodHandle libc(String name, FunctionDescriptor type) {
    SymbolLookup lookup = Linker.nativeLinker().defaultLookup();
    return Downcalls.bind(lookup, name, type);
  }

  @Override
  public MemorySegment allocate(long bytes, long alignment) {
    long body = Math.max(PAGE, Math.ceilDiv(bytes, PAGE) * PAGE);
    long total = body + 2 * PAGE;
    try {
      MemorySegment base =
          (MemorySegment)
              MMAP.invokeExact(MemorySegment.NULL, total, PROT_NONE, MAP_PRIVATE_ANONYMOUS, -1, 0L);
      if (base.address() == -1) {
        throw new OutOfMemoryError("mmap of " + total + " bytes");
      }
      MemorySegment inside = MemorySegment.ofAddress(base.address() + PAGE);
      if ((int) MPROTECT.invokeExact(inside, body, PROT_READ_WRITE) != 0) {
        throw new AssertionError("mprotect failed");
      }
      long offset = atStart ? 0 : (body - bytes) / alignment * alignment;
      return MemorySegment.ofAddress(inside.address() + offset)
          .reinterpret(bytes, arena, _ -> unmap(base, total));
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  private static void unmap(MemorySegment base, long bytes) {
    try {
      if ((int) MUNMAP.invokeExact(base, bytes) != 0) {
        throw new AssertionError("munmap failed");
      }
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  @Override
  public MemorySegment.Scope scope() {
    return arena.scope();
  }

  @Override
  public void close() {
    arena.close();
  }
}
