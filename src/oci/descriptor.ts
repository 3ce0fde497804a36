import type { Digest } from './digest.ts';
import type { StatedPlatform } from './platform.ts';

/**
 * A reference to content: its type, its digest, and its exact size in bytes.
 *
 * @see https://github.com/opencontainers/image-spec/blob/main/descriptor.md
 */
export interface Descriptor {
  /** The media type; empty if the manifest states none. */
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** The URLs of a layer that the registry may not distribute. */
  readonly urls?: readonly string[];
  readonly platform?: StatedPlatform;
  /** The type of an artifact that refers to a manifest. */
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A half-open range of bytes: `start` is the first, `end` is one past the last. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}
