/** Finds the ends of zstd frames, because Node.js decompresses only the first frame of a stream. */
export interface ZstdFrames {
  /**
   * Reads bytes up to the end of the frame.
   *
   * @returns the number of bytes that belong to the frame
   * @throws Error if they do not begin with a frame
   */
  push(chunk: Buffer): number;
  /** The state after the latest bytes. `start`: no byte of a new frame has arrived since the last one ended. */
  readonly state: 'start' | 'within' | 'end';
  /** True if the frame has no content to decompress. */
  readonly isSkippable: boolean;
}

const MAGIC = 0xfd2f_b528;
/** The first of 16 magic numbers of skippable frames. */
const SKIPPABLE = 0x184d_2a50;
/** Bytes of the content size by its flag, and of the dictionary ID by its flag. */
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const;
const DICTIONARY_BYTES = [0, 1, 2, 4] as const;
const RLE = 1;
const RESERVED = 3;

/** @see https://www.rfc-editor.org/rfc/rfc8878#section-3.1 */
export function createZstdFrames(): ZstdFrames {
  const field = Buffer.alloc(16);
  let filled = 0;
  let wanted = 0;
  let read = magic;
  let skip = 0;
  let hasChecksum = false;
  let state: ZstdFrames['state'] = 'start';
  let isSkippable = false;

  const expect = (length: number, next: () => void): void => {
    filled = 0;
    wanted = length;
    read = next;
  };
  const begin = (): void => {
    state = 'start';
    isSkippable = false;
    expect(4, magic);
  };
  const end = (): void => {
    state = 'end';
  };

  function magic(): void {
    const number = field.readUInt32LE(0);
    isSkippable = (number & ~0xf) >>> 0 === SKIPPABLE;
    if (!isSkippable && number !== MAGIC) throw new Error('not a zstd frame');
    if (isSkippable) expect(4, skippableSize);
    else expect(1, descriptor);
  }
  function skippableSize(): void {
    skip = field.readUInt32LE(0);
    expect(0, end);
  }
  function descriptor(): void {
    const flags = field[0] ?? 0;
    const isSingle = (flags & 0x20) !== 0;
    hasChecksum = (flags & 0x04) !== 0;
    const sizeFlag = flags >> 6;
    const sizeBytes = sizeFlag === 0 && isSingle ? 1 : (CONTENT_SIZE_BYTES[sizeFlag] ?? 0);
    skip = (isSingle ? 0 : 1) + (DICTIONARY_BYTES[flags & 3] ?? 0) + sizeBytes;
    expect(3, block);
  }
  function block(): void {
    const header = field.readUIntLE(0, 3);
    const type = (header >> 1) & 3;
    if (type === RESERVED) throw new Error('a zstd block of an unknown type');
    skip = type === RLE ? 1 : header >> 3;
    if ((header & 1) === 0) expect(3, block);
    else expect(hasChecksum ? 4 : 0, end);
  }

  begin();
  return {
    push(chunk) {
      if (state === 'end') begin();
      let at = 0;
      for (;;) {
        const passed = Math.min(skip, chunk.length - at);
        skip -= passed;
        at += passed;
        if (skip > 0) return at;
        const taken = chunk.copy(field, filled, at, at + wanted - filled);
        filled += taken;
        at += taken;
        if (at > 0) state = 'within';
        if (filled < wanted) return at;
        read();
        if (state === ('end' as ZstdFrames['state'])) return at;
      }
    },
    get state() {
      return state;
    },
    get isSkippable() {
      return isSkippable;
    },
  };
}
