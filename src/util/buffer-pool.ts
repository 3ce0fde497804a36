/** A pool of buffers. New buffers would cost page faults, and occupy memory outside V8's heap until a collection. */
export interface BufferPool {
  take(size: number): Buffer;
  give(buffer: Buffer): void;
  /** Returns the total bytes of the unused buffers. */
  kept(): number;
  /** Frees the unused buffers. */
  clear(): void;
}

/** @param keep the maximum of pooled bytes; buffers of the current size replace others */
export function createBufferPool(keep: number): BufferPool {
  const bySize = new Map<number, Buffer[]>();
  let kept = 0;
  const ready = (size: number): Buffer[] => {
    const known = bySize.get(size);
    if (known !== undefined) return known;
    const buffers: Buffer[] = [];
    bySize.set(size, buffers);
    return buffers;
  };
  const makeRoomFor = (size: number): void => {
    for (const [other, buffers] of bySize) {
      while (other !== size && kept + size > keep && buffers.pop()) kept -= other;
    }
  };
  return {
    // Reuse the latest buffer, because it is probably still in the processor's cache.
    take(size) {
      const buffer = ready(size).pop();
      if (buffer === undefined) return Buffer.allocUnsafeSlow(size);
      kept -= size;
      return buffer;
    },
    give(buffer) {
      const size = buffer.length;
      makeRoomFor(size);
      if (kept + size > keep) return;
      ready(size).push(buffer);
      kept += size;
    },
    kept: () => kept,
    clear() {
      bySize.clear();
      kept = 0;
    },
  };
}
