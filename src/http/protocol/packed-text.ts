import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import accepts from 'accepts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { evaluatePreconditions } from './preconditions.ts';

/** A text in all encodings. */
export interface PackedText {
  readonly identity: Buffer;
  /** Compresses the text on the first call for each encoding. Absent if the text is too short to benefit. */
  readonly compressed: ((encoding: Encoding) => Buffer) | undefined;
}

/** A text that is served as it is. */
export interface StaticFile extends PackedText {
  /** The media type. */
  readonly type: string;
  /** The ETag with quotes but without `W/`. It is weak, because one validator covers all encodings. */
  readonly etag: string;
}

const ENCODINGS = ['br', 'gzip'] as const;
type Encoding = (typeof ENCODINGS)[number];

/** Bytes of the shortest text that is compressed. */
const THRESHOLD = 256;
/** Higher qualities take ten times as long for some percent, and the pages are rendered again after a SIGHUP. */
const BROTLI_QUALITY = 9;

const COMPRESS: Readonly<Record<Encoding, (text: Buffer) => Buffer>> = {
  br: (text) => brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY } }),
  gzip: (text) => gzipSync(text),
};

/** Prepares a text for all encodings. Compressing all texts at startup would take a third of the startup time. */
export function packText(text: string | Buffer): PackedText {
  const identity = Buffer.from(text);
  if (identity.length < THRESHOLD) return { identity, compressed: undefined };
  const done = new Map<Encoding, Buffer>();
  return {
    identity,
    compressed(encoding) {
      const packed = done.get(encoding) ?? COMPRESS[encoding](identity);
      done.set(encoding, packed);
      return packed;
    },
  };
}

/** Prepares a text for all encodings and computes its validator. @param type its media type */
export function packFile(text: string, type: string): StaticFile {
  const hash = createHash('sha256').update(text).digest('base64url');
  return { ...packText(text), type, etag: `"${hash.slice(0, 22)}"` };
}

/** Sends a file in an encoding that the client accepts, or 304. @param vary request headers that chose the file */
export function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  file: StaticFile,
  vary: readonly string[] = [],
): FastifyReply {
  const { type, etag } = file;
  const { 'if-none-match': ifNoneMatch } = request.headers;
  reply.headers({ etag: `W/${etag}`, vary: [...vary, 'accept-encoding'].join(', ') });
  if (evaluatePreconditions({ ifMatch: undefined, ifNoneMatch }, etag) === 'not-modified')
    // Without a stream, Fastify would state a Content-Length of 0 for HEAD.
    return reply.status(304).send(Readable.from([]));
  return reply.type(type).send(negotiateEncoding(request, reply, file));
}

/** Sets `Content-Encoding` to an encoding that the client accepts. @returns the text in that encoding */
export function negotiateEncoding(
  request: FastifyRequest,
  reply: FastifyReply,
  { identity, compressed }: PackedText,
): Buffer {
  const encoding = compressed && ENCODINGS.find((one) => accepts(request.raw).encoding([one]) === one);
  if (compressed === undefined || encoding === undefined) return identity;
  reply.header('content-encoding', encoding);
  return compressed(encoding);
}
