/** Buffers to use again: fresh ones cost page faults, and wait for the collector outside of its heap. */
export interface BufferPool {
  take(size: number): Buffer;
  give(buffer: Buffer): void;
}

/** @param keep how many bytes of buffers of one size lie ready at most */
export function createBufferPool(keep: number): BufferPool {
  const bySize = new Map<number, Buffer[]>();
  const ready = (size: number): Buffer[] => {
    const known = bySize.get(size);
    if (known !== undefined) return known;
    const buffers: Buffer[] = [];
    bySize.set(size, buffers);
    return buffers;
  };
  return {
    // The last that was given is the one that the processor's cache still has.
    take: (size) => ready(size).pop() ?? Buffer.allocUnsafeSlow(size),
    give(buffer) {
      const buffers = ready(buffer.length);
      if ((buffers.length + 1) * buffer.length <= keep) buffers.push(buffer);
    },
  };
}
