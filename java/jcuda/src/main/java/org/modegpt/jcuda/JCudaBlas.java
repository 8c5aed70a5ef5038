package org.modegpt.jcuda;

import java.lang.reflect.Field;
import jcuda.CudaException;
import jcuda.NativePointerObject;
import jcuda.Pointer;
import jcuda.jcublas.JCublas2;
import jcuda.jcublas.cublasHandle;
import jcuda.runtime.cudaStream_t;
import org.modegpt.backend.BackendException;
import org.modegpt.backend.CuBlas;

/// {@link CuBlas} over JCuda's `JCublas2`.
final class JCudaBlas implements CuBlas {
  private static final int DEFAULT_ALGORITHM = -1;

  private final cublasHandle handle = new cublasHandle();

  /// Device memory that JCuda did not allocate.
  private static final class Address extends Pointer {
    Address(long address) {
      super(address);
    }
  }

  /// @param stream a `cudaStream_t`
  JCudaBlas(long stream) {
    JCublas2.setExceptionsEnabled(true);
    run(
        "creating a handle",
        () -> {
          JCublas2.cublasCreate(handle);
          JCublas2.cublasSetStream(handle, stream(stream));
        });
  }

  /// JCuda has no way to wrap a stream that it did not make.
  private static cudaStream_t stream(long address) {
    cudaStream_t stream = new cudaStream_t();
    try {
      Field pointer = NativePointerObject.class.getDeclaredField("nativePointer");
      pointer.setAccessible(true);
      pointer.setLong(stream, address);
    } catch (ReflectiveOperationException e) {
      throw new BackendException(
          "this version of JCuda is not the one the binding was made for", e);
    }
    return stream;
  }

  private static void run(String what, Runnable calls) {
    try {
      calls.run();
    } catch (CudaException e) {
      throw new BackendException("cuBLAS by JCuda: " + what + " failed: " + e.getMessage(), e);
    }
  }

  @Override
  public String name() {
    return "jcuda";
  }

  private static Pointer scalar(double value, int compute) {
    return compute == COMPUTE_F64
        ? Pointer.to(new double[] {value})
        : Pointer.to(new float[] {(float) value});
  }

  private static int flag(boolean value) {
    return value ? 1 : 0;
  }

  @Override
  public void gemm(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      double alpha,
      Matrix a,
      Matrix b,
      double beta,
      Matrix c,
      int batch,
      int compute) {
    Pointer one = scalar(alpha, compute);
    Pointer two = scalar(beta, compute);
    Pointer left = new Address(a.address());
    Pointer right = new Address(b.address());
    Pointer out = new Address(c.address());
    run(
        "gemm [" + m + ", " + k + "] x [" + k + ", " + n + "]",
        () -> {
          if (batch == 1) {
            JCublas2.cublasGemmEx_new(
                handle,
                flag(transposeA),
                flag(transposeB),
                m,
                n,
                k,
                one,
                left,
                a.type(),
                a.lead(),
                right,
                b.type(),
                b.lead(),
                two,
                out,
                c.type(),
                c.lead(),
                compute,
                DEFAULT_ALGORITHM);
          } else {
            JCublas2.cublasGemmStridedBatchedEx_new(
                handle,
                flag(transposeA),
                flag(transposeB),
                m,
                n,
                k,
                one,
                left,
                a.type(),
                a.lead(),
                a.step(),
                right,
                b.type(),
                b.lead(),
                b.step(),
                two,
                out,
                c.type(),
                c.lead(),
                c.step(),
                batch,
                compute,
                DEFAULT_ALGORITHM);
          }
        });
  }

  @Override
  public void triangularSolve(
      boolean left, boolean upper, boolean transpose, int m, int n, Matrix a, Matrix b) {
    run(
        "triangular solve [" + m + ", " + n + "]",
        () ->
            JCublas2.cublasDtrsm(
                handle,
                flag(!left),
                flag(upper),
                flag(transpose),
                0,
                m,
                n,
                scalar(1, COMPUTE_F64),
                new Address(a.address()),
                a.lead(),
                new Address(b.address()),
                b.lead()));
  }

  @Override
  public void close() {
    run("destroying the handle", () -> JCublas2.cublasDestroy(handle));
  }
}
