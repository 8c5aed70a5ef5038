package org.modegpt.backend;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.modegpt.Settings;
import org.modegpt.UserException;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Products of bfloat16 matrices with float32 sums by oneDNN, an option for CPUs with bfloat16
/// instructions: about twice the speed of float32, with inputs rounded to eight bits. Loaded once
/// per process; not for several threads at a time.
final class OneDnn {
  private static final List<String> FILES = List.of("libgomp.so.1", "libdnnl.so.3");

  // Numbers of dnnl_types.h.
  private static final int UNIMPLEMENTED = 3;
  private static final int CPU = 1;
  private static final int IN_ORDER = 1;
  private static final int BF16 = 2;
  private static final int F32 = 3;
  private static final int SOURCE = 1;
  private static final int WEIGHTS = 33;
  private static final int DESTINATION = 17;
  private static final int ARGUMENT_BYTES = 16;

  private static @Nullable OneDnn loaded;

  private final SymbolLookup library;
  private final MemorySegment engine;
  private final MemorySegment stream;

  // dnnl_status_t dnnl_memory_desc_create_with_strides(md *, int, const dims_t, data_type, const
  // dims_t);
  private final MethodHandle describe;

  // dnnl_status_t dnnl_matmul_primitive_desc_create(pd *, engine, src, weights, bias, dst, attr);
  private final MethodHandle matmul;

  // dnnl_status_t dnnl_primitive_create(primitive *, pd);
  private final MethodHandle primitive;

  // dnnl_status_t dnnl_memory_create(memory *, md, engine, void *);
  private final MethodHandle memory;

  // dnnl_status_t dnnl_primitive_execute(primitive, stream, int, const dnnl_exec_arg_t *);
  private final MethodHandle execute;

  // dnnl_status_t dnnl_stream_wait(stream);
  private final MethodHandle await;

  private final MethodHandle destroyDescription;
  private final MethodHandle destroyProduct;
  private final MethodHandle destroyPrimitive;
  private final MethodHandle destroyMemory;

  private OneDnn(SymbolLookup library) {
    this.library = library;
    describe =
        bind("dnnl_memory_desc_create_with_strides", ADDRESS, JAVA_INT, ADDRESS, JAVA_INT, ADDRESS);
    matmul =
        bind(
            "dnnl_matmul_primitive_desc_create",
            ADDRESS,
            ADDRESS,
            ADDRESS,
            ADDRESS,
            ADDRESS,
            ADDRESS,
            ADDRESS);
    primitive = bind("dnnl_primitive_create", ADDRESS, ADDRESS);
    memory = bind("dnnl_memory_create", ADDRESS, ADDRESS, ADDRESS, ADDRESS);
    execute = bind("dnnl_primitive_execute", ADDRESS, ADDRESS, JAVA_INT, ADDRESS);
    await = bind("dnnl_stream_wait", ADDRESS);
    destroyDescription = bind("dnnl_memory_desc_destroy", ADDRESS);
    destroyProduct = bind("dnnl_primitive_desc_destroy", ADDRESS);
    destroyPrimitive = bind("dnnl_primitive_destroy", ADDRESS);
    destroyMemory = bind("dnnl_memory_destroy", ADDRESS);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(ADDRESS);
      check(
          "engine",
          (int) bind("dnnl_engine_create", ADDRESS, JAVA_INT, JAVA_LONG).invokeExact(out, CPU, 0L));
      engine = out.get(ADDRESS, 0);
      check(
          "stream",
          (int)
              bind("dnnl_stream_create", ADDRESS, ADDRESS, JAVA_INT)
                  .invokeExact(out, engine, IN_ORDER));
      stream = out.get(ADDRESS, 0);
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  /// The library in the folder of the setting `onednn`, else the one in the jars.
  ///
  /// @param threads of the whole process from now on
  /// @throws BackendException with the reason when there is none
  /// @throws UserException when this CPU has no bfloat16 products
  static synchronized OneDnn load(int threads) {
    OneDnn dnn = loaded;
    if (dnn == null) {
      Downcalls.environment("OMP_NUM_THREADS", Integer.toString(threads));
      // Idle workers sleep, so that they leave the cores to the other libraries' threads.
      Downcalls.environment("OMP_WAIT_POLICY", "passive");
      String own = Settings.get("onednn");
      Path folder =
          own != null
              ? Path.of(own)
              : NativeLibrary.extract(
                  "dnnl", "org/bytedeco/dnnl/" + NativeLibrary.platform() + "/", FILES);
      Downcalls.open(folder.resolve(FILES.getFirst()));
      dnn = new OneDnn(Downcalls.open(folder.resolve(FILES.getLast())));
      dnn.tryProduct();
      loaded = dnn;
    }
    return dnn;
  }

  /// Fails at once where the first product of a long run would.
  private void tryProduct() {
    try (Arena arena = Arena.ofConfined()) {
      product(
          Tensor.allocate(arena, DType.BF16, 1, 1),
          Tensor.allocate(arena, DType.BF16, 1, 1),
          Tensor.allocate(arena, DType.F32, 1, 1));
    }
  }

  private MethodHandle bind(String name, MemoryLayout... arguments) {
    return Downcalls.bind(library, name, FunctionDescriptor.of(JAVA_INT, arguments));
  }

  private static void check(String what, int status) {
    if (status != 0) {
      throw new BackendException("oneDNN: " + what + " failed with status " + status);
    }
  }

  /// `y = x wᵀ`: x BF16 [m, k], w BF16 [n, k], y F32 [m, n], none of them empty.
  synchronized void product(Tensor x, Tensor w, Tensor y) {
    try (Arena arena = Arena.ofConfined();
        Handles handles = new Handles(arena)) {
      MemorySegment source = handles.description(x.rows(), x.cols(), BF16, x.stride(), 1);
      MemorySegment weights = handles.description(x.cols(), w.rows(), BF16, 1, w.stride());
      MemorySegment destination = handles.description(y.rows(), y.cols(), F32, y.stride(), 1);
      MemorySegment none = MemorySegment.NULL;
      int status =
          (int) matmul.invokeExact(handles.out, engine, source, weights, none, destination, none);
      if (status == UNIMPLEMENTED) {
        throw new UserException(
            "MODEGPT_GEMM is bf16, but this CPU has no AVX-512 and so no bfloat16 products; on this machine leave it f32");
      }
      check("matmul", status);
      MemorySegment product = handles.keep(destroyProduct);
      check("primitive", (int) primitive.invokeExact(handles.out, product));
      MemorySegment compiled = handles.keep(destroyPrimitive);
      MemorySegment arguments = arena.allocate(3L * ARGUMENT_BYTES, 8);
      handles.argument(arguments, 0, SOURCE, source, x);
      handles.argument(arguments, 1, WEIGHTS, weights, w);
      handles.argument(arguments, 2, DESTINATION, destination, y);
      check("execution", (int) execute.invokeExact(compiled, stream, 3, arguments));
      check("wait", (int) await.invokeExact(stream));
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  /// What one product creates; destroyed together, the last first.
  private final class Handles implements AutoCloseable {
    private record Handle(MethodHandle destroy, MemorySegment value) {}

    private final Arena arena;
    private final java.util.ArrayDeque<Handle> handles = new java.util.ArrayDeque<>();
    final MemorySegment out;

    Handles(Arena arena) {
      this.arena = arena;
      this.out = arena.allocate(ADDRESS);
    }

    /// Takes over the handle that the last call wrote to `out`.
    MemorySegment keep(MethodHandle destroy) {
      MemorySegment value = out.get(ADDRESS, 0);
      handles.push(new Handle(destroy, value));
      return value;
    }

    MemorySegment description(long rows, long cols, int type, long rowStride, long columnStride)
        throws Throwable {
      MemorySegment sizes = arena.allocateFrom(JAVA_LONG, rows, cols);
      MemorySegment strides = arena.allocateFrom(JAVA_LONG, rowStride, columnStride);
      check("memory description", (int) describe.invokeExact(out, 2, sizes, type, strides));
      return keep(destroyDescription);
    }

    void argument(
        MemorySegment arguments, int slot, int role, MemorySegment description, Tensor tensor)
        throws Throwable {
      check("memory", (int) memory.invokeExact(out, description, engine, tensor.data()));
      arguments.set(JAVA_INT, (long) slot * ARGUMENT_BYTES, role);
      arguments.set(ADDRESS, (long) slot * ARGUMENT_BYTES + 8, keep(destroyMemory));
    }

    @Override
    public void close() {
      for (Handle handle : handles) {
        try {
          check("clean-up", (int) handle.destroy.invokeExact(handle.value));
        } catch (Throwable e) {
          throw Downcalls.failed(e);
        }
      }
    }
  }
}
